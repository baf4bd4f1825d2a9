"""diffusers' ``VQModel`` (``diffusion_pytorch_model.safetensors``): taming's network under other names."""

from __future__ import annotations

from typing import Any, ClassVar

from vqcli.errors import VqcliError
from vqcli.importers.base import State
from vqcli.importers.layouts import DIFFUSERS, Layout
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter

KNOWN = {"norm_num_groups": 32, "act_fn": "silu", "norm_type": "group", "mid_block_add_attention": True}
"""Of ``config.json``: what our network has. No shape tells the first two."""

NETWORK = ("encoder.down_blocks.", "decoder.up_blocks.")
"""What keys of its autoencoders start with, either of these."""


class DiffusersImporter(TokenizerImporter):
    """VQModel of diffusers, with the group norms and the attention in the middle that ours has."""

    HAS: ClassVar[tuple[str | tuple[str, ...], ...]] = (NETWORK, "quantize.")
    SETTINGS = True
    LAYOUT: ClassVar[Layout] = DIFFUSERS.plus({"quantize.embedding": "quantizer.codebook"})

    def convert(self, state: State, options: ImportOptions) -> tuple[dict[str, Any], State]:
        found = {name: options.settings.get(name, value) for name, value in KNOWN.items()}
        if any(".norm_layer." in key for key in state):
            found["norm_type"] = "spatial"
        if not any(".mid_block.attentions." in key for key in state):
            found["mid_block_add_attention"] = False
        other = next((name for name, value in KNOWN.items() if found[name] != value), None)
        if other:
            raise VqcliError(
                f"its {other} is {found[other]}; the network here has {KNOWN[other]}",
                hint="use it with diffusers, or another model here",
                reason="layout",
            )
        return super().convert(state, options)

    def arrange(self, state: State, options: ImportOptions) -> State:
        """Attention as convolutions of one pixel: theirs are linear."""
        linear = (".qkv.weight", ".out.weight")
        return {
            name: x[:, :, None, None] if name.endswith(linear) and x.ndim == 2 else x
            for name, x in state.items()
        }

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        table = self.table(state, "quantizer.codebook.weight")
        return {"codebook": {"name": "learned", **table}, "quantizer": {"name": "nearest"}}
