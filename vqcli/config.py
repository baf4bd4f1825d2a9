"""Configuration: YAML in, checked and frozen pydantic models out."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vqcli import files
from vqcli.errors import VqcliError, suggestion
from vqcli.refusals import refusal

MAX_BYTES, MOST_NESTED = 1 << 20, 32
"""Bytes of YAML, and sections within sections."""
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


class _Loader(yaml.SafeLoader):
    """YAML without surprises: no duplicate keys, no aliases, no tags; keys are words, ``1e-4`` is a number,
    ``no`` is not false."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise _refused("aliases are not allowed", self.peek_event())
        if getattr(self.peek_event(), "tag", None):
            raise _refused("tags are not allowed: write the value alone", self.peek_event())
        if self.depth > MOST_NESTED:
            raise _refused("nested too deep", self.peek_event())
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as e:  # of thousands of digits
            raise _refused("no number that can be read", node) from e

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str):
                raise _refused("a key is a word, no list and no section", key_node)
            if key in found:
                raise _refused(f"key '{key[:40]}' stands twice", key_node)
            found[key] = self.construct_object(value_node, deep=True)
        return found


def _refused(problem: str, node: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag.rsplit(":", 1)[1] in ("null", "str")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Writes what ``_Loader`` reads back as it was."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump_yaml(value: Any) -> str:
    """A value as YAML that ``parse_yaml`` reads back."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def quoted(text: str) -> str:
    """Text as YAML that is nothing but text: a path may look like an alias, a list or a number."""
    return yaml.safe_dump(text, default_style='"', width=float("inf")).strip()


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML text; ``name`` stands in errors. Raises VqcliError."""
    if len(text) > MAX_BYTES:
        raise VqcliError(f"{name} is larger than {MAX_BYTES} bytes", hint="is it a recipe?", reason="config")
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or getattr(e, "reason", None) or "nested too deep"
        raise VqcliError(
            f"{name}{where}: {problem}", hint="see vqcli new demo for a valid recipe", reason="config"
        ) from e


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises VqcliError if it is none."""
    value = parse_yaml(files.read_text(path, MAX_BYTES), str(path))
    if not isinstance(value, dict):
        raise VqcliError(f"{path} is no recipe: it holds no keys", hint="see vqcli new demo", reason="config")
    return value


def override(raw: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of ``raw`` with every ``a.b=value`` applied; values are YAML. Raises VqcliError."""
    raw = _copy(raw)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise VqcliError(
                f"--set {assignment}: not of the form a.b=value",
                hint="--set training.steps=100",
                reason="config",
            )
        here = raw
        for key in keys[:-1]:
            if here.get(key) is None:
                here[key] = {}
            here = here[key]
            if not isinstance(here, dict):
                raise VqcliError(
                    f"--set {assignment}: '{key}' is a value, not a section",
                    hint="see vqcli check",
                    reason="config",
                )
        here.pop(keys[-1], None)  # what is set comes last, and so wins over a dial and its fields
        here[keys[-1]] = parse_yaml(text, f"--set {assignment}")
    return raw


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


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value


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
