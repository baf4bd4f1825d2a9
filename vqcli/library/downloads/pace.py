"""How slow a server may be, and how much it may say: what drips or never ends is left alone."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.request import HTTPHandler, HTTPSHandler, Request

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.library.downloads.problems import Away

T = TypeVar("T")


class Pace:
    """Of all connections of a piece of work: seconds that were spent waiting, and bytes that moved."""

    def __init__(self, who: str = "the Hub") -> None:
        self.who, self.seconds, self.moved = who, 0.0, 0

    def of(self, call: Callable[[], T], moved: Callable[[T], int]) -> T:
        """What a call of the network returns. Raises Away where all of them together were too slow."""
        began = time.monotonic()
        try:
            found = call()
            self.moved += moved(found)
        finally:
            self.seconds += time.monotonic() - began
            if self.seconds > bounds.GRACE + self.moved / bounds.RATE:
                said = f"it sent {self.moved:,} bytes in {self.seconds:,.0f} seconds"
                hint = "check the connection, or try later"
                raise Away(f"{self.who} is too slow: {said}", hint=hint, reason="unavailable")
        return found


def keep(client: Any, pace: Pace) -> None:
    """Let a client of the Hub, which is new, count all that it does."""
    for transport in (client._transport, *client._mounts.values()):
        if pool := getattr(transport, "_pool", None):  # none stands for a host that needs no proxy
            pool._network_backend = _Backend(pool._network_backend, pace)


class _Counted:
    """Something of the network's, all of whose other methods are its own."""

    def __init__(self, inner: Any, pace: Pace) -> None:
        self._inner, self._pace = inner, pace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Backend(_Counted):
    def connect_tcp(self, *arguments: Any, **options: Any) -> _Stream:
        stream = self._pace.of(lambda: self._inner.connect_tcp(*arguments, **options), lambda _: 0)
        return _Stream(stream, self._pace)


class _Stream(_Counted):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._pace.of(lambda: self._inner.read(max_bytes, timeout), len)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._pace.of(lambda: self._inner.write(buffer, timeout), lambda _: len(buffer))

    def start_tls(self, *arguments: Any, **options: Any) -> _Stream:
        stream = self._pace.of(lambda: self._inner.start_tls(*arguments, **options), lambda _: 0)
        return _Stream(stream, self._pace)


class _Reader(io.RawIOBase):
    """What a connection of Python's own receives."""

    def __init__(self, inner: io.RawIOBase, pace: Pace) -> None:
        super().__init__()
        self._inner, self._pace = inner, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._pace.of(lambda: self._inner.readinto(buffer) or 0, lambda count: count)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer all of whose bytes are counted, those of its head too."""

    def __init__(self, pace: Pace, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), pace))


class Plain(HTTPHandler, HTTPSHandler):
    """Opens addresses with Python's own client, and counts all that it receives."""

    def __init__(self, pace: Pace) -> None:
        HTTPSHandler.__init__(self)
        self._pace = pace

    def do_open(self, http_class: Any, req: Request, **options: Any) -> http.client.HTTPResponse:
        """As the client's, whose connections make the answers."""

        def connection(*arguments: Any, **more: Any) -> http.client.HTTPConnection:
            made: http.client.HTTPConnection = http_class(*arguments, **more)
            made.response_class = partial(_Response, self._pace)  # type: ignore[assignment]
            return made

        return super().do_open(connection, req, **options)


def read_short(response: Any) -> None:
    """Have all of an answer that is no file, or raise VqcliError where it is too long for one."""
    request = response.request
    if request.method == "GET" and response.status_code in (200, 206) and "/api/" not in request.url.path:
        return
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > bounds.ANSWER:
            response.close()
            message = f"the Hub's answer does not end after {bounds.ANSWER >> 20} MiB"
            raise VqcliError(message, hint="is HF_ENDPOINT right? nothing was downloaded", reason="protocol")
    response._content = b"".join(parts)  # as reading it as a whole would leave it
