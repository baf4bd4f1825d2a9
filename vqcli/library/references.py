"""Model references: what a user may write after ``--model``."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.library.alias import Published
from vqcli.library.aliases import ALIASES

ENVIRONMENT = "VQCLI_MODEL"
SCHEME = "hf://"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
"""Of an owner, a repository, or a revision."""
STEP = re.compile(r"step-\d{1,18}")
"""Of a run's checkpoint."""
FORMS = "owner/name, owner/name@revision, or hf://owner/name@revision/file"


def published(reference: str) -> Published | None:
    """What a reference names on the Hub: an alias, ``owner/name[@revision]``, ``hf://...``; None if nothing.

    What lies on this machine goes first, and ``runs/NAME`` is always there. Raises VqcliError on a name that
    no repository, revision or file can have.
    """
    if reference.startswith(SCHEME):
        return parse(reference.removeprefix(SCHEME))
    if files.exists(Path(reference)):
        return None
    if reference in ALIASES:
        return ALIASES[reference]
    owner, slash, name = reference.partition("/")
    named = slash and NAME.fullmatch(owner) and NAME.fullmatch(name.partition("@")[0])
    return parse(reference) if named and owner != "runs" and not files.exists(Path(owner)) else None


def parse(text: str) -> Published:
    """``owner/name[@revision][/file]``. Raises VqcliError."""
    owner, _, rest = text.partition("/")
    name, _, file = rest.partition("/")
    name, at, revision = name.partition("@")
    check_repository(f"{owner}/{name}")
    if at and not _is_name(revision):
        raise VqcliError(f"'{revision}' cannot be a revision", hint=f"write {FORMS}", reason="reference")
    if file and not is_plain(file):
        raise VqcliError(f"'{file}' cannot be a file's name there", hint=f"write {FORMS}", reason="reference")
    return Published(f"{owner}/{name}", file, revision or "main")


def check_repository(repository: str) -> None:
    """Raises VqcliError if no repository can have this name."""
    owner, _, name = repository.partition("/")
    if not (_is_name(owner) and _is_name(name)) or "--" in repository or name.endswith(".git"):
        raise VqcliError(
            f"'{repository}' cannot be a repository's name", hint=f"write {FORMS}", reason="reference"
        )


def _is_name(text: str) -> bool:
    return bool(NAME.fullmatch(text)) and ".." not in text


def is_plain(name: str) -> bool:
    """Whether a file's name stays below its folder, on every system, and can be shown."""
    parts = PurePosixPath(name).parts
    below = name == "/".join(parts) and not name.startswith("/") and ".." not in parts
    return below and len(name) <= 500 and name.isprintable() and not set(name) & set('\\:*?"<>|')


def check_named(reference: str | None) -> None:
    """Raises VqcliError where ``reference`` names nothing: it lies nowhere here, and is no name for the Hub.

    Asks nobody and reads nothing: for commands that look at all they were given before they fetch a model.
    """
    named = reference or os.environ.get(ENVIRONMENT)
    if named and not files.exists(Path(named)) and published(named) is None:
        locate(named)


def checkpoints(run: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first. Raises VqcliError if they cannot be listed."""
    return [path for path in files.children(run / "checkpoints") if STEP.fullmatch(path.name)]


def step_of(checkpoint: Path) -> int:
    """After which step a checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def newest_checkpoint(
    run: Path, damaged: Callable[[Path, Path], object] = lambda folder, file: None
) -> Path | None:
    """The checkpoint of the highest step whose manifest verifies; ``damaged`` is told of newer ones, and of
    a file of each that is not as it was.

    Raises VqcliError if one cannot be read: whether it is whole, nobody knows then.
    """
    for folder in reversed(checkpoints(run)):
        wrong = files.damaged_file(folder)
        if wrong is None:
            return folder
        damaged(folder, wrong)
    return None


def locate(reference: str | None, *, unbaked: bool = False) -> Path:
    """The folder of a model: a model folder, a run (its export, else its newest checkpoint) or a checkpoint.

    ``unbaked`` asks for the checkpoint first: a codebook that was baked for export cannot train on as it was.
    None stands for ``$VQCLI_MODEL``. Raises VqcliError where there is no model.
    """
    reference = reference or os.environ.get(ENVIRONMENT)
    if not reference:
        raise VqcliError(
            "no model was given",
            hint=f"`vqcli train` makes runs/demo; name a model, or set ${ENVIRONMENT}",
            reason="input-missing",
        )
    path = Path(reference)
    if not files.is_folder(path):
        near = difflib.get_close_matches(reference, ALIASES, n=1)
        hint = (
            "give a model folder, a run such as runs/demo, or owner/name on the Hub "
            "(usage-report: or tokens; evaluate: or images; info: these, or a recipe)"
        )
        raise VqcliError(
            f"there is no model at {reference}",
            hint=f"did you mean '{near[0]}'?" if near else f"{hint}; vqcli list models shows short names",
            reason="input-missing",
        )
    if files.is_file(path / "recipe.yaml"):
        return _of_run(path, unbaked)
    if not files.is_file(path / "config.json"):
        raise VqcliError(
            f"{path} is no model folder: it has no config.json",
            hint="vqcli train makes one",
            reason="input-missing",
        )
    return path


def _refused(folder: Path, file: Path) -> None:
    """Nobody is given an older model than he means. Raises VqcliError."""
    hint = (
        f"name an older one in {folder.parent}; vqcli train --resume {folder.parents[1]} goes on from there"
    )
    raise VqcliError(f"{file} is damaged or missing: {folder} is not whole", hint=hint, reason="damaged")


def _of_run(run: Path, unbaked: bool) -> Path:
    exported = run / "model" if files.is_file(run / "model" / "config.json") else None
    newest = newest_checkpoint(run, _refused) if unbaked or not exported else None
    found = newest or exported
    if found is None:
        raise VqcliError(
            f"{run} is a run without a finished checkpoint",
            hint=f"continue it: vqcli train --resume {run}",
            reason="input-missing",
        )
    return found
