"""A published checkpoint becomes a generator of ours, with the tokenizer whose tokens it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vqcli import files
from vqcli.checkpoint.contents import copy_tokenizer
from vqcli.checkpoint.folder import TOKENIZER, read_config
from vqcli.checkpoint.generator import save_generator
from vqcli.checkpoint.tokenizer import build_tokenizer
from vqcli.checkpoint.told import NO_TOKENIZER, Row, layout, network, sampling, untold
from vqcli.config import parse
from vqcli.data.classes import imagenet
from vqcli.errors import VqcliError
from vqcli.generators.base import Generator
from vqcli.importers.base import State
from vqcli.importers.generator import GeneratorImporter
from vqcli.importers.options import ImportOptions
from vqcli.library.import_tokenizer import convert_tokenizer
from vqcli.nn.meta import allocate
from vqcli.registry import build, resolve
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Grid, TokenizerSpec, grid_length

DOWNSAMPLE, SIDE = 16, 256
"""Pixels a token stands for, and those of images, a side: as published, where no tokenizer tells."""


@dataclass(frozen=True)
class ImportedGenerator:
    """The generator that a file became."""

    kind: str
    out: Path
    layout: str
    """Name of the importer."""
    parameters: int
    classes: int
    codebook_size: int
    image_size: tuple[int, int]
    grid: Grid
    fingerprint: str
    """Of the tokenizer whose tokens it makes; empty where nobody told which that is."""
    tokenizer: Path | None
    """A copy of that, in its folder."""
    generator: dict[str, Any]
    """Its full configuration."""
    assumed: list[str]
    """Options that neither the file nor the user told; then they are as published."""
    record: dict[str, Any]
    """``import.json``: the file's name and hash, where in it the weights were, the licence of its code."""

    def assumptions(self) -> dict[str, str]:
        """What neither the file nor the user told, by option."""
        height, width = self.image_size
        told = {
            "size": f"images of {height}x{width} pixels",
            "heads": f"{self.generator['heads']} heads",
            "classes": f"{self.classes:,} classes",
        }
        return {option: told[option] for option in self.assumed}

    def rows(self) -> list[Row]:
        """What a table for people says of it, line by line."""
        made = layout(self.image_size, self.grid, self.codebook_size)
        return [
            ("network", f"{network(self.generator)}{untold('heads', self.assumed)}"),
            ("parameters", f"{self.parameters:,}"),
            ("classes", f"{self.classes:,}{untold('classes', self.assumed)}"),
            ("images", f"{made}{untold('size', self.assumed)}"),
            ("tokenizer", self.tokenizer or NO_TOKENIZER),
            ("sampling", sampling(self.generator)),
        ]


@dataclass(frozen=True)
class ConvertedGenerator:
    """A generator that is not written yet."""

    generator: Generator
    own: Tokenizer | None
    """The tokenizer that was in the file."""
    named: Path | None
    """The folder of the tokenizer that was named, where a copy of it is wanted."""
    assumed: list[str]

    def facts(self, digest: str) -> dict[str, Any]:
        """What ``import.json`` tells of it."""
        return {"assumed": self.assumed}

    def save(self, folder: Path, note: str) -> None:
        """Write it into an empty folder."""
        names = [each.name for each in imagenet()]
        classes = names if self.generator.config.classes == len(names) else ()
        save_generator(self.generator, folder, self.own, classes=classes, note=note)
        if self.named:
            copy_tokenizer(self.named, folder)

    def result(self, out: Path, record: dict[str, Any]) -> ImportedGenerator:
        """What it became."""
        generator, spec = self.generator, self.generator.spec
        assert spec.image_size
        return ImportedGenerator(
            "generator",
            out,
            record["layout"],
            sum(p.numel() for p in generator.parameters()),
            generator.config.classes,
            spec.codebook_size,
            spec.image_size,
            generator.grid,
            spec.fingerprint,
            out / TOKENIZER if self.own or self.named else None,
            generator.config.model_dump(mode="json"),
            self.assumed,
            record,
        )


def from_file(
    importer: GeneratorImporter, state: State, options: ImportOptions, _path: Path
) -> ConvertedGenerator:
    """The generator of a file with these weights, and its tokenizer. Raises VqcliError if they do not fit."""
    inside = {key: x for key, x in state.items() if importer.INSIDE and key.startswith(importer.INSIDE)}
    weights = importer.weights({key: x for key, x in state.items() if key not in inside}, options)
    if inside and options.tokenizer:
        raise VqcliError("its tokenizer lies in the file", hint="leave --tokenizer out", reason="option")
    own = own_tokenizer(importer, inside) if inside else None
    named = options.tokenizer
    tokenizer = own or (named_tokenizer(named) if named else None)
    spec = token_spec(importer, weights, options, tokenizer)
    if own:
        own.image_size = spec.image_size
    config = importer.convert(weights, options, spec)
    told = {
        "size": options.size or importer.length(weights),
        "heads": options.heads or importer.heads(weights) or sizes_of(config) in importer.HEADS,
        "classes": options.classes or tokenizer or "classes" not in importer.OPTIONS,
    }
    generator = build_generator(importer, config, spec, weights)
    assumed = [option for option, value in told.items() if not value]
    return ConvertedGenerator(generator, own, named if options.bring else None, assumed)


def sizes_of(config: dict[str, Any]) -> tuple[int, int]:
    """Layers and width."""
    return config["layers"], config["width"]


def own_tokenizer(importer: GeneratorImporter, inside: State) -> Tokenizer:
    """The tokenizer in a generator's file, not baked. Raises VqcliError if it does not fit."""
    state = {key.removeprefix(importer.INSIDE): tensor for key, tensor in inside.items()}
    try:
        return convert_tokenizer(resolve("importers", importer.TOKENIZER)(), state, ImportOptions(), {})
    except VqcliError as e:
        raise VqcliError(f"its tokenizer: {e}", hint=e.hint, reason=e.reason) from e


def named_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, without weights. Raises VqcliError if it is none, or not exported."""
    config = read_config(folder)
    if files.exists(folder / "state.json"):
        hint = "give the run's exported model"
        raise VqcliError(f"{folder} is a training checkpoint", hint=hint, reason="wrong-kind")
    return build_tokenizer(config, folder)


def token_spec(
    importer: GeneratorImporter, weights: State, options: ImportOptions, tokenizer: Tokenizer | None
) -> TokenizerSpec:
    """What a generator knows of its tokenizer, for images of its size. Raises VqcliError if they disagree."""
    known = tokenizer.spec if tokenizer else None
    codes = importer.codes(weights, options, known.codebook_size if known else None)
    spec = known or TokenizerSpec(codes, importer.code_width(weights), DOWNSAMPLE, (SIDE, SIDE))
    if codes != spec.codebook_size:
        message = f"it makes tokens of {codes:,} codes, its tokenizer has {spec.codebook_size:,}"
        hint = "give the tokenizer that it was trained with"
        raise VqcliError(message, hint=hint, reason="tokenizer")
    length, side = importer.length(weights), (importer.side(weights) or 0) * spec.downsample
    height, width = options.size or ((side, side) if side else spec.image_size) or (SIDE, SIDE)
    try:
        grid = tokenizer.grid(height, width) if tokenizer else usual_grid(importer, height, width)
        if length not in (None, grid_length(grid)):
            there = f"{height}x{width} pixels are {grid_length(grid)}"
            raise ValueError(f"it makes {length} tokens an image, {there}")
    except ValueError as e:
        raise VqcliError(str(e), hint="give another --size", reason="size") from e
    return replace(spec, image_size=(height, width), grid=grid)


def usual_grid(importer: GeneratorImporter, height: int, width: int) -> Grid:
    """Tokens of an image of this many pixels, as published. Raises ValueError if its sides do not divide."""
    if height % DOWNSAMPLE or width % DOWNSAMPLE:
        raise ValueError(f"image sides must be multiples of {DOWNSAMPLE}, not {height} x {width}")
    return importer.grid(height // DOWNSAMPLE, width // DOWNSAMPLE)


def build_generator(
    importer: GeneratorImporter, config: dict[str, Any], spec: TokenizerSpec, weights: State
) -> Generator:
    """A generator with these weights. Raises VqcliError if they do not fit its sizes."""
    try:
        parsed = parse(resolve("generators", config["name"]).Config, config, "its sizes make no generator")
    except VqcliError as e:
        raise VqcliError(str(e), hint="sizes are read from shapes, heads are --heads", reason="layout") from e
    with torch.device("meta"):
        generator: Generator = build("generators", parsed, spec)
    importer.check_fit(weights, generator.state_dict())
    allocate(generator)
    generator.load_state_dict(weights)
    return generator.eval()
