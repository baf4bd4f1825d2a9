"""A tokenizer's model folder.

In a training checkpoint the codebook is not baked: its weights are in ``model.safetensors`` too.
Shape letters: K codes, D width.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from vqcli import files
from vqcli.checkpoint.card import model_card
from vqcli.checkpoint.folder import FORMAT, damaged, read_config
from vqcli.checkpoint.weights import hash_of, load_state, read_tensors, weights_file
from vqcli.errors import VqcliError
from vqcli.metrics.usage.record import USAGE, UsageRecord
from vqcli.plugins import needed, require, sentence
from vqcli.registry import TokenizerConfig, build
from vqcli.tokenizers.base import Tokenizer

CODES = "quantizer.codebook.weight"
"""Where a baked tokenizer keeps its codes."""


def fingerprint(tokenizer: Tokenizer) -> str:
    """Identity of the map from pixels to tokens: SHA-256 of tensors (name, shape, float32) and fields.

    Computed before baking, once, when a model folder is made; stored, never recomputed.
    """
    fields = json.dumps(tokenizer.deciding_fields(), sort_keys=True)
    return hash_of(tokenizer.deciding_tensors(), fields)


def describe_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """``config.json`` of a tokenizer as it is."""
    spec = tokenizer.spec
    return {
        "kind": "tokenizer",
        "format": FORMAT,
        "fingerprint": spec.fingerprint,
        "codebook_size": spec.codebook_size,
        "width": spec.width,
        "downsample": spec.downsample,
        "image_size": spec.image_size,
        "tokenizer": tokenizer.config.model_dump(mode="json"),
        **needed(tokenizer.config),
    }


def save_tokenizer(
    tokenizer: Tokenizer, folder: Path, *, usage: UsageRecord | None = None, note: str = ""
) -> None:
    """Write a model folder into an existing, empty folder, baked; the tokenizer itself stays as it is."""
    baked = copy.deepcopy(tokenizer).eval()
    baked.fingerprint = baked.fingerprint or fingerprint(tokenizer)
    baked.bake()
    state = baked.state_dict()
    codes_kd = baked.quantizer.codes().detach()
    if CODES in state:
        del state[CODES]
        files.write_tensors(
            folder / "codebook.safetensors", {"codes": codes_kd}, {"fingerprint": baked.fingerprint}
        )
    files.write_tensors(folder / "model.safetensors", state, {"fingerprint": baked.fingerprint})
    if usage is not None:
        files.write_json(folder / USAGE, usage.to_json())
    note = "\n".join(filter(None, [note, sentence(baked.config)]))
    files.write_text(folder / "README.md", model_card(baked.spec, usage, note))
    files.write_json(folder / "config.json", describe_tokenizer(baked))


def load_tokenizer(folder: Path, device: torch.device | str = "cpu") -> Tokenizer:
    """The tokenizer of a model folder or training checkpoint, baked and in evaluation mode.

    Raises VqcliError where ``read_tokenizer`` does.
    """
    tokenizer = read_tokenizer(folder)
    tokenizer.fingerprint = tokenizer.fingerprint or fingerprint(tokenizer)
    tokenizer.bake()
    return tokenizer.eval().to(device)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder or training checkpoint as it was written: a checkpoint's is not baked.

    Raises VqcliError where files are missing, damaged, not finite, or do not fit each other.
    """
    tokenizer = build_tokenizer(read_config(folder), folder)
    state = read_tensors(weights_file(folder), tokenizer.fingerprint)
    codebook = folder / "codebook.safetensors"
    if files.is_there(codebook):
        state[CODES] = read_tensors(codebook, tokenizer.fingerprint).pop("codes", torch.empty(0))
    load_state(tokenizer, state, folder)
    return tokenizer


def read_tokenizer_outline(folder: Path) -> Tokenizer:
    """The tokenizer of a folder on the meta device: its sizes, no weights. Raises VqcliError."""
    return build_tokenizer(read_config(folder), folder)


def build_tokenizer(config: dict[str, Any], folder: Path) -> Tokenizer:
    """The tokenizer that ``config.json`` describes, on the meta device: no weights are drawn or read.

    Raises VqcliError where it describes none, or needs a plugin that is not allowed.
    """
    require(config.get("plugins", []), folder)
    try:
        tokenizer_config = TypeAdapter(TokenizerConfig).validate_python(config["tokenizer"])
        with torch.device("meta"):
            tokenizer: Tokenizer = build("tokenizers", tokenizer_config)
        tokenizer.image_size = tuple(config["image_size"]) if config["image_size"] else None
        tokenizer.fingerprint = config["fingerprint"]
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError, VqcliError) as e:
        raise damaged(folder, e) from e
    return tokenizer
