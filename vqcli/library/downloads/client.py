"""The Hub's client, kept to what it should do: where tokens go, which answers are believed, who talks."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from vqcli.errors import VqcliError
from vqcli.library.downloads.pace import Pace, keep, read_short
from vqcli.library.downloads.problems import Away
from vqcli.library.downloads.settings import hub_trouble
from vqcli.types import Progress

TOKEN_HOST = "VQCLI_TOKEN_HOST"
"""Names a host (``host`` or ``host:port``), besides the official one, that may see the user's token."""
COMMIT = re.compile(r"[0-9a-f]{40}")
ETAG = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""Git's hash of a small file, or the SHA-256 of a large one."""
SECONDS = re.compile("[0-9]{1,9}")
PATIENCE = 60
"""Seconds a server may ask to be left alone before we give up."""
MEGA = 1_000_000


def endpoint() -> str:
    """Where the Hub is: the official address, else what ``HF_ENDPOINT`` said when Python started."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def token() -> bool | None:
    """None lets the client use the user's token, False keeps it: it goes to the official address by https."""
    from huggingface_hub import constants

    address, allowed = urlsplit(endpoint()), os.environ.get(TOKEN_HOST, "")
    official = endpoint() == constants._HF_DEFAULT_ENDPOINT
    return None if official or (allowed and allowed in (address.hostname, address.netloc)) else False


@contextmanager
def client(progress: Progress) -> Iterator[None]:
    """Inside, the Hub's client refuses odd answers, and talks through ``progress`` alone.

    Xet is off: it sends the token to whatever host an answer names, and its errors are not the client's.
    """
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils import _http

    usual, logger = _http._GLOBAL_CLIENT_FACTORY, logging.getLogger("huggingface_hub")

    def watched() -> Any:
        made = _made(usual)
        hooks = [*made.event_hooks["response"], believable, read_short]
        made.event_hooks = made.event_hooks | {"response": hooks}
        keep(made, pace)
        return made

    pace = Pace()
    talk, handlers, propagates = _Talk(progress), list(logger.handlers), logger.propagate
    xet, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
    set_client_factory(watched)
    logger.handlers, logger.propagate = [talk], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagates
        set_client_factory(usual)
        constants.HF_HUB_DISABLE_XET = xet


def _made(factory: Callable[[], Any]) -> Any:
    """A client of the network. Raises Away where the environment lets none be made."""
    why = hub_trouble()
    try:
        if not why:
            return factory()
    except Exception as e:  # of half a dozen kinds, for what certificates and proxies can be
        why = f"the settings of proxies or certificates cannot be used ({e})"
    hint = "correct or unset it; NO_PROXY names hosts that need no proxy"
    raise Away(f"the Hub cannot be asked: {why}", hint=hint, reason="unavailable")


def believable(response: Any) -> None:
    """Raises VqcliError on an answer whose commit or ETag, which become names of files, is none."""
    headers = response.headers
    asked = headers.get("Retry-After", "")
    if response.status_code == 429 and SECONDS.fullmatch(asked) and int(asked) > PATIENCE:
        message = f"the Hub asks to be left alone for {int(asked):,} seconds"
        raise VqcliError(message, hint="try again then, or log in: hf auth login", reason="unavailable")
    if response.request.method != "HEAD" or response.status_code >= 400:
        return
    etag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    for what, value, form in (("commit", headers.get("X-Repo-Commit"), COMMIT), ("ETag", etag, ETAG)):
        if value and not form.fullmatch(value):
            hint = "is HF_ENDPOINT right? nothing was downloaded"
            raise VqcliError(f"the Hub sent {value[:80]!r} as a {what}", hint=hint, reason="protocol")


class _Talk(logging.Handler):
    """Passes on that something is tried again; the rest comes as an error or is not worth saying."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        if "Trying to resume" in record.getMessage():
            self._progress.say("the connection was cut: going on where it was")
        elif "thrown while requesting" in record.getMessage():
            self._progress.say("the Hub does not answer: trying again")


def bar(progress: Progress, what: str, most: int) -> type:
    """What the client makes its progress bars of: one stretch of work, in millions of bytes.

    Raises VqcliError where there are more than ``most`` bytes: what never ends would fill the disk.
    """
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *_: Any, total: int | None = None, **__: Any) -> None:
            super().__init__(disable=True, total=total)
            self.received = self.told = 0
            self.shown = total is None or total >= MEGA
            if self.shown:
                progress.start(f"download {what}", total and -(-total // MEGA), "MB")

        def update(self, n: float | None = 1) -> None:
            self.received += int(n or 0)
            if self.received > most:
                message = f"{what} came with more than the {most:,} bytes that were announced"
                raise VqcliError(message, hint="try again; a proxy may change downloads", reason="damaged")
            told = -(-self.received // MEGA)
            if self.shown:
                progress.advance(told - self.told)
            self.told = told

        def update_transfer(self, n: float) -> None:
            """That this is here keeps the client from a second bar for the same bytes."""

    return Bar
