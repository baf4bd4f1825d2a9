"""What pydantic refuses, in our words: the key, what is allowed, and what was given.

Nothing else tells a ``ValidationError`` to a user.
"""

from __future__ import annotations

import json
import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

LONGEST = 60
"""Characters of a wrong value that an error repeats."""


def refusal(
    e: ValidationError, model: type[BaseModel] = BaseModel
) -> tuple[str, tuple[str, list[str]] | None]:
    """What ``e`` says first, in our words; and the name that is not known, with those of ``model``."""
    errors = e.errors()
    error = errors[0]
    place, kind, given = error["loc"], error["type"], error.get("input")
    key = ".".join(map(str, place))
    if kind == "extra_forbidden":
        return f"unknown key '{key}'", (str(place[-1]), _fields(model, place[:-1]))
    if kind in ("value_error", "assertion_error"):  # a validator of ours, which may be of several keys
        said = f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
        return said + (f", not {given!r}" if isinstance(given, str | int | float) else ""), None
    if kind == "missing" and isinstance(place[-1], str):
        return f"{key} must be given", None
    tried = next((i for i, part in enumerate(place) if BRANCH.fullmatch(str(part))), None)
    if tried is not None:  # the types that went furthest are those that were meant
        errors = [each for each in errors if each["loc"][:tried] == place[:tried]]
        furthest = max(len(each["loc"]) for each in errors)
        errors = [each for each in errors if len(each["loc"]) == furthest]
    else:
        errors = [error]
    return _must_be(errors)


def flag_refusal(e: Any) -> str:
    """What a ValidationError that Typer met says of a flag's value, in our words."""
    error = e.errors()[0]
    if error["type"] == "value_error":  # Typer's own words
        return str(error["ctx"]["error"])
    return refusal(e)[0]


def _must_be(errors: list[Any]) -> tuple[str, tuple[str, list[str]] | None]:
    """What is allowed where errors lie in one place, each of another type that the value might have."""
    place = [str(part) for part in errors[0]["loc"] if not BRANCH.fullmatch(str(part))]
    if errors[0]["type"] == "missing":
        place.pop()  # the entry that a list lacks
    allowed, given = " or ".join(dict.fromkeys(map(_allowed, errors))), errors[0]["input"]
    known = re.findall(r"'([^']+)'", allowed) if isinstance(given, str) else []
    said = f"{'.'.join(place)} must be {allowed}, not {shown(given)}".lstrip()
    return said, (given, known) if known else None


BRANCH = re.compile(r"int|str|float|bool|(constrained|function|literal|list|tuple)[-\[].*")
"""What pydantic puts behind a key that may be of several types: the type it tried."""
ALLOWED = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "too_short": "of length {min_length} or more",
    "too_long": "of length {max_length} or less",
    "missing": "of greater length",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string_too_short": "text of {min_length} characters or more",
    "string_too_long": "text of {max_length} characters or less",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "model": "a section of keys",
    "dict": "a section of keys",
    "dataclass": "a section of keys",
    "none": "null",
    "invalid": "text",
}
"""What a kind of pydantic's errors, or the first word of the kind, allows."""


def _allowed(error: Any) -> str:
    limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in error.get("ctx", {}).items()}
    kind = error["type"]
    return ALLOWED.get(kind, ALLOWED.get(kind.partition("_")[0], "of another kind")).format(**limits)


def shown(value: Any) -> str:
    """A value for one line, as YAML would have it."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError):  # of thousands of digits, or of keys that are no words
        return "such a value"
    kinds: dict[type, str] = {list: "a list", dict: "a section of keys"}
    return text if len(text) <= LONGEST else kinds.get(type(value), text[:LONGEST] + "...")


def _fields(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Names a section of ``model`` knows, as far as the types tell."""
    here: Any = model
    for key in location:
        field = getattr(here, "model_fields", {}).get(key)
        here = field.annotation if field else None
        here = next((each for each in get_args(here) if hasattr(each, "model_fields")), here)  # X | None
    fields = list(getattr(here, "model_fields", {}))
    dial = getattr(here, "DIAL", "")
    return [*fields, dial] if dial else fields
