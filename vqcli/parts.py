"""Names of parts: ``"name": "module:Class"``. A new part is one file and one line here.

Nothing that was downloaded chooses what Python imports: a checkpoint can only name what stands in this table.
Plugins that a user allowed add theirs to it: ``vqcli.plugins``.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

BASES = {
    "codebooks": "vqcli.codebooks.base:Codebook",
    "quantizers": "vqcli.quantizers.base:Quantizer",
    "tokenizers": "vqcli.tokenizers.base:Tokenizer",
    "generators": "vqcli.generators.base:Generator",
    "classifiers": "vqcli.classifiers.base:Classifier",
    "losses": "vqcli.losses.base:ImageLoss",
    "discriminators": "vqcli.discriminators.base:Discriminator",
    "features": "vqcli.features.base:Features",
    "metrics": "vqcli.metrics.base:Metric",
    "sources": "vqcli.data.images.base:Source",
    "tasks": "vqcli.training.task:Task",
    "importers": "vqcli.importers.base:Importer",
}
"""The class that all parts of a kind are of."""

PARTS: dict[str, dict[str, str]] = {
    "codebooks": {
        "learned": "vqcli.codebooks.learned:LearnedCodebook",
        "ema": "vqcli.codebooks.ema:EmaCodebook",
        "projected": "vqcli.codebooks.projected:ProjectedCodebook",
        "bridged": "vqcli.codebooks.bridged:BridgedCodebook",
        "sign": "vqcli.codebooks.sign:SignCodebook",
        "levels": "vqcli.codebooks.levels:LevelsCodebook",
        "none": "vqcli.codebooks.none:NoCodebook",
    },
    "quantizers": {
        "nearest": "vqcli.quantizers.nearest:NearestQuantizer",
        "residual": "vqcli.quantizers.residual:ResidualQuantizer",
        "multiscale": "vqcli.quantizers.multiscale:MultiscaleQuantizer",
        "index_propagation": "vqcli.quantizers.index_propagation:IndexPropagationQuantizer",
        "gumbel": "vqcli.quantizers.gumbel:GumbelQuantizer",
        "none": "vqcli.quantizers.none:NoQuantizer",
    },
    "tokenizers": {
        "conv": "vqcli.tokenizers.conv:ConvTokenizer",
        "improved": "vqcli.tokenizers.improved:ImprovedTokenizer",
        "patch": "vqcli.tokenizers.patch:PatchTokenizer",
    },
    "generators": {
        "gpt": "vqcli.generators.gpt:Gpt",
        "gpt_lc": "vqcli.generators.gpt_lc:GptLc",
        "var": "vqcli.generators.var:Var",
    },
    "classifiers": {
        "vit": "vqcli.classifiers.vit:Vit",
    },
    "losses": {
        "l1": "vqcli.losses.pixel:L1Loss",
        "l2": "vqcli.losses.pixel:L2Loss",
        "perceptual": "vqcli.losses.perceptual:PerceptualLoss",
    },
    "discriminators": {
        "patchgan": "vqcli.discriminators.patchgan:PatchGan",
        "stylegan": "vqcli.discriminators.stylegan:StyleGan",
    },
    "features": {
        "pixels": "vqcli.features.pixels:PixelFeatures",
        "vision": "vqcli.features.vision:VisionFeatures",
    },
    "metrics": {
        "psnr": "vqcli.metrics.psnr:Psnr",
        "ssim": "vqcli.metrics.ssim:Ssim",
        "lpips": "vqcli.metrics.lpips:LpipsDistance",
        "usage": "vqcli.metrics.code_usage:CodeUsage",
        "fid": "vqcli.metrics.frechet:Fid",
        "sfid": "vqcli.metrics.frechet:SpatialFid",
        "inception_score": "vqcli.metrics.inception_score:InceptionScore",
        "kid": "vqcli.metrics.kernel_distance:KernelDistance",
        "precision_recall": "vqcli.metrics.precision_recall:PrecisionRecall",
        "accuracy": "vqcli.metrics.accuracy:Accuracy",
    },
    "sources": {
        "folder": "vqcli.data.images.folder:FolderSource",
        "list": "vqcli.data.images.files:ListSource",
        "parquet": "vqcli.data.images.parquet:ParquetSource",
        "tar": "vqcli.data.images.tar:TarSource",
        "npz": "vqcli.data.images.npz:NpzSource",
        "demo": "vqcli.data.images.demo:DemoSource",
    },
    "tasks": {
        "tokenizer": "vqcli.training.tokenizer:TokenizerTask",
        "generator": "vqcli.training.generator:GeneratorTask",
        "classifier": "vqcli.training.classifier:ClassifierTask",
    },
    "importers": {
        "llamagen": "vqcli.importers.llamagen:LlamaGenImporter",
        "fvq": "vqcli.importers.fvq:FvqImporter",
        "taming": "vqcli.importers.taming:TamingImporter",
        "gumbel": "vqcli.importers.gumbel:GumbelImporter",
        "vqgan_lc": "vqcli.importers.vqgan_lc:VqganLcImporter",
        "ibq": "vqcli.importers.ibq:IbqImporter",
        "open_magvit2": "vqcli.importers.open_magvit2:OpenMagvit2Importer",
        "simvq": "vqcli.importers.simvq:SimVqImporter",
        "var": "vqcli.importers.var:VarImporter",
        "diffusers": "vqcli.importers.diffusers:DiffusersImporter",
        "diffusers_kl": "vqcli.importers.autoencoder_kl:DiffusersKlImporter",
        "compvis_kl": "vqcli.importers.autoencoder_kl:CompvisKlImporter",
        "llamagen_gpt": "vqcli.importers.llamagen_gpt:LlamaGenGptImporter",
        "gpt_lc": "vqcli.importers.gpt_lc:GptLcImporter",
        "var_generator": "vqcli.importers.var_generator:VarGeneratorImporter",
    },
}


def attribute(target: str) -> Any:
    """What ``"module:attribute"`` names; the module is imported now."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def singular(kind: str) -> str:
    """The word for one part of a kind."""
    return {"losses": "loss"}.get(kind, kind.removesuffix("s"))


def plugin_of(kind: str, name: str) -> str:
    """The module of the plugin that a part is from; empty for one of ours."""
    module = PARTS[kind][name].partition(":")[0]
    return "" if module.startswith("vqcli.") else module


def describe(kind: str) -> dict[str, str]:
    """First docstring line of every part of a kind, read from the source: nothing is imported."""
    return {name: _first_line(target) for name, target in PARTS[kind].items()}


def _first_line(target: str) -> str:
    module, part = target.split(":")
    if not module.startswith("vqcli."):  # a plugin's, which is imported already
        return (attribute(target).__doc__ or "").strip().partition("\n")[0]
    path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    found = re.search(rf'^class {part}\b[^"]*"""(.*)', path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].removesuffix('"""') if found else ""
