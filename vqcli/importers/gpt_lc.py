"""VQGAN-LC's GPT (``gpt-lc-100K-f16.pth``): minGPT, whose files hold the tokenizer too.

Paper: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vqcli.errors import VqcliError
from vqcli.importers.base import State
from vqcli.importers.generator import GeneratorImporter
from vqcli.importers.layouts import Layout
from vqcli.importers.options import ImportOptions
from vqcli.types import TokenizerSpec

CLASSES = 1000
"""ImageNet's."""


class GptLcImporter(GeneratorImporter):
    """VQGAN-LC's GPT of any size, with its tokenizer where that lies in the file."""

    HAS = ("transformer.tok_emb.", "transformer.pos_emb", "transformer.blocks.0.attn.key.")
    LACKS = ("first_stage_model.", "cond_stage_model.")  # taming-transformers' own, whose classes differ
    LAYOUT = Layout(
        "gpt_lc",
        {
            "transformer.tok_emb": "word_embedding",
            "transformer.pos_emb": "position_embedding",
            "transformer.blocks.#.ln1": "blocks.#.attention_norm",
            "transformer.blocks.#.ln2": "blocks.#.mlp_norm",
            "transformer.blocks.#.attn.query": "blocks.#.attention.q",
            "transformer.blocks.#.attn.key": "blocks.#.attention.k",
            "transformer.blocks.#.attn.value": "blocks.#.attention.v",
            "transformer.blocks.#.attn.proj": "blocks.#.attention.out",
            "transformer.blocks.#.mlp.#": "blocks.#.mlp.#",
            "transformer.ln_f": "norm",
            "transformer.head": "head",
        },
    )
    IGNORED = ("transformer.blocks.#.attn.mask",)
    APART = ("blocks.",)
    OPTIONS = GeneratorImporter.OPTIONS | {"classes"}
    HEADS: ClassVar = {(24, 1024): 16}
    INSIDE = "vqgan."
    TOKENIZER = "vqgan_lc"

    def parts(self, weights: State, sizes: dict[str, int], spec: TokenizerSpec) -> dict[str, Any]:
        return {"classes": self._words(weights) - spec.codebook_size}

    def codes(self, weights: State, options: ImportOptions, known: int | None) -> int:
        words, classes = self._words(weights), options.classes or CLASSES
        if known and not options.classes and known < words:
            return known
        if classes >= words:
            message = f"its vocabulary of {words:,} codes and classes has no room for {classes:,} classes"
            raise VqcliError(message, hint="give --classes", reason="option")
        return words - classes

    def length(self, weights: State) -> int | None:
        return self.shape(weights, "position_embedding", 3)[1] - 1

    def _words(self, weights: State) -> int:
        return self.shape(weights, "word_embedding.weight", 2)[0]
