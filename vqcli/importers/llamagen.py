"""LlamaGen VQ (``vq_ds16_c2i.pt``, ``vq_ds8_c2i.pt``) and published FVQ files, which are baked to its layout.

Paper: Sun et al., "LlamaGen", https://arxiv.org/abs/2406.06525.
"""

from __future__ import annotations

from typing import Any

from vqcli.importers.base import State
from vqcli.importers.layouts import LLAMAGEN
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter, quantizer_for

WIDEST_COSINE = 32
"""No key tells the metric. Published are 8 wide and cosine (LlamaGen), 256 wide and l2 (FVQ)."""


class LlamaGenImporter(TokenizerImporter):
    """LlamaGen VQ of any size, as a checkpoint or safetensors, and baked FVQ."""

    HAS = (("encoder.conv_blocks.", "decoder.conv_blocks."),)
    LACKS = ("quantize.qbridge.",)
    LAYOUT = LLAMAGEN.plus({"quantize.embedding": "quantizer.codebook"})
    IGNORED = ("quantize.codebook_used",)
    OPTIONS = frozenset({"metric"})

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        table = self.table(state, "quantizer.codebook.weight")
        metric = options.metric or ("cosine" if table["width"] <= WIDEST_COSINE else "l2")
        return {"codebook": {"name": "learned", **table}, "quantizer": quantizer_for(metric)}
