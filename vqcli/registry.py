"""Names of parts, resolved on first use: ``"name": "module:Class"``. A new part is a file and a line here.

Nothing that was downloaded chooses what Python imports: a checkpoint can only name what stands in this table.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from vqcli.config import PartConfig, parse
from vqcli.errors import VqcliError, suggestion

PARTS: dict[str, dict[str, str]] = {
    "codebooks": {
        "learned": "vqcli.codebooks.learned:LearnedCodebook",
        "bridged": "vqcli.codebooks.bridged:BridgedCodebook",
    },
    "quantizers": {
        "nearest": "vqcli.quantizers.nearest:NearestQuantizer",
    },
    "tokenizers": {
        "conv": "vqcli.tokenizers.conv:ConvTokenizer",
    },
    "losses": {
        "l1": "vqcli.losses.pixel:L1Loss",
        "l2": "vqcli.losses.pixel:L2Loss",
    },
    "sources": {
        "folder": "vqcli.data.folder:FolderSource",
        "list": "vqcli.data.files:ListSource",
        "parquet": "vqcli.data.parquet:ParquetSource",
        "tar": "vqcli.data.tar:TarSource",
        "demo": "vqcli.data.demo:DemoSource",
    },
    "tasks": {
        "tokenizer": "vqcli.training.tokenizer:TokenizerTask",
    },
}


def resolve(kind: str, name: str) -> Any:
    """The class registered as ``name``. Raises VqcliError with the nearest known name."""
    known = PARTS[kind]
    if name not in known:
        raise VqcliError(
            f"unknown {kind.rstrip('s')} '{name}'", hint=suggestion(name, list(known)), reason="config"
        )
    module, attribute = known[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def build(kind: str, config: Any, *parts: Any) -> Any:
    """An instance of the part that ``config`` describes, given the parts it stands on."""
    return resolve(kind, config.name)(config, *parts)


def describe(kind: str) -> dict[str, str]:
    """First docstring line of every part of a kind, read from the source: nothing is imported."""
    return {name: _first_line(*target.split(":")) for name, target in PARTS[kind].items()}


def _first_line(module: str, attribute: str) -> str:
    package, _, stem = module.rpartition(".")
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / f"{stem}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == attribute]
    return (ast.get_docstring(classes[0]) or "").partition("\n")[0] if classes else ""


def _parse(kind: str, value: Any) -> Any:
    """The configuration of a part, from a mapping whose ``name`` tells which."""
    if not isinstance(value, dict):
        return value
    if "name" not in value:
        raise VqcliError(
            f"a {kind.rstrip('s')} needs a name", hint=f"one of: {', '.join(PARTS[kind])}", reason="config"
        )
    return parse(resolve(kind, value["name"]).Config, value, f"{kind.rstrip('s')} '{value['name']}'")


CodebookConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "codebooks"))]
QuantizerConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "quantizers"))]
TokenizerConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "tokenizers"))]
LossConfig = Annotated[SerializeAsAny[PartConfig], BeforeValidator(partial(_parse, "losses"))]
