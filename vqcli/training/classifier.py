"""Training a classifier: tell the class of images from their tokens.

Shape letters: B images.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from vqcli import files
from vqcli.checkpoint.classes import write_classes
from vqcli.checkpoint.classifier import describe_classifier, read_classifier, save_classifier
from vqcli.checkpoint.contents import copy_tokenizer
from vqcli.classifiers.base import Classifier
from vqcli.nn.distributed import all_reduce_sum
from vqcli.registry import ClassifierConfig
from vqcli.training.on_tokens import Batch, OnTokensRecipe, OnTokensTask
from vqcli.training.recipe import Recipe
from vqcli.types import Tokens

TOP = 5
"""The other accuracy beside that of the first guess: whether the class is among so many."""


class ClassifierRecipe(OnTokensRecipe):
    """A recipe that trains a classifier."""

    task: str = "classifier"
    classifier: ClassifierConfig


class ClassifierTask(OnTokensTask):
    """Trains ``recipe.classifier``."""

    Config: ClassVar[type[Recipe]] = ClassifierRecipe
    SECTION: ClassVar[str] = "classifier"

    @classmethod
    def read(cls, folder: Path) -> Classifier:
        return read_classifier(folder)

    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """Shares of held-out images whose class is the first guess, and among five; cross-entropy."""
        assert isinstance(model, Classifier)
        sums = torch.zeros(4, dtype=torch.float64)
        for batch in batches:
            assert isinstance(batch.made, Tokens)
            logits, labels = model.logits(batch.made), batch.labels
            guesses = logits.topk(min(TOP, logits.shape[1])).indices
            right = guesses == labels[:, None]
            loss = F.cross_entropy(logits, labels, reduction="sum")
            found = [right[:, 0].sum().item(), right.sum().item(), loss.item(), float(len(labels))]
            sums += torch.tensor(found, dtype=torch.float64)
        *totals, images = all_reduce_sum(sums.float().to(self.device)).tolist()
        if not images:
            return {}
        measured = {name: x / images for name, x in zip(("top1", "top5", "cross_entropy"), totals)}
        return measured | {"images": int(images)}

    @classmethod
    def summary(cls, measured: dict[str, Any]) -> list[str]:
        return [f"{told(measured)}, over {measured['images']:,} held-out images"] if measured else []

    def picture(self, model: nn.Module, batch: Any) -> None:
        """None: a classifier makes no images."""

    def describe(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, Classifier)
        files.write_json(folder / "config.json", describe_classifier(model))
        write_classes(folder, self.classes.names)

    def export(self, model: nn.Module, folder: Path, measured: dict[str, Any]) -> None:
        assert isinstance(model, Classifier)
        note = ""
        if measured:
            words = told(measured)
            note = f"{words[0].upper()}{words[1:]} on {measured['images']:,} held-out images."
        save_classifier(model, folder, None, classes=self.classes.names, note=note)
        copy_tokenizer(self.folder, folder)


def told(measured: dict[str, Any]) -> str:
    """``top-1 95.20%, top-5 99.90%, cross-entropy 0.1523``."""
    shares = ", ".join(f"{name[:3]}-{name[3:]} {measured[name]:.2%}" for name in ("top1", "top5"))
    return f"{shares}, cross-entropy {measured['cross_entropy']:.4f}"
