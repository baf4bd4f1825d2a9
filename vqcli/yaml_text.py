"""Recipes as text: YAML in and out, and ``a.b=value`` over it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from vqcli import files
from vqcli.errors import VqcliError

MAX_BYTES, MOST_NESTED = 1 << 20, 32
"""Bytes of YAML, and sections within sections."""


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


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value
