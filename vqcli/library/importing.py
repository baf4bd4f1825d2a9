"""Published checkpoints become model folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from vqcli import files
from vqcli.checkpoint.contents import replaceable
from vqcli.checkpoint.kinds import KINDS
from vqcli.checkpoint.told import Row
from vqcli.errors import VqcliError
from vqcli.escapes import markdown
from vqcli.importers import shards
from vqcli.importers.base import Importer, State
from vqcli.importers.containers import Checkpoint, read_checkpoints
from vqcli.importers.options import ImportOptions
from vqcli.library.recognition import recognise
from vqcli.library.weight_files import weights_file
from vqcli.parts import attribute
from vqcli.types import Progress, silent

FORMAT, RECORD = 1, "import.json"


class ImportResult(Protocol):
    """The model that a file became: a dataclass, whose other fields are those of its kind."""

    @property
    def kind(self) -> str:
        """A row of ``checkpoint.kinds``."""

    @property
    def out(self) -> Path:
        """Its folder."""

    @property
    def layout(self) -> str:
        """Name of the importer."""

    @property
    def record(self) -> dict[str, Any]:
        """``import.json``: the file's name and hash, where in it the weights were, and more."""

    def assumptions(self) -> dict[str, str]:
        """What neither the file nor the user told, by option."""

    def rows(self) -> list[Row]:
        """What a table for people says of it, line by line."""


class Converted(Protocol):
    """A model that is not written yet."""

    def facts(self, digest: str) -> dict[str, Any]:
        """What ``import.json`` tells of it, from a file of this SHA-256."""

    def save(self, folder: Path, note: str) -> None:
        """Write it into an empty folder."""

    def result(self, out: Path, record: dict[str, Any]) -> ImportResult:
        """What it became."""


def import_model(
    path: Path,
    out: Path,
    options: ImportOptions | None = None,
    *,
    force: bool = False,
    expected: str | None = None,
    progress: Progress = silent,
) -> ImportResult:
    """Write a model folder with the weights of a published checkpoint, a tokenizer's baked: all or nothing.

    ``path`` is a file of weights, an index of several, or a folder that holds one model's.
    ``expected`` is the SHA-256 that the file must have. Raises VqcliError if it cannot be read or could run
    code, if it changes meanwhile, if its layout is not known, if a key is missing, unknown or of another
    shape, if weights are not finite, and if ``out`` is taken.
    """
    with files.claimed(out):
        files.check_free(out, ours=replaceable(out), force=force)
        return _import_model(path, out, options or ImportOptions(), expected, progress)


def _import_model(
    path: Path, out: Path, options: ImportOptions, expected: str | None, progress: Progress
) -> ImportResult:
    progress.start("import", 3, "steps")
    path, digest, whole = read_hashed(path, expected)
    progress.advance()
    found = recognise(path, whole)
    del whole
    record: dict[str, Any] = {
        "format": FORMAT,
        "file": path.name,
        "sha256": digest,
        "layout": found.layout,
        "container": found.container,
        **({"inside": found.inside} if found.inside else {}),
        **({"left_out": found.left_out} if found.left_out else {}),
        "averaged": found.averaged,
        "licence": found.importer.LICENCE,
    }
    try:
        model = convert(found.importer, found.state, options, path)
    except VqcliError as e:
        raise VqcliError(f"{path} as {found.layout}: {e}", hint=e.hint, reason=e.reason) from e
    del found  # its memory is needed for writing
    check_unchanged(path, digest)
    record |= model.facts(digest)
    progress.advance()
    with files.writing_folder(out) as folder:
        model.save(folder, describe(record))
        files.write_json(folder / RECORD, record)
    progress.advance()
    return model.result(out, record)


def convert(importer: Importer, state: State, options: ImportOptions, path: Path) -> Converted:
    """What a file with these weights becomes. Raises VqcliError if they do not fit."""
    converted: Converted = attribute(KINDS[importer.KIND].convert)(importer, state, options, path)
    return converted


def read_hashed(path: Path, expected: str | None) -> tuple[Path, str, list[Checkpoint]]:
    """The file of weights that a path names, its SHA-256 unless that is known already, and what it holds.

    Raises VqcliError.
    """
    try:
        path = weights_file(path)
        return path, expected or shards.digest(path), read_checkpoints(path)
    except OSError as e:
        raise files.unread(path, e) from e


def check_unchanged(path: Path, digest: str) -> None:
    """Raises VqcliError if a file is no longer what it was: weights are copied by now, and may be of both."""
    now = ""
    with files.passing_over():
        now = shards.digest(path)
    if now != digest:
        raise VqcliError(
            f"{path} changed while it was read",
            hint="give the same command again when nothing writes to it",
            reason="changed",
        )


def describe(record: dict[str, Any]) -> str:
    """What the model card says of where it is from."""
    file, layout = markdown(record["file"]), record["layout"]
    lines = [f"Imported from `{file}` (SHA-256 {record['sha256']}), layout {layout}"]
    lines += [f", from '{markdown(record['inside'])}' in it" if record.get("inside") else ""]
    lines += [" with its running averages as weights" if record["averaged"] else "", "."]
    if record.get("metric"):
        untold = "; the file does not tell: --metric" if record["metric_assumed"] else ""
        lines.append(f" Latents and codes are compared by {record['metric']}{untold}.")
    if record.get("assumed"):
        lines.append(f" Taken as published, as the file does not tell: {', '.join(record['assumed'])}.")
    if record["licence"]:
        lines.append(f" Its authors' code is under {record['licence']}; their weights may be under another.")
    return "".join(lines)
