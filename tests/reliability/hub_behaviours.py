"""How a Hub, or what is kept of it, can be other than it should be."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

from huggingface_hub import constants

from tests.hub.server import Fault, Hub
from vqcli.library.alias import Published

STATES = ("fresh", "partial", "cached", "offline")
REPOSITORY, SECRET = "them/vq", "hf_secret"
GRACE, PATIENCE = 0.4, 0.25
"""Seconds that stand for half a minute without progress, and for ten without an answer."""
LONGEST = 6.0
"""Seconds after which a trial counts as hanging."""
AWAY, TOLD, WRONG = {"unavailable"}, {"protocol"}, {"hash", "damaged", "protocol"}
ALL = {"unavailable", "protocol", "denied", "hash", "damaged", "input-missing", "output"}


@cache
def contents(seed: int, commit: int = 0) -> dict[str, bytes]:
    """The files of a commit: one of weights, and a small one."""
    chance = random.Random(seed * 2 + commit)
    return {"x.safetensors": chance.randbytes(40_000), "config.json": b'{"a": %d}' % (seed * 2 + commit)}


@dataclass
class Setting:
    """What a behaviour works on."""

    hub: Hub
    other: Hub
    """Of another address, where nobody's token may go."""
    folder: Path
    source: Published
    data: bytes
    """What the file holds that is asked for."""
    commit: str
    patches: ExitStack

    @property
    def blobs(self) -> list[Path]:
        return [path for path in (self.folder / "hub").rglob("blobs/*") if path.suffix != ".incomplete"]


@dataclass(frozen=True)
class Behaviour:
    """How the Hub, or the cache, is not as it should be."""

    name: str
    set_up: Callable[[Setting], object]
    reasons: set[str] = field(default_factory=lambda: ALL)
    """Of the errors that may come."""
    good: bool = False
    """Whether the file must be had all the same."""
    away: bool = False
    """Whether it counts as no answer: then what is here already is used."""
    file: str = "x.safetensors"
    listing: bool = False
    """Whether the names of the repository are asked for, and no file."""
    states: tuple[str, ...] = STATES
    pinned: bool = False
    """Whether a commit is asked for and not a branch."""


def faults(*each: Fault) -> Callable[[Setting], None]:
    def set_up(at: Setting) -> None:
        at.hub.faults = [Fault(**vars(fault)) for fault in each]

    return set_up


def moved(status: int, to: Callable[[Setting], str], method: str = "") -> Callable[[Setting], None]:
    """A redirection."""

    def set_up(at: Setting) -> None:
        at.hub.faults = [
            Fault(method, "/resolve/", status, headers={"Location": to(at), "X-Repo-Commit": at.commit})
        ]

    return set_up


def elsewhere(at: Setting) -> str:
    """The same file at the other host."""
    at.other.repositories = at.hub.repositories
    return f"{at.other.url}/{REPOSITORY}/resolve/main/{at.source.file}"


def changed(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def rotten(change: Callable[[Path], object]) -> Callable[[Setting], None]:
    """A cache whose file has changed."""

    def set_up(at: Setting) -> None:
        for path in at.blobs:
            change(path)

    return set_up


def linked(path: Path) -> None:
    secret = path.parents[3] / "outside"
    secret.write_bytes(b"of another")
    path.unlink()
    path.symlink_to(secret)


def turned_into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def refused(at: Setting) -> None:
    """Nobody listens there."""
    address = "http://127.0.0.1:9"
    at.patches.enter_context(patch.object(constants, "ENDPOINT", address))
    at.patches.enter_context(
        patch.object(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
    )


def no_name(at: Setting) -> None:
    at.patches.enter_context(patch.object(constants, "ENDPOINT", "http://no-such-host.invalid"))


def names(*listed: str) -> Callable[[Setting], None]:
    """A repository that says that it holds such names."""

    def set_up(at: Setting) -> None:
        siblings = [{"rfilename": name} for name in listed]
        body = json.dumps({"id": REPOSITORY, "sha": at.commit, "siblings": siblings}).encode()
        at.hub.faults = [Fault("GET", "/api/models", 200, body=body)]

    return set_up


def answered(body: bytes, status: int = 200) -> Callable[[Setting], None]:
    return faults(Fault("GET", "/api/models", status, body=body))


def got(**how: object) -> Callable[[Setting], None]:
    """What is done when the file itself is asked for."""
    return faults(Fault("GET", "/resolve/", **how))  # type: ignore[arg-type]


def told(**headers: str) -> Callable[[Setting], None]:
    """Headers of the answer about the file."""
    return faults(
        Fault("", "/resolve/", headers={name.replace("_", "-"): value for name, value in headers.items()})
    )


def body_of(change: Callable[[bytes], bytes], times: int = 1000) -> Callable[[Setting], None]:
    def set_up(at: Setting) -> None:
        at.hub.faults = [Fault("GET", "/resolve/", body=change(at.data), times=times)]

    return set_up
