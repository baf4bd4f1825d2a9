"""Open-MAGVIT2 (``imagenet_256_L.ckpt``): the improved network with adaptive norms; signs are the codes.

Paper: Luo et al., "Open-MAGVIT2", https://arxiv.org/abs/2409.04410.
"""

from __future__ import annotations

from typing import Any

from vqcli.importers.base import State
from vqcli.importers.layouts import IMPROVED
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter


class OpenMagvit2Importer(TokenizerImporter):
    """Open-MAGVIT2's image tokenizers; running averages are taken where the file has them."""

    HAS = ("encoder.mid_block.", "decoder.adaptive.")
    LACKS = ("quantize.embedding_proj.",)
    LAYOUT = IMPROVED
    IGNORED = ("loss.",)
    LICENCE = "Apache-2.0"

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        bits = self.shape(state, "encoder.head.weight", 4)[0]
        quantizer = {"name": "nearest", "commitment_weight": 0.25, "entropy_weight": 0.1}
        return {"codebook": {"name": "sign", "bits": bits}, "quantizer": quantizer}
