"""What a user tells of a published file. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Metric = Literal["l2", "cosine", "dot"]
"""How latents are compared with codes."""


@dataclass(frozen=True)
class ImportOptions:
    """What neither keys nor shapes tell; None for what was published."""

    metric: Metric | None = None
    size: tuple[int, int] | None = None
    """(height, width) of the images it was trained on, in pixels."""
    scales: tuple[int, ...] | None = None
    """Sides of a multi-scale tokenizer's squares of tokens."""
    scale: float | None = None
    """What generators see an autoencoder's latents multiplied by."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """``config.json`` that lies beside the file, if one does."""
    heads: int | None = None
    """Of a generator's attention."""
    classes: int | None = None
    """What a generator makes images of, where its vocabulary holds codes and classes."""
    tokenizer: Path | None = None
    """Folder of the tokenizer whose tokens a generator makes."""
    bring: bool = True
    """Whether the generator's folder gets a copy of that."""

    @property
    def given(self) -> set[str]:
        """Names of the options that were given and do not fit every layout."""
        names = ("metric", "scales", "scale", "heads", "classes", "tokenizer")
        return {name for name in names if getattr(self, name) is not None}
