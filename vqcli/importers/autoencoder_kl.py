"""Autoencoders of latent diffusion, such as Stable Diffusion's VAE: mean and log-variance, no codes.

Paper: Rombach et al., "Latent Diffusion", https://arxiv.org/abs/2112.10752. What generators see is latents
times a number that stands beside the weights, if at all: 0.18215 is that of Stable Diffusion, DiT and SiT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from vqcli.importers.base import State, unfit
from vqcli.importers.diffusers import NETWORK, DiffusersImporter
from vqcli.importers.layouts import DIFFUSERS, TAMING, Layout
from vqcli.importers.options import ImportOptions
from vqcli.importers.taming import DEEPER, OTHERS
from vqcli.importers.tokenizer import TokenizerImporter

SCALE = 0.18215
"""Stable Diffusion's, which diffusers takes too where a ``config.json`` does not tell."""


class KlImporter(TokenizerImporter):
    """What both layouts of such autoencoders share."""

    OPTIONS = frozenset({"scale"})

    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        theirs = "post_quant_conv.weight" if has_convolutions(state) else "decoder.stem.weight"
        width = self.shape(state, theirs, 4)[1]
        scale = options.scale or number(options.settings, "scaling_factor", SCALE)
        shift = number(options.settings, "shift_factor", 0.0)
        return {
            "codebook": {"name": "none", "width": width},
            "quantizer": {"name": "none", "posterior": True, "scale": scale, "shift": shift},
        }

    def _network(self, state: State) -> dict[str, Any]:
        found = super()._network(state)
        both = found["z_channels"]
        if both % 2:
            raise unfit(f"its encoder gives {both} channels, not a mean and a log-variance of each")
        return found | {"z_channels": both // 2}

    def kernel(self, state: State) -> int:
        return super().kernel(state) if has_convolutions(state) else 0


def number(settings: Mapping[str, Any], name: str, usual: float) -> float:
    """A number of ``config.json``; the usual one where it is not told. Raises VqcliError."""
    value = usual if settings.get(name) is None else settings[name]
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise unfit(f"its {name} is {value!r}, no number")
    return float(value)


def has_convolutions(state: State) -> bool:
    """Whether there are any between the networks: newer models have none."""
    return any(f"{side}quant_conv.{part}" in state for side in ("", "post_") for part in ("weight", "bias"))


class DiffusersKlImporter(KlImporter, DiffusersImporter):
    """AutoencoderKL of diffusers, with the group norms and the attention in the middle that ours has."""

    HAS = (NETWORK,)
    LACKS = ("quantize.",)
    LAYOUT: ClassVar[Layout] = DIFFUSERS


class CompvisKlImporter(KlImporter):
    """Stable Diffusion's VAE as CompVis' code has it."""

    HAS = ("encoder.down.", "encoder.mid.attn_1.q.")
    LACKS = ("quantize.", *OTHERS, DEEPER)
    LAYOUT = TAMING
    IGNORED = ("loss.",)
    LICENCE = "MIT"
