"""Malformed inputs by family: each module has a function ``cases`` that lists them with what must become of them."""
