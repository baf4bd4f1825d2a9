"""Tokens on disk: written, read, renumbered, trained on."""
