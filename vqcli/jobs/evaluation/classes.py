"""A classifier as what is evaluated: on labelled images, or on tokens of such.

Shape letters: B images of a batch, L tokens an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from vqcli.data.images.base import Source, identity
from vqcli.data.names import named
from vqcli.data.tokens.rows import TokenRows, open_token_rows, row_eval_batches
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.evaluation.target import CROPS, Asked, Target, place
from vqcli.jobs.evaluation.work import BLOCK, Pictures, Seen, Stretch
from vqcli.jobs.judge import Asked as Named
from vqcli.jobs.judge import Judge, likeliest, open_judge
from vqcli.pixels import CenterCrop
from vqcli.training.classes import ClassList

GUESSES = 5
"""Classes of an image that metrics are shown, likeliest first."""
WHAT = "classify"


class ImageClasses(Pictures):
    """Images that a classifier takes for something."""

    what, classifies = WHAT, True

    def __init__(self, source: Source, judge: Judge, options: EvaluateOptions) -> None:
        super().__init__(source, CenterCrop(judge.size), options, options.limit)
        self.judge, self.device = judge, judge.device
        labels = [source.label(i) for i in range(self.count)]
        known = np.array([-1 if label is None else label for label in labels], np.int64)
        self.labels = numbered(known, source.classes, judge, options.images or "")

    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        for batch in self.loaded(items):
            seen = Seen(len(batch.all_indices), rejected=batch.rejected)
            found = self.judge.look(batch)
            if found:
                guesses = likeliest(np.stack(list(found.values())), GUESSES)
                seen.classes.append((self.labels[list(found)], guesses))
            yield seen


class TokenClasses(Stretch):
    """Images of which there are tokens already, that a classifier takes for something."""

    what: ClassVar[str] = WHAT  # type: ignore[misc]
    classifies = True

    def __init__(self, rows: TokenRows, judge: Judge, options: EvaluateOptions) -> None:
        self.rows, self.judge, self.batch_size = rows, judge, options.batch_size
        self.count = min(len(rows), options.limit or len(rows))
        self.per_block = options.batch_size * max(1, BLOCK // options.batch_size)
        self.labels = numbered(rows.labels[: self.count], rows.info.classes, judge, options.images or "")

    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        at = 0
        for batch in row_eval_batches(self.rows, items, self.batch_size):
            some = items[at : at + len(batch)]
            at += len(batch)
            ids = batch.ids.numpy()  # type: ignore[attr-defined]
            guesses = likeliest(self.judge.probabilities(ids), GUESSES)
            yield Seen(len(batch), classes=[(self.labels[some], guesses)])

    def plan(self) -> dict[str, Any]:
        return identity(self.rows.key(i) for i in range(self.count)) | {"tokens": self.rows.digest}


def classifier_target(folder: Path, asked: Asked) -> Target:
    """A classifier with its tokenizer, ready to be asked. Raises VqcliError without labelled images."""
    options = asked.options
    if not options.images:
        hint = "name some with --images; vqcli classify tells classes of images without labels"
        raise VqcliError(f"{folder} is a classifier: it needs labelled images", hint=hint, reason="option")
    for flag, value in (("--size", options.size), ("--eval-size", options.eval_size)):
        if value:
            message = f"{flag}: a classifier looks at images of its own size alone"
            raise VqcliError(message, hint="leave it out", reason="option")
    how = Named(options.target, options.tokenizer, options.precision)
    judge = open_judge(folder, how, asked.device, progress=asked.progress)
    own = judge.plan() | {"images": place(options.images)}
    work: Stretch
    if named(options.images) == "tokens":
        rows = open_token_rows(Path(options.images))
        check_tokens(rows, judge, options.images)
        work, prepared = TokenClasses(rows, judge, options), "tokens as they are"
    elif asked.images is None:
        message = f"{options.images} holds no images (arr_0), only statistics"
        raise VqcliError(message, hint="name images with --images", reason="input-empty")
    else:
        work = ImageClasses(asked.images.sized(judge.size), judge, options)
        prepared = f"{CROPS['adm']}, {judge.size[0]}x{judge.size[1]}"
    return Target("classifier", [work], folder, prepared, own, names=judge.names)


def check_tokens(rows: TokenRows, judge: Judge, what: str) -> None:
    """Raises VqcliError where tokens are not those that a classifier looks at."""
    spec, theirs, wrong = judge.classifier.spec, rows.info, ""
    if theirs.codebook_size != spec.codebook_size:
        wrong = f"of {theirs.codebook_size:,} codes, not {spec.codebook_size:,}"
    elif theirs.fingerprint and spec.fingerprint and theirs.fingerprint != spec.fingerprint:
        wrong = f"of tokenizer {theirs.fingerprint[:8]}, not {spec.fingerprint[:8]}"
    elif rows.grid != judge.classifier.grid:
        shapes = (" + ".join(f"{h}x{w}" for h, w in grid) for grid in (rows.grid, judge.classifier.grid))
        wrong = "{} an image, not {}".format(*shapes)
    if wrong:
        hint = "encode the images with the classifier's own tokenizer, or name images"
        raise VqcliError(f"the tokens {what} are {wrong}", hint=hint, reason="fingerprint")


def numbered(labels: np.ndarray, classes: Sequence[str], judge: Judge, what: str) -> np.ndarray:
    """Labels (B,) of the data, as the classifier numbers its classes.

    Raises VqcliError where images have no class, or one that the classifier does not know.
    """
    if (labels < 0).any():
        message = f"{what}: {int((labels < 0).sum()):,} of {len(labels):,} images have no class"
        hint = "every image needs one: folders of classes, .cls files, a label column"
        raise VqcliError(message, hint=hint, reason="labels")
    known = ClassList(classes)
    said = known.follow(judge.raw_names, judge.folder)
    own = known.number(torch.from_numpy(labels.astype(np.int64))).numpy()
    if "knows other classes" in said or (len(own) and own.max() >= judge.classes):
        message = f"{what} has other classes than the {judge.classes:,} that {judge.folder} knows"
        raise VqcliError(message, hint="name images of the classes it was trained on", reason="labels")
    return own
