"""Folders of models that work on the tokens or latents of a tokenizer: what such kinds share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from vqcli import files
from vqcli.checkpoint.classes import write_classes
from vqcli.checkpoint.folder import TOKENIZER, damaged, read_config
from vqcli.checkpoint.kinds import KINDS
from vqcli.checkpoint.tokenizer import save_tokenizer
from vqcli.checkpoint.weights import load_state, read_tensors, weights_file
from vqcli.errors import VqcliError
from vqcli.plugins import require, sentence
from vqcli.registry import build
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import TokenizerSpec


def told_spec(spec: TokenizerSpec) -> dict[str, Any]:
    """What a model must know of its tokenizer as JSON values; how latents were standardized if they were."""
    return {name: value for name, value in asdict(spec).items() if name != "latents" or value}


def write_network(network: Any, folder: Path, tokenizer: Tokenizer | None, classes: Sequence[str]) -> None:
    """Put weights, names of classes, and the tokenizer if it is at hand, into an existing, empty folder."""
    made_for = {"fingerprint": network.spec.fingerprint}
    files.write_tensors(folder / "model.safetensors", network.state_dict(), made_for)
    if tokenizer is not None:
        (folder / TOKENIZER).mkdir()
        save_tokenizer(tokenizer, folder / TOKENIZER)
    write_classes(folder, classes)


def read_network(folder: Path, kind: str, part: Any) -> Any:
    """The network of a model folder or checkpoint of this kind; ``part`` is its type in ``registry``.

    Raises VqcliError where files are missing, damaged, not finite, or do not fit each other, and where it
    needs a plugin that is not allowed.
    """
    config = read_config(folder, kind)
    require(config.get("plugins", []), folder)
    try:
        own = TypeAdapter(part).validate_python(config[kind])
        spec = TypeAdapter(TokenizerSpec).validate_python(config["tokenizer"])
        with torch.device("meta"):
            network: nn.Module = build(f"{kind}s", own, spec)
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError, VqcliError) as e:
        raise damaged(folder, e) from e
    load_state(network, read_tensors(weights_file(folder), spec.fingerprint), folder)
    return network


def card(network: Any, kind: str, sees: str, note: str) -> str:
    """The model card of a network; ``sees`` says what images are to it, ``note`` how good it is."""
    spec, count = network.spec, sum(p.numel() for p in network.parameters())
    size = "x".join(map(str, spec.image_size)) if spec.image_size else "some"
    lines = [
        f"---\nlibrary_name: vqcli\ntags: [{KINDS[kind].tag}, vector-quantization]\n---",
        f"# A {kind} ({network.config.name}) of {network.config.classes:,} classes\n",
        f"{count:,} parameters; images of {size} pixels as {sees}.",
        note,
        sentence(network.config),
        f"\n    {KINDS[kind].line('THIS_FOLDER')}\n",
    ]
    return "\n".join(line for line in lines if line)
