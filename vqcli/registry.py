"""Parts by name: a part's class, its configuration out of a recipe, and the part itself."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from vqcli.config import PartConfig, parse
from vqcli.errors import VqcliError, suggestion
from vqcli.parts import PARTS, attribute


def singular(kind: str) -> str:
    """The word for one part of a kind."""
    return {"losses": "loss"}.get(kind, kind.removesuffix("s"))


def resolve(kind: str, name: Any) -> Any:
    """The class registered as ``name``. Raises VqcliError with the nearest known name."""
    known = PARTS[kind]
    if not isinstance(name, str) or name not in known:
        raise VqcliError(
            f"unknown {singular(kind)} '{name}'", hint=suggestion(str(name), list(known)), reason="config"
        )
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
    return parse(resolve(kind, value["name"]).Config, value, f"{singular(kind)} '{value['name']}'")


def _parse_losses(value: Any) -> Any:
    """Losses by name, each with its options or only its weight."""
    if not isinstance(value, dict):
        raise ValueError("losses are names with weights, such as {l2: 1.0, perceptual: 1.0}")
    parsed = {}
    for name, each in value.items():
        section = each if isinstance(each, dict) else {"weight": each}
        if section.get("name", name) != name:
            raise ValueError(f"the loss {name} is called {section['name']}: leave the name out")
        parsed[str(name)] = _parse("losses", section | {"name": str(name)})
    return parsed


CodebookConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "codebooks"))]
QuantizerConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "quantizers"))]
TokenizerConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "tokenizers"))]
GeneratorConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "generators"))]
LossesConfig = Annotated[dict[str, SerializeAsAny[PartConfig]], BeforeValidator(_parse_losses)]
DiscriminatorConfig = Annotated[
    SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "discriminators"))
]
MetricConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "metrics"))]
