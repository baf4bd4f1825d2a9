"""Two forms of progress on stderr: a rich bar for terminals, plain lines for logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from vqcli.escapes import visible
from vqcli.training.words import duration


def number(value: Any) -> str:
    """A number in four digits; anything else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _numbers(numbers: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in numbers.items())


def _state(done: int, total: int | None, unit: str, speed: float | None) -> str:
    """``128/1,000 images, 12.3 images/s, 1:10 left``, as far as it is known."""
    parts = [f"{done:,}/{total:,} {unit}" if total is not None else f"{done:,} {unit}"]
    if speed:
        parts.append(f"{number(float(speed))} {unit}/s")
        if total is not None and done < total:
            parts.append(f"{duration((total - done) / speed)} left")
    return ", ".join(parts)


class _State(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = None if task.total is None else int(task.total)
        speed = task.finished_speed or task.speed
        text = _state(int(task.completed), total, task.fields["unit"], speed)
        return Text(", ".join(filter(None, [text, task.fields["numbers"]])))


class RichProgress:
    """A bar with done, total, rate, time left and the latest numbers; one bar per stretch of work."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True, markup=False, emoji=False, highlight=False)
        what = TextColumn("{task.description}", markup=False)
        self._bars = Progress(what, BarColumn(bar_width=24), _State(), console=console)
        self._task: TaskID | None = None
        self._shown: dict[str, Any] = {}

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._shown = {}
        self._task = self._bars.add_task(visible(what), total=total, completed=done, unit=unit, numbers="")
        self._bars.start()

    def advance(self, n: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, n)

    def show(self, **numbers: Any) -> None:
        self._shown |= numbers
        if self._task is not None:
            self._bars.update(self._task, numbers=_numbers(self._shown))

    def say(self, text: str) -> None:
        self._bars.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bar as it stands and give the terminal back."""
        self._bars.stop()


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
        state = _state(self._done, self._total, self._unit, speed)
        numbers = _numbers(self._shown)
        self._spoke = self._clock()
        text = f"{self._what}: {state}{ending}" + (f", {numbers}" if numbers else "")
        print(visible(text), file=self._stream, flush=True)
