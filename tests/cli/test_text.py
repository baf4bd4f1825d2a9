"""Text on a terminal, 80 and 50 columns wide, and in a pipe."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from vqcli.cli.output import Out
from vqcli.cli.text import counted, fields, paragraph, table

ROWS = [("a-long-name-of-a-model", 16_384, "MIT", "one token for 16x16 pixels of ImageNet, as published"),
        ("b", 7, "Apache-2.0", "another")]  # fmt: skip
LONG = "word " * 30


@pytest.fixture
def terminal(monkeypatch):
    """Makes stdout a terminal of so many columns."""

    def become(width):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)

    return become


def shown_on_a_terminal(width, *arguments):
    """What a command shows on a terminal of so many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "vqcli", *arguments]
    process = subprocess.Popen(command, stdout=its, stderr=its, env=env | {"TERM": "xterm"})
    os.close(its)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux says so that the other end is closed
        pass
    os.close(ours)
    process.wait(60)
    return shown.decode().replace("\r\n", "\n")


def test_a_table_in_a_pipe_has_a_row_a_line():
    lines = table(["name", "codes", "licence", ""], [*ROWS, ("c", 1, "MIT", LONG)]).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["name", "codes", "licence"]
    assert lines[2] == f"{'b':<22}       7  Apache-2.0  another"
    assert lines[3].endswith(LONG.rstrip())


@pytest.mark.parametrize("width", [80, 50, 30, 24])
def test_a_table_fits_the_terminal_and_loses_nothing(terminal, width):
    plain = table(["name", "codes", "licence", ""], ROWS, "  ")
    terminal(width)
    text = table(["name", "codes", "licence", ""], ROWS, "  ")
    assert max(map(len, text.splitlines())) <= width
    assert sorted(re.sub(r"\s", "", text)) == sorted(re.sub(r"\s", "", plain))
    if width >= 50:  # a name is one word of the first column, and its number ends where the others do
        first = next(line for line in text.splitlines() if line.startswith("  a-long-name-of-a-model"))
        short = next(line for line in text.splitlines() if line.startswith("  b "))
        assert first.index("16,384") + 6 == short.index("7") + 1


def test_words_go_below_their_row_where_there_is_no_room_beside_it(terminal):
    terminal(44)
    assert table(["name", "codes", "licence", ""], ROWS).splitlines() == [
        "name                     codes  licence",
        "a-long-name-of-a-model  16,384  MIT",
        "    one token for 16x16 pixels of ImageNet,",
        "    as published",
        "b                            7  Apache-2.0",
        "    another",
    ]


def test_values_are_wrapped_below_themselves(terminal):
    terminal(40)
    lines = fields([("name", LONG), ("other", 1)], "title [bold]").splitlines()
    assert lines[0] == "title [bold]"
    assert lines[1].startswith("name   word")
    assert all(line.startswith("       word") for line in lines[2:-1])
    assert lines[-1] == "other  1"
    assert max(map(len, lines)) <= 40
    assert all(line.startswith("  word") and len(line) <= 40 for line in paragraph(LONG, "  ").splitlines())


def test_names_are_data_on_a_terminal_too(terminal):
    terminal(80)
    text = table(["n", ""], [("[red]x[/red]:smile:", "\x1b[31m\n")])
    assert text.splitlines()[1] == r"[red]x[/red]:smile:  \x1b[31m\n"


def test_wide_letters_keep_columns_apart(terminal):
    terminal(80)
    first, second = table(["", ""], [("写真", "x"), ("abcd", "y")]).splitlines()
    assert (first, second) == ("写真  x", "abcd  y")


def test_colour_is_for_terminals(terminal, capsys, monkeypatch):
    def said():
        Out().error("no: error", "try")
        Out().warn("careful")
        return capsys.readouterr().err

    plain = "error: no: error\nhint: try\nwarning: careful\n"
    assert said() == plain
    terminal(80)
    told = said()
    assert told.startswith("\x1b[31merror\x1b[0m: no: error\n")
    assert re.sub(r"\x1b\[\d+m", "", told) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert said() == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert said() == plain


def test_no_colour_in_json(terminal, capsys):
    terminal(80)
    Out(json=True).error("no", "hint: yes")
    Out(json=True).result({"error": "error: x"}, "ok: good")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 50])
@pytest.mark.parametrize("command", ["doctor", "list"])
def test_a_real_terminal(width, command):
    shown = shown_on_a_terminal(width, command)
    assert max(map(len, re.sub(r"\x1b\[\d+m", "", shown).splitlines())) <= width
    if command == "doctor":
        assert re.search(r"\x1b\[3[12]m(ok|problem)\x1b\[0m: ", shown)


def test_counted():
    assert (counted(1, "image"), counted(2000, "image"), counted(0, "code")) == (
        "1 image",
        "2,000 images",
        "0 codes",
    )
