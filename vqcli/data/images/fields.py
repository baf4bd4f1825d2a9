"""Fields of pictures, as the JSON beside them or a column holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

LABEL_NAMES = ("label", "labels", "fine_label", "cls", "class", "class_label", "class_id", "class_name",
               "category", "target", "coarse_label")  # fmt: skip
"""What columns and fields with a picture's label are called; the first that is there is taken."""


def parsed(data: str | bytes) -> dict[str, Any]:
    """The fields in a text; none where it is no JSON, or holds something else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def field_of(value: Any, name: str) -> Any:
    """A field of a JSON value, ``a.b`` inside of another; None where there is none."""
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    first, dot, rest = name.partition(".")
    return field_of(value.get(first), rest) if dot else None


def kept(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the fields that are named, and there."""
    found = {name: field_of(fields, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
