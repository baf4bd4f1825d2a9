"""Tiny untrained models on disk, for tests of what works with models."""

from pathlib import Path

import torch

from vqcli.checkpoint.classifier import save_classifier
from vqcli.checkpoint.generator import save_generator
from vqcli.checkpoint.tokenizer import load_tokenizer, read_tokenizer_outline, save_tokenizer
from vqcli.classifiers.vit import Vit
from vqcli.generators.gpt import Gpt
from vqcli.generators.gpt_lc import GptLc
from vqcli.metrics.usage.record import UsageRecord
from vqcli.tokenizers.conv import ConvTokenizer


def make_model(
    folder: Path,
    *,
    codes: int = 16,
    side: int | None = 8,
    seed: int = 0,
    usage: dict | None = None,
    quantizer: dict | None = None,
) -> Path:
    """A model folder: 2x2 pixels a token, so (4, 4) tokens an image where ``side`` is 8."""
    torch.manual_seed(seed)
    codebook = {"name": "learned", "size": codes, "width": 4, "init": "normal"}
    network = {"network": "tiny", "multipliers": (1, 1), "attention_levels": ()}
    config = ConvTokenizer.Config(**network, codebook=codebook, quantizer=quantizer or {"name": "nearest"})
    tokenizer = ConvTokenizer(config)
    tokenizer.image_size = (side, side) if side else None
    folder.mkdir(parents=True)
    save_tokenizer(tokenizer, folder, usage=UsageRecord.from_json(usage) if usage else None)
    return folder


def make_autoencoder(folder: Path, **quantizer) -> Path:
    """A model folder without a codebook: 4x4 latents of width 4 of an image."""
    torch.manual_seed(0)
    network = {"network": "tiny", "multipliers": (1, 1), "attention_levels": ()}
    parts = {"codebook": {"name": "none", "width": 4}, "quantizer": {"name": "none"} | quantizer}
    tokenizer = ConvTokenizer(ConvTokenizer.Config(**network, **parts))
    tokenizer.image_size = (8, 8)
    folder.mkdir(parents=True)
    save_tokenizer(tokenizer, folder)
    return folder


def make_generator(
    folder: Path,
    tokenizer: Path,
    *,
    kind: type[Gpt] | type[GptLc] = Gpt,
    copied: bool = True,
    names: tuple[str, ...] = ("tabby cat", "tiger cat", "Red Panda!", "owl"),
    **options,
) -> Path:
    """A generator's folder: four classes, and noise in every weight so that tokens vary."""
    torch.manual_seed(0)
    generator = kind(kind.Config(**kind.TINY | options), read_tokenizer_outline(tokenizer).spec)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    folder.mkdir(parents=True)
    save_generator(generator, folder, load_tokenizer(tokenizer) if copied else None, classes=names)
    return folder


def make_classifier(
    folder: Path,
    tokenizer: Path,
    *,
    copied: bool = True,
    names: tuple[str, ...] = ("tabby cat", "tiger cat", "Red Panda!", "owl"),
    **options,
) -> Path:
    """A classifier's folder: four classes unless ``names`` are others, and noise in every weight."""
    torch.manual_seed(0)
    config = Vit.Config(**Vit.TINY | {"classes": len(names)} | options)
    classifier = Vit(config, read_tokenizer_outline(tokenizer).spec)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    folder.mkdir(parents=True)
    save_classifier(classifier, folder, load_tokenizer(tokenizer) if copied else None, classes=names)
    return folder
