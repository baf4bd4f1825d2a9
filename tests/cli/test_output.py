import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vqcli.cli.bars import RichProgress
from vqcli.cli.options import parse_size
from vqcli.cli.output import Out, to_plain
from vqcli.cli.progress import PlainProgress, duration
from vqcli.cli.text import listed, table
from vqcli.escapes import visible
from vqcli.types import silent


@dataclass(frozen=True)
class Inner:
    share: float


@dataclass(frozen=True)
class Result:
    path: Path
    grid: tuple[tuple[int, int], ...]
    count: np.int64
    curve: np.ndarray
    inner: Inner
    loss: float = float("nan")


RESULT = Result(Path("a/b"), ((1, 2),), np.int64(3), np.array([0.5, np.inf]), Inner(0.25))


def test_json_is_one_value(capsys):
    Out(json=True).result(RESULT, "for people", essential="a/b")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "path": "a/b",
        "grid": [[1, 2]],
        "count": 3,
        "curve": [0.5, None],
        "inner": {"share": 0.25},
        "loss": None,
    }
    assert captured.err == ""


def test_people_and_scripts(capsys):
    def text():
        raise AssertionError("nobody asked for the text")

    Out().result(RESULT, lambda: "two\nlines")
    assert capsys.readouterr().out == "two\nlines\n"
    Out(quiet=True).result(RESULT, text, essential=Path("a/b"))
    assert capsys.readouterr().out == "a/b\n"
    Out(quiet=True).result(RESULT, text)
    assert capsys.readouterr().out == ""


def test_talk_goes_to_stderr(capsys):
    out = Out()
    out.say("talk")
    out.detail("detail")
    out.warn("careful")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "talk\nwarning: careful\n")
    out = Out(quiet=True, verbose=True)
    out.say("talk")
    out.detail("detail")
    out.warn("careful")
    assert capsys.readouterr().err == "detail\nwarning: careful\n"


def test_only_the_first_process_talks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    out = Out(json=True)
    out.result(RESULT, "text")
    out.say("talk")
    assert out.progress() is silent
    assert capsys.readouterr() == ("", "")
    out.error("it broke", "mend it")
    assert capsys.readouterr() == ("", "error (process 1): it broke\nhint: mend it\n")


def test_names_are_data(capsys):
    name = "\x1b[31mred[/]\n[bold]\u202egnp.\udcff"
    assert visible(name) == r"\x1b[31mred[/]\n[bold]\u202egnp.\udcff"
    Out().result(None, table(["name", "n"], [(name, 1234)]))
    assert capsys.readouterr().out == f"{'name':<38}  {'n':>5}\n{visible(name)}  1,234\n"
    Out().error(name)
    assert capsys.readouterr().err == f"error: {visible(name)}\n"


def test_pipes_get_whole_lines(capsys):
    Out().result(None, table(["a", ""], [("x" * 300, "y" * 300)]))
    assert capsys.readouterr().out.splitlines()[1] == "x" * 300 + "  " + "y" * 300


def test_listed_counts_what_it_leaves_out():
    assert listed("rejected", []) == []
    assert listed("rejected", ["a\n"]) == ["rejected (1):", r"  a\n"]
    assert listed("rejected", range(12))[-2:] == ["  9", "  and 2 more"]


def test_to_plain_leaves_json_types_alone():
    value = {"a": [1, "x", None, True, 0.5]}
    assert to_plain(value) == value


@pytest.mark.parametrize(
    ("seconds", "text"), [(7, "0:07"), (754, "12:34"), (12345, "3:25:45"), (176400, "2d 1:00:00")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_sizes():
    assert parse_size("256") == (256, 256)
    assert parse_size("256x384") == (256, 384)
    assert parse_size("native") == "native"


def test_plain_progress_speaks_every_few_seconds():
    now, stream = [0.0], io.StringIO()
    progress = PlainProgress(stream, clock=lambda: now[0])
    progress.start("encode", 40, "images")
    for _ in range(20):
        now[0] += 1
        progress.show(loss=0.123456)
        progress.advance(2)
    progress.close()
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "encode: 0/40 images"
    assert lines[1] == "encode: 10/40 images, 2 images/s, 0:15 left, loss 0.1235"
    assert lines[-1] == "encode: 40/40 images, 2 images/s in 0:20, loss 0.1235"
    assert len(lines) == 6


def test_plain_progress_grows_rare_and_copes_with_an_unknown_total():
    now, stream = [0.0], io.StringIO()
    progress = PlainProgress(stream, clock=lambda: now[0])
    progress.start("count", None, "files")
    for _ in range(36000):
        now[0] += 1
        progress.advance()
    progress.start("next", None, "files")
    lines = stream.getvalue().splitlines()
    assert lines[-2] == "count: 36,000 files, 1 files/s in 10:00:00"
    assert 600 < len(lines) < 800


def test_what_was_done_before_has_no_part_in_the_rate():
    now, stream = [0.0], io.StringIO()
    progress = PlainProgress(stream, clock=lambda: now[0])
    progress.start("train", 100, "steps", 60)
    now[0] += 10
    progress.advance(10)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train: 60/100 steps"
    assert lines[1] == "train: 70/100 steps, 1 steps/s, 0:30 left"
    bar = RichProgress(Console(file=io.StringIO(), force_terminal=True))
    bar.start("train", 100, "steps", 60)
    assert bar._bars.tasks[0].completed == 60
    bar.close()


def test_rich_progress_shows_state_and_numbers():
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=120, color_system=None))
    progress.start("train [bold]", 4, "steps")
    progress.show(loss=0.5)
    progress.advance(2)
    progress.say("saved [bold] \x1b[0m")
    progress.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "train [bold]" in shown
    assert "2/4 steps" in shown
    assert "loss 0.5" in shown
    assert r"saved [bold] \x1b[0m" in shown
