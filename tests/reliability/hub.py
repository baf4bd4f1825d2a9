"""A Hub that misbehaves in every way that is known: what vqcli makes of it, whatever it has of it already."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http, close_session

from tests.hub.server import Hub, serving
from tests.reliability.hub_behaviours import (
    GRACE,
    LONGEST,
    PATIENCE,
    REPOSITORY,
    SECRET,
    Behaviour,
    Setting,
    contents,
)
from tests.reliability.hub_cases import behaviours
from tests.reliability.trials import Part, Trial
from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.library.alias import Published
from vqcli.library.downloads import fetch

AT_ONCE = SimpleNamespace(**{name: getattr(time, name) for name in dir(time) if name[0] != "_"})
AT_ONCE.sleep = lambda _: None
"""The clock of a client that does not wait before it tries again."""
CERTIFICATES = cache(ssl.create_default_context)
"""Those of the system, read once: that takes longer than a trial."""
OWN = {"hub", "ours", "assets", "outside"}
"""What may lie in a trial's folder: caches, and what a trial puts beside them."""


class Hubs(Part):
    """Behaviours of a Hub, for each of what is here already."""

    name, figure, goal, share = "hub", "Hub scenarios", 150, 120

    def __init__(self) -> None:
        self._open = ExitStack()
        self._hubs: tuple[Hub, Hub] | None = None

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        for one in behaviours():
            for state in one.states:
                yield Trial(f"{one.name}/{state}", self._trial(one, state, seed))

    def close(self) -> None:
        self._open.close()

    def _trial(self, one: Behaviour, state: str, seed: int) -> Callable[[Path], str]:
        def run(folder: Path) -> str:
            if self._hubs is None:
                self._hubs = self._open.enter_context(serving()), self._open.enter_context(serving())
            with settings(*self._hubs, folder, one, state, seed) as at:
                return tried(at, one, state)

        return run


@contextmanager
def settings(hub: Hub, other: Hub, folder: Path, one: Behaviour, state: str, seed: int) -> Iterator[Setting]:
    """The real client, turned to the Hub, with caches of its own and little patience."""
    for each in (hub, other):
        each.repositories, each.faults, each.log = {}, [], []
    commit = hub.commit(REPOSITORY, contents(seed))
    with ExitStack() as patches:
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        environment |= {"HF_TOKEN": SECRET, "VQCLI_CACHE": str(folder / "ours")}
        if seed % 2 or one.name.startswith(("moved", "content")):  # where it may go, and must not go further
            environment["VQCLI_TOKEN_HOST"] = hub.url.removeprefix("http://")
        patches.enter_context(patch.dict(os.environ, environment, clear=True))
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(folder / "hub"),
            "HF_ASSETS_CACHE": str(folder / "assets"),
            "HF_TOKEN_PATH": str(folder / "token"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_ETAG_TIMEOUT": PATIENCE,
            "HF_HUB_DOWNLOAD_TIMEOUT": PATIENCE,
        }.items():
            patches.enter_context(patch.object(constants, name, value))
        patches.enter_context(patch.object(bounds, "GRACE", GRACE))
        patches.enter_context(patch.object(bounds, "RATE", 1_000_000))
        patches.enter_context(patch.object(fetch, "WAITS", (0, 0)))
        patches.enter_context(patch.object(ssl, "create_default_context", CERTIFICATES))
        for module in (file_download, _http):
            patches.enter_context(patch.object(module, "time", AT_ONCE))
        source = Published(REPOSITORY, one.file, revision=commit if one.pinned else "main")
        yield Setting(hub, other, folder, source, contents(seed)[one.file], commit, patches)
        close_session()


def ask(at: Setting, one: Behaviour) -> bytes:
    """What was asked for: the file, or the names of all. Raises VqcliError."""
    if one.listing:
        found = fetch.listing(at.source)
        return " ".join((found.commit, *found.names)).encode()
    return fetch.fetch(at.source, at.folder / "ours" / "hashes.json").path.read_bytes()


def tried(at: Setting, one: Behaviour, state: str) -> str:
    """What of the promises does not hold; empty where all do."""
    outside, commit, right = at.folder / "outside", at.commit, at.data
    outside.write_bytes(b"of another")
    if state in ("cached", "offline"):
        ask(at, one)
        fetch.fetch(at.source, at.folder / "ours" / "hashes.json")
    if state == "partial":
        blobs = at.folder / "hub" / f"models--{REPOSITORY.replace('/', '--')}" / "blobs"
        blobs.mkdir(parents=True)
        for name in ("a" * 64, "b" * 40):
            (blobs / f"{name}.0123abcd.incomplete").write_bytes(b"of a dead process")
    at.hub.log.clear()
    at.patches.enter_context(patch.object(constants, "HF_HUB_OFFLINE", state == "offline"))
    one.set_up(at)
    began, wrong = time.monotonic(), []
    try:
        found, error = ask(at, one), None
    except VqcliError as e:
        found, error = None, e
    seconds = time.monotonic() - began
    if seconds > LONGEST:
        wrong.append(f"it took {seconds:.1f} s")
    if found is not None and not one.listing and found != right:
        wrong.append("other bytes were given for the file")
    if (
        found is not None
        and one.listing
        and not set(found.decode().split()[1:]) <= {*contents(0), ".gitattributes"}
    ):
        wrong.append(f"odd names were taken: {found[:200]!r}")
    if error is not None:
        wrong += unlike(error, one, state)
    if state == "offline" and at.hub.log:
        wrong.append("the Hub was asked though it must not be")
    wrong += leaked(at)
    if outside.read_bytes() != b"of another":
        wrong.append("a file outside the cache was changed")
    if others := {path.name for path in at.folder.iterdir()} - OWN:
        wrong.append(f"files appeared outside of the caches: {others}")
    return "; ".join(wrong) or afterwards(at, one, commit)


def unlike(error: VqcliError, one: Behaviour, state: str) -> Iterator[str]:
    """How an error is not what it should be."""
    kept = state in ("cached", "offline")
    if one.good or (kept and one.away):
        yield f"refused though it can be had: {error} ({error.reason})"
    elif error.reason not in (one.reasons | ({"offline"} if state == "offline" else set())):
        yield f"reason {error.reason}: {error}"
    if len(str(error)) > 400 or not str(error).isprintable() or not error.hint:
        yield f"no sentence with a hint: {str(error)[:500]!r}, {error.hint!r}"


def leaked(at: Setting) -> Iterator[str]:
    """Where the token went that it must not."""
    trusted = os.environ.get("VQCLI_TOKEN_HOST")
    for hub in (at.other,) if trusted else (at.hub, at.other):
        if any(SECRET in value for asked in hub.log for value in asked.headers.values()):
            yield f"the token went to {hub.url}"


def afterwards(at: Setting, one: Behaviour, commit: str) -> str:
    """Whether all is well again as soon as the Hub is: the same file, and nothing unfinished beside it."""
    at.hub.faults = []
    source = Published(REPOSITORY, at.source.file, revision=at.source.revision)
    with patch.object(constants, "HF_HUB_OFFLINE", False), good(at):
        memory = at.folder / "ours" / "hashes.json"
        try:
            try:
                found = fetch.fetch(source, memory)
            except VqcliError as e:
                if e.reason != "hash":  # what was kept is found to be wrong only now, and removed
                    raise
                found = fetch.fetch(source, memory)
        except VqcliError as e:
            return f"refused by a Hub that is well again: {e}"
        data = found.path.read_bytes()
    if data != at.data or found.folder.name != commit:
        return "other bytes, or another commit, from a Hub that is well again"
    left = [
        path
        for path in at.folder.rglob("*")
        if path.name.endswith(".incomplete") or path.name.startswith(".tmp-")
    ]
    return f"left behind: {', '.join(path.name for path in left)}" if left else ""


@contextmanager
def good(at: Setting) -> Iterator[None]:
    """The right address again."""
    template = at.hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    with (
        patch.object(constants, "ENDPOINT", at.hub.url),
        patch.object(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template),
        patch.object(constants, "HF_HUB_ETAG_TIMEOUT", 10),
        patch.object(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 10),
        patch.object(bounds, "GRACE", 30),
    ):
        close_session()
        yield
