"""A classifier's model folder: weights, names of its classes, a copy of its tokenizer's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vqcli import files
from vqcli.checkpoint.folder import FORMAT
from vqcli.checkpoint.on_tokens import card, read_network, told_spec, write_network
from vqcli.classifiers.base import Classifier
from vqcli.plugins import needed
from vqcli.registry import ClassifierConfig
from vqcli.tokenizers.base import Tokenizer


def describe_classifier(classifier: Classifier) -> dict[str, Any]:
    """``config.json`` of a classifier; ``tokenizer`` is what it must know of the one whose tokens it sees."""
    return {
        "kind": "classifier",
        "format": FORMAT,
        "tokenizer": told_spec(classifier.spec),
        "classifier": classifier.config.model_dump(mode="json"),
        **needed(classifier.config),
    }


def save_classifier(
    classifier: Classifier,
    folder: Path,
    tokenizer: Tokenizer | None,
    *,
    classes: Sequence[str] = (),
    note: str = "",
) -> None:
    """Write a model folder into an existing, empty folder, with the tokenizer if it is at hand."""
    write_network(classifier, folder, tokenizer, classes)
    files.write_text(
        folder / "README.md",
        card(classifier, "classifier", f"tokens of {classifier.spec.codebook_size:,} codes", note),
    )
    files.write_json(folder / "config.json", describe_classifier(classifier))


def load_classifier(folder: Path, device: torch.device | str = "cpu") -> Classifier:
    """The classifier of a model folder or training checkpoint, in evaluation mode.

    Raises VqcliError where ``read_classifier`` does.
    """
    return read_classifier(folder).eval().to(device)


def read_classifier(folder: Path) -> Classifier:
    """The classifier of a model folder or training checkpoint.

    Raises VqcliError where files are missing, damaged, not finite, or do not fit each other, and where it
    needs a plugin that is not allowed.
    """
    classifier: Classifier = read_network(folder, "classifier", ClassifierConfig)
    return classifier
