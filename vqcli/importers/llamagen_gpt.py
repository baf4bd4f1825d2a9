"""LlamaGen's GPT (``c2i_B_256.pt`` to ``c2i_3B_384.pt``), also FVQ's, which has the same code.

Paper: Sun et al., "LlamaGen", https://arxiv.org/abs/2406.06525.
"""

from __future__ import annotations

from typing import Any

from vqcli.errors import VqcliError
from vqcli.importers.base import State
from vqcli.importers.generator import GeneratorImporter
from vqcli.importers.layouts import Layout
from vqcli.importers.options import ImportOptions
from vqcli.types import TokenizerSpec

MULTIPLE = 256
"""What the published feed-forward networks' widths are rounded up to a multiple of."""
GUIDANCE = {
    (12, 768): (2.0, 2.0),
    (24, 1024): (1.75, 2.0),
    (36, 1280): (1.75, 1.75),
    (48, 1536): (1.75, 1.75),
    (24, 3200): (1.65, 1.65),
}
"""The authors' scale by layers and width, for images of 256 and of 384 pixels."""
LARGE = 384
TEXT = ("cls_embedding.cap_proj.", "cls_embedding.uncond_embedding")
"""What keys of the models that make images of texts start with."""


class LlamaGenGptImporter(GeneratorImporter):
    """LlamaGen's class-conditional GPT of any size."""

    HAS = ("cls_embedding.", "tok_embeddings.", "layers.0.attention.wqkv.")
    LAYOUT = Layout(
        "gpt",
        {
            "cls_embedding.embedding_table": "class_embedding",
            "tok_embeddings": "token_embedding",
            "layers.#.attention_norm": "blocks.#.attention_norm",
            "layers.#.attention.wqkv": "blocks.#.attention.qkv",
            "layers.#.attention.wo": "blocks.#.attention.out",
            "layers.#.ffn_norm": "blocks.#.ffn_norm",
            "layers.#.feed_forward.w1": "blocks.#.ffn.gate",
            "layers.#.feed_forward.w3": "blocks.#.ffn.up",
            "layers.#.feed_forward.w2": "blocks.#.ffn.down",
            "norm": "norm",
            "output": "head",
        },
    )
    IGNORED = ("freqs_cis", "causal_mask", "layers.#.attention.kv_cache.")
    HEADS = {
        (12, 768): 12,
        (24, 1024): 16,
        (36, 1280): 20,
        (48, 1536): 24,
        (48, 2560): 40,
        (22, 2048): 32,
        (24, 3200): 32,
        (32, 4096): 32,
    }

    def weights(self, state: State, options: ImportOptions) -> State:
        if any(key.startswith(TEXT) for key in state):
            message = "it makes images of texts; only generators of classes can be imported"
            raise VqcliError(message, hint="LlamaGen's files of classes begin with c2i", reason="layout")
        return super().weights(state, options)

    def parts(self, weights: State, sizes: dict[str, int], spec: TokenizerSpec) -> dict[str, Any]:
        rows = self.shape(weights, "class_embedding.weight", 2)[0]
        hidden = self.shape(weights, "blocks.0.ffn.gate.weight", 2)[0]
        least = int(2 * (4 * sizes["width"]) / 3)
        usual = -(-least // MULTIPLE) * MULTIPLE
        found: dict[str, Any] = {"classes": rows - 1, "ffn_multiple": MULTIPLE if hidden == usual else hidden}
        scales = GUIDANCE.get((sizes["layers"], sizes["width"]))
        if scales and spec.image_size:
            found["sampling"] = {"cfg": scales[spec.image_size[0] >= LARGE]}
        return found

    def codes(self, weights: State, options: ImportOptions, known: int | None) -> int:
        return self.shape(weights, "token_embedding.weight", 2)[0]
