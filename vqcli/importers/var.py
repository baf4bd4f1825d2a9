"""VAR's multi-scale tokenizer (``vae_ch160v4096z32.pth``): taming's names, attention in one piece.

Paper: Tian et al., "VAR", https://arxiv.org/abs/2404.02905.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqcli.importers.base import State, count
from vqcli.importers.layouts import TAMING
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter

SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
"""Published for 256x256 images. No key tells them: for 512x512 they are 1 2 3 4 6 9 13 18 24 32."""


class VarImporter(TokenizerImporter):
    """VAR's tokenizer; its scales are those for 256x256 images unless others are given."""

    HAS = ("encoder.down.", "quantize.quant_resi.")
    LAYOUT = TAMING.plus(
        {
            "quantize.embedding": "quantizer.codebook",
            "quantize.quant_resi.qresi_ls.#": "quantizer.phi.#",
        }
    )
    IGNORED = ("quantize.ema_vocab_hit_SV",)
    APART = ()
    OPTIONS = frozenset({"scales"})
    LICENCE = "MIT"

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        table = self.table(state, "quantizer.codebook.weight")
        phis = count(state, r"quantizer\.phi\.")
        quantizer = {"name": "multiscale", "scales": options.scales or SCALES, "phis": phis}
        return {"codebook": {"name": "learned", **table}, "quantizer": quantizer}

    def image_size(self, config: Mapping[str, Any]) -> tuple[int, int]:
        side = config["quantizer"]["scales"][-1] * 2 ** (len(config["multipliers"]) - 1)
        return side, side
