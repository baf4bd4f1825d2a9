"""taming-transformers VQGAN (``last.ckpt``) and latent-diffusion's VQ models; also with averaged codes.

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vqcli.importers.base import State
from vqcli.importers.layouts import TAMING
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter, quantizer_for

NETWORK: tuple[str, ...] = ("encoder.down.", "encoder.mid.attn_1.q.")
OTHERS: tuple[str, ...] = (
    *("tok_embeddings.", "codebook_projection."),
    *("quantize.proj.", "quantize.embed.", "quantize.quant_resi."),
)
"""What tells the systems that share the network."""
DEEPER = "encoder.down.0.block.3."
"""In IBQ's networks, which have four blocks a level: VQGAN's and latent diffusion's have two. Averages do not
tell them apart: latent diffusion keeps them too, and a file of IBQ may have lost them."""


class TamingImporter(TokenizerImporter):
    """VQGAN of taming-transformers, of any size."""

    HAS: ClassVar[tuple[str | tuple[str, ...], ...]] = (*NETWORK, "quantize.embedding.")
    LACKS: ClassVar[tuple[str, ...]] = (*OTHERS, DEEPER)
    LAYOUT = TAMING.plus({"quantize.embedding": "quantizer.codebook"})
    IGNORED = ("loss.", "quantize.embedding.cluster_size", "quantize.embedding.embed_avg")
    OPTIONS = frozenset({"metric"})
    LICENCE = "MIT"
    METRIC: ClassVar[str] = "l2"
    """Published."""

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        table = self.table(state, "quantizer.codebook.weight")
        losses = {"codebook_weight": 0.25, "commitment_weight": 1.0}
        quantizer = quantizer_for(options.metric or self.METRIC) | losses
        return {"codebook": {"name": "learned", **table}, "quantizer": quantizer}
