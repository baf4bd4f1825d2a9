"""Signals that ask to stop: of a keyboard, a scheduler, a terminal that is gone. Imports next to nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from vqcli.errors import Interrupted

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""All are taken alike; other systems than Unix have the first two."""
GRACE = 20
"""Seconds that a worker process goes on after it was asked to end, since its parent may need a last batch."""
AGAIN = 0.05
"""Seconds after which a signal is sent again that was lost."""
received: list[int] = []
"""Signals that ``stop_at_once`` has heard: what they raise can become another error on its way."""


def heard() -> list[signal.Signals]:
    """Those that are acted on: what the process was started to ignore, as under nohup, stays ignored."""
    return [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def stop_at_once() -> None:
    """Let a signal raise Interrupted wherever the main thread is."""
    for number in heard():
        signal.signal(number, _stop)
    sys.unraisablehook = _raise_later


def _stop(number: int, frame: FrameType | None) -> None:
    received.append(number)
    raise Interrupted("stopped", number)


def _raise_later(told: Any) -> None:
    """Send a signal again that came where Python drops what is raised: while it forks, or frees an object.

    Other errors there are of half-made objects, whose making has failed with an error of its own.
    """
    if not isinstance(told.exc_value, Interrupted):
        if os.environ.get("VQCLI_DEBUG") == "1":
            sys.__unraisablehook__(told)
        return
    again = threading.Timer(AGAIN, os.kill, [os.getpid(), told.exc_value.signal])
    again.daemon = True
    again.start()


def end_quietly() -> None:
    """Let a signal end the process without a word, now that its work is done."""
    for number in heard():
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def by_default() -> Iterator[None]:
    """Inside, a signal ends the process as it would without handlers: for waits that none interrupts."""
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, signal.SIG_DFL) for number in heard()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def leave_to_parent() -> None:
    """In a worker process: stopping is its parent's to do, which a whole group of processes was told."""
    for number in STOPPING:
        signal.signal(number, _last_seconds if number == signal.SIGTERM else signal.SIG_IGN)


def _last_seconds(number: int, frame: FrameType | None) -> None:
    signal.alarm(GRACE)
