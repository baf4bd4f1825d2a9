"""The picture of a run's numbers: its panels, axes, marks and names."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from vqcli.report import svg
from vqcli.report.curves import COLUMNS, HEADER, HEIGHT, MOST_POINTS, WIDTH, arrange, curves, thinned

NASTY = """<script>alert("x")</script>&'\u202e\x00\x1b\udcff"""
INSIDE = svg.LEFT, WIDTH - svg.RIGHT, svg.TOP, HEIGHT - svg.BOTTOM


def read(text):
    """The elements of a picture below its root, with names as they are written."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return root


class Panel:
    """A panel as it was drawn: its names, lines, marks, and the numbers at its axes."""

    def __init__(self, group):
        self.group = group
        texts = [(e.get("class"), e.text or "", float(e.get("y"))) for e in group.iter("text")]
        self.titles = [text for kind, text, y in texts if y == 14 and text]
        self.names = [title.rsplit(" ", 1)[0] for title in self.titles]
        self.y_ticks = [
            e.text for e in group.iter("text") if e.get("text-anchor") == "end" and not e.get("class")
        ]
        self.lines = [points(e) for e in group.iter("path") if e.get("class").startswith("line")]
        self.dots = list(group.iter("circle"))
        self.marks = [points(e)[0][0] for e in group.iter("path") if e.get("class").startswith("mark")]


def points(path):
    numbers = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.get("d"))
    return np.array(numbers, float)


def panels(lines, title="run"):
    return [Panel(group) for group in read(curves(lines, title)).iter("g")]


def lines_of(steps, **numbers):
    """A line each step, with numbers that are functions of it."""
    return [{"step": s} | {name.replace("__", "/"): f(s) for name, f in numbers.items()} for s in steps]


def place(step, last):
    left, right, *_ = INSIDE
    return left + (right - left) * step / last


def with_discriminator(starts, heard):
    lines = lines_of(range(10, 101, 10), l2=lambda s: 1 / s, gradient_norm=lambda s: s)
    for line in lines:
        if line["step"] >= starts:
            line |= {"discriminator/loss": 1.0, "discriminator/real": 0.1 * line["step"]}
            line |= {"discriminator/fake": -1.0}
        if line["step"] >= heard:
            line["adversarial"] = 0.5
    return lines


def test_the_file_stands_alone():
    text = curves(with_discriminator(30, 60), "run")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert text.count("<style>") == 1
    assert "prefers-color-scheme:dark" in text
    for loaded in ("href", "url(", "@import", "<script", "<image", "<use"):
        assert loaded not in text


SHAPES = {"path": "stroke", "circle": "stroke", "rect": "fill", "text": "fill"}
"""What must have a colour of its own, and by which attribute."""


def test_every_reader_sees_colours():
    """Readers that know no variables or no style sheets at all: what shapes have is in their attributes."""
    text = curves(with_discriminator(30, 60), "run")
    assert "var(" not in text
    theme = re.search(r"<style>(.*?)</style>", text)[1]
    assert re.fullmatch(r"@media\(prefers-color-scheme:dark\)\{.*\}", theme)  # nothing else needs it
    found = [(e, SHAPES[e.tag]) for e in read(text).iter() if e.tag in SHAPES]
    assert len(found) > 50
    for shape, kind in found:
        assert re.fullmatch(r"#[0-9a-f]{3}|#[0-9a-f]{6}", shape.get(kind)), shape.attrib
        if kind == "stroke":
            assert shape.get("fill") == "none"
    colours = {e.get("class"): e.get(kind) for e, kind in found}
    assert colours["line"] != colours["line second"] == colours["name1"]
    assert colours["page"] == "#fff"
    title = next(e for e in read(text).iter("text") if e.get("class") == "title")
    assert (title.get("font-size"), title.get("fill")) == ("18", colours["label"])
    root = read(text)
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


def test_shares_are_told_as_per_cents():
    lines = lines_of(range(1, 11), utilization=lambda s: s / 10, l2=lambda s: s / 10)
    lines += lines_of([10], validation__utilization=lambda _: 0.9961, validation__psnr=lambda _: 0.5)
    drawn = {panel.names[0]: panel for panel in panels(lines)}
    assert drawn["utilization"].y_ticks == ["20%", "40%", "60%", "80%", "100%"]
    assert drawn["utilization"].titles == ["utilization 100%"]
    assert drawn["validation/utilization"].titles == ["validation/utilization 99.61%"]
    assert drawn["l2"].y_ticks == ["0.2", "0.4", "0.6", "0.8", "1"]
    assert drawn["validation/psnr"].titles == ["validation/psnr 0.5"]


def test_losses_come_first_and_what_belongs_together_shares_a_panel():
    names = ["validation/psnr", "learning_rate", "discriminator/loss", "discriminator/learning_rate", "l2"]
    names += ["validation/other", "discriminator/fake", "utilization", "entropy", "discriminator/real"]
    names += ["gradient_norm", "discriminator/gradient_norm", "adversarial", "adaptive_weight"]
    assert arrange(names) == [
        ["l2"],
        ["entropy"],
        ["adversarial"],
        ["adaptive_weight"],
        ["discriminator/loss"],
        ["discriminator/real", "discriminator/fake"],
        ["gradient_norm", "discriminator/gradient_norm"],
        ["learning_rate", "discriminator/learning_rate"],
        ["utilization"],
        ["validation/psnr"],
        ["validation/other"],
    ]


def test_every_number_is_drawn_once_where_its_panel_is():
    lines = with_discriminator(30, 60)
    lines.append({"step": 100, "validation/psnr": 21.5, "validation/images": 8})
    drawn = panels(lines)
    names = [name for panel in drawn for name in panel.names]
    assert sorted(names) == sorted({name for line in lines for name in line} - {"step", "validation/images"})
    pair = next(panel for panel in drawn if len(panel.lines) == 2)
    assert pair.titles == ["discriminator/real 10", "discriminator/fake -1"]
    moves = [panel.group.get("transform") for panel in drawn]
    assert moves == [
        f"translate({i % COLUMNS * WIDTH} {HEADER + i // COLUMNS * HEIGHT})" for i in range(len(drawn))
    ]
    box = read(curves(lines, "run")).get("viewBox").split()
    assert box == ["0", "0", str(COLUMNS * WIDTH), str(HEADER + -(-len(drawn) // COLUMNS) * HEIGHT)]
    assert len(panels(lines_of([1, 2], l2=float))) == 1


def test_all_panels_share_the_steps_and_a_late_line_begins_late():
    drawn = {panel.names[0]: panel for panel in panels(with_discriminator(30, 60))}
    for name, first in (("l2", 10), ("discriminator/loss", 30), ("adversarial", 60)):
        (line,) = drawn[name].lines
        assert line[0, 0] == pytest.approx(place(first, 100), abs=0.06)
        assert line[-1, 0] == INSIDE[1]


def test_points_stand_where_their_values_are():
    (panel,) = panels(lines_of([0, 5, 10], l2=lambda s: 20 + s))
    _, _, top, bottom = INSIDE
    room = 0.04 * 10
    heights = [bottom - (bottom - top) * (v - 20 + room) / (10 + 2 * room) for v in (20, 25, 30)]
    np.testing.assert_allclose(panel.lines[0][:, 1], heights, atol=0.06)
    assert panel.y_ticks == ["20", "25", "30"]


def test_more_than_two_decades_of_positive_values_are_logarithmic():
    def drawn(*values):
        (panel,) = panels(lines_of(range(len(values)), x=lambda s: values[s]))
        return panel.lines[0][:, 1], panel.y_ticks

    heights, ticks = drawn(1000.0, 1.0, 0.1)
    assert ticks == ["0.1", "1", "10", "100", "1k"]
    assert (heights[1] - heights[0]) == pytest.approx(3 * (heights[2] - heights[1]), abs=0.3)
    for values in ((100.0, 50.0, 1.0), (1000.0, 500.0, 0.0), (1000.0, 200.0, -1.0)):
        heights, _ = drawn(*values)
        share = (values[0] - values[1]) / (values[0] - values[2])
        assert heights[1] - heights[0] == pytest.approx(share * (heights[2] - heights[0]), abs=0.11)


def test_numbers_at_an_axis_differ():
    (panel,) = panels(lines_of(range(3), x=lambda s: 24.31 + s / 100))
    assert len(set(panel.y_ticks)) == len(panel.y_ticks) > 2
    assert [float(t) for t in panel.y_ticks] == pytest.approx(np.arange(24.31, 24.331, 0.005))
    (wide,) = panels(lines_of(range(3), x=lambda s: 1e-9 * 1e12**s))
    assert 5 < len(wide.y_ticks) <= 10


def test_missing_and_infinite_values_are_left_out():
    lines = lines_of(range(1, 7), l2=float)
    lines[2]["l2"], lines[3]["l2"], lines[4]["l2"] = float("nan"), float("inf"), float("-inf")
    del lines[1]["l2"]
    lines[0]["never"] = float("nan")
    (panel,) = panels(lines)
    np.testing.assert_allclose(panel.lines[0][:, 0], [place(1, 6), place(6, 6)], atol=0.06)
    assert panel.titles == ["l2 6"]


def test_one_value_is_a_dot_and_a_constant_is_a_level_line():
    lines = [*lines_of([0, 10], lr=lambda _: 0.5), {"step": 10, "validation/psnr": 22.0}]
    level, single = panels(lines)
    assert len(set(level.lines[0][:, 1])) == 1
    assert level.y_ticks == ["0.5"]
    (dot,) = single.dots
    assert float(dot.get("cx")) == INSIDE[1]
    assert INSIDE[2] < float(dot.get("cy")) < INSIDE[3]


@pytest.mark.parametrize(
    ("starts", "heard", "expected"),
    [
        (30, 60, {"discriminator starts (step 30)": 30, "heard by the tokenizer (step 60)": 60}),
        (30, 30, {"discriminator starts (step 30)": 30}),
        (10, 60, {"heard by the tokenizer (step 60)": 60}),
        (10, 10, {}),
        (999, 999, {}),
    ],
)
def test_every_panel_marks_when_the_discriminator_comes_in(starts, heard, expected):
    lines = with_discriminator(starts, heard)
    root = read(curves(lines, "run"))
    assert [e.text for e in root.iter("text") if e.get("class") == "note"] == list(expected)
    for panel in panels(lines):
        assert panel.marks == pytest.approx([place(step, 100) for step in expected.values()], abs=0.06)


def test_names_are_data():
    text = curves([{"step": 1, NASTY: 1.0, f"validation/{NASTY}": 2.0}], NASTY)
    root = read(text)
    shown = """<script>alert("x")</script>&'\\u202e\\x00\\x1b\\udcff"""
    assert [e.tag for e in root.iter() if e.tag == "script"] == []
    texts = [e.text for e in root.iter("text")]
    assert texts.count(shown) == 1
    assert f"{shown} 1" in texts
    assert f"validation/{shown} 2" in texts
    assert shown in root.get("aria-label")
    text.encode()


def test_many_points_are_thinned_to_means():
    values = np.random.default_rng(0).normal(size=2 * MOST_POINTS + 1)
    given = [(10 * i, float(v)) for i, v in enumerate(values)]
    thin = thinned(given)
    slow = [np.mean(given[i : i + 3], axis=0) for i in range(0, len(given), 3)]
    np.testing.assert_allclose(thin, slow)
    assert thinned(given[:MOST_POINTS]) == given[:MOST_POINTS]


def test_a_long_run_makes_a_small_file():
    lines = lines_of(range(1, 100_001), l2=lambda s: 1 / s, gradient_norm=float)
    lines[0] |= {"adversarial": 1.0}
    text = curves(lines, "run")
    assert len(text) < 30_000
    one, *_ = panels(lines)[0].lines
    assert MOST_POINTS - 5 <= len(one) <= MOST_POINTS
    assert one[-1, 0] <= INSIDE[1]


def test_a_run_without_numbers():
    assert panels([]) == []
    assert "0 steps" in curves([], "run")
