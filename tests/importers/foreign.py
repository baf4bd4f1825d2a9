"""Small tokenizers of ours as their authors would have written them: other names, other containers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from tests.importers.changes import (
    SPELLED,
    State,
    also,
    averaged,
    condition_rows,
    linear_attention,
    names_of_2022,
    one_pixel,
)
from tests.importers.names import (
    BRIDGE,
    DIFFUSERS,
    GUMBEL,
    IMPROVED,
    LINEAR,
    LLAMAGEN,
    PROJECTOR,
    SIMVQ,
    TABLE,
    TAMING,
    VAR,
    Rules,
)
from vqcli.registry import build, resolve
from vqcli.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class Case:
    """A layout at a size that was never published."""

    importer: str
    network: dict[str, Any]
    codebook: dict[str, Any]
    rules: Rules
    quantizer: dict[str, Any] = field(default_factory=lambda: {"name": "nearest"})
    upwards: bool = False
    """Decoder levels counted from the lowest resolution."""
    fused: bool = False
    """Attention stays in one piece."""
    change: Callable[[State], State] = lambda state: state
    """What else is otherwise in the file."""
    ignored: tuple[str, ...] = ()
    """Keys that no tokenizer needs, as ``change`` adds them; counters of averages aside."""
    options: dict[str, Any] = field(default_factory=dict)
    """What a user must tell."""
    spelled: dict[str, str] = field(default_factory=dict)
    """How errors spell parts of its keys, where a layout has two spellings."""
    image: tuple[int, int] = (24, 16)

    def model(self) -> Tokenizer:
        """The tokenizer, with noise in every weight: what begins at zero would agree with anything."""
        torch.manual_seed(0)
        parts = {"codebook": self.codebook, "quantizer": self.quantizer}
        name = self.network.get("name", "conv")
        tokenizer = build("tokenizers", resolve("tokenizers", name).Config(**self.network, **parts))
        with torch.no_grad():
            for parameter in tokenizer.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        return tokenizer.eval()

    def state(self, model: Tokenizer) -> State:
        """What its authors' file holds."""
        levels, out = len(self.network["multipliers"]), {}
        for name, tensor in model.state_dict().items():
            parts = [(name, tensor)]
            if ".qkv." in name and name.startswith(("encoder", "decoder")) and not self.fused:
                parts = [(name.replace(".qkv.", f".{c}."), x) for c, x in zip("qkv", tensor.chunk(3))]
            for ours, value in parts:
                key = ours
                if self.upwards:
                    key = re.sub(
                        r"^(decoder\.levels\.)(\d)", lambda m: f"{m[1]}{levels - 1 - int(m[2])}", key
                    )
                for pattern, theirs in self.rules:
                    key = re.sub(pattern, theirs, key)
                out[key] = value.clone()
        return self.change(out)


def network(multipliers: tuple[int, ...], attention: tuple[int, ...], **others: Any) -> dict[str, Any]:
    small = {"channels": 32, "multipliers": multipliers, "attention_levels": attention, "res_blocks": 1}
    return small | {"z_channels": 12} | others


def learned(size: int, width: int) -> dict[str, Any]:
    return {"name": "learned", "size": size, "width": width, "init": "normal"}


def bridged(blocks: str) -> dict[str, Any]:
    return {"name": "bridged", "size": 24, "width": 8, "hidden": 16, "patch": 2, "depth": 2, "blocks": blocks}


def projected(**others: Any) -> dict[str, Any]:
    return {"name": "projected", "size": 20, "width": 6, "base_width": 10} | others


F4, F8 = (1, 2, 2), (1, 1, 2, 2)
VQGAN = {"name": "nearest", "codebook_weight": 0.25, "commitment_weight": 1.0}
SMALL = {"name": "improved", "channels": 32, "multipliers": F4, "res_blocks": 2}
COSINE = {"name": "nearest", "metric": "cosine"}
USED = ("quantize.codebook_used",)
FIXED = (*USED, "quantize.qbridge.pos_embed")
SQUARE = (16, 16)
LOSS = ("loss.discriminator.main.0.weight", "model_ema.lossdiscriminatormain0weight")
SD = {"name": "none", "posterior": True, "scale": 0.18215}
LFQ = {"name": "nearest", "entropy_weight": 0.1}

CASES = {
    "llamagen": Case(
        "llamagen",
        network(F8, (3,), res_blocks=2),
        learned(48, 8),
        [*TABLE, *LLAMAGEN],
        COSINE,
        upwards=True,
        change=also(quantize__codebook_used=(70,)),
        ignored=USED,
    ),
    "fvq, baked": Case("llamagen", network(F4, (2,)), learned(20, 40), [*TABLE, *LLAMAGEN], upwards=True),
    "llamagen, l2": Case(
        "llamagen",
        network((1, 3), (0, 1), channels=64),
        learned(20, 8),
        [*TABLE, *LLAMAGEN],
        upwards=True,
        options={"metric": "l2"},
    ),
    "fvq": Case("fvq", network(F4, (2,)), bridged("plain"), [*BRIDGE, *LLAMAGEN], upwards=True),
    "fvq, modulated": Case(
        "fvq",
        network(F4, (2,)),
        bridged("modulated"),
        [*BRIDGE, *LLAMAGEN],
        upwards=True,
        change=condition_rows(1),
        ignored=FIXED,
    ),
    "fvq, conditional": Case(
        "fvq",
        network(F4, (2,)),
        bridged("modulated"),
        [*BRIDGE, *LLAMAGEN],
        upwards=True,
        change=condition_rows(5),
        ignored=FIXED,
    ),
    "fvq, linear": Case(
        "fvq",
        network(F4, (2,)),
        projected(base_width=6, train_base=True),
        [*BRIDGE, *LLAMAGEN],
        upwards=True,
    ),
    "taming": Case(
        "taming",
        network(F8, (1, 3)),
        learned(40, 8),
        [*TABLE, *TAMING],
        VQGAN,
        change=also(loss__logvar=(1,), quantize__embedding__cluster_size=(40,)),
        ignored=("loss.logvar", "quantize.embedding.cluster_size"),
    ),
    "taming, like ibq": Case(
        "taming",
        network(F4, (2,)),
        learned(40, 8),
        [*TABLE, *TAMING],
        {"name": "index_propagation"},
        options={"metric": "dot"},
    ),
    "ibq": Case(
        "ibq",
        network(F4, (2,), res_blocks=4),
        learned(40, 8),
        [*TABLE, *TAMING],
        {"name": "index_propagation"},
        change=averaged(),
        ignored=LOSS,
    ),
    "ibq, raw": Case(
        "ibq",
        network(F4, (2,), res_blocks=4),
        learned(40, 8),
        [*TABLE, *TAMING],
        {"name": "index_propagation"},
    ),
    "latent diffusion": Case(
        "taming",
        network((1, 2), (1,), res_blocks=2, z_channels=3),
        learned(40, 3),
        [*TABLE, *TAMING],
        VQGAN,
        change=averaged(),
        ignored=LOSS,
    ),
    "gumbel": Case(
        "gumbel",
        network(F8, (3,)),
        learned(40, 12),
        [*GUMBEL, *TAMING],
        {"name": "gumbel"},
        change=one_pixel,
    ),
    "vqgan-lc": Case(
        "vqgan_lc",
        network(F8, ()),
        projected(),
        [*LINEAR, *TAMING],
        change=also(discriminator__main__0__weight=(3,), perceptual_loss__lin0=(2,)),
        ignored=("discriminator.main.0.weight", "perceptual_loss.lin0"),
    ),
    "vqgan-lc, mlp": Case(
        "vqgan_lc",
        network(F4, (2,)),
        projected(hidden=(7,)),
        [*PROJECTOR, *TAMING],
        spelled={"projection.0": "projection"},
    ),
    "vqgan-ema of its paper": Case(
        "vqgan_lc",
        network(F4, (2,)),
        learned(20, 6),
        [*PROJECTOR, *TAMING],
        change=also(cluster_size=(20,), embed_avg=(20, 6)),
        ignored=("cluster_size", "embed_avg"),
    ),
    "var": Case(
        "var",
        network(F4, (2,), channels=64, z_channels=8, quant_conv=3),
        learned(20, 8),
        [*VAR, *TAMING],
        {"name": "multiscale", "scales": (1, 2, 4), "phis": 2},
        fused=True,
        change=also(quantize__ema_vocab_hit_SV=(3, 20)),
        ignored=("quantize.ema_vocab_hit_SV",),
        options={"scales": (1, 2, 4)},
        image=SQUARE,
    ),
    "simvq": Case("simvq", SMALL | {"adaptive": False}, projected(), [*SIMVQ, *IMPROVED]),
    "simvq, averaged": Case(
        "simvq",
        SMALL | {"adaptive": False},
        projected(),
        [*SIMVQ, *IMPROVED],
        change=averaged("quantize.embedding.weight"),
        ignored=LOSS,
    ),
    "open-magvit2": Case(
        "open_magvit2",
        SMALL,
        {"name": "sign", "bits": 5},
        IMPROVED,
        LFQ,
        change=averaged(),
        ignored=LOSS,
    ),
    "open-magvit2, raw": Case("open_magvit2", SMALL, {"name": "sign", "bits": 7}, IMPROVED, LFQ),
    "diffusers": Case(
        "diffusers",
        network(F8, (1, 3)),
        learned(30, 5),
        [*TABLE, *DIFFUSERS],
        upwards=True,
        change=linear_attention,
    ),
    "diffusers' AutoencoderKL": Case(
        "diffusers_kl",
        network(F8, (), z_channels=6),
        {"name": "none", "width": 5},
        DIFFUSERS,
        SD,
        upwards=True,
        change=linear_attention,
    ),
    "diffusers' AutoencoderKL of 2022": Case(
        "diffusers_kl",
        network(F4, (1,), z_channels=4),
        {"name": "none", "width": 4},
        DIFFUSERS,
        SD | {"scale": 0.5},
        upwards=True,
        change=names_of_2022,
        spelled={value: key for key, value in SPELLED.items()},
        options={"scale": 0.5},
    ),
    "diffusers' AutoencoderKL, no convolutions": Case(
        "diffusers_kl",
        network(F4, (), z_channels=7, quant_conv=0),
        {"name": "none", "width": 7},
        DIFFUSERS,
        SD,
        upwards=True,
        change=linear_attention,
    ),
    "latent diffusion's autoencoder": Case(
        "compvis_kl",
        network(F4, (2,), res_blocks=2, z_channels=4),
        {"name": "none", "width": 4},
        TAMING,
        SD,
        change=also(loss__logvar=(), loss__discriminator__main__0__weight=(2,)),
        ignored=("loss.logvar", "loss.discriminator.main.0.weight"),
    ),
    "diffusers, 2022": Case(
        "diffusers",
        network(F4, ()),
        learned(30, 5),
        [*TABLE, *DIFFUSERS],
        upwards=True,
        change=names_of_2022,
        spelled={value: key for key, value in SPELLED.items()},
    ),
}
