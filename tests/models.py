"""A tiny untrained model on disk, for tests of what works with models."""

from pathlib import Path

import torch

from vqcli.checkpoint import save_tokenizer
from vqcli.tokenizers.conv import ConvTokenizer


def make_model(
    folder: Path, *, codes: int = 16, side: int | None = 8, seed: int = 0, usage: dict | None = None
) -> Path:
    """A model folder: 2x2 pixels a token, so (4, 4) tokens an image where ``side`` is 8."""
    torch.manual_seed(seed)
    codebook = {"name": "learned", "size": codes, "width": 4, "init": "normal"}
    network = {"network": "tiny", "multipliers": (1, 1), "attention_levels": ()}
    config = ConvTokenizer.Config(**network, codebook=codebook, quantizer={"name": "nearest"})
    tokenizer = ConvTokenizer(config)
    tokenizer.image_size = (side, side) if side else None
    folder.mkdir(parents=True)
    save_tokenizer(tokenizer, folder, usage=usage)
    return folder
