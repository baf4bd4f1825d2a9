"""A Hub on the loopback: serves and takes repositories, misbehaves as told, logs what it was asked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

HEAVY = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
CODES = {"repository": "RepoNotFound", "revision": "RevisionNotFound", "file": "EntryNotFound"}


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Fault:
    """What is done to requests whose method and path fit, so many times."""

    method: str
    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Sent in place of the usual ones; empty values leave them out."""
    cut: int | None = None
    """The connection ends after so many bytes of the body."""
    stall: float = 0
    """Seconds before anything is sent."""
    body: bytes | None = None
    """Sent in place of the right one."""
    drip: float = 0
    """Seconds between the bytes of the answer: of its head where no body is asked for."""
    endless: bool = False
    """The body never ends."""
    whole: bool = False
    """All of a file is sent where the rest is asked for."""
    shift: int = 0
    """So many bytes further on is what is sent where the rest is asked for."""
    times: int = 1_000


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]


class Hub:
    """Repositories by name, each a list of commits, each files by name."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.faults: list[Fault] = []
        self.log: list[Asked] = []
        self.token = ""
        """If set, who asks without it is refused."""
        self.url = ""

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add files; returns the commit."""
        commits = self.repositories.setdefault(repository, [])
        commits.append({**(commits[-1] if commits else {}), **files})
        return self.name_of(repository, len(commits) - 1)

    def name_of(self, repository: str, index: int) -> str:
        return hashlib.sha1(f"{repository}{index}".encode()).hexdigest()

    def find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | str:
        """Commit and files, or what there is not."""
        commits = self.repositories.get(repository)
        if commits is None:
            return "repository"
        names = [self.name_of(repository, i) for i in range(len(commits))]
        if revision == "main" and names:
            return names[-1], commits[-1]
        return (revision, commits[names.index(revision)]) if revision in names else "revision"

    def asked(self, method: str, part: str = "") -> list[Asked]:
        return [each for each in self.log if each.method == method and part in each.path]

    def fault(self, method: str, path: str) -> Fault | None:
        for each in self.faults:
            if each.method in (method, "") and each.path in path and each.times > 0:
                each.times -= 1
                return each
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int, body: bytes = b"", fault: Fault | None = None, **headers: str) -> None:
        sent = {"Content-Length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
        if fault:
            sent |= fault.headers
        self.send_response(status)
        for name, value in sent.items():
            if value and not (fault and fault.endless and name == "Content-Length"):
                self.send_header(name, value)
        if fault and fault.drip and self.command == "HEAD":
            self.slowly(fault.drip, b"X-More: " + b"a" * 2000)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.drip:
            self.slowly(fault.drip, body)
        elif fault and fault.endless:
            self.close_connection = True
            while True:
                self.wfile.write(b"[1, 2, 3, 4, 5, 6, 7, " * 3000)
        elif fault and fault.cut is not None and len(body) > fault.cut:
            self.wfile.write(body[: fault.cut])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
        else:
            self.wfile.write(body)

    def slowly(self, seconds: float, data: bytes) -> None:
        self.flush_headers()
        for at in range(len(data)):
            self.wfile.write(data[at : at + 1])
            self.wfile.flush()
            time.sleep(seconds)

    def value(self, value: Any, fault: Fault | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), fault, Content_Type="application/json")

    def missing(self, what: str) -> None:
        self.answer(404, X_Error_Code=CODES[what], X_Error_Message=f"no such {what}")

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path)
        self.hub.log.append(Asked(self.command, path, dict(self.headers)))
        fault = self.hub.fault(self.command, path)
        if fault and fault.stall:
            time.sleep(fault.stall)
        if fault and fault.status:
            self.answer(fault.status, fault.body or b"", fault)
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, X_Error_Message="Invalid username or password.")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*found.groups(), fault)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?(?:\?.*)?", path):
            self.listing(found[1], found[2] or "main", fault)
        elif self.command == "POST":
            self.take(path, body)
        else:
            self.answer(404)

    def handle(self) -> None:
        with suppress(ConnectionError):  # who asked has enough
            super().handle()

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def resolve(self, repository: str, revision: str, name: str, fault: Fault | None) -> None:
        found = self.hub.find(repository, revision)
        if isinstance(found, str) or name not in found[1]:
            self.missing(found if isinstance(found, str) else "file")
            return
        commit, data = found[0], found[1][name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_hash(data)}"', "Accept-Ranges": "bytes"}
        if name.endswith(HEAVY):
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(data).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(data))
        if fault and fault.body is not None:
            data = fault.body
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and not (fault and fault.whole):
            at = int(start[1]) + (fault.shift if fault else 0)
            headers["Content-Range"] = f"bytes {start[1]}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[at:], fault, **headers)
        elif self.command == "HEAD":
            self.answer(200, b"", fault, **headers | {"Content-Length": str(len(data))})
        else:
            self.answer(200, data, fault, **headers)

    def listing(self, repository: str, revision: str, fault: Fault | None) -> None:
        found = self.hub.find(repository, revision)
        if isinstance(found, str):
            self.missing(found)
            return
        siblings = [{"rfilename": name} for name in (*found[1], ".gitattributes")]
        self.value({"id": repository, "sha": found[0], "siblings": siblings}, fault)

    def take(self, path: str, body: bytes) -> None:
        """What an upload asks."""
        if path == "/api/repos/create":
            told = json.loads(body)
            owner = told.get("organization") or "me"
            self.hub.repositories.setdefault(f"{owner}/{told['name']}", [])
            self.value({"url": f"{self.hub.url}/{owner}/{told['name']}"})
        elif path == "/api/validate-yaml":
            self.value({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [entry["path"] for entry in json.loads(body)["files"]]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self.value({"files": [{"path": name, **mode} for name in names]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main(?:\?.*)?", path):
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            commit = self.hub.commit(found[1], files)
            address = f"{self.hub.url}/{found[1]}/commit/{commit}"
            self.value({"commitUrl": address, "commitOid": commit, "pullRequestUrl": None})
        else:
            self.answer(404)


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub that answers while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
