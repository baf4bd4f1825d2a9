"""Published files that lie here: which folders hold some, and the model folder of one in the cache."""

from __future__ import annotations

from pathlib import Path

from vqcli import files
from vqcli.checkpoint.kinds import KINDS
from vqcli.importers import shards
from vqcli.importers.options import ImportOptions
from vqcli.library.cache import kept, kept_folder, variant
from vqcli.library.weight_files import holds_weights
from vqcli.types import Progress, silent

CODES = "codebook.safetensors"
"""Nobody else calls a file so: whatever became of the rest, its folder is ours."""


def imported(
    path: Path,
    progress: Progress = silent,
    size: int = 0,
    tokenizer: Path | None = None,
    scales: tuple[int, ...] = (),
) -> Path:
    """The model folder of a published file, by the hash of its bytes; made again where it is damaged.

    It also depends on what no file tells: of a generator the ``size`` of its images in pixels a side, and the
    folder of the tokenizer whose tokens it makes; of a tokenizer its ``scales``.
    Raises VqcliError if it is no published file.
    """
    digest, options = shards.digest(path), ImportOptions(scales=scales or None)
    if tokenizer:
        options = ImportOptions(size=(size, size), tokenizer=tokenizer, bring=False)
    folder = kept_folder(path, digest + variant(size, tokenizer, scales))
    return kept(folder, lambda: _import(path, folder, digest, options, progress), progress)


def _import(path: Path, folder: Path, digest: str, options: ImportOptions, progress: Progress) -> None:
    from vqcli.library.importing import import_model  # torch is imported here

    made = import_model(path, folder, options, expected=digest)
    for option, what in made.assumptions().items():
        progress.say(f"{path.name} is imported with {what}; the file does not tell: vqcli import --{option}")


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds weights of others, and none of ours: a model's, even damaged, or a run's."""
    if not holds_weights(folder) or any(files.is_file(folder / name) for name in ("recipe.yaml", CODES)):
        return False
    config = folder / "config.json"
    return not (files.is_file(config) and is_ours(config))


def is_ours(config: Path) -> bool:
    """Whether a ``config.json`` is of a model folder; others' need not even be JSON."""
    found = None
    with files.passing_over():
        found = files.read_json(config)
    return isinstance(found, dict) and found.get("kind") in KINDS and "format" in found
