"""From what a user names to a model folder: what lies here, and what is imported once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vqcli import files
from vqcli.checkpoint.contents import replaceable
from vqcli.errors import VqcliError
from vqcli.importers.options import ImportOptions
from vqcli.library.imports import imported, is_foreign
from vqcli.library.references import ENVIRONMENT, locate, published
from vqcli.library.weight_files import weights_file
from vqcli.types import Progress, silent

if TYPE_CHECKING:
    from vqcli.library.importing import ImportResult


def model_folder(reference: str | None, progress: Progress = silent) -> Path:
    """The folder of the model a user named; a published file is imported into the cache when it is first met.

    Raises VqcliError where there is no model, and where ``import_model`` and ``downloads`` do.
    """
    named = reference or os.environ.get(ENVIRONMENT)
    if named and (files.is_file(Path(named)) or is_foreign(Path(named))):
        return imported(weights_file(Path(named)), progress)
    source = published(named) if named else None
    if source is None:
        return locate(reference)
    from vqcli.library.published import published_folder  # what talks to servers is imported here

    return published_folder(source, progress)


def import_file(
    path: Path,
    out: Path,
    options: ImportOptions | None = None,
    *,
    tokenizer: str | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> ImportResult:
    """``import_model``, with a generator's tokenizer as a user names it. Raises VqcliError as that does."""
    from vqcli.library.importing import import_model  # torch is imported here

    if not files.exists(path):
        hint = "give a .pt, .pth, .ckpt, .bin or .safetensors file"
        raise VqcliError(f"{path} does not exist", hint=hint, reason="input-missing")
    weights_file(path)  # before a tokenizer is fetched for a folder without weights
    with files.claimed(out):
        files.check_free(out, ours=replaceable(out), force=force)
    if tokenizer:
        options = replace(options or ImportOptions(), tokenizer=model_folder(tokenizer, progress))
    return import_model(path, out, options, force=force, progress=progress)
