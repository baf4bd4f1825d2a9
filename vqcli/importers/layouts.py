"""Names of tensors in published checkpoints, and ours.

``#`` stands for a number. A name stands for itself and for everything below it; the first that fits counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property


@dataclass(frozen=True)
class Layout:
    """A published layout: its names and ours, both ways."""

    network: str
    """The tokenizer or generator of ours that has this network."""
    names: Mapping[str, str]
    """Their names of modules, and ours."""
    leaves: Mapping[str, str] = field(default_factory=dict)
    """Their names inside of those modules, where they differ from ours."""
    upwards: bool = False
    """Whether the decoder's levels are counted from the lowest resolution; ours are from full resolution."""

    def plus(self, names: Mapping[str, str]) -> Layout:
        """The layout with more names, such as a quantizer's."""
        return replace(self, names={**names, **self.names})

    def ours(self, key: str) -> str | None:
        """Our name for a key of theirs, levels as they count them; None if it is not of this layout."""
        return _translate(key, self._forward, self.leaves)

    def theirs(self, name: str, levels: int) -> str:
        """Their key for a name of ours, in a network of so many levels; the name itself if they have none."""
        if self.upwards:
            name = turned(name, levels)
        inner: dict[str, str] = {}
        for theirs, ours in self.leaves.items():
            inner.setdefault(ours, theirs)
        return _translate(name, self._backward, inner) or name

    @cached_property
    def _forward(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(theirs), ours) for theirs, ours in self.names.items()]

    @cached_property
    def _backward(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(ours), theirs) for theirs, ours in self.names.items()]


def turned(name: str, levels: int) -> str:
    """A name with the decoder's levels counted from the other end."""
    return re.sub(
        r"^(decoder\.levels\.)(-?\d+)", lambda found: f"{found[1]}{levels - 1 - int(found[2])}", name
    )


def begins(key: str, names: Iterable[str]) -> bool:
    """Whether a key begins with one of these names, in which ``#`` stands for a number."""
    return any(re.match("[0-9]{1,4}".join(map(re.escape, name.split("#"))), key) for name in names)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("([0-9]{1,4})".join(map(re.escape, name.split("#"))) + r"(?=\.|$)")


def _translate(name: str, table: list[tuple[re.Pattern[str], str]], leaves: Mapping[str, str]) -> str | None:
    for pattern, new in table:
        if found := pattern.match(name):
            rest = name[found.end() :]
            inside = next((leaf for leaf in leaves if f"{rest}.".startswith(f".{leaf}.")), None)
            if inside:
                rest = f".{leaves[inside]}{rest[len(inside) + 1 :]}"
            return new.replace("#", "{}").format(*found.groups()) + rest
    return None


def _both(names: Mapping[str, str]) -> dict[str, str]:
    """Names that encoder and decoder share."""
    return {f"{side}.{a}": f"{side}.{b}" for side in ("encoder", "decoder") for a, b in names.items()}


ENDS = {"conv_in": "stem", "norm_out": "norm", "conv_out": "head"}
AROUND = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
LEAVES = {"nin_shortcut": "skip", "proj_out": "out"}

TAMING = Layout(
    "conv",
    {
        "encoder.down.#.block.#": "encoder.levels.#.res.#",
        "encoder.down.#.attn.#": "encoder.levels.#.attn.#",
        "encoder.down.#.downsample.conv": "encoder.levels.#.resize",
        "decoder.up.#.block.#": "decoder.levels.#.res.#",
        "decoder.up.#.attn.#": "decoder.levels.#.attn.#",
        "decoder.up.#.upsample.conv": "decoder.levels.#.resize",
        **_both({"mid.block_1": "mid.0", "mid.attn_1": "mid.1", "mid.block_2": "mid.2", **ENDS}),
        **AROUND,
    },
    LEAVES,
)
"""taming-transformers, and VQGAN-LC, IBQ and VAR, which began with its code."""

IMPROVED = Layout(
    "improved",
    {
        "encoder.down.#.block.#": "encoder.levels.#.res.#",
        "encoder.down.#.downsample": "encoder.levels.#.resize",
        "decoder.up.#.block.#": "decoder.levels.#.res.#",
        "decoder.up.#.upsample.conv1": "decoder.levels.#.resize",
        "decoder.adaptive.#": "decoder.levels.#.adapt",
        **_both({"mid_block.#": "mid.#", **ENDS}),
    },
    LEAVES,
)
"""Open-MAGVIT2 and SimVQ."""

LLAMAGEN = Layout(
    "conv",
    {
        **_both({"conv_blocks.#.res.#": "levels.#.res.#", "conv_blocks.#.attn.#": "levels.#.attn.#"}),
        "encoder.conv_blocks.#.downsample.conv": "encoder.levels.#.resize",
        "decoder.conv_blocks.#.upsample.conv": "decoder.levels.#.resize",
        **_both({"mid.#": "mid.#", **ENDS}),
        **AROUND,
    },
    LEAVES,
    upwards=True,
)
"""LlamaGen and FVQ."""

DIFFUSERS = Layout(
    "conv",
    {
        "encoder.down_blocks.#.resnets.#": "encoder.levels.#.res.#",
        "encoder.down_blocks.#.attentions.#": "encoder.levels.#.attn.#",
        "encoder.down_blocks.#.downsamplers.0.conv": "encoder.levels.#.resize",
        "decoder.up_blocks.#.resnets.#": "decoder.levels.#.res.#",
        "decoder.up_blocks.#.attentions.#": "decoder.levels.#.attn.#",
        "decoder.up_blocks.#.upsamplers.0.conv": "decoder.levels.#.resize",
        **_both(
            {
                "mid_block.resnets.0": "mid.0",
                "mid_block.attentions.0": "mid.1",
                "mid_block.resnets.1": "mid.2",
                "conv_in": "stem",
                "conv_norm_out": "norm",
                "conv_out": "head",
            }
        ),
        **AROUND,
    },
    {
        "conv_shortcut": "skip",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "out",
        "query": "q",  # these four in files of 2022
        "key": "k",
        "value": "v",
        "proj_attn": "out",
    },
    upwards=True,
)
"""diffusers' VQModel."""
