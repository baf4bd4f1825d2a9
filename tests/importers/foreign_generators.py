"""Small generators of ours as their authors would have written them: other names, other files."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.importers.foreign import CASES
from tests.importers.names import Rules
from vqcli.generators.base import Generator
from vqcli.generators.gpt import Gpt
from vqcli.generators.gpt_lc import GptLc
from vqcli.generators.var import Var
from vqcli.types import TokenizerSpec

State = dict[str, Tensor]
GPT: Rules = [
    (r"^class_embedding\.", "cls_embedding.embedding_table."),
    (r"^token_embedding\.", "tok_embeddings."),
    (r"^head\.", "output."),
    (r"attention\.qkv", "attention.wqkv"),
    (r"attention\.out", "attention.wo"),
    (r"ffn\.gate", "feed_forward.w1"),
    (r"ffn\.up", "feed_forward.w3"),
    (r"ffn\.down", "feed_forward.w2"),
    (r"^blocks\.", "layers."),
]
MINGPT: Rules = [
    (r"^word_embedding\.", "tok_emb."),
    (r"^position_embedding$", "pos_emb"),
    (r"attention_norm", "ln1"),
    (r"mlp_norm", "ln2"),
    (r"attention\.query", "attn.query"),
    (r"attention\.key", "attn.key"),
    (r"attention\.value", "attn.value"),
    (r"attention\.out", "attn.proj"),
    (r"^norm\.", "ln_f."),
    (r"^", "transformer."),
]
VAR: Rules = [
    (r"^start$", "pos_start"),
    (r"^positions$", "pos_1LC"),
    (r"^code_map\.", "word_embed."),
    (r"^class_embedding\.", "class_emb."),
    (r"^scale_embedding\.", "lvl_embed."),
    (r"^condition\.", "shared_ada_lin.1."),
    (r"^head\.condition\.", "head_nm.ada_lin.1."),
    (r"^head\.map\.", "head."),
    (r"(blocks\.\d+)\.condition\.", r"\1.ada_lin.1."),
    (r"\.own$", ".ada_gss"),
    (r"attention\.scale$", "attn.scale_mul_1H11"),
    (r"attention\.qkv", "attn.mat_qkv"),
    (r"attention\.out", "attn.proj"),
    (r"attention\.", "attn."),
    (r"ffn\.up", "ffn.fc1"),
    (r"ffn\.down", "ffn.fc2"),
]
SCALES = (1, 2, 4)
LC = CASES["vqgan-lc"]
"""The tokenizer in files of GPT-LC: 20 codes, a token for 8x8 pixels."""


def spec(codes: int, side: int) -> TokenizerSpec:
    """A tokenizer of so many codes, with images of side x side tokens."""
    return TokenizerSpec(codes, 4, 8, (8 * side, 8 * side), "", ((side, side),))


def gpt(codes: int = 48, side: int = 4, **options: Any) -> Gpt:
    """LlamaGen's, of a size that was never published."""
    sizes = {"classes": 5, "layers": 2, "heads": 2, "width": 128}
    return _made(Gpt, sizes | options, spec(codes, side))


def gpt_lc(codes: int = 20, side: int = 4, **options: Any) -> GptLc:
    """VQGAN-LC's."""
    sizes = {"classes": 5, "layers": 2, "heads": 2, "width": 128}
    return _made(GptLc, sizes | options, spec(codes, side))


def var(codes: int = 48, scales: tuple[int, ...] = SCALES, **options: Any) -> Var:
    """VAR's."""
    sizes = {"classes": 5, "layers": 2, "heads": 2, "width": 128}
    side, grid = 16 * scales[-1], tuple((s, s) for s in scales)
    return _made(Var, sizes | options, TokenizerSpec(codes, 4, 16, (side, side), "", grid))


def var_state(model: Var) -> State:
    """What VAR's file holds, buffers too."""
    counts = torch.tensor(model.counts)
    level_l = torch.arange(len(counts)).repeat_interleave(counts)
    mask = torch.where(level_l[:, None] >= level_l, 0.0, -torch.inf)
    zeros = {f"blocks.{i}.attn.zero_k_bias": torch.zeros(128) for i in range(len(model.blocks))}
    buffers = zeros | {"lvl_1L": level_l[None], "attn_bias_for_masking": mask[None, None]}
    return {_renamed(name, VAR): x.clone() for name, x in model.state_dict().items()} | buffers


def without_buffers(state: State) -> State:
    """As who saves parameters alone has it."""
    return {
        key: x
        for key, x in state.items()
        if not key.startswith(("lvl_1L", "attn_bias")) and "zero" not in key
    }


def _made(kind: Any, options: dict[str, Any], tokenizer: TokenizerSpec) -> Any:
    """The same every time, with noise in every weight: what begins at zero would agree with anything."""
    torch.manual_seed(0)
    generator = kind(kind.Config(**options), tokenizer)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return generator.eval()


def gpt_state(model: Generator) -> State:
    """What LlamaGen's file holds."""
    return {_renamed(name, GPT): x.clone() for name, x in model.state_dict().items()}


def lc_state(model: Generator) -> State:
    """What the transformer's part of GPT-LC's file holds."""
    out: State = {}
    for name, tensor in model.state_dict().items():
        parts = {name: tensor}
        if ".qkv." in name:
            words = ("query", "key", "value")
            parts = {name.replace("qkv", word): x for word, x in zip(words, tensor.chunk(3))}
        out |= {_renamed(part, MINGPT): x.clone() for part, x in parts.items()}
    return out


def whole_lc_state(model: Generator) -> State:
    """All that GPT-LC's file holds: masks, the tokenizer, its losses."""
    masks = {f"transformer.blocks.{i}.attn.mask": torch.ones(1, 1, 17, 17).tril() for i in range(2)}
    tokenizer = {f"vqgan.{key}": x for key, x in LC.state(LC.model()).items()}
    return lc_state(model) | masks | tokenizer


def with_buffers(state: State) -> State:
    """As old files and those saved after sampling have it."""
    caches = {
        f"layers.{i}.attention.kv_cache.{name}": torch.zeros(2, 2, 24, 64, dtype=torch.bfloat16)
        for i in range(2)
        for name in ("k_cache", "v_cache")
    }
    return state | caches | {"freqs_cis": torch.ones(17, 32, 2), "causal_mask": torch.ones(2, 24, 24).bool()}


def _renamed(name: str, rules: Rules) -> str:
    for pattern, theirs in rules:
        name = re.sub(pattern, theirs, name)
    return name


MAKERS: dict[str, tuple[Callable[..., Any], Callable[[Any], State]]] = {
    "llamagen_gpt": (gpt, gpt_state),
    "gpt_lc": (gpt_lc, lc_state),
    "var_generator": (var, var_state),
}
"""By importer: a generator, and its weights as published."""
