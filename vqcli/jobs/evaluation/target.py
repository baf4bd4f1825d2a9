"""What is evaluated: a tokenizer, a generator, or images, and what it is measured against."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli import files
from vqcli.checkpoint.folder import kind_of
from vqcli.checkpoint.kinds import KINDS
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.classes import places
from vqcli.data.images.base import Source
from vqcli.data.images.npz import COUNT, NETWORK, RESIZING, NpzSource, read_statistics, read_word
from vqcli.data.images.open import open_source
from vqcli.data.location import location
from vqcli.data.names import named
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.evaluation.pairs import Pairs
from vqcli.jobs.evaluation.work import Given, Reconstructions, Samples, Stretch
from vqcli.jobs.options import GenerateOptions
from vqcli.jobs.sampler import Sampler, weights_hash
from vqcli.library.find import model_folder
from vqcli.metrics.base import Side
from vqcli.metrics.protocols import Protocol
from vqcli.parts import attribute
from vqcli.pixels import NativeCrop, crop
from vqcli.tokenizers.sizes import target_size
from vqcli.types import Progress


@dataclass
class Target:
    """What is evaluated, ready for work."""

    kind: str
    """A row of ``checkpoint.kinds``, or ``images``."""
    stretches: list[Stretch]
    folder: Path | None = None
    """Of a model."""
    preparation: str = ""
    """What is done to images, in words."""
    plan: dict[str, Any] = field(default_factory=dict)
    """What decides the outcome beside the stretches, as JSON values."""
    statistics: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Stored ones of the reference."""
    statistics_of: str = ""
    """Weights of the network that these come from, where the file tells."""
    codebook_size: int = 0
    """Of a tokenizer."""
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    """Keys of images that were to be compared one by one and have no partner, by what named them."""
    classes: str = ""
    """How a generator's classes differ from those of the images it is measured against, in words."""

    names: Sequence[str] = ()
    """Of a classifier's classes."""

    @property
    def reconstructs(self) -> bool:
        """Whether images are compared with what a model makes of them."""
        return any(isinstance(stretch, Reconstructions) for stretch in self.stretches)

    @property
    def compares(self) -> bool:
        """Whether images are compared one by one."""
        return any(stretch.compares for stretch in self.stretches)

    @property
    def classifies(self) -> bool:
        """Whether a classifier is asked for the classes of images."""
        return any(stretch.classifies for stretch in self.stretches)

    @property
    def samples(self) -> bool:
        """Whether a model draws its images itself."""
        return any(isinstance(stretch, Samples) for stretch in self.stretches)

    @property
    def sides(self) -> frozenset[Side]:
        """Which sets there are."""
        both = self.compares or len(self.stretches) > 1 or bool(self.statistics)
        return frozenset({"reference", "sample"} if both else {"sample"})


@dataclass(frozen=True)
class Asked:
    """An evaluation as it was asked for, and what was opened before its target was."""

    options: EvaluateOptions
    protocol: Protocol
    device: torch.device
    rank: int
    progress: Progress
    images: Source | None
    """What ``options.images`` names; None where that holds statistics or tokens alone."""


def open_target(
    options: EvaluateOptions, protocol: Protocol, device: torch.device, rank: int, progress: Progress
) -> Target:
    """What ``options.target`` names. Raises VqcliError where there is nothing to evaluate."""
    target = _open(Asked(options, protocol, device, rank, progress, _images(options, progress)))
    if named(options.images or "") == "tokens" and not target.classifies:
        message = f"{options.images} names tokens, not images"
        raise VqcliError(message, hint="only a classifier is measured on them", reason="wrong-kind")
    if target.classifies and options.sampling:
        message = f"{options.target} is no generator: it takes no --sampling"
        raise VqcliError(message, hint="leave it out", reason="option")
    if not (target.samples or target.classifies) and (options.sampling or options.tokenizer):
        message = f"{options.target} is no generator: it takes neither --sampling nor --tokenizer"
        raise VqcliError(message, hint="leave them out", reason="option")
    if target.samples and options.limit:
        message = "--limit is of images that lie there"
        raise VqcliError(message, hint="-n tells how many samples a generator makes", reason="option")
    return target


def _images(options: EvaluateOptions, progress: Progress) -> Source | None:
    """What is reconstructed or measured against, opened before a model is fetched. Raises VqcliError."""
    if not options.images or named(options.images) == "tokens":
        return None
    try:
        return open_source(options.images, options.reading(), progress)
    except VqcliError as e:
        alone = e.reason == "input-empty" and NpzSource.claims(options.images)
        if not (alone and read_statistics(location(options.images))):
            raise
    return None


def _open(asked: Asked) -> Target:
    options = asked.options
    what = named(options.target)
    if what in ("tokens", "latents"):
        message = f"{options.target} names {what}, not images or a model"
        raise VqcliError(message, hint="vqcli decode makes images of tokens", reason="wrong-kind")
    if what != "images" and options.paired:
        message = f"--paired compares two sets of images; {options.target} is none"
        hint = "leave it out: a tokenizer is compared with --images one by one anyway"
        raise VqcliError(message, hint=hint, reason="option")
    if what == "images":
        if options.paired:
            return paired_target(asked)
        if options.eval_size:
            message = "--eval-size is for what a model makes: images that lie there are measured as they are"
            raise VqcliError(message, hint="leave it out, or resize them first", reason="option")
        source = open_source(options.target, replace(options, split=None).reading(), asked.progress)
        samples = Given(source, "sample", options, options.limit)
        own = {"samples": place(options.target)}
        target = Target("images", [samples], preparation="images as they are", plan=own)
        return _against(target, asked)
    folder = model_folder(options.target, asked.progress)
    kind = kind_of(folder)
    if not KINDS[kind].evaluate:
        hint = f"it is for vqcli {KINDS[kind].commands}"
        raise VqcliError(f"{folder} is a {kind}: it makes no images", hint=hint, reason="wrong-kind")
    found: Target = attribute(KINDS[kind].evaluate)(folder, asked)
    return found


def paired_target(asked: Asked) -> Target:
    """Two sets of images, to be compared one by one. Raises VqcliError where no two belong together."""
    options = asked.options
    if not asked.images:
        message = f"--paired compares {options.target} with other images"
        raise VqcliError(message, hint="name them with --images", reason="option")
    own = open_source(options.target, replace(options, split=None).reading(), asked.progress)
    work = Pairs(own, asked.images, options, asked.protocol, asked.device)
    alone, size = work.matched.alone, options.eval_size
    if alone[0] and options.strict:
        message = f"{alone[0][0]} of {options.target} has no partner in {options.images}"
        raise VqcliError(message, hint="without --strict it is left out and told", reason="input-missing")
    how = work.matched.how
    how += f", measured at {size[0]}x{size[1]} (bicubic)" if size else ", as they are"
    where = {"samples": place(options.target), "reference": place(options.images or "")}
    unmatched = {options.target: alone[0], f"--images {options.images}": alone[1]}
    return Target("images", [work], preparation=how, plan=where | {"eval_size": size}, unmatched=unmatched)


def place(text: str) -> list[Any]:
    """Where images lie, and size and time of their file or folder: other images may have the same keys."""
    path = Path(text)
    if not files.exists(path):
        return [str(path.absolute()) if glob.has_magic(text) else text]
    found = path.stat()
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def tokenizer_target(folder: Path, asked: Asked) -> Target:
    """A tokenizer, ready to reconstruct images. Raises VqcliError where none are named."""
    options, protocol, device = asked.options, asked.protocol, asked.device
    if not options.images:
        hint = "name some with --images; vqcli usage-report tells what is stored with the model"
        raise VqcliError(f"{folder} is a tokenizer: it needs images", hint=hint, reason="option")
    if not asked.images:
        tokens = named(options.images) == "tokens"
        what = "names tokens, not images" if tokens else "holds no images (arr_0), only statistics"
        reason = "wrong-kind" if tokens else "input-empty"
        raise VqcliError(f"{options.images} {what}", hint="name images with --images", reason=reason)
    tokenizer = load_tokenizer(folder, device)
    size = target_size(options.size, tokenizer)
    source = asked.images.sized(size)
    transform = crop(protocol.crop, size) if size else NativeCrop(tokenizer.spec.downsample)
    work = Reconstructions(source, transform, options, tokenizer, protocol)
    stretches: list[Stretch] = [work]
    if protocol.whole_reference:
        stretches.append(Given(source, "reference", options, options.limit))
    how = CROPS[protocol.crop] if size else f"centre cut to a multiple of {tokenizer.spec.downsample}"
    sides = (f"{size[0]}x{size[1]}" if size else "native sizes") + _measured_at(options)
    decides = {"size": size, "eval_size": options.eval_size, "precision": options.precision}
    own = {"model": weights_hash(folder), "images": place(options.images)} | decides
    codes = tokenizer.spec.codebook_size
    return Target("tokenizer", stretches, folder, f"{how}, {sides}", own, codebook_size=codes)


def _measured_at(options: EvaluateOptions) -> str:
    size = options.eval_size
    return f", measured at {size[0]}x{size[1]} (bicubic)" if size else ""


CROPS = {
    "adm": "resize (bicubic) and centre crop",
    "centre": "centre crop without resizing",
    "smallest_side": "resize (bilinear) to the smallest side and centre crop",
}


def generator_target(folder: Path, asked: Asked) -> Target:
    """A generator with its tokenizer, ready to draw samples. Raises VqcliError where they do not fit."""
    options, protocol = asked.options, asked.protocol
    wanted = GenerateOptions(
        ("0",),  # classes are drawn later
        model=options.target,
        tokenizer=options.tokenizer,
        count=options.samples,
        seed=options.seed,
        sampling=options.sampling,
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
    )
    sampler = Sampler(wanted, asked.rank, asked.progress)
    tokenizer = sampler.add_tokenizer(asked.progress)
    sides = f"{sampler.size[0]}x{sampler.size[1]}{_measured_at(options)}"
    settings = ", ".join(f"{name} {value}" for name, value in sampler.sampling.model_dump().items())
    how = f"{protocol.labels} classes, {sides}, seed {options.seed}, {settings}"
    own = {"tokenizer": weights_hash(tokenizer), "eval_size": options.eval_size}
    target = Target("generator", [Samples(sampler, options, protocol)], folder, how, own)
    if asked.images:
        named = sampler.classes[: sampler.generator.config.classes]
        target.classes = compared_classes(named, asked.images.classes, options.images or "")
    return _against(target, asked)


def compared_classes(ours: Sequence[str], theirs: Sequence[str], images: str) -> str:
    """How a generator's classes differ from the images', by name; empty if not, or if one has no names."""
    common = sum(number is not None for number in places(ours, theirs))
    if not ours or not theirs or common == len(ours) == len(theirs):
        return ""
    return f"{len(ours):,} of the generator, {len(theirs):,} of {images}, {common:,} in common"


def _against(target: Target, asked: Asked) -> Target:
    """The target with its reference: images, or what is stored of them."""
    options, protocol = asked.options, asked.protocol
    if not options.images:
        return target
    target.plan["reference"] = place(options.images)
    if NpzSource.claims(options.images):
        path = location(options.images)
        target.statistics, target.statistics_of = read_statistics(path), read_word(path, NETWORK)
        if (told := read_word(path, COUNT)).isdecimal():
            target.statistics = {**target.statistics, COUNT: np.array(int(told))}
        usual = "tensorflow" if "mu_s" in target.statistics else protocol.resize  # ADM's; others do not tell
        resized = read_word(path, RESIZING) or usual
        if target.statistics and resized != protocol.resize:
            message = f"{path} is of images that were resized in another way ({resized})"
            hint = f"{protocol.name} resizes as {protocol.resize}: choose another --protocol"
            raise VqcliError(message, hint=hint, reason="option")
    if asked.images:
        target.stretches.append(Given(asked.images, "reference", options))
    return target
