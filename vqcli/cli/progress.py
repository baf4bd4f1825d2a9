"""Progress on stderr in plain lines, for logs; ``cli.bars`` has the form for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from vqcli.escapes import visible
from vqcli.training.words import duration


def number(value: Any) -> str:
    """A number in four digits; anything else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def numbers_text(numbers: dict[str, Any]) -> str:
    """``loss 0.1234, rate 12.3``."""
    return ", ".join(f"{name} {number(value)}" for name, value in numbers.items())


def state_text(done: int, total: int | None, unit: str, speed: float | None) -> str:
    """``128/1,000 images, 12.3 images/s, 1:10 left``, as far as it is known."""
    parts = [f"{done:,}/{total:,} {unit}" if total is not None else f"{done:,} {unit}"]
    if speed:
        parts.append(f"{number(float(speed))} {unit}/s")
        if total is not None and done < total:
            parts.append(f"{duration((total - done) / speed)} left")
    return ", ".join(parts)


class PlainProgress:
    """A line at the start, one every few seconds (more rarely the longer it takes), and one at the end.

    Work that says how far it is, as training does, is left to speak: then only a minute's silence is broken.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._what = ""
        self._unit = ""
        self._total: int | None = None
        self._done = self._before = 0
        self._shown: dict[str, Any] = {}
        self._began = self._spoke = 0.0
        self._speaks = False

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        self.close()
        self._what, self._total, self._unit = what, total, unit
        self._done = self._before = done
        self._shown = {}
        self._began = self._clock()
        self._line()
        self._speaks = False

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = self._clock()
        if now - self._spoke >= (60.0 if self._speaks else min(60.0, max(5.0, (now - self._began) / 20))):
            self._line()

    def show(self, **numbers: Any) -> None:
        self._shown |= numbers

    def say(self, text: str) -> None:
        self._speaks, self._spoke = True, self._clock()
        print(visible(text), file=self._stream, flush=True)

    def close(self) -> None:
        """Say how far the work came."""
        if self._what:
            self._line(f" in {duration(self._clock() - self._began)}")
        self._what = ""

    def _line(self, ending: str = "") -> None:
        seconds = self._clock() - self._began
        speed = (self._done - self._before) / seconds if seconds > 0 else None
        state = state_text(self._done, self._total, self._unit, speed)
        numbers = numbers_text(self._shown)
        self._spoke = self._clock()
        text = f"{self._what}: {state}{ending}" + (f", {numbers}" if numbers else "")
        print(visible(text), file=self._stream, flush=True)
