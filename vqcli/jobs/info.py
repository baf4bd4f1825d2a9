"""What a model is, from its folder alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from vqcli.checkpoint.folder import row_of
from vqcli.checkpoint.told import Row
from vqcli.errors import VqcliError
from vqcli.library.find import model_folder
from vqcli.library.references import ENVIRONMENT
from vqcli.parts import attribute
from vqcli.types import Progress, silent


class ModelInfo(Protocol):
    """A model's folder in numbers: a dataclass, whose other fields are those of its kind."""

    @property
    def folder(self) -> Path:
        """Where the model lies."""

    @property
    def kind(self) -> str:
        """A row of ``checkpoint.kinds``."""

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""


def describe_model(reference: str | None, progress: Progress = silent) -> ModelInfo:
    """What the JSON files and the headers of the weight files say. Nothing is loaded."""
    folder = model_folder(reference, progress)
    try:
        describe = attribute(row_of(folder).describe)
        found: ModelInfo = describe(folder, reference or os.environ.get(ENVIRONMENT, ""))
        with suppress(VqcliError):  # a plugin that is not allowed
            found.rows()  # what people are told is of the types that it should be
        return found
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        told = f"tell {e}" if isinstance(e, KeyError) else "describe a model"
        message = f"{folder}/config.json does not {told}"
        raise VqcliError(message, hint="copy the folder again", reason="damaged") from e
