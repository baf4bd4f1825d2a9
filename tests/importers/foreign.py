"""Small tokenizers of ours as their authors would have written them: other names, other containers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vqcli.registry import build, resolve
from vqcli.tokenizers.base import Tokenizer

State = dict[str, Tensor]
Rules = list[tuple[str, str]]
"""Our names to theirs, applied one after the other."""

ENDS: Rules = [
    (r"^(..coder)\.stem\.", r"\1.conv_in."),
    (r"^(..coder)\.norm\.", r"\1.norm_out."),
    (r"^(..coder)\.head\.", r"\1.conv_out."),
    (r"\.skip\.", ".nin_shortcut."),
    (r"^(..coder\..*)\.out\.", r"\1.proj_out."),
]
TAMING: Rules = [
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.down.\1.downsample.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.up.\1.upsample.conv."),
    (r"^encoder\.levels\.(\d)\.res\.", r"encoder.down.\1.block."),
    (r"^decoder\.levels\.(\d)\.res\.", r"decoder.up.\1.block."),
    (r"^encoder\.levels\.", "encoder.down."),
    (r"^decoder\.levels\.", "decoder.up."),
    (r"^(..coder\.mid)\.0\.", r"\1.block_1."),
    (r"^(..coder\.mid)\.1\.", r"\1.attn_1."),
    (r"^(..coder\.mid)\.2\.", r"\1.block_2."),
    *ENDS,
]
IMPROVED: Rules = [
    (r"^decoder\.levels\.(\d)\.adapt\.", r"decoder.adaptive.\1."),
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.down.\1.downsample."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.up.\1.upsample.conv1."),
    (r"^encoder\.levels\.(\d)\.res\.", r"encoder.down.\1.block."),
    (r"^decoder\.levels\.(\d)\.res\.", r"decoder.up.\1.block."),
    (r"^(..coder)\.mid\.", r"\1.mid_block."),
    *ENDS,
]
LLAMAGEN: Rules = [
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.conv_blocks.\1.downsample.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.conv_blocks.\1.upsample.conv."),
    (r"^(..coder)\.levels\.", r"\1.conv_blocks."),
    *ENDS,
]
DIFFUSERS: Rules = [
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.down_blocks.\1.downsamplers.0.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.up_blocks.\1.upsamplers.0.conv."),
    (r"(attn\.\d|mid\.1)\.norm\.", r"\1.group_norm."),
    (r"(attn\.\d|mid\.1)\.([qkv])\.", r"\1.to_\2."),
    (r"(attn\.\d|mid\.1)\.out\.", r"\1.to_out.0."),
    (r"\.res\.", ".resnets."),
    (r"\.attn\.", ".attentions."),
    (r"^encoder\.levels\.", "encoder.down_blocks."),
    (r"^decoder\.levels\.", "decoder.up_blocks."),
    (r"^(..coder)\.mid\.0\.", r"\1.mid_block.resnets.0."),
    (r"^(..coder)\.mid\.1\.", r"\1.mid_block.attentions.0."),
    (r"^(..coder)\.mid\.2\.", r"\1.mid_block.resnets.1."),
    (r"\.skip\.", ".conv_shortcut."),
    (r"^(..coder)\.stem\.", r"\1.conv_in."),
    (r"^(..coder)\.norm\.", r"\1.conv_norm_out."),
    (r"^(..coder)\.head\.", r"\1.conv_out."),
]
TABLE: Rules = [(r"^quantizer\.codebook\.weight$", "quantize.embedding.weight")]
BRIDGE: Rules = [
    (r"^quantizer\.codebook\.base$", "quantize.embedding.weight"),
    (r"^quantizer\.codebook\.map\.0\.", "quantize.qbridge.linear."),
    (r"^quantizer\.codebook\.bridge\.", "quantize.qbridge."),
    (r"qbridge\.compress\.", "qbridge.x_embedder.proj."),
    (r"qbridge\.recover\.", "qbridge.final_layer.linear."),
    (r"qbridge\.modulation\.", "qbridge.final_layer.adaLN_modulation.1."),
    (r"(qbridge\.blocks\.\d)\.modulation\.", r"\1.adaLN_modulation.1."),
    (r"qbridge\.condition$", "qbridge.y_embedder.embedding_table.weight"),
    (r"(qbridge\.blocks\.\d)\.qkv\.", r"\1.attn.qkv."),
    (r"(qbridge\.blocks\.\d)\.out\.", r"\1.attn.proj."),
    (r"(qbridge\.blocks\.\d)\.(fc[12])\.", r"\1.mlp.\2."),
]
PROJECTOR: Rules = [
    (r"^quantizer\.codebook\.base$", "tok_embeddings.weight"),
    (r"^quantizer\.codebook\.weight$", "tok_embeddings.weight"),
    (r"^quantizer\.codebook\.map\.", "codebook_projection."),
]
LINEAR: Rules = [*PROJECTOR, (r"^codebook_projection\.0\.", "codebook_projection.")]
SIMVQ: Rules = [
    (r"^quantizer\.codebook\.base$", "quantize.embedding.weight"),
    (r"^quantizer\.codebook\.map\.0\.", "quantize.embedding_proj."),
]
GUMBEL: Rules = [
    (r"^quantizer\.codebook\.weight$", "quantize.embed.weight"),
    (r"^quantizer\.proj\.", "quantize.proj."),
]
VAR: Rules = [*TABLE, (r"^quantizer\.phi\.", "quantize.quant_resi.qresi_ls.")]


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


def also(**shapes: tuple[int, ...]) -> Callable[[State], State]:
    """Further keys; ``__`` stands for a dot."""
    return lambda state: state | {k.replace("__", "."): torch.ones(shape) for k, shape in shapes.items()}


def averaged(frozen: str = "") -> Callable[[State], State]:
    """Lightning's file: these weights as running averages, others beside them."""

    def change(state: State) -> State:
        raw = {key: x if key == frozen else torch.randn_like(x) for key, x in state.items()}
        raw["loss.discriminator.main.0.weight"] = torch.ones(2)
        shadows = {f"model_ema.{key.replace('.', '')}": x for key, x in state.items() if key != frozen}
        shadows["model_ema.lossdiscriminatormain0weight"] = torch.ones(2)
        return raw | shadows | {"model_ema.decay": torch.ones(()), "model_ema.num_updates": torch.ones(())}

    return change


def one_pixel(state: State) -> State:
    """The Gumbel projection as a convolution."""
    return state | {"quantize.proj.weight": state["quantize.proj.weight"][:, :, None, None]}


def linear_attention(state: State) -> State:
    """diffusers' attention: matrices, not convolutions."""
    names = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")
    return {key: x[:, :, 0, 0] if key.endswith(names) else x for key, x in state.items()}


SPELLED = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def names_of_2022(state: State) -> State:
    """As old files of diffusers spell attention."""
    out = {}
    for key, x in linear_attention(state).items():
        for new, old in SPELLED.items():
            key = key.replace(new, old)
        out[key] = x
    return out


def condition_rows(rows: int) -> Callable[[State], State]:
    """A table of conditions whose last row is that of no class, and the fixed positions."""

    def change(state: State) -> State:
        key = "quantize.qbridge.y_embedder.embedding_table.weight"
        table = torch.cat([torch.ones(rows - 1, len(state[key])), state[key][None]])
        return state | {key: table, "quantize.qbridge.pos_embed": torch.ones(1, 6, 16)}

    return change


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
        network(F4, (2,), res_blocks=3),
        learned(40, 8),
        [*TABLE, *TAMING],
        {"name": "index_propagation"},
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
