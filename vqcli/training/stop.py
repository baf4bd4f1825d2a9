"""Signals that ask a run to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from vqcli.signals import heard


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that signals to stop are put into; the second one acts at once."""
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for which, handler in previous.items():
            signal.signal(which, handler)

    previous: dict[int, Any] = {}
    try:
        for number in heard():
            previous[number] = signal.signal(number, catch)
    except ValueError:  # not the main thread: the caller handles signals
        pass
    try:
        yield caught
    finally:
        for which, handler in previous.items():
            signal.signal(which, handler)
