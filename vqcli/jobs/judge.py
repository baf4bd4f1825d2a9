"""Tokens or images in, probabilities of classes out: what everything that classifies shares.

Shape letters: B images of a batch, L tokens an image, C classes, R guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.classifier import load_classifier
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.classifiers.base import Classifier
from vqcli.data.classes import readable
from vqcli.data.loader import Batch
from vqcli.errors import VqcliError
from vqcli.jobs.encoder import encode_batch
from vqcli.jobs.sampler import weights_hash
from vqcli.library.open import generator_tokenizer
from vqcli.nn.precision import autocast, finite
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Progress, TokenizerSpec, Tokens, silent


@dataclass(frozen=True)
class Asked:
    """How a classifier was asked for."""

    reference: str
    """By which it was named."""
    tokenizer: str | None = None
    """MODEL that goes with it, in the place of the one that came with it."""
    precision: str = "fp32"


@dataclass(frozen=True)
class Judge:
    """A classifier with the tokenizer whose tokens it looks at."""

    classifier: Classifier
    folder: Path
    """Of the classifier."""
    tokenizer: Tokenizer
    tokenizer_folder: Path
    device: torch.device
    precision: str = "fp32"

    @property
    def classes(self) -> int:
        """How many it tells apart."""
        return int(self.classifier.config.classes)

    @property
    def raw_names(self) -> list[str]:
        """Of its classes, as the data called them; empty where nobody told them."""
        return read_classes(self.folder)[: self.classes]

    @property
    def names(self) -> list[str]:
        """Of its classes, for people."""
        return readable(self.raw_names)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its images in pixels."""
        (h, w), f = self.classifier.grid[-1], self.tokenizer.downsample
        return h * f, w * f

    def plan(self) -> dict[str, Any]:
        """What decides its probabilities, as JSON values."""
        hashes = {"model": weights_hash(self.folder), "tokenizer": weights_hash(self.tokenizer_folder)}
        return hashes | {"precision": self.precision}

    @torch.inference_mode()
    def probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Of tokens (B, L), float32 (B, C). Raises VqcliError where they are NaN or Inf."""
        tokens = Tokens(torch.from_numpy(ids.astype(np.int64)).to(self.device), self.classifier.grid)
        with autocast(self.precision, self.device):
            logits = self.classifier.logits(tokens)
        return finite(logits.float(), "what the classifier makes").softmax(-1).cpu().numpy()

    def look(self, batch: Batch) -> dict[int, np.ndarray]:
        """Probabilities (C,) of every usable image of a batch, by its index."""
        if not len(batch):
            return {}
        found = encode_batch(self.tokenizer, batch, self.precision, self.device)
        return dict(zip(found, self.probabilities(np.stack([ids for _, ids in found.values()]))))


def likeliest(probabilities: np.ndarray, most: int) -> np.ndarray:
    """The ``most`` likeliest classes of each image (B, C), int64 (B, R); of equals the lower first."""
    return np.argsort(-probabilities, axis=-1, kind="stable")[:, :most].astype(np.int64)


def open_judge(
    folder: Path,
    asked: Asked,
    device: torch.device,
    opened: Classifier | None = None,
    progress: Progress = silent,
) -> Judge:
    """The classifier of a model folder, ``opened`` or not, with its tokenizer, ready.

    Raises VqcliError where its tokenizer is not here, or another is named that does not fit.
    """
    classifier = opened or load_classifier(folder, device)
    found = generator_tokenizer(folder, asked.reference, asked.tokenizer, progress)
    if found is None:
        hint = "name it with --tokenizer MODEL"
        raise VqcliError(f"{folder} comes without its tokenizer", hint=hint, reason="input-missing")
    tokenizer = load_tokenizer(found, device)
    check_fits(classifier.spec, tokenizer, found)
    classifier.attach(tokenizer)
    return Judge(classifier, folder, tokenizer, found, device, asked.precision)


def check_fits(wanted: TokenizerSpec, tokenizer: Tokenizer, folder: Path) -> None:
    """Raises VqcliError where the tokenizer of ``folder`` is not the classifier's."""
    spec, wrong = tokenizer.spec, ""
    assert wanted.grid
    if wanted.codebook_size != spec.codebook_size:
        wrong = f"tokens of {wanted.codebook_size:,} codes, {folder} has {spec.codebook_size:,}"
    elif wanted.fingerprint not in ("", spec.fingerprint):
        wrong = f"tokens of tokenizer {wanted.fingerprint[:8]}, {folder} is {spec.fingerprint[:8]}"
    elif tokenizer.quantizer.grid(*wanted.grid[-1]) != wanted.grid:
        wrong = f"tokens that lie otherwise than those of {folder}"
    if wrong:
        hint = "name another with --tokenizer"
        raise VqcliError(f"the classifier looks at {wrong}", hint=hint, reason="tokenizer")
