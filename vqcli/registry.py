"""Parts by name: a part's class, its configuration out of a recipe, and the part itself."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from vqcli.config import PartConfig, parse
from vqcli.errors import VqcliError, suggestion
from vqcli.parts import PARTS, attribute, singular
from vqcli.plugins import BROKEN, installed, require
from vqcli.refusals import shown


def known_parts(kind: str) -> dict[str, str]:
    """All parts of a kind, ``name: module:Class``: ours, and those of plugins that are allowed."""
    installed()
    return PARTS[kind]


def part_name(kind: str, name: Any) -> Any:
    """The name of a part that may be told as ``mymodule:MyPart``.

    Raises VqcliError where that plugin is not allowed, or has no such part.
    """
    if not isinstance(name, str) or ":" not in name:
        return name
    module, _, wanted = name.partition(":")
    require([module], f"the {singular(kind)} {name}")
    theirs = {target: own for own, target in PARTS[kind].items() if target.startswith(f"{module}:")}
    if name not in theirs:
        message = f"the plugin {module} has no {singular(kind)} {wanted}"
        raise VqcliError(message, hint=suggestion(name, list(theirs)), reason="config")
    return theirs[name]


def resolve(kind: str, name: Any) -> Any:
    """The class registered as ``name``. Raises VqcliError with the nearest known name."""
    known = PARTS[kind]
    if not isinstance(name, str):
        hint = f"one of: {', '.join(known)}"
        raise VqcliError(
            f"the name of a {singular(kind)} must be text, not {shown(name)}", hint=hint, reason="config"
        )
    if name not in known:  # only then are installed plugins asked: they may import much
        known = known_parts(kind)
    if name not in known:
        hint = "; ".join([suggestion(name, list(known)), *BROKEN.values()])
        raise VqcliError(f"unknown {singular(kind)} '{name}'", hint=hint, reason="config")
    return attribute(known[name])


def build(kind: str, config: Any, *parts: Any) -> Any:
    """An instance of the part that ``config`` describes, given the parts it stands on."""
    return resolve(kind, config.name)(config, *parts)


def _parse(kind: str, value: Any) -> Any:
    """The configuration of a part, from a mapping whose ``name`` tells which, or from its name alone."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict):
        return value
    if "name" not in value:
        raise VqcliError(
            f"a {singular(kind)} needs a name", hint=f"one of: {', '.join(PARTS[kind])}", reason="config"
        )
    value = value | {"name": part_name(kind, value["name"])}
    return parse(resolve(kind, value["name"]).Config, value, f"{singular(kind)} '{value['name']}'")


def _parse_losses(value: Any) -> Any:
    """Losses by name, each with its options or only its weight."""
    if not isinstance(value, dict):
        raise ValueError("losses are names with weights, such as {l2: 1.0, perceptual: 1.0}")
    parsed = {}
    for told, each in value.items():
        name = part_name("losses", told)
        section = each if isinstance(each, dict) else {"weight": each}
        if section.get("name", name) != name:
            raise ValueError(f"the loss {name} is called {section['name']}: leave the name out")
        parsed[str(name)] = _parse("losses", section | {"name": str(name)})
    return parsed


CodebookConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "codebooks"))]
QuantizerConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "quantizers"))]
TokenizerConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "tokenizers"))]
GeneratorConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "generators"))]
ClassifierConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "classifiers"))]
LossesConfig = Annotated[dict[str, SerializeAsAny[PartConfig]], BeforeValidator(_parse_losses)]
DiscriminatorConfig = Annotated[
    SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "discriminators"))
]
MetricConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "metrics"))]
