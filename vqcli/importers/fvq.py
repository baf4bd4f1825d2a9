"""FVQ training checkpoints: LlamaGen's network, the codebook behind either VQBridge or its ablations.

Paper: Chang et al., "FVQ", https://arxiv.org/abs/2509.10140.
"""

from __future__ import annotations

from typing import Any

from vqcli.importers.base import State, count
from vqcli.importers.layouts import LLAMAGEN
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter

THEIRS, OURS = "quantize.qbridge.", "quantizer.codebook."
BRIDGE = f"{OURS}bridge."
CONDITION = f"{BRIDGE}condition"


class FvqImporter(TokenizerImporter):
    """FVQ as trained, with either form of VQBridge; codes of no class where they depend on one."""

    HAS = (("encoder.conv_blocks.", "decoder.conv_blocks."), THEIRS)
    LAYOUT = LLAMAGEN.plus(
        {
            "quantize.embedding.weight": f"{OURS}base",
            f"{THEIRS}x_embedder.proj": f"{BRIDGE}compress",
            f"{THEIRS}blocks.#.attn.qkv": f"{BRIDGE}blocks.#.qkv",
            f"{THEIRS}blocks.#.attn.proj": f"{BRIDGE}blocks.#.out",
            f"{THEIRS}blocks.#.mlp.fc1": f"{BRIDGE}blocks.#.fc1",
            f"{THEIRS}blocks.#.mlp.fc2": f"{BRIDGE}blocks.#.fc2",
            f"{THEIRS}blocks.#.adaLN_modulation.1": f"{BRIDGE}blocks.#.modulation",
            f"{THEIRS}final_layer.linear": f"{BRIDGE}recover",
            f"{THEIRS}final_layer.adaLN_modulation.1": f"{BRIDGE}modulation",
            f"{THEIRS}y_embedder.embedding_table.weight": CONDITION,
            f"{THEIRS}linear": f"{OURS}map.0",
            f"{THEIRS}linear_5.#": f"{OURS}map.#",
        }
    )
    IGNORED = ("quantize.codebook_used", f"{THEIRS}pos_embed")  # the positions are a formula

    def arrange(self, state: State, options: ImportOptions) -> State:
        if CONDITION in state:
            self.shape(state, CONDITION, 2)
            state[CONDITION] = state[CONDITION][-1:].flatten()  # the last row is that of no class
        return state

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        table = self.table(state, f"{OURS}base")
        if layers := count(state, rf"{OURS}map\."):
            hidden = [table["width"]] * (layers - 1)
            form = {"name": "projected", "base_width": table["width"], "train_base": True, "hidden": hidden}
        else:
            compress = self.shape(state, f"{BRIDGE}compress.weight", 4)
            modulated = any("modulation." in name or name == CONDITION for name in state)
            form = {
                "name": "bridged",
                "hidden": compress[0],
                "patch": compress[-1],
                "depth": count(state, rf"{BRIDGE}blocks\."),
                "blocks": "modulated" if modulated else "plain",
            }
        return {"codebook": form | table, "quantizer": {"name": "nearest"}}
