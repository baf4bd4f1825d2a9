"""Progress on stderr as a bar, for terminals."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from vqcli.cli.progress import numbers_text, state_text
from vqcli.escapes import visible


class _State(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = None if task.total is None else int(task.total)
        speed = task.finished_speed or task.speed
        text = state_text(int(task.completed), total, task.fields["unit"], speed)
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
            self._bars.update(self._task, numbers=numbers_text(self._shown))

    def say(self, text: str) -> None:
        self._bars.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bar as it stands and give the terminal back."""
        self._bars.stop()
