"""Models of the Hub on this machine, for work without network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vqcli import files
from vqcli.checkpoint.contents import (
    MANIFEST,
    check_whole,
    copy_file,
    model_files,
    replaceable,
    tokenizer_files,
)
from vqcli.checkpoint.folder import row_of
from vqcli.library.find import model_folder
from vqcli.library.open import generator_tokenizer
from vqcli.types import Progress, silent


@dataclass(frozen=True)
class PullResult:
    """A model on this machine."""

    model: str
    """As it was named."""
    folder: Path
    bytes: int


def pull(
    reference: str, out: Path | None = None, *, force: bool = False, progress: Progress = silent
) -> PullResult:
    """Have a model on this machine, for work without network; ``out`` also gets a copy of its folder.

    The copy of what works on a tokenizer's tokens has that with it. Raises VqcliError where there is no such
    model, it is not what it should be, or ``out`` is taken.
    """
    if not out:
        folder = model_folder(reference, progress)
    else:
        with files.claimed(out):
            files.check_free(out, ours=replaceable(out), force=force)
            _copy(reference, out, progress)
        folder = out
    return PullResult(reference, folder, sum((folder / name).stat().st_size for name in model_files(folder)))


def _copy(reference: str, out: Path, progress: Progress) -> None:
    """Copy the folder of a model."""
    folder = model_folder(reference, progress)
    check_whole(folder)
    whole = {name: (folder, name) for name in model_files(folder)}
    on_tokens = row_of(folder).on_tokens
    apart = generator_tokenizer(folder, reference, None, progress) if on_tokens else None
    if apart and apart.parent != folder:
        whole |= {f"tokenizer/{name}": (apart, name) for name in tokenizer_files(apart)}
        whole.pop(MANIFEST, None)  # it tells of less
    with files.writing_folder(out, listed=MANIFEST not in whole) as copy:
        for name, (place, there) in whole.items():
            copy_file(place, there, copy / name)
