"""From a name to a model that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import torch

from vqcli.checkpoint.folder import row_of
from vqcli.door.options import LoadOptions, Precision
from vqcli.jobs.devices import pick_device
from vqcli.library.open import open_model
from vqcli.parts import attribute


def load(
    reference: str | Path,
    device: str | torch.device | None = None,
    *,
    precision: Precision = "fp32",
    tokenizer: str | Path | None = None,
) -> Any:
    """A model ready for use: a ``TokenizerModel``, ``GeneratorModel`` or ``ClassifierModel``, by its kind.

    ``reference`` is anything ``-m`` takes: a model folder, a run, a checkpoint, a published file,
    ``owner/name`` on the Hub, or a short name. ``device`` is the best there is unless it is given.
    ``tokenizer`` goes with a generator or classifier instead of the one that came with it. Raises VqcliError
    where there is no such model.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision is one of {', '.join(get_args(Precision))}, not {precision!r}")
    place = pick_device(str(device) if device is not None else None)
    module, folder = open_model(str(reference), place)
    row = row_of(folder)
    if tokenizer is not None and not row.on_tokens:
        raise ValueError(f"{reference} needs no tokenizer")
    named_one = str(tokenizer) if tokenizer is not None else None
    return attribute(row.door)(module, folder, LoadOptions(str(reference), place, precision, named_one))
