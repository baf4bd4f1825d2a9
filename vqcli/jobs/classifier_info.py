"""What a classifier's folder tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from vqcli import files
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.contents import count_numbers
from vqcli.checkpoint.folder import TOKENIZER, check_part, read_config
from vqcli.checkpoint.told import SHOWN, Row, layout, network, plugins, weights
from vqcli.data.classes import readable
from vqcli.registry import ClassifierConfig
from vqcli.types import Grid, TokenizerSpec

NO_TOKENIZER = "not here: vqcli classify will need --tokenizer"
"""What is told of a classifier that is without its tokenizer."""


@dataclass(frozen=True)
class ClassifierInfo:
    """A classifier's folder in numbers."""

    folder: Path
    kind: str
    parameters: int
    bytes: int
    """Of its weights; its tokenizer has its own."""
    classes: int
    class_names: list[str]
    """Of all classes, in the order of their numbers; empty where nobody told them."""
    codebook_size: int
    """Of its tokenizer."""
    image_size: tuple[int, int] | None
    grid: Grid
    """Tokens of an image, coarse to fine."""
    fingerprint: str
    """Of the tokenizer; empty where nobody told which it is."""
    tokenizer: str | None
    """Its folder; None where it is not here."""
    classifier: dict[str, Any]
    """Its full configuration."""
    plugins: dict[str, list[str]] = field(default_factory=dict)
    """Plugins that it needs: module -> parts."""

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""
        some = ", ".join(self.class_names[:SHOWN])
        more = f" and {self.classes - SHOWN:,} more" if self.classes > SHOWN else ""
        named = f": {some}{more}" if self.class_names else ", without names"
        known = f"{self.fingerprint} (of the tokenizer)" if self.fingerprint else "not told"
        return [
            ("folder", self.folder),
            ("kind", f"{self.kind}, {network(self.classifier)}"),
            ("classes", f"{self.classes:,}{named}"),
            ("images", layout(self.image_size, self.grid, self.codebook_size)),
            ("weights", weights(self.parameters, self.bytes)),
            ("tokenizer", self.tokenizer or NO_TOKENIZER),
            ("fingerprint", known),
            *plugins(self.plugins),
        ]

    def listing(self) -> list[Row]:
        """Every class by number."""
        return list(enumerate(self.class_names))  # type: ignore[arg-type]


def describe_classifier(folder: Path, reference: str) -> ClassifierInfo:
    """What a folder says of its classifier; nothing is loaded. Raises VqcliError, KeyError."""
    config, path = read_config(folder, "classifier"), folder / "model.safetensors"
    classifier, spec = config["classifier"], TypeAdapter(TokenizerSpec).validate_python(config["tokenizer"])
    if not files.verify_listed(folder / "config.json"):  # what vqcli wrote is not checked: that takes torch
        check_part(ClassifierConfig, config, "classifier", folder)
    inside = folder / TOKENIZER
    return ClassifierInfo(
        folder=folder,
        kind="classifier",
        parameters=count_numbers(path),
        bytes=path.stat().st_size,
        classes=classifier["classes"],
        class_names=readable(read_classes(folder))[: classifier["classes"]],
        codebook_size=spec.codebook_size,
        image_size=spec.image_size,
        grid=spec.grid or (),
        fingerprint=spec.fingerprint,
        tokenizer=str(inside) if files.is_folder(inside) else None,
        classifier=classifier,
        plugins=config.get("plugins", {}),
    )
