"""The table's files, small, on a server of the loopback that misbehaves as told."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from vqcli.errors import VqcliError
from vqcli.library.downloads import web
from vqcli.library.networks import NETWORKS, Network
from vqcli.types import silent

NAME = "lpips-vgg"


@dataclass
class Site:
    """Files by name, what is done to the next requests, and what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str | int] = field(default_factory=list)
    """A status, ``cut``, ``short`` (no length, then half), ``whole`` (goes on nowhere), ``drip``,
    ``drip-head``, ``drip-redirect``, or where to go."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Names with the ranges that were asked for."""
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        name, wanted = self.path.strip("/"), self.headers.get("Range", "")
        self.site.asked.append((name, wanted))
        fault = self.site.faults.pop(0) if self.site.faults else ""
        data = self.site.files.get(name, b"")
        if isinstance(fault, int) or "://" in fault or not data:
            self.send_response(fault if isinstance(fault, int) else 302 if fault else 404)
            self.send_header("Location", str(fault))
            self.end_headers()
            return
        if fault.startswith("drip"):
            self.drip(fault, len(data))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if fault != "whole" else 0
        self.send_response(206 if start else 200)
        if fault != "short":
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data) if fault in ("", "whole") else (start + len(data)) // 2
        self.wfile.write(data[start:end])

    def drip(self, part: str, size: int) -> None:
        """A byte now and then, for ever: of the head, of where it is to be had, or of the file."""
        self.send_response(302 if part == "drip-redirect" else 200)
        if part == "drip-redirect":
            self.send_header("Location", "http://127.0.0.1:9/")
        self.send_header("Content-Length", str(size if part == "drip" else 1 << 30))
        if part != "drip-head":
            self.end_headers()
        else:
            self.flush_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x")
                time.sleep(0.02)


def small_files(folder: Path) -> dict[str, bytes]:
    """Two files as they are published, but small: what is not needed is there too."""
    some = {"features.0.weight": torch.rand(8, 3, 3, 3), "features.0.bias": torch.rand(8)}
    heads = {f"lin{k}.model.1.weight": torch.rand(1, 4, 1, 1) for k in range(5)}
    torch.save(some | {"classifier.0.weight": torch.rand(64, 64)}, folder / "backbone.pth")
    torch.save(heads, folder / "heads.pth", _use_new_zipfile_serialization=False)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def serving(published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with the published files, a table that names it, and places of our own."""
    site = Site(dict(published))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setitem(NETWORKS, NAME, table(site.url, published))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("VQCLI_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(web, "WAITS", (0, 0))
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def table(url: str, published: dict[str, bytes]) -> Network:
    """The real entry, with the small files: one of them with the first digits of its hash only."""
    real = NETWORKS[NAME]
    digests = [hashlib.sha256(published[name]).hexdigest() for name in ("backbone.pth", "heads.pth")]
    return replace(
        real,
        files=tuple(
            replace(file, url=url + name, bytes=len(published[name]), sha256=digest)
            for file, name, digest in zip(
                real.files, ("backbone.pth", "heads.pth"), (digests[0][:8], digests[1])
            )
        ),
    )


def put(folder: Path, published: dict[str, bytes], *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or published:
        (folder / name).write_bytes(published[name])
    return folder


def holds(found: dict[str, torch.Tensor], tmp_path: Path, published: dict[str, bytes]) -> None:
    """Just the features and heads of the published files."""
    folder = put(tmp_path / "compared", published)
    want = torch.load(folder / "backbone.pth") | torch.load(folder / "heads.pth")
    want.pop("classifier.0.weight")
    assert set(found) == set(want)
    assert all(torch.equal(found[key], tensor) for key, tensor in want.items())


class Told(type(silent)):
    """Keeps what was said and done."""

    def __init__(self):
        self.lines, self.stretches, self.done = [], [], 0

    def say(self, text):
        self.lines.append(text)

    def start(self, what, total, unit, done=0):
        self.stretches.append((what, total, unit))
        self.done = 0

    def advance(self, n=1):
        self.done += n


def names(site: Site) -> list[str]:
    return [name for name, _ in site.asked]


@contextmanager
def refused(reason: str, match: str) -> Iterator[None]:
    with pytest.raises(VqcliError, match=match) as caught:
        yield
    assert caught.value.reason == reason
    assert caught.value.hint


def nothing_kept(kept: Path) -> None:
    assert [path.name for path in kept.parent.iterdir()] == [".lock"]
