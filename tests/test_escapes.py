"""Names are neutral wherever they are written."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vqcli.escapes import cell, fenced, html, markdown, visible

PACKAGE = Path(__file__).parents[1] / "vqcli"
NAMES = [
    '=HYPERLINK("http:x")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "a\nb",
    "\x1b[2J\x1b]8;;http://x\x07",
    "\u202egnp.exe",
    "`\n# Title <b>.pt",
    "<img src=x onerror=alert(1)>",
    "</script><svg onload=alert(1)>",
    '" onmouseover="x',
    "[a](http://x)",
    "![a](http://x)",
    "http://x",
    "**a** _b_ ~~c~~ | d",
    "---\nlicense: other\n---",
    "bad\udcff",
    "\U000e0041hidden",
    "&lt;b&gt;",
]


class Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, attributes))

    def handle_data(self, data):
        self.text += data


@given(st.one_of(st.sampled_from(NAMES), st.text()))
def test_one_line_without_anything_invisible(name):
    told = visible(name)
    assert told.isprintable() or all(c.isprintable() or c.isspace() or ord(c) > 0x7F for c in told)
    assert len(told.splitlines()) <= 1
    told.encode()


@given(st.one_of(st.sampled_from(NAMES), st.text()))
def test_html_is_text(name):
    seen = Seen()
    seen.feed(f'<p title="{html(name)}">{html(name)}</p>')
    seen.close()
    assert [(tag, [key for key, _ in given]) for tag, given in seen.tags] == [("p", ["title"])]
    assert seen.text == visible(name) == seen.tags[0][1][0][1]


@given(st.one_of(st.sampled_from(NAMES), st.text()))
def test_markdown_has_no_mark_left(name):
    told = markdown(name)
    without = re.sub(r"&#\d+;", "", told)
    assert not set(without) & set("\\`*[]|~#@$<>&")
    assert "://" not in without
    assert len(told.splitlines()) <= 1
    seen = Seen()
    seen.feed(told)
    seen.close()
    assert (seen.tags, seen.text) == ([], visible(name))


def test_ordinary_names_stay_as_they_are():
    for name in ("vq_ds16_c2i.pt", "photos/cat 1.png, fit to 256x256", "épée.png", "a-b.c"):
        assert name == visible(name) == html(name) == markdown(name) == cell(name)


@given(st.one_of(st.sampled_from(NAMES), st.text()))
def test_a_cell_is_no_formula(name):
    written = io.StringIO(newline="")
    csv.writer(written).writerow([cell(name)])
    (read,) = next(csv.reader(io.StringIO(written.getvalue(), newline="")))
    assert not read or read[0] not in "=+-@\t\r\n"
    assert read.removeprefix("'") == name.removeprefix("'")


@pytest.mark.parametrize("text", ["a", "```\n# b", "x\n````yaml\n", ""])
def test_a_fence_is_not_left(text):
    first, *lines, last = fenced(text, "yaml").splitlines()
    assert first == f"{last}yaml"
    assert not any(line.lstrip().startswith(last) for line in lines)
    recipe = fenced(yaml.safe_dump({"a": f"{text}\n```\n# c"}), "yaml").splitlines()
    assert not any(line.lstrip().startswith(recipe[-1]) for line in recipe[1:-1])


def test_nobody_escapes_on_their_own():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "escapes.py":
            assert "from html import" not in text, path
            assert "unicode_escape" not in text, path
            assert "csv.writer(" not in text or "cell(" in text, path
