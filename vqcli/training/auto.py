"""Sizes that a recipe leaves open, ``auto``: chosen from the images that are there.

Written into the run's recipe as numbers, so that a resumed run has the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from vqcli.config import parse
from vqcli.data.config import DataConfig
from vqcli.data.divide import Division, divide
from vqcli.errors import BadImage, VqcliError
from vqcli.registry import TokenizerConfig, build
from vqcli.types import grid_length
from vqcli.yaml_text import override

AUTO = "auto"
SIZES, SAMPLED = (32, 64), 16
"""Sides in pixels that are chosen from, such that two CPU cores train in minutes; and images looked at."""
CODES, TOKENS_A_CODE = (256, 16_384), 64
"""Fewest and most codes that are chosen, and how many tokens of training images there are for each."""
UNKNOWN = {"data.size": 64, "tokenizer.codebook.size": 1024}
"""Where there are no images to choose by: what 500 photographs come to."""


def open_sizes(raw: Mapping[str, Any]) -> list[str]:
    """Which of ``data.size`` and ``tokenizer.codebook.size`` the keys of a recipe leave open."""
    return [path for path in ("data.size", "tokenizer.codebook.size") if _at(raw, path) == AUTO]


def _at(raw: Any, path: str) -> Any:
    for key in path.split("."):
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def settled(raw: dict[str, Any]) -> dict[str, Any]:
    """The keys of a recipe with numbers for the sizes that it leaves open.

    Where the images are not here, or the recipe is wrong, they are ``UNKNOWN``: whoever trains tells of that.
    Raises VqcliError where names on stdin, which can be read only once, would have to be looked at.
    """
    wanted = open_sizes(raw)
    if not wanted:
        return raw
    if _at(raw, "data.source") == "-":
        raise VqcliError(
            "names on stdin are read once, so no sizes can be chosen from their images",
            hint="give --size and --codes, or put the names into a list: --data names.txt",
            reason="option",
        )
    raw = override(raw, [f"{path}={UNKNOWN[path]}" for path in wanted])
    try:
        images = divide(parse(DataConfig, raw["data"], "data"))
        if "data.size" in wanted:
            raw = override(raw, [f"data.size={fitting_size(images)}"])
        if "tokenizer.codebook.size" in wanted:
            codes = fitting_codes(len(images.training) * tokens_an_image(raw))
            raw = override(raw, [f"tokenizer.codebook.size={codes}"])
    except (VqcliError, ValueError):
        pass
    return raw


def fitting_size(images: Division) -> int:
    """The largest of ``SIZES`` that half of the images, by a sample, have in pixels on their shorter side."""
    sides, training = [], images.training
    for i in training[:: max(1, len(training) // SAMPLED)][:SAMPLED].tolist():
        try:
            sides.append(min(images.source[i].image.size))
        except BadImage:  # training will name it
            continue
    middle = float(np.median(sides)) if sides else SIZES[-1]
    return max((size for size in SIZES if size <= middle), default=SIZES[0])


def fitting_codes(tokens: int) -> int:
    """The largest power of two with ``TOKENS_A_CODE`` tokens for each code, within ``CODES``."""
    fewest, most = CODES
    power: int = 1 << max(1, tokens // TOKENS_A_CODE).bit_length() - 1
    return min(max(fewest, power), most)


def tokens_an_image(raw: Mapping[str, Any]) -> int:
    """Tokens of an image of the recipe's size. Raises VqcliError or ValueError where it has none."""
    size = parse(DataConfig, raw["data"], "data").height_width
    config = TypeAdapter(TokenizerConfig).validate_python(raw["tokenizer"])
    with torch.device("meta"):
        return grid_length(build("tokenizers", config).grid(*size))
