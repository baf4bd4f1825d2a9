"""What a text names: tokens, latents, images or a model; docs/data.md tells users."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vqcli import files
from vqcli.data.tokens.kinds import encoded_kind

Kind = Literal["tokens", "latents", "images", "model"]
MODEL_FILES = ("config.json", "recipe.yaml", "checkpoints")
"""What tells that a folder is a model's or a run's, not one of images; so does an index of weights."""
WEIGHTS = frozenset({".pt", ".pth", ".ckpt", ".safetensors", ".bin"})
"""How files of published weights end, also before another ending: ``model.pth.tar``."""


def named(text: str) -> Kind:
    """What a text names, where a command takes more than one kind.

    What was encoded goes first, then models that lie here, then images that a source claims. All else is a
    model's name: of one elsewhere, or of nothing, which whoever opens it tells. Raises VqcliError where a
    ``plan.json`` cannot be read.
    """
    path = Path(text)
    encoded = encoded_kind(path)
    if encoded:
        return encoded
    if files.is_folder(path):
        indices = files.children(path, "*.index.json")
        here = bool(indices) or any(files.exists(path / name) for name in MODEL_FILES)
    else:
        here = not WEIGHTS.isdisjoint(map(str.lower, path.suffixes)) and files.is_file(path)
    if here:
        return "model"
    from vqcli.data.images.open import claimant  # imports numpy, which what tells of a model needs not

    return "images" if claimant(text) else "model"
