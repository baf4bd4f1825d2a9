"""What a tokenizer's folder tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.checkpoint.contents import count_numbers
from vqcli.checkpoint.folder import check_part, read_config
from vqcli.checkpoint.told import Row, layers, plugins, quantizer, weights
from vqcli.metrics.usage.record import UsageRecord
from vqcli.registry import TokenizerConfig

TOLD = ("kind", "codebook_size", "width", "downsample", "image_size", "fingerprint", "tokenizer")
"""Keys of a tokenizer's ``config.json`` that are told as they are."""


@dataclass(frozen=True)
class TokenizerInfo:
    """A tokenizer's folder in numbers."""

    folder: Path
    kind: str
    codebook_size: int
    width: int
    downsample: int
    image_size: list[int] | None
    parameters: int
    """Of all weight files, codes included."""
    bytes: int
    fingerprint: str
    tokenizer: dict[str, Any]
    """Its full configuration."""
    usage: UsageRecord | None
    """What was measured of it."""
    plugins: dict[str, list[str]] = field(default_factory=dict)
    """Plugins that it needs: module -> parts."""

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""
        size = "x".join(map(str, self.image_size)) if self.image_size else "any"
        return [
            ("folder", self.folder),
            ("kind", f"{self.kind}, {quantizer(self.tokenizer['quantizer'])}"),
            *layers(self.codebook_size, self.width, size, self.downsample),
            ("weights", weights(self.parameters, self.bytes)),
            ("fingerprint", self.fingerprint or "none yet: a training checkpoint"),
            *([("utilization", _stored(self.usage))] if self.codebook_size else []),
            *plugins(self.plugins),
        ]


def _stored(usage: UsageRecord | None) -> str:
    if usage is None:
        return "never measured"
    return f"{usage.utilization:.2%} over {usage.tokens:,} tokens of {usage.images}"


def describe_tokenizer(folder: Path, _reference: str) -> TokenizerInfo:
    """What a folder says of its tokenizer; nothing is loaded. Raises VqcliError, KeyError."""
    config = read_config(folder)
    if not files.verify_listed(folder / "config.json"):  # what vqcli wrote is not checked: that takes torch
        check_part(TokenizerConfig, config, "tokenizer", folder)
    names = ("model.safetensors", "codebook.safetensors")
    there = [folder / name for name in names if files.is_file(folder / name)]
    return TokenizerInfo(
        folder=folder,
        parameters=sum(map(count_numbers, there)),
        bytes=sum(path.stat().st_size for path in there),
        usage=UsageRecord.read(folder),
        plugins=config.get("plugins", {}),
        **{name: config[name] for name in TOLD},
    )
