"""The study of utilization: settings that hold; table, picture and page that say what cells came to."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import utilization
from utilization_plot import LOOKS, UNIFORM, plot

from vqcli import files
from vqcli.report import svg
from vqcli.training.recipe import read_recipe

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("system", utilization.SYSTEMS)
def test_a_cell_is_its_recipe_with_other_codes_and_one_budget(system):
    cell = utilization.Cell(system, 1024, 7)
    recipe = read_recipe(utilization.SYSTEMS[system][0], cell.settings(800, Path("features.safetensors")))
    codebook = recipe.tokenizer.codebook
    assert (codebook.size, recipe.seed, recipe.training.steps) == (1024, 7, 800)
    assert recipe.training.batch_size == 64
    assert codebook.name == {"fvq": "bridged", "fvq-constant": "bridged", "ema": "ema"}.get(
        system, codebook.name
    )
    if system == "lc":
        assert codebook.base == "features.safetensors"
    if system == "fvq-linear":
        assert (codebook.name, codebook.train_base, codebook.hidden) == ("projected", True, ())
    if system == "fvq-constant":
        assert recipe.schedule.decay == "constant"


def test_seeds_of_a_cell_are_one_row():
    cell = {
        "system": "fvq",
        "codebook_size": 1024,
        "utilization": 0.99,
        "uniform_expectation": 1.0,
        "perplexity": 800.4,
        "psnr": 22.5,
        "steps": 800,
        "seconds": 500.0,
    }
    other = cell | {"seed": 1, "utilization": 1.0, "seconds": None}
    lines = utilization.table([cell | {"seed": 0}, other]).splitlines()
    assert len(lines) == 3
    told = "| fvq | 1,024 | 0, 1 | 99.50% (99.00% to 100.00%) | 100.00% |"
    assert lines[2].startswith(told)
    assert lines[2].endswith("| 800 | 500 |")


def cell(system, size, utilization, seed=0, uniform=1.0):
    return {
        "system": system,
        "codebook_size": size,
        "seed": seed,
        "utilization": utilization,
        "uniform_expectation": uniform,
        "perplexity": 100.0,
        "psnr": 20.0,
        "steps": 500,
        "seconds": 60.0,
    }


def every_system():
    """All systems at three sizes, many of them alike; two have three seeds at one size."""
    shares = {"vqgan": 0.05, "ema": 0.12, "fc": 0.01}
    cells = [cell(s, k, shares.get(s, 1.0)) for s in LOOKS for k in (1024, 4096, 16384)]
    return cells + [cell(s, 1024, v, seed) for s in ("ema", "fvq") for seed, v in ((1, 0.2), (2, 0.4))]


class Drawn:
    """A picture: its shapes by class, and where its texts and points are."""

    def __init__(self, text):
        self.text, self.root = text, ElementTree.fromstring(text)
        self.texts = {e.text: (float(e.get("x")), float(e.get("y"))) for e in self.root.iter(f"{SVG}text")}
        self.points = [(e.get("fill"), self.place(e)) for e in self.kind("point")]

    def kind(self, name):
        return [e for e in self.root.iter() if e.get("class") == name]

    def place(self, element):
        return tuple(map(float, re.findall(r"[-\d.]+", element.get("transform"))))

    def of(self, system):
        """Points of a system in the plot, from left to right; the one beside its name is the last."""
        return sorted(place for fill, place in self.points if fill == LOOKS[system].colour)


def numbers(element):
    return [tuple(map(float, pair)) for pair in re.findall(r"([-\d.]+) ([-\d.]+)", element.get("d"))]


def test_every_system_has_a_look_of_its_own():
    assert list(LOOKS) == list(utilization.SYSTEMS)
    assert len({look.colour for look in LOOKS.values()}) == len({look.name for look in LOOKS.values()}) == 10
    colours = [[int(look.colour[i : i + 2], 16) for i in (1, 3, 5)] for look in LOOKS.values()]
    for a, b in combinations(zip(colours, LOOKS.values()), 2):
        apart = sum(abs(x - y) for x, y in zip(a[0], b[0]))
        assert apart > 90 or a[1].mark != b[1].mark


def test_points_stand_where_their_numbers_are_and_none_hides_another():
    drawn = Drawn(plot(every_system()))
    y = svg.vertical(0, 100, height=420)
    assert [round(b, 1) for _, b in drawn.of("vqgan")[:3]] == [round(y(5), 1)] * 3
    mean = 100 * (0.12 + 0.2 + 0.4) / 3
    assert [b for _, b in drawn.of("ema")[:3]] == pytest.approx([y(mean), y(12), y(12)], abs=0.06)
    columns = {size: drawn.texts[f"{size:,}"][0] for size in (1024, 4096, 16384)}
    assert columns[4096] - columns[1024] == pytest.approx(columns[16384] - columns[4096], abs=0.11)
    for column, place in enumerate(columns.values()):
        row = [drawn.of(system)[column][0] for system in LOOKS]
        assert sum(row) / len(row) == pytest.approx(place, abs=0.1)
    places = [place for _, place in drawn.points]
    for (a, b), (c, d) in combinations(places, 2):
        assert max(abs(a - c), abs(b - d)) > 8
    assert len(places) == 4 * len(LOOKS)
    assert len(drawn.kind("series")) == 2 * len(LOOKS)


def test_seeds_are_a_range_bar():
    drawn = Drawn(plot(every_system()))
    y = svg.vertical(0, 100, height=420)
    bars = {e.get("stroke"): e.get("d") for e in drawn.kind("range")}
    assert set(bars) == {LOOKS["ema"].colour, LOOKS["fvq"].colour}
    low, high = y(12), y(40)
    left = drawn.of("ema")[0][0]
    assert bars[LOOKS["ema"].colour] == f"M{left - 4:.1f} {low:.1f}h8m-4 0V{high:.1f}m-4 0h8"


def test_the_uniform_expectation_is_dashed():
    cells = [cell("fvq", 1024, 1.0), cell("fvq", 65536, 0.9, uniform=0.95)]
    drawn = Drawn(plot(cells))
    line, sample = (numbers(e) for e in drawn.kind("mark"))
    y = svg.vertical(0, 100, height=420)
    assert [b for _, b in line] == pytest.approx([y(100), y(100), y(95)], abs=0.06)
    assert "stroke-dasharray" in drawn.text
    assert sample[0][1] == pytest.approx(drawn.texts[UNIFORM][1] - 4)


@pytest.mark.parametrize("cells", [every_system(), [cell("ibq", 1024, 0.3)], every_system()[:4]])
def test_names_stand_apart_inside_a_white_picture(cells):
    drawn = Drawn(plot(cells))
    width, height = map(float, drawn.root.get("viewBox").split()[2:])
    ground = next(drawn.root.iter(f"{SVG}rect"))
    assert (ground.get("fill"), ground.get("width"), ground.get("height")) == ("#fff", "900", "420")
    assert "var(" not in drawn.text
    assert "@media" not in drawn.text
    boxes = []
    for element in drawn.root.iter(f"{SVG}text"):
        long = 6.2 * len(element.text)  # 12 pixels high: DejaVu, a wide font, has 5.8 on average
        shift = {"start": 0, "middle": long / 2, "end": long}[element.get("text-anchor")]
        left, bottom = float(element.get("x")) - shift, float(element.get("y"))
        boxes.append((left, left + long, bottom - 10, bottom + 3))
        assert left >= 0
        assert left + long <= width
        assert 0 <= bottom - 10 < bottom + 3 <= height
    for a, b in combinations(boxes, 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
    named = [look.name for look in LOOKS.values() if look.name in drawn.texts]
    assert len(named) == len({c["system"] for c in cells})
    for look in LOOKS.values():
        if look.name in drawn.texts:
            right, level = drawn.texts[look.name]
            assert (look.colour, (right - 24, level - 4)) in drawn.points


def test_the_page_gets_table_and_picture(tmp_path, monkeypatch, capsys):
    page, out = tmp_path / "docs" / "page.md", tmp_path / "out"
    files.write_text(page, "# A page\n\n<!-- table -->\nold\n<!-- /table -->\n\nEnd.\n")
    cells = [cell("fvq", 1024, 1.0), cell("vqgan", 1024, 0.05)]
    for told in cells:
        files.write_json(out / f"{told['system']}-1024-0.json", told)
    monkeypatch.setattr(sys, "argv", ["utilization.py", "--out", str(out), "--docs", str(page)])
    utilization.main()
    shown = utilization.table(cells)
    assert "| vqgan | 1,024 | 0 | 5.00% |" in shown
    assert capsys.readouterr().out.strip() == shown.strip() == (out / "table.md").read_text().strip()
    assert page.read_text() == f"# A page\n\n<!-- table -->\n\n{shown}\n<!-- /table -->\n\nEnd.\n"
    picture = (out / "table.svg").read_text()
    assert picture == (tmp_path / "docs" / "images" / "utilization.svg").read_text() == plot(cells)
    before = page.read_bytes()
    utilization.main()
    assert page.read_bytes() == before
    assert files.read_json(out / "table.json") == cells
    page.write_text("<!-- /table --> <!-- table -->")
    with pytest.raises(ValueError, match="has no place for the table"):
        utilization.main()
    assert page.read_text() == "<!-- /table --> <!-- table -->"


def test_the_projects_own_page_has_a_place():
    text = utilization.DOCS.read_text(encoding="utf-8")
    assert text.count(utilization.BEGIN) == text.count(utilization.END) == 1
    assert text.index(utilization.BEGIN) < text.index(utilization.END)
    assert "](images/utilization.svg)" in text
    for name, (recipe, _) in utilization.SYSTEMS.items():
        assert f"| `{name}` | {LOOKS[name].name} | `{recipe}` |" in text


def test_images_to_train_on_and_to_count_over_belong_together(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["utilization.py", "--out", str(tmp_path), "--train", "demo:9"])
    with pytest.raises(SystemExit):
        utilization.main()
    assert "--train and --test belong together" in capsys.readouterr().err
