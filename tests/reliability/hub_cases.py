"""All ways in which a Hub, or what is kept of it, is tried to be other than it should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hub.server import Fault
from tests.reliability.hub_behaviours import (
    AWAY,
    PATIENCE,
    REPOSITORY,
    TOLD,
    WRONG,
    Behaviour,
    answered,
    body_of,
    changed,
    elsewhere,
    faults,
    got,
    linked,
    moved,
    names,
    no_name,
    refused,
    rotten,
    told,
    turned_into_folder,
)
from vqcli import bounds


def statuses() -> Iterator[Behaviour]:
    for status in (408, 429, 500, 502, 503, 504):
        yield Behaviour(f"status-{status}", faults(Fault("", "/resolve/", status)), AWAY, away=True)
        twice = faults(Fault("HEAD", "/resolve/", status, times=2))
        yield Behaviour(f"status-{status}-twice", twice, good=True)
        yield Behaviour(f"list-{status}", answered(b"", status), AWAY, listing=True)
    for status, reasons in (
        (400, AWAY),
        (401, {"denied"}),
        (403, {"denied"}),
        (404, {"input-missing"}),
        (416, AWAY),
    ):
        yield Behaviour(f"status-{status}", faults(Fault("", "/resolve/", status)), reasons)
        yield Behaviour(f"list-{status}", answered(b"", status), reasons, listing=True)
    for code in ("RepoNotFound", "RevisionNotFound", "EntryNotFound", "GatedRepo"):
        gone = faults(Fault("", "/resolve/", 404, headers={"X-Error-Code": code}))
        yield Behaviour(f"missing-{code}", gone, {"input-missing", "denied"})
    for after in ("1", "3600", "soon", "-1"):
        wait = faults(Fault("HEAD", "/resolve/", 429, headers={"Retry-After": after}))
        yield Behaviour(f"retry-after-{after}", wait, AWAY)


def redirections() -> Iterator[Behaviour]:
    for status in (301, 302, 303, 307, 308):
        yield Behaviour(f"moved-{status}", moved(status, elsewhere))
        loop = moved(status, lambda at: f"/{REPOSITORY}/resolve/main/{at.source.file}")
        yield Behaviour(f"loop-{status}", loop, AWAY | TOLD)
        yield Behaviour(f"content-elsewhere-{status}", moved(status, elsewhere, "GET"), good=True)
    yield Behaviour("moved-to-file", moved(302, lambda _: "file:///etc/passwd"), AWAY | TOLD)
    yield Behaviour("moved-to-nothing", moved(302, lambda _: ""), AWAY | TOLD)
    yield Behaviour("moved-to-a-bad-address", moved(302, lambda _: "http://[bad"), AWAY | TOLD)
    yield Behaviour("content-from-file", moved(302, lambda _: "file:///etc/passwd", "GET"), AWAY | TOLD)
    yield Behaviour(
        "content-in-a-loop",
        moved(302, lambda at: f"{at.hub.url}/{REPOSITORY}/resolve/main/x.safetensors", "GET"),
        AWAY | TOLD,
    )


def cuts() -> Iterator[Behaviour]:
    for at in (0, 1, 17_000, 39_999):
        yield Behaviour(f"cut-once-at-{at}", got(cut=at, times=1), good=True)
        yield Behaviour(f"cut-at-{at}", got(cut=at), WRONG | AWAY)
    yield Behaviour(
        "stall-before-the-answer", faults(Fault("", "/resolve/", stall=3 * PATIENCE)), AWAY, away=True
    )
    yield Behaviour("stall-before-the-content", got(stall=3 * PATIENCE), AWAY)
    yield Behaviour("short-stall", got(stall=PATIENCE / 3), good=True)
    yield Behaviour("drip-of-headers", faults(Fault("HEAD", "/resolve/", drip=0.05)), AWAY, away=True)
    yield Behaviour("drip-of-content", got(drip=0.05), AWAY)
    yield Behaviour("drip-of-names", faults(Fault("GET", "/api/", drip=0.05)), AWAY, listing=True)
    yield Behaviour("refused", refused, AWAY, away=True)
    yield Behaviour("no-such-host", no_name, AWAY, away=True)


def wrong_contents() -> Iterator[Behaviour]:
    yield Behaviour("flipped-bit", body_of(changed), WRONG)
    yield Behaviour("flipped-bit-once", body_of(changed, 1), WRONG)
    yield Behaviour("same-size-zeros", body_of(lambda data: bytes(len(data))), WRONG)
    yield Behaviour("one-byte-less", body_of(lambda data: data[:-1]), WRONG | AWAY)
    yield Behaviour("one-byte-more", body_of(lambda data: data + b"x"), WRONG | AWAY)
    yield Behaviour("twice-as-long", body_of(lambda data: data * 2), WRONG | AWAY)
    yield Behaviour("nothing", body_of(lambda _: b""), WRONG | AWAY)
    yield Behaviour(
        "pointer",
        body_of(lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        WRONG | AWAY,
    )
    yield Behaviour("page", body_of(lambda _: b"<html>log in</html>"), WRONG | AWAY)
    yield Behaviour("flipped-small-file", body_of(changed), WRONG, file="config.json")
    yield Behaviour("page-for-small-file", body_of(lambda _: b"<html>"), WRONG | AWAY, file="config.json")
    yield Behaviour("portal", faults(Fault("", "", 200, body=b"<html>log in</html>")), AWAY | TOLD)
    yield Behaviour(
        "range-ignored", faults(Fault("GET", "", cut=9000, times=1), Fault("GET", "", whole=True)), good=True
    )
    yield Behaviour(
        "range-of-another-place",
        faults(Fault("GET", "", cut=9000, times=1), Fault("GET", "", shift=1)),
        WRONG | AWAY,
    )
    yield Behaviour("without-end", faults(Fault("GET", "/resolve/", endless=True)), WRONG)
    yield Behaviour("announced-less", got(headers={"Content-Length": "39999"}), WRONG | AWAY)
    yield Behaviour("announced-more", got(headers={"Content-Length": "40001"}), WRONG | AWAY)
    yield Behaviour("announced-negative", got(headers={"Content-Length": "-1"}), WRONG | AWAY)
    yield Behaviour("announced-2-63", got(headers={"Content-Length": str(1 << 63)}), WRONG | AWAY)
    yield Behaviour("gzip-that-is-none", got(headers={"Content-Encoding": "gzip"}), WRONG | AWAY)


def wrong_headers() -> Iterator[Behaviour]:
    for name, value in {
        "missing": "", "no-hex": '"../../../etc/passwd"', "path": '"/etc/cron.d/x"',
        "long": '"' + "a" * 10_000 + '"',
        "short": '"abc"', "of-another": '"' + "b" * 64 + '"', "quoted-twice": '""' + "c" * 40 + '""',
    }.items():  # fmt: skip
        sent = told(ETag=value, X_Linked_Etag=value)
        reasons = {"protocol", "hash", "unavailable"}
        yield Behaviour(f"etag-{name}", sent, reasons)
        yield Behaviour(f"etag-{name}-of-a-small-file", told(ETag=value), reasons, file="config.json")
    for name, value in {
        "missing": "",
        "no-hex": "main",
        "path": "../../..",
        "short": "abc",
        "long": "a" * 64,
    }.items():
        yield Behaviour(f"commit-{name}", told(X_Repo_Commit=value), TOLD | AWAY)
    yield Behaviour(
        "commit-of-another", told(X_Repo_Commit="f" * 40), TOLD, pinned=True, states=("fresh", "partial")
    )
    for name, value in {
        "less": "39999",
        "more": "40001",
        "none": "",
        "text": "many",
        "huge": str(1 << 50),
    }.items():
        sent = told(X_Linked_Size=value, **({"Content_Length": value} if name == "none" else {}))
        yield Behaviour(f"size-{name}", sent, WRONG | AWAY | {"output"})
    yield Behaviour("small-file-of-gigabytes", told(X_Linked_Size=str(3 << 30)), TOLD, file="config.json")
    change = faults(
        Fault("HEAD", "", headers={"X-Linked-Etag": '"' + "d" * 64 + '"'}, times=1), Fault("GET", "", times=1)
    )
    yield Behaviour("etag-changes-in-between", change, {"hash", "protocol"})


def wrong_names() -> Iterator[Behaviour]:
    for name, data in {
        "page": b"<html>", "list": b"[]", "null": b"null", "empty": b"", "cut": b'{"id": "them/vq", "sib',
        "nested": b"[" * 100_000, "utf-16": "{}".encode("utf-16"),
        "numbers": b'{"id": 5, "sha": 5, "siblings": 5}',
        "gigabytes": b" " * (bounds.ANSWER + 1),
    }.items():  # fmt: skip
        yield Behaviour(f"list-is-{name}", answered(data), TOLD | AWAY, listing=True)
    odd = ("../x", "/etc/passwd", "a/../../x", "a\nb", "..", "C:\\x", "a/./b", "")
    yield Behaviour("list-of-odd-names", names(*odd, "x.safetensors"), listing=True, good=True)
    yield Behaviour("list-of-a-name-twice", names("x.safetensors", "x.safetensors"), listing=True, good=True)
    yield Behaviour("list-of-too-many", names(*map(str, range(20_000))), TOLD, listing=True)
    yield Behaviour(
        "list-without-end", faults(Fault("GET", "/api/", endless=True)), TOLD | AWAY, listing=True
    )
    other = json.dumps({"id": REPOSITORY, "sha": "f" * 40, "siblings": []}).encode()
    yield Behaviour("list-of-another-commit", answered(other), TOLD, listing=True, pinned=True)


def wrong_caches() -> Iterator[Behaviour]:
    here = ("cached", "offline")
    damage: dict[str, Callable[[Path], object]] = {
        "flipped": lambda path: path.write_bytes(changed(path.read_bytes())),
        "cut": lambda path: os.truncate(path, 100),
        "empty": lambda path: os.truncate(path, 0),
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
        "gone": Path.unlink,
        "a-link": linked,
        "a-folder": turned_into_folder,
    }
    for name, change in damage.items():
        for file in ("x.safetensors", "config.json"):
            reasons = {"hash", "offline", "input-missing", "output", "os"}
            yield Behaviour(f"cache-{name}-{file}", rotten(change), reasons, file=file, states=here)
            yield Behaviour(
                f"cache-{name}-{file}-pinned", rotten(change), reasons, file=file, states=here, pinned=True
            )
    yield Behaviour("good", lambda _: None, good=True)
    yield Behaviour("good-small", lambda _: None, good=True, file="config.json")
    yield Behaviour("good-list", lambda _: None, good=True, listing=True)
    yield Behaviour("good-pinned", lambda _: None, good=True, pinned=True)


def behaviours() -> Iterator[Behaviour]:
    for kind in (statuses, redirections, cuts, wrong_contents, wrong_headers, wrong_names, wrong_caches):
        yield from kind()
