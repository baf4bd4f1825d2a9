"""VAR's transformer (``var_d16.pth`` to ``var_d36.pth``), bare, in its trainer's file, or of its Hub wrapper.

Paper: Tian et al., "VAR", https://arxiv.org/abs/2404.02905. Three buffers lie in these files; they must be
what the sizes make of them, and none is taken over.
Shape letters: L tokens of all scales.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vqcli.errors import VqcliError
from vqcli.importers.base import State, unfit
from vqcli.importers.generator import GeneratorImporter
from vqcli.importers.layouts import Layout, begins
from vqcli.importers.options import ImportOptions
from vqcli.types import Grid, TokenizerSpec

PUBLISHED = (
    (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
    (1, 2, 3, 4, 6, 9, 13, 18, 24, 32),
    (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64),
)
"""Scales for images of 256, 512 and 1024 pixels."""
LEVELS, MASK, ZEROS = "lvl_1L", "attn_bias_for_masking", "blocks.#.attn.zero_k_bias"


class VarGeneratorImporter(GeneratorImporter):
    """VAR's transformer of any depth, for any scales."""

    HAS = ("pos_start", "pos_1LC", "word_embed.", "blocks.0.attn.mat_qkv.")
    LAYOUT = Layout(
        "var",
        {
            "pos_start": "start",
            "pos_1LC": "positions",
            "word_embed": "code_map",
            "class_emb": "class_embedding",
            "lvl_embed": "scale_embedding",
            "shared_ada_lin.1": "condition",
            "blocks.#.ada_lin.1": "blocks.#.condition",
            "blocks.#.ada_gss": "blocks.#.own",
            "blocks.#.attn.scale_mul_1H11": "blocks.#.attention.scale",
            "blocks.#.attn.q_bias": "blocks.#.attention.q_bias",
            "blocks.#.attn.v_bias": "blocks.#.attention.v_bias",
            "blocks.#.attn.mat_qkv": "blocks.#.attention.qkv",
            "blocks.#.attn.proj": "blocks.#.attention.out",
            "blocks.#.ffn.fc1": "blocks.#.ffn.up",
            "blocks.#.ffn.fc2": "blocks.#.ffn.down",
            "head_nm.ada_lin.1": "head.condition",
            "head": "head.map",
        },
    )
    IGNORED = (LEVELS, MASK, ZEROS)
    OPTIONS = GeneratorImporter.OPTIONS | {"scales"}
    OUTPUT = "head.map.weight"
    LICENCE = "MIT"

    def __init__(self) -> None:
        self.scales: tuple[int, ...] = ()
        """Of the file that ``weights`` was given last."""

    def weights(self, state: State, options: ImportOptions) -> State:
        found = super().weights(state, options)
        length = self.shape(found, "positions", 3)[1]
        count = self.shape(found, "scale_embedding.weight", 2)[0]
        self.scales = find_scales(state.get(LEVELS), length, count, options.scales)
        check_buffers(state, self.scales)
        return found

    def parts(self, weights: State, sizes: dict[str, int], spec: TokenizerSpec) -> dict[str, Any]:
        layers, rows = sizes["layers"], self.shape(weights, "class_embedding.weight", 2)[0]
        return {
            "classes": rows - 1,
            "attention": "cosine" if self.heads(weights) else "plain",
            "adaln": "shared" if "condition.weight" in weights else "separate",
            "drop_path": min(0.1 * layers / 24, 0.99),
            "sampling": {"cfg": 1.5, "top_k": 900, "top_p": 0.96},
        }

    def codes(self, weights: State, options: ImportOptions, known: int | None) -> int:
        return self.shape(weights, self.OUTPUT, 2)[0]

    def heads(self, weights: State) -> int | None:
        scale = next((name for name in weights if name.endswith(".attention.scale")), "")
        return self.shape(weights, scale, 4)[1] if scale else None

    def code_width(self, weights: State) -> int:
        return self.shape(weights, "code_map.weight", 2)[1]

    def length(self, weights: State) -> int | None:
        return self.shape(weights, "positions", 3)[1]

    def side(self, weights: State) -> int | None:
        return self.scales[-1]

    def grid(self, height: int, width: int) -> Grid:
        last = self.scales[-1]
        if (height, width) != (last, last):
            raise ValueError(f"its last scale is {last}x{last} tokens, not {height}x{width}")
        return tuple((side, side) for side in self.scales)


def find_scales(
    levels: Tensor | None, length: int, count: int, asked: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Sides of so many scales of so many tokens: as the buffer tells, as asked, or as published.

    Raises VqcliError.
    """
    told: tuple[int, ...] = ()
    if levels is not None:
        runs = [int(n) for n in torch.unique_consecutive(levels.flatten(), return_counts=True)[1]]
        told = tuple(math.isqrt(n) for n in runs)
        if [side * side for side in told] != runs or len(told) != count or sum(runs) != length:
            raise unfit(f"its {LEVELS} does not tell {count} square scales of {length:,} tokens")
    if told and asked and told != asked:
        words = " ".join(map(str, told))
        raise VqcliError(f"its scales are {words}", hint="leave --scales out", reason="option")
    known = [scales for scales in PUBLISHED if (sum(n * n for n in scales), len(scales)) == (length, count)]
    found = asked or told or next(iter(known), ())
    if (sum(side * side for side in found), len(found)) != (length, count):
        message = f"nothing tells how its {length:,} tokens make {count} scales"
        raise VqcliError(message, hint="give --scales, such as 1,2,3,4", reason="option")
    return found


def check_buffers(state: State, scales: tuple[int, ...]) -> None:
    """Raises VqcliError where one is not what these scales make of it."""
    counts = torch.tensor([side * side for side in scales])
    level_l = torch.arange(len(scales)).repeat_interleave(counts)
    sees = level_l[:, None] >= level_l
    wanted = {
        LEVELS: level_l,
        MASK: torch.zeros(sees.shape).masked_fill(~sees, -torch.inf),
    }
    for key, tensor in state.items():
        want = torch.zeros(()) if begins(key, (ZEROS,)) else wanted.get(key)
        if want is None:
            continue
        same = tensor.numel() == want.numel() or not want.ndim
        if not same or not torch.equal(tensor.flatten().to(want), want.flatten().expand(tensor.numel())):
            raise unfit(f"'{key}' is not the buffer that its sizes ask for")
