"""SimVQ: the improved network, a frozen Gaussian table behind a linear map.

Paper: Zhu et al., "SimVQ", https://arxiv.org/abs/2411.02038.
"""

from __future__ import annotations

from typing import Any

from vqcli.importers.base import State
from vqcli.importers.layouts import IMPROVED
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter


class SimVqImporter(TokenizerImporter):
    """SimVQ; running averages are taken where the file has them."""

    HAS = ("encoder.mid_block.", "quantize.embedding_proj.")
    LAYOUT = IMPROVED.plus(
        {
            "quantize.embedding.weight": "quantizer.codebook.base",
            "quantize.embedding_proj": "quantizer.codebook.map.0",
        }
    )
    IGNORED = ("loss.",)
    FROZEN = ("quantize.embedding.weight",)
    LICENCE = "MIT"

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        size, base_width = self.shape(state, "quantizer.codebook.base", 2)
        width = self.shape(state, "quantizer.codebook.map.0.weight", 2)[0]
        codebook = {"name": "projected", "size": size, "width": width, "base_width": base_width}
        return {"codebook": codebook, "quantizer": {"name": "nearest"}}
