"""Words about models, for whoever tells of one: ``vqcli info`` and ``vqcli import``. No torch here."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from vqcli.types import Grid

Row = tuple[str, object]
"""A line of a table for people: what, and what it is."""
NO_TOKENIZER = "not here: vqcli generate will need --tokenizer"
"""What is told of a generator that is without its tokenizer."""


def network(options: dict[str, Any]) -> str:
    """A generator's network: ``gpt, layers 12, heads 12, width 768``."""
    return ", ".join([options["name"], *_given(options, "layers", "heads", "width")])


def quantizer(options: dict[str, Any]) -> str:
    """``residual quantizer, depth 4``."""
    what = "no quantizer" if options["name"] == "none" else f"{options['name']} quantizer"
    return ", ".join([what, *_given(options, "metric", "depth", "scales", "scale", "shift")])


def layers(codes: int, width: int, size: str, downsample: int) -> list[Row]:
    """What a tokenizer has between images: codes and tokens, or latents; for images of ``size``."""
    each = f"for {downsample}x{downsample}"
    if not codes:
        return [("latents", f"of width {width}, no codebook"), ("images", f"{size} pixels, a latent {each}")]
    return [("codes", f"{codes:,} of width {width}"), ("images", f"{size} pixels, a token {each}")]


def _given(options: dict[str, Any], *keys: str) -> list[str]:
    return [f"{key} {options[key]}" for key in keys if key in options]


def layout(image_size: tuple[int, int] | None, grid: Grid, codes: int | None) -> str:
    """What a generator makes: ``256x256 pixels, 16x16 tokens of 16,384 codes``; without codes, latents."""
    size = f"{'x'.join(map(str, image_size))} pixels, " if image_size else ""
    if codes is None:
        return f"{size}{'x'.join(map(str, grid[-1]))} latents"
    tokens = f"{sum(h * w for h, w in grid):,}"
    if len(grid) == 1:
        tokens = "x".join(map(str, grid[0]))
    return f"{size}{tokens} tokens of {codes:,} codes"


def sampling(options: dict[str, Any]) -> str:
    """A generator's defaults of sampling: ``cfg 2.0, top_k 0``."""
    return ", ".join(f"{name} {value}" for name, value in options["sampling"].items())


SHOWN = 5
"""Classes that one line names."""


def classes(counts: Mapping[str, int], unlabelled: int = 0) -> str:
    """``10: disc (200), ring (200) ... and 5 more; 3 images without a class``: images by class."""
    if not counts:
        return "none"
    named = ", ".join(f"{name} ({count:,})" for name, count in list(counts.items())[:SHOWN])
    more = f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
    bare = f"; {unlabelled:,} images without a class" if unlabelled else ""
    return f"{len(counts):,}: {named}{more}{bare}"


def plugins(told: dict[str, list[str]]) -> list[Row]:
    """A line for each plugin that a model needs: ``plugin mymodule``, and its parts."""
    return [(f"plugin {name}", ", ".join(parts)) for name, parts in told.items()]


def weights(parameters: int, size: int) -> str:
    """``886,787 numbers, 3.6 MB``, of a size in bytes."""
    return f"{parameters:,} numbers, {size / 1e6:.1f} MB"


def untold(option: str, assumed: Container[str]) -> str:
    """What stands behind a fact that neither a published file nor the user told."""
    return f" (the file does not tell: --{option})" if option in assumed else ""
