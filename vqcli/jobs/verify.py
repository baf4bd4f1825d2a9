"""Whether what vqcli wrote is still what it wrote: every hash and every count, anew, and what can be done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vqcli import files
from vqcli.checkpoint.contents import CARD, MANIFEST, relist
from vqcli.errors import VqcliError
from vqcli.files.hashes import ANEW
from vqcli.jobs.verifiable import EDITED, Check, checks_of
from vqcli.types import Progress, silent

State = Literal["whole", "edited", "unfinished", "damaged"]
STATES: dict[str, State] = {EDITED: "edited", "unfinished": "unfinished"}
"""By the reason of an error; all others are damage."""
WORST: tuple[State, ...] = ("whole", "edited", "unfinished", "damaged")
TEXT = (".json", ".yaml", ".yml", ".md")
"""How names of what people may edit end."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    file: Path
    state: State
    reason: str
    """A word of ``errors.REASONS``; ``changed`` of what was edited and may be."""
    what: str
    again: str
    """How it can be made again, or taken as it is."""


@dataclass(frozen=True)
class VerifyResult:
    """What was found."""

    path: Path
    kinds: dict[str, int]
    """Files that were looked at, by the kind of thing that they are part of."""
    files: int
    state: State
    """The worst of all findings."""
    findings: list[Finding]
    sealed: list[Path]
    """Edited text that is taken as it is from now on."""


def verify(path: Path, *, seal: bool = False, progress: Progress = silent) -> VerifyResult:
    """Check every file of a run, model, tokens, codebook, cache, evaluation or folder of images.

    ``seal`` takes edited text as it is, before that. Raises VqcliError if nothing of ours is there.
    """
    if not files.exists(path):
        raise VqcliError(f"{path} does not exist", hint="check the path", reason="input-missing")
    with hashing_anew():
        sealed = take_as_it_is(path) if seal else []
        found = list(checks_of(path))
        if not found:
            hint = "give a run, a model, tokens, a codebook, an evaluation, a cache, or images that it made"
            raise VqcliError(f"{path} holds nothing that vqcli wrote", hint=hint, reason="input-empty")
        progress.start("verify", len(found), "files")
        findings = []
        kinds: dict[str, set[Path]] = {}
        for what, check in found:
            kinds.setdefault(what, set()).add(check.path)
            if finding := judged(check):
                findings.append(finding)
            progress.advance()
    states = {finding.state for finding in findings}
    worst = next((state for state in reversed(WORST) if state in states), WORST[0])
    counts = {what: len(paths) for what, paths in kinds.items()}
    return VerifyResult(path, counts, sum(counts.values()), worst, findings, sealed)


def judged(check: Check) -> Finding | None:
    """What is wrong with a file; None if nothing is. Raises VqcliError where the machine cannot tell."""
    try:
        check.call()
    except VqcliError as e:
        if e.reason == "os":
            raise
        state = STATES.get(e.reason, "damaged")
        again = e.hint if state == "edited" else check.again
        return Finding(check.path, state, e.reason, str(e), again)
    return None


@contextmanager
def hashing_anew() -> Iterator[None]:
    """Inside, no hash is remembered."""
    before = os.environ.get(ANEW)
    os.environ[ANEW] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ANEW]
        else:
            os.environ[ANEW] = before


def take_as_it_is(path: Path) -> list[Path]:
    """Give edited text new hashes: a JSON file, a recipe, and what a manifest lists of text.

    Raises VqcliError if it is no JSON.
    """
    if files.is_file(path):
        folder = next((f for f in path.parents[:2] if path.name in listed(f) or nested(path, f)), None)
        if folder:
            return [taken(path, folder)]
        if path.suffix not in TEXT or not files.seal(path):
            hint = "it is for tokens.json and other JSON files, recipes, and what a manifest.json lists"
            raise VqcliError(f"{path} carries no seal", hint=hint, reason="wrong-kind")
        return [path]
    sealed = []
    for _, check in list(checks_of(path)):
        each = check.path
        if each.suffix not in TEXT or not files.is_file(each) or judged(check) is None:
            continue
        folder = next((f for f in each.parents[:2] if each.name in listed(f) or nested(each, f)), None)
        if folder:
            sealed.append(taken(each, folder))
        elif files.seal(each):
            sealed.append(each)
    return sealed


def nested(path: Path, folder: Path) -> bool:
    """Whether a manifest above lists a file."""
    return path.parent != folder and path.relative_to(folder).as_posix() in listed(folder)


def listed(folder: Path) -> dict[str, object]:
    """What a folder's manifest lists; nothing where there is none."""
    found: object = None
    with files.passing_over(), suppress(KeyError, TypeError):
        found = files.parse_json(files.read_bytes(folder / MANIFEST), folder / MANIFEST)["files"]
    return found if isinstance(found, dict) else {}


def taken(path: Path, folder: Path) -> Path:
    """Let a folder's manifest tell of a text as it is now. Raises VqcliError if that is none, or no JSON."""
    if path.suffix == ".json":
        files.read_json(path, files.LISTS)
    elif path.name != CARD and path.suffix not in TEXT:
        raise VqcliError(f"{path} is no text", hint="copy it again", reason="wrong-kind")
    relist(folder, [path.relative_to(folder).as_posix()])
    return path
