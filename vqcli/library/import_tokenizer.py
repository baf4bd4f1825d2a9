"""A published checkpoint becomes a tokenizer of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vqcli import files
from vqcli.checkpoint.tokenizer import fingerprint, save_tokenizer
from vqcli.checkpoint.told import Row, layers, untold
from vqcli.config import parse
from vqcli.errors import VqcliError
from vqcli.importers.base import State
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter
from vqcli.library.aliases import ALIASES
from vqcli.nn.meta import allocate
from vqcli.registry import build, resolve
from vqcli.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class ImportedTokenizer:
    """The tokenizer that a file became."""

    kind: str
    out: Path
    layout: str
    """Name of the importer."""
    codebook_size: int
    width: int
    downsample: int
    image_size: tuple[int, int]
    fingerprint: str
    metric: str | None
    """How latents are compared with codes: l2, cosine or dot; None where the layout knows no such choice."""
    metric_assumed: bool
    """Whether neither the file nor the user told the metric; then it is as published with such sizes."""
    record: dict[str, Any]
    """``import.json``: the file's name and hash, where in it the weights were, the licence of its code."""

    def assumptions(self) -> dict[str, str]:
        """What neither the file nor the user told, by option."""
        found = {"metric": f"codes compared by {self.metric}"} if self.metric_assumed else {}
        if "scale" in self.record.get("assumed", ()):
            found["scale"] = f"latents times {self.record['scale']:g}"
        return found

    def rows(self) -> list[Row]:
        """What a table for people says of it, line by line."""
        size = "x".join(map(str, self.image_size))
        metric = ("metric", f"{self.metric}{untold('metric', self.assumptions())}")
        scale = ("scale", f"{self.record.get('scale')}{untold('scale', self.assumptions())}")
        codes, images = layers(self.codebook_size, self.width, size, self.downsample)
        return [
            codes,
            *([metric] if self.metric else []),
            *([scale] if self.record.get("scale") else []),
            images,
            ("fingerprint", self.fingerprint),
        ]


@dataclass(frozen=True)
class ConvertedTokenizer:
    """A tokenizer that is not written yet."""

    tokenizer: Tokenizer
    metric: str | None
    left_open: bool
    """Whether the layout leaves the metric open, and the user too."""
    scale: float | None = None
    """What an autoencoder's latents are multiplied by."""
    scale_assumed: bool = False
    """Whether neither the file nor the user told that."""

    def facts(self, digest: str) -> dict[str, Any]:
        """What ``import.json`` tells of it: a known file's metric is known."""
        known = any(each.sha256 == digest for each in ALIASES.values())
        facts: dict[str, Any] = {"metric": self.metric, "metric_assumed": self.left_open and not known}
        if self.scale is not None:
            facts |= {"scale": self.scale, "assumed": ["scale"] if self.scale_assumed and not known else []}
        return facts

    def save(self, folder: Path, note: str) -> None:
        """Write it into an empty folder."""
        save_tokenizer(self.tokenizer, folder, note=note)

    def result(self, out: Path, record: dict[str, Any]) -> ImportedTokenizer:
        """What it became."""
        spec = self.tokenizer.spec
        assert spec.image_size
        return ImportedTokenizer(
            "tokenizer",
            out,
            record["layout"],
            spec.codebook_size,
            spec.width,
            spec.downsample,
            spec.image_size,
            spec.fingerprint,
            record["metric"],
            record["metric_assumed"],
            record,
        )


def from_file(
    importer: TokenizerImporter, state: State, options: ImportOptions, path: Path
) -> ConvertedTokenizer:
    """The tokenizer of a file with these weights. Raises VqcliError if it does not fit."""
    settings = settings_beside(path) if importer.SETTINGS else {}
    tokenizer = convert_tokenizer(importer, state, options, settings)
    quantizer = tokenizer.quantizer
    metric = "dot" if quantizer.name == "index_propagation" else getattr(quantizer.config, "metric", None)
    left_open = "metric" in importer.OPTIONS and options.metric is None
    told = options.scale is not None or settings.get("scaling_factor") is not None
    scale = getattr(quantizer.config, "scale", None)
    return ConvertedTokenizer(tokenizer, metric, left_open, scale, scale is not None and not told)


def convert_tokenizer(
    importer: TokenizerImporter, state: State, options: ImportOptions, settings: dict[str, Any]
) -> Tokenizer:
    """A checkpoint's tokenizer, not baked, with its fingerprint. Raises VqcliError if it does not fit."""
    config, weights = importer.convert(state, replace(options, settings=settings))
    try:
        parsed = parse(resolve("tokenizers", config["name"]).Config, config, "its sizes make no tokenizer")
        with torch.device("meta"):
            tokenizer: Tokenizer = build("tokenizers", parsed)
    except VqcliError as e:
        hint = "sizes are read from shapes, and scales are those of --scales"
        raise VqcliError(str(e), hint=hint, reason="layout") from e
    tokenizer.image_size = options.size or importer.image_size(config)
    try:
        tokenizer.grid(*tokenizer.image_size)
    except ValueError as e:
        raise VqcliError(str(e), hint="give another --size (or --scales)", reason="size") from e
    importer.check_fit(weights, tokenizer.state_dict())
    allocate(tokenizer)
    tokenizer.load_state_dict(weights)
    tokenizer.fingerprint = fingerprint(tokenizer)
    return tokenizer.eval()


def settings_beside(path: Path) -> dict[str, Any]:
    """``config.json`` that lies beside a file, as diffusers' models have it; empty if there is none."""
    beside = path.with_name("config.json")
    found = files.read_json(beside) if files.is_file(beside) else {}
    return found if isinstance(found, dict) else {}
