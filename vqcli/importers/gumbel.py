"""taming-transformers' f8 model with a Gumbel quantizer (OpenImages, 8,192 codes).

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841.
"""

from __future__ import annotations

from typing import Any

from vqcli.importers.base import State
from vqcli.importers.layouts import TAMING
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter


class GumbelImporter(TokenizerImporter):
    """VQGAN with a Gumbel quantizer: a projection picks the code."""

    HAS = ("encoder.down.", "quantize.proj.")
    LAYOUT = TAMING.plus({"quantize.embed": "quantizer.codebook", "quantize.proj": "quantizer.proj"})
    IGNORED = ("loss.",)
    LICENCE = "MIT"

    def arrange(self, state: State, options: ImportOptions) -> State:
        weight = "quantizer.proj.weight"
        if tuple(self.shape(state, weight, 4)[2:]) == (1, 1):
            state[weight] = state[weight][:, :, 0, 0]  # a convolution of one pixel
        return state

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        table = self.table(state, "quantizer.codebook.weight")
        return {"codebook": {"name": "learned", **table}, "quantizer": {"name": "gumbel", "kl_weight": 1e-8}}
