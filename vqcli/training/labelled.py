"""What networks on tokens learn from: images with a class each, or their tokens or latents, stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from vqcli.data.config import DataConfig, Side
from vqcli.data.holdout import holdout
from vqcli.data.images.base import identity
from vqcli.data.images.open import claimed
from vqcli.data.loader import TrainPlan
from vqcli.data.names import named
from vqcli.data.tokens.latents import LatentRows, open_latent_rows
from vqcli.data.tokens.rows import Rows, TokenRows, open_token_rows, row_batches, row_eval_batches
from vqcli.errors import VqcliError
from vqcli.training.data import Data, data_of, named_as_data, training_images
from vqcli.types import Makes, TokenizerSpec


class LabelledData(DataConfig):
    """Which images, or tokens or latents of some, whose ``size`` and ``augment`` ``vqcli encode`` settled."""

    source: str = "demo"
    """Tokens or latents that ``vqcli encode`` wrote, .npy or a folder; or images as for a tokenizer."""
    size: Side | tuple[Side, Side] | None = None  # type: ignore[assignment]
    """Side, or height and width, in pixels; the tokenizer's own otherwise."""

    @property
    def wanted(self) -> tuple[int, int] | None:
        """``size`` as (height, width), if it is given."""
        return self.height_width if self.size else None


@dataclass(frozen=True)
class Wanted:
    """What is asked of labelled data."""

    tokenizer: str
    """As the recipe names it."""
    spec: TokenizerSpec
    """What that is."""
    classes: int
    makes: Makes = "tokens"
    """What is learned: latents may also come from tokens, as their codes."""
    section: str = "generator"
    """Of the recipe: the kind of network that learns."""


def check_there(source: str) -> None:
    """Raises VqcliError unless ``source`` names tokens, latents or images; of these, tokens are opened."""
    kind = named(source)
    if kind == "tokens":
        open_token_rows(Path(source))
    elif kind != "latents":
        with named_as_data():
            claimed(source)


def labelled_data(config: LabelledData, wanted: Wanted, plan: TrainPlan) -> Data:
    """Batches of tokens or latents where ``config.source`` names some, else of images, each with a class.

    Raises VqcliError if they are not there, of another tokenizer, or not all of known classes.
    """
    source, path, kind = config.source, Path(config.source), named(config.source)
    if kind == "latents":
        check_settled(config, "latents")
        latents = open_latent_rows(path)
        check_same_latents(config, latents, wanted)
        check_labels(latents.labels, latents.key, wanted, f"latents {source}")
        own, classes = wanted.spec.grid, latents.info.classes
        grid = own if own and own[-1] == latents.info.sides else (latents.info.sides,)
        return replace(row_data(latents, config.holdout, plan), grid=grid, classes=classes)
    if kind == "tokens":
        check_settled(config, "tokens")
        tokens = open_token_rows(path)
        check_same_tokenizer(config, tokens, wanted)
        check_labels(tokens.labels, tokens.key, wanted, f"tokens {source}")
        return replace(row_data(tokens, config.holdout, plan), grid=tokens.grid, classes=tokens.info.classes)
    sized = config.model_copy(update={"size": wanted.spec.image_size})
    images = training_images(sized)
    for part, indices in ((images.source, images.training), (images.held_out_source, images.held_out)):
        labels = [part.label(i) for i in indices]
        known = np.array([-1 if label is None else label for label in labels], np.int64)
        check_labels(known, lambda i, s=part, at=indices: s.key(at[i]), wanted, f"images {source}")  # type: ignore[misc]
    data = data_of(images, sized, plan)
    return replace(data, identity=data.identity | {"tokenizer": wanted.spec.fingerprint})


def row_data(rows: Rows, share: float | None, plan: TrainPlan) -> Data:
    """Batches of tokens or latents; ``share`` of the images is held out, as ``holdout`` says."""
    training, held_out = holdout(rows, share)
    return Data(
        train=partial(row_batches, rows, training, plan),
        held_out=lambda most: row_eval_batches(
            rows, held_out[:most][plan.rank :: plan.world], plan.batch_size
        ),
        images=len(training),
        held=len(held_out),
        identity=identity(rows.key(i) for i in training) | {"tokens": rows.digest},
    )


def check_settled(config: LabelledData, what: str) -> None:
    """Raises VqcliError if the recipe asks of tokens or latents what was settled when they were made."""
    for name in ("split", "size"):
        if getattr(config, name) is not None:
            raise VqcliError(
                f"data.{name}: {config.source} are {what}, whose {name} was settled by vqcli encode",
                hint=f"leave data.{name} out, or name images",
                reason="config",
            )


def check_same_tokenizer(config: LabelledData, rows: TokenRows, wanted: Wanted) -> None:
    """Raises VqcliError if the tokens are not those of the recipe's tokenizer."""
    theirs, spec, wrong = rows.info, wanted.spec, ""
    if theirs.codebook_size != spec.codebook_size:
        wrong = f"they are of {theirs.codebook_size:,} codes, it has {spec.codebook_size:,}"
    elif theirs.fingerprint and spec.fingerprint and theirs.fingerprint != spec.fingerprint:
        wrong = f"fingerprint {theirs.fingerprint[:8]}, not {spec.fingerprint[:8]}"
    if wrong:
        raise VqcliError(
            f"the tokens {config.source} are not of the tokenizer {wanted.tokenizer}: {wrong}",
            hint="--tokenizer names the one that made them",
            reason="fingerprint",
        )


def check_same_latents(config: LabelledData, rows: LatentRows, wanted: Wanted) -> None:
    """Raises VqcliError if latents are not wanted, or not those of the recipe's tokenizer."""
    theirs, spec, source = rows.info, wanted.spec, config.source
    if wanted.makes != "latents":
        message = f"data.source: {source} holds latents, the {wanted.section} learns tokens"
        raise VqcliError(message, hint=f"name tokens or images, or another {wanted.section}", reason="config")
    if theirs.width != spec.width:
        wrong = f"their width is {theirs.width}, its latents have {spec.width}"
    elif spec.fingerprint and theirs.fingerprint != spec.fingerprint:
        wrong = f"fingerprint {theirs.fingerprint[:8]}, not {spec.fingerprint[:8]}"
    else:
        return
    message = f"the latents {source} are not of the tokenizer {wanted.tokenizer}: {wrong}"
    raise VqcliError(message, hint="--tokenizer names the one that made them", reason="fingerprint")


def check_labels(labels: np.ndarray, key: Callable[[int], str], wanted: Wanted, what: str) -> None:
    """Raises VqcliError that names an image without a class, or of one that the network does not have."""
    classes = wanted.classes
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if not len(wrong):
        return
    first = int(wrong[0])
    if labels[first] < 0:
        raise VqcliError(
            f"{what} are not all of known classes: {key(first)} has no label",
            hint="every split needs labels: folders of classes, .cls files, a label column",
            reason="labels",
        )
    raise VqcliError(
        f"{what} have a class {labels[first]} ({key(first)}), the recipe {classes} classes",
        hint=f"--set {wanted.section}.classes={int(labels.max()) + 1}",
        reason="labels",
    )
