"""One published file from a plain https address: whole and of its hash, or not at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from vqcli import __version__, files
from vqcli.errors import VqcliError
from vqcli.library.downloads.pace import Pace, Plain
from vqcli.library.downloads.problems import PASSING
from vqcli.library.downloads.settings import SECURE, proxy_of, trouble
from vqcli.library.networks import NetworkFile
from vqcli.types import Progress, silent

WAITS = (1, 3)
"""Seconds before each further try that brings nothing; one that brings something starts them anew."""
TIMEOUT = 30
"""Seconds without a byte after which a connection counts as cut."""
CHUNK, MEGA = 1 << 20, 1_000_000
RETRY = "give the same command again"


def check_online(file: NetworkFile) -> None:
    """Raises VqcliError if ``HF_HUB_OFFLINE`` said, when Python started, that nobody is to be asked."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        message = f"{file.name} is not downloaded: HF_HUB_OFFLINE is set"
        raise VqcliError(message, hint="unset it", reason="offline")


def download(file: NetworkFile, path: Path, progress: Progress = silent) -> None:
    """Write a published file to ``path``, in a folder that is there.

    Raises VqcliError where it cannot be had, is not the published one, or does not fit on the disk; then
    nothing is left.
    """
    check_online(file)
    if why := trouble(SECURE, "which is not used for this download"):
        message = f"{file.name} cannot be downloaded: {why}"
        raise VqcliError(message, hint="correct or unset it", reason="unavailable")
    _check_room(file, path)
    with files.writing(path) as out:
        digest = _receive(file, out, progress)
        if not digest.startswith(file.sha256):
            message = f"what came for {file.url} is not the published file: its SHA-256 is {digest}"
            hint = f"nothing of it was kept; does a proxy change downloads? otherwise {RETRY}"
            raise VqcliError(message, hint=hint, reason="hash")


def _check_room(file: NetworkFile, path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    if file.bytes > free:
        message = f"{file.name} has {size(file.bytes)}, and the disk has room for {size(free)}"
        hint = "make room, or name a cache folder on another disk: $VQCLI_CACHE"
        raise VqcliError(message, hint=hint, reason="output")


def size(count: int) -> str:
    """So many bytes, for a reader."""
    return f"{count / MEGA:,.0f} MB" if count >= MEGA else f"{count / 1000:,.0f} KB"


def _receive(file: NetworkFile, out: IO[bytes], progress: Progress) -> str:
    """Write all of a file, going on where the connection was cut; its SHA-256."""
    waits, digest = list(WAITS), hashlib.sha256()
    pace = Pace(urlsplit(file.url).hostname or "")
    while True:
        before = out.tell()
        try:
            for start, chunk in _pieces(file, before, pace):
                if start == 0:  # also where the server does not go on, but begins again
                    out.seek(0)
                    out.truncate()
                    digest = hashlib.sha256()
                    progress.start(f"download {file.name}", -(-file.bytes // MEGA), "MB")
                told = -(-out.tell() // MEGA)
                out.write(chunk)
                digest.update(chunk)
                progress.advance(-(-out.tell() // MEGA) - told)
            return digest.hexdigest()
        except _Passing as e:
            waits = list(WAITS) if out.tell() > before else waits
            if not waits:
                raise
            going = f": going on after {size(out.tell())}" if out.tell() else ""
            progress.say(f"{e}: trying again in {waits[0]} s{going}")
            time.sleep(waits.pop(0))


class _Passing(VqcliError):
    """A failure that another try may not meet."""


def _pieces(file: NetworkFile, start: int, pace: Pace) -> Iterator[tuple[int, bytes]]:
    """Pieces of a file, each with the byte it begins at; from 0 where the server cannot go on at ``start``.

    Raises VqcliError if it ends too early, is too slow, or of another size; no error is the disk's.
    """
    host = urlsplit(file.url).hostname
    with _answer(file, start, pace) as response:
        at = start if response.status == 206 else 0
        announced = response.length
        if announced is not None and at + announced != file.bytes:
            raise _other(file, f"{at + announced:,} bytes")
        while at < file.bytes:
            chunk = _read(response, min(CHUNK, file.bytes - at), host)
            if not chunk:
                raise _Passing(f"{host} broke off", hint=RETRY, reason="unavailable")
            yield at, chunk
            at += len(chunk)
        if announced is None and _read(response, 1, host):
            raise _other(file, f"more than {file.bytes:,} bytes")


def _read(response: http.client.HTTPResponse, most: int, host: str | None) -> bytes:
    """The next bytes of an answer. Raises VqcliError where the connection was cut."""
    try:
        return response.read(most)
    except (OSError, http.client.HTTPException) as e:
        raise _Passing(f"{host} broke off", hint=RETRY, reason="unavailable") from e


def _other(file: NetworkFile, what: str) -> VqcliError:
    message = f"what answers for {file.url} is not the published file: it has {what}, not {file.bytes:,}"
    return VqcliError(message, hint="does a proxy stand between? nothing was kept", reason="protocol")


class _Guarded(HTTPRedirectHandler):
    """Follows to https only, or where http was asked for: what a plain connection sends, anyone may."""

    def redirect_request(self, req: Request, fp: Any, *rest: Any) -> Request | None:
        if fp:  # or all that it sends would be read
            fp.close()
        secure = urlsplit(rest[-1]).scheme == "https" or req.type == "http"
        return super().redirect_request(req, fp, *rest) if secure else None


def _answer(file: NetworkFile, start: int, pace: Pace) -> http.client.HTTPResponse:
    """The server's answer, from byte ``start`` on. Raises VqcliError if there is none."""
    headers = {"User-Agent": f"vqcli/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
    host = urlsplit(file.url).hostname
    try:
        return build_opener(Plain(pace), _Guarded).open(Request(file.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as e:
        e.close()
        if e.code in PASSING:
            message = f"{host} failed on {file.name}: it answered {e.code}"
            raise _Passing(message, hint="try again later", reason="unavailable") from e
        message = f"{host} does not give {file.name}: it answered {e.code}"
        raise VqcliError(message, hint="is it kept from you by a proxy?", reason="denied") from e
    except (OSError, http.client.HTTPException) as e:
        raise _unreached(host or "", e) from e


def _unreached(host: str, e: Exception) -> VqcliError:
    """The error of a server from which no answer came."""
    cause = e.reason if isinstance(e, URLError) else e
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = f"{host} cannot be trusted: {cause.verify_message}"
        return VqcliError(message, hint="name your proxy's certificate: SSL_CERT_FILE", reason="unavailable")
    if isinstance(cause, TimeoutError) or getattr(cause, "errno", 0) == errno.ETIMEDOUT:
        return _Passing(f"{host} did not answer in time", hint="check the connection", reason="unavailable")
    said = getattr(cause, "strerror", "") or str(cause) or type(cause).__name__
    proxy = proxy_of(host)
    through, check = (f" through {proxy}", "is that proxy right?") if proxy else ("", "check the connection")
    return _Passing(f"{host} cannot be reached{through} ({said})", hint=check, reason="unavailable")
