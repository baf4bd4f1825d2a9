"""Configuration: nested sections in, checked and frozen pydantic models out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vqcli.errors import VqcliError, suggestion
from vqcli.refusals import refusal

MOST_CODES, MOST_CLASSES = 1 << 24, 1 << 20
"""Entries of a codebook, and classes, that a recipe or a ``config.json`` may ask for."""
WIDEST, DEEPEST, LARGEST = 1 << 16, 256, 1 << 15
"""Channels, layers, and pixels of a side, likewise: far more than anybody has trained, and soon built."""
MOST = 1 << 40
"""Of what is only counted: steps, images."""


class PartConfig(BaseModel):
    """Options of one part. Frozen; an unknown key is an error; the docstring under a field describes it.

    A family with one dial names it: ``DIAL = "bridge"`` with ``SIZES = {"L/4": {...}}`` lets ``bridge: L/4``
    stand for those fields. Of the dial and fields beside it, what comes later wins; the dial is not kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    DIAL: ClassVar[str] = ""
    SIZES: ClassVar[dict[str, dict[str, Any]]] = {}

    @model_validator(mode="before")
    @classmethod
    def turn_dial(cls, data: Any) -> Any:
        """Replace the dial by the fields it stands for."""
        if not (cls.DIAL and isinstance(data, dict) and cls.DIAL in data):
            return data
        size = data[cls.DIAL]
        if not isinstance(size, str) or size not in cls.SIZES:
            raise ValueError(
                f"unknown size '{size}' for {cls.DIAL}; {suggestion(str(size), list(cls.SIZES))}"
            )
        fields: dict[str, Any] = {}
        for key, value in data.items():
            fields |= cls.SIZES[size] if key == cls.DIAL else {key: value}
        return fields


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``own`` over it, section by section; a part of another name replaces it."""
    result = {key: value for key, value in base.items() if key not in own}
    for key, value in own.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            other = "name" in below and value.get("name", below["name"]) != below["name"]
            value = value if other else merged(below, value)
        result[key] = value
    return result


def leaves(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested sections by its dotted key, ``a.b``; an empty section has none."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


Model = TypeVar("Model", bound=BaseModel)


def parse(
    model: type[Model],
    raw: Mapping[str, Any],
    name: str,
    *,
    hint: str = "`vqcli new fvq-16k` shows a recipe with all its sections",
    reason: str = "config",
) -> Model:
    """``model`` built from ``raw``. Raises VqcliError that names the key, its value and what is allowed.

    ``hint`` stands where no nearest known name does.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as e:
        message, names = refusal(e, model)
        near = suggestion(*names) if names else hint
        raise VqcliError(f"{name}: {message}", hint=near, reason=reason) from e
    except VqcliError as e:  # of a part within
        raise VqcliError(f"{name}: {e}", hint=e.hint, reason=e.reason) from e
