"""What a generator's folder tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from vqcli import files
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.contents import count_numbers
from vqcli.checkpoint.folder import TOKENIZER, check_part, read_config
from vqcli.checkpoint.told import NO_TOKENIZER, SHOWN, Row, layout, network, plugins, sampling, weights
from vqcli.data.classes import readable
from vqcli.errors import VqcliError
from vqcli.library.references import published
from vqcli.registry import GeneratorConfig, resolve
from vqcli.types import Grid, TokenizerSpec


@dataclass(frozen=True)
class GeneratorInfo:
    """A generator's folder in numbers."""

    folder: Path
    kind: str
    parameters: int
    bytes: int
    """Of its weights; its tokenizer has its own."""
    classes: int
    named: bool
    """Whether its classes have names."""
    class_names: list[str]
    """Of all classes, in the order of their numbers; empty where nobody told them."""
    codebook_size: int
    """Of its tokenizer; 0 of one without a codebook."""
    image_size: tuple[int, int] | None
    grid: Grid
    """Tokens of an image, coarse to fine, or sides of its latents."""
    fingerprint: str
    """Of the tokenizer; empty where nobody told which it is."""
    tokenizer: str | None
    """Where that is: a folder, or a short name; None where nobody tells."""
    generator: dict[str, Any]
    """Its full configuration, defaults of sampling too."""
    makes: str | None = None
    """``tokens`` or ``latents``; None where an older version wrote the folder."""
    plugins: dict[str, list[str]] = field(default_factory=dict)
    """Plugins that it needs: module -> parts."""

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""
        some = ", ".join(self.class_names[:SHOWN])
        more = f" and {self.classes - SHOWN:,} more" if self.classes > SHOWN else ""
        named = f": {some}{more}" if self.named else ", without names"
        known = f"{self.fingerprint} (of the tokenizer)" if self.fingerprint else "not told"
        return [
            ("folder", self.folder),
            ("kind", f"{self.kind}, {network(self.generator)}"),
            ("classes", f"{self.classes:,}{named}"),
            ("images", layout(self.image_size, self.grid, self.codebook_size if self._of_tokens() else None)),
            ("weights", weights(self.parameters, self.bytes)),
            ("tokenizer", self.tokenizer or NO_TOKENIZER),
            ("fingerprint", known),
            ("sampling", sampling(self.generator)),
            *plugins(self.plugins),
        ]

    def listing(self) -> list[Row]:
        """Every class by number."""
        return list(enumerate(self.class_names))  # type: ignore[arg-type]

    def _of_tokens(self) -> bool:
        """Whether it makes tokens, not latents; where no ``config.json`` tells it and its plugin is not here,
        the folder's numbers do.
        """
        if self.makes:
            return self.makes == "tokens"
        try:
            return bool(resolve("generators", self.generator["name"]).makes == "tokens")
        except VqcliError:  # training stored how latents are standardized
            return not read_config(self.folder, "generator")["tokenizer"].get("latents")


def describe_generator(folder: Path, reference: str) -> GeneratorInfo:
    """What a folder says of its generator; nothing is loaded. Raises VqcliError, KeyError."""
    config, path = read_config(folder, "generator"), folder / "model.safetensors"
    generator, spec = config["generator"], TypeAdapter(TokenizerSpec).validate_python(config["tokenizer"])
    if not files.verify_listed(folder / "config.json"):  # what vqcli wrote is not checked: that takes torch
        check_part(GeneratorConfig, config, "generator", folder)
    names = readable(read_classes(folder))[: generator["classes"]]
    inside, source = folder / TOKENIZER, published(reference)
    return GeneratorInfo(
        folder=folder,
        kind="generator",
        parameters=count_numbers(path),
        bytes=path.stat().st_size,
        classes=generator["classes"],
        named=bool(names),
        class_names=names,
        codebook_size=spec.codebook_size,
        image_size=spec.image_size,
        grid=spec.grid or (),
        fingerprint=spec.fingerprint,
        tokenizer=str(inside) if files.is_folder(inside) else (source.tokenizer if source else "") or None,
        generator=generator,
        makes=config.get("makes"),
        plugins=config.get("plugins", {}),
    )
