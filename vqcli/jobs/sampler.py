"""Classes in, what a generator makes of them out: what every way of generating shares.

Shape letters: B images of a batch.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcli import files
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.config import PartConfig, parse
from vqcli.data.classes import find_classes, readable
from vqcli.errors import VqcliError
from vqcli.generators.base import Generator, image_stream
from vqcli.jobs.devices import working_device
from vqcli.jobs.options import GenerateOptions
from vqcli.library.open import generator_tokenizer, open_generator
from vqcli.library.references import check_named
from vqcli.nn.precision import DECODED, autocast, finite
from vqcli.tokenizers.base import Tokenizer
from vqcli.tokenizers.sizes import decodable
from vqcli.types import Made, Progress, silent

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LONGEST = 40
"""Characters of a class's name in the name of a file."""
IMAGE = re.compile(r"(\d+)(?:-\w+)?-s(\d+)-(\d{5,})\.png")
"""Names of generated images: class, seed, index."""


@dataclass(frozen=True)
class Picture:
    """One image: number ``index`` of a class."""

    label: int
    index: int


@dataclass(frozen=True)
class Opened:
    """Networks on their device."""

    generator: Generator
    folder: Path
    """Of the generator."""
    tokenizer: Tokenizer | None = None
    """Known to fit, where it is open."""


class Sampler:
    """A generator with the images that are asked of it, and with what decodes them where that is wanted."""

    tokenizer: Tokenizer
    """Set by ``add_tokenizer``."""
    decoder: Path | None = None
    """Its folder, where it was opened here."""

    def __init__(
        self,
        options: GenerateOptions,
        rank: int = 0,
        progress: Progress = silent,
        opened: Opened | None = None,
    ) -> None:
        """``opened`` is what ``options`` name, where that is open already."""
        self.options, self.device = options, working_device(options.device, rank)
        if options.tokenizer:
            check_named(options.tokenizer)  # before a generator is fetched
        opened = opened or Opened(*open_generator(options.model, self.device, progress))
        self.generator, self.folder = opened.generator, opened.folder
        self.sampling = check_sampling(self.generator, options.sampling)
        self.generator.to(FORMATS[options.precision])
        if opened.tokenizer:
            self.tokenizer = opened.tokenizer
        if self.generator.NEEDS:
            if not opened.tokenizer:
                self.add_tokenizer(progress)
            self.generator.attach(self.tokenizer)
        if options.compile:
            self.generator.compile_step()
        self.classes = read_classes(self.folder)
        count = self.generator.config.classes
        meant = [find_classes(text, self.classes[:count], count) for text in options.classes]
        self.labels = list(dict.fromkeys(label for each in meant for label in each.numbers))
        for remark in filter(None, (each.remark for each in meant)):
            progress.say(remark)
        self.names = dict(enumerate(readable(self.classes)[:count]))
        self.digits = len(str(count - 1))
        self.effort = self.generator.effort(self.sampling)
        """Units of work of an image, such as tokens."""
        self.pictures = [Picture(label, i) for i in range(options.count) for label in self.labels]
        """In the order of work: one of every class, then the next; evaluators split what they are given."""
        self.rows = min(options.batch_size, len(self.pictures))

    @property
    def asked(self) -> dict[int, str]:
        """Number and name of every class that was meant."""
        return {label: self.names.get(label, "") for label in self.labels}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides a picture, but for what decodes it, as JSON values."""
        options = self.options
        own = {"model": weights_hash(self.folder), "precision": options.precision, "seed": options.seed}
        return own | self.sampling.model_dump(mode="json")

    def key(self, picture: Picture) -> str:
        """Name of a picture's tokens: ``207/s0/00003``."""
        return f"{picture.label:0{self.digits}d}/s{self.options.seed}/{picture.index:05d}"

    def file(self, picture: Picture) -> str:
        """Name of a picture: ``207-golden_retriever-s0-00003.png``, harmless whatever a class is called."""
        label, seed, index = self.key(picture).split("/")
        name = re.sub(r"\W+", "_", self.names.get(picture.label, "")).strip("_")[:LONGEST]
        return "-".join(filter(None, [label, name, seed, f"{index}.png"]))

    def work(self, pictures: int) -> int:
        """Units of work that are done for this many pictures."""
        return -(-pictures // self.rows) * self.rows * self.effort

    def batches(
        self, pictures: Sequence[Picture], progress: Progress = silent
    ) -> Iterator[tuple[Sequence[Picture], Made]]:
        """Pictures and what was made, which may have further rows; ``progress`` advances by ``work``.

        All batches of a job are filled up to one size: a matrix product rounds by its shape, which at times
        picks another token, and pictures must not depend on which others are still to be made.
        """
        for start in range(0, len(pictures), self.rows):
            some = pictures[start : start + self.rows]
            full = [*some] + [some[0]] * (self.rows - len(some))
            labels = torch.tensor([picture.label for picture in full], device=self.device)
            streams = [image_stream(self.options.seed, picture.label, picture.index) for picture in full]
            yield some, self.generator.sample(labels, streams, self.sampling, progress)

    def add_tokenizer(self, progress: Progress = silent) -> Path:
        """Open what decodes what is made; its folder. Raises VqcliError where there is none that fits."""
        if self.decoder:
            return self.decoder
        options = self.options
        folder = generator_tokenizer(self.folder, options.model, options.tokenizer, progress)
        if folder is None:
            hint = "name it with --tokenizer MODEL, or keep the tokens: --tokens-only -o tokens.npy"
            raise VqcliError(f"{self.folder} comes without its tokenizer", hint=hint, reason="input-missing")
        self.tokenizer = load_tokenizer(folder, self.device)
        check_pair(self, folder)
        self.decoder = folder
        return folder

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of an image in pixels."""
        (h, w), f = self.generator.grid[-1], self.tokenizer.downsample
        return h * f, w * f

    @torch.inference_mode()
    def decode(self, made: Made) -> Tensor:
        """Images (B, 3, H, W), float32, [-1, 1] but for what the decoder overshoots; on the CPU.

        Raises VqcliError where they are NaN or Inf.
        """
        with autocast(self.options.precision, self.device):
            images = self.tokenizer.render(made, self.options.quantize)
        return finite(images.float(), DECODED).cpu()


def check_sampling(generator: Generator, given: Mapping[str, Any]) -> PartConfig:
    """The generator's sampling with what is ``given``. Raises VqcliError where it cannot be."""
    name, defaults = generator.config.name, generator.config.sampling
    known = type(defaults).model_fields
    for option, value in given.items():
        if option not in known or (isinstance(value, float) and not math.isfinite(value)):
            refused = "" if option not in known else f" {value}"
            hint = f"it takes {', '.join(known)}: --sampling NAME=VALUE"
            raise VqcliError(f"sampling of {name}: no {option}{refused}", hint=hint, reason="option")
    sampling = parse(
        type(defaults),
        defaults.model_dump() | given,
        f"sampling of {name}",
        hint="vqcli generate --help tells what each option is",
        reason="option",
    )
    if generator.null_class is None and generator.guided(sampling):
        off = generator.UNGUIDED
        message = (
            f"{name} knows no class that stands for none, so nothing can guide it: no --cfg above {off:g}"
        )
        raise VqcliError(message, hint=f"--cfg {off:g} samples without guidance", reason="option")
    return sampling


def check_pair(sampler: Sampler, folder: Path) -> None:
    """Raises VqcliError where the tokenizer of ``folder`` is not the generator's."""
    made, own, makes = sampler.generator.spec, sampler.tokenizer.spec, sampler.generator.makes
    wrong, hint, reason = "", "name another with --tokenizer", "tokenizer"
    if makes == "tokens" and made.codebook_size != own.codebook_size:
        wrong = f"tokens of {made.codebook_size:,} codes, {folder} has {own.codebook_size:,}"
    elif makes == "latents" and made.width != own.width:
        wrong = f"latents of width {made.width}, {folder} has width {own.width}"
    elif not decodable(sampler.generator.grid, sampler.tokenizer):
        sides = " + ".join(f"{h}x{w}" for h, w in sampler.generator.grid)
        wrong = f"{sides} {makes} an image, which {folder} cannot decode"
    elif made.fingerprint not in ("", own.fingerprint) and not sampler.options.force:
        wrong = f"{makes} of tokenizer {made.fingerprint[:8]}, {folder} is {own.fingerprint[:8]}"
        hint, reason = f"{hint}, or --force", "fingerprint"
    if wrong:
        message = f"{sampler.folder} makes {wrong}"
        raise VqcliError(message, hint=hint, reason=reason)


def weights_hash(folder: Path) -> str:
    """Identity of a model as it lies in its folder."""
    paths = [folder / f"{name}.safetensors" for name in ("average", "model", "codebook")]
    paths = [folder / "config.json", *(path for path in paths if files.exists(path))]
    return hashlib.sha256("".join(map(files.sha256, paths)).encode()).hexdigest()
