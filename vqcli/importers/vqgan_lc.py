"""VQGAN-LC (``vqgan-lc-100K-f16-dim8.pth``, ``-f8-dim4``): taming's network, features of images as codes.

Paper: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837. Its f8 network has attention in the middle
only, so that no level tells of it.
"""

from __future__ import annotations

from typing import Any

from vqcli.importers.base import State, count, unfit
from vqcli.importers.layouts import TAMING
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter

BASE, MAP = "quantizer.codebook.base", "quantizer.codebook.map."


class VqganLcImporter(TokenizerImporter):
    """VQGAN-LC, and the VQGAN-FC and VQGAN-EMA of its paper, which have no projector."""

    HAS = ("encoder.down.", ("tok_embeddings.", "codebook_projection."))
    LAYOUT = TAMING.plus(
        {
            "tok_embeddings.weight": BASE,
            "codebook_projection.weight": f"{MAP}0.weight",
            "codebook_projection.bias": f"{MAP}0.bias",
            "codebook_projection.#": f"{MAP}#",
        }
    )
    IGNORED = ("loss.", "discriminator.", "perceptual_loss.", "cluster_size", "embed_avg")

    def arrange(self, state: State, options: ImportOptions) -> State:
        self.shape(state, BASE, 2)
        if not count(state, MAP):
            state["quantizer.codebook.weight"] = state.pop(BASE)
        return state

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        quantizer = {"name": "nearest", "codebook_weight": 0.033, "commitment_weight": 0.1}
        layers = range(count(state, MAP))
        if not layers:
            table = self.table(state, "quantizer.codebook.weight")
            return {"codebook": {"name": "learned", **table}, "quantizer": quantizer}
        size, base_width = self.shape(state, BASE, 2)
        *hidden, width = (self.shape(state, f"{MAP}{2 * i}.weight", 2)[0] for i in layers)
        if width == 768:
            raise unfit("with codes 768 wide its authors scale latents to length 1, which is not done here")
        codebook = {"name": "projected", "size": size, "width": width, "base_width": base_width}
        return {"codebook": codebook | {"hidden": hidden, "map_init": "normal"}, "quantizer": quantizer}
