"""The study of utilization: settings that hold; tables, pictures and page that say what cells came to."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import utilization
from utilization_plot import curves_picture, per_cent, quality_picture, utilization_picture
from utilization_systems import LR, SYSTEMS, TABLE
from utilization_table import rate as rate_words
from utilization_table import rates_table, trials_table
from utilization_trials import BRIDGES, GRID, PLUGIN

from tests.plugins import forgotten
from vqcli import files
from vqcli.registry import build
from vqcli.report import svg
from vqcli.training.recipe import read_recipe
from vqcli.types import grid_length

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def plugins():
    """Those of the study are gone after a test."""
    with forgotten():
        yield


@pytest.mark.parametrize("system", utilization.ALL)
def test_every_cell_differs_in_its_codebook_and_quantizer_alone(system):
    known = utilization.ALL[system]
    utilization.allow(PLUGIN)
    for size in known.sizes:
        cell = utilization.Cell(system, size, 7)
        rate = {"lr": 2e-3, "codebook_rate": 30}
        recipe = read_recipe(str(utilization.RECIPE), cell.settings(rate, "features.safetensors"))
        if size == 1024 and not known.features:
            tokenizer = build("tokenizers", recipe.tokenizer)
            assert tokenizer.spec.codebook_size == size
            assert grid_length(tokenizer.grid(32, 32)) >= known.tokens
        assert (recipe.optimizer.lr, recipe.optimizer.codebook_rate, recipe.seed) == (2e-3, 30, 7)
        latents = recipe.training.steps * recipe.training.batch_size * known.tokens
        enough = 1000 if size <= 16_384 and not system.startswith("bridge") else 100
        assert latents >= enough * size
        assert recipe.losses["l2"].weight == 1
        assert recipe.schedule.decay == ("constant" if "constant" in system else "linear")
        if known.features:
            assert recipe.tokenizer.codebook.base == "features.safetensors"


def test_a_system_takes_the_rate_that_reconstructs_best(tmp_path):
    cells = list(utilization.rate_cells("vqgan"))
    assert len(cells) == len(set(cells)) == len(LR) * len(TABLE)
    assert len(list(utilization.rate_cells("fvq"))) == len(LR)
    for index, tried in enumerate(cells):
        assert utilization.chosen_rate("vqgan", tmp_path) is None
        rate = {"lr": tried.lr, "codebook_rate": tried.table_rate}
        files.write_json(tmp_path / f"{tried.name}.json", {"psnr": 20 - abs(index - 4), "rate": rate})
    assert utilization.chosen_rate("vqgan", tmp_path) == {
        "lr": cells[4].lr,
        "codebook_rate": cells[4].table_rate,
    }
    assert rate_words(utilization.chosen_rate("vqgan", tmp_path)) == f"{cells[4].lr:g}, codes x 30"


def test_cells_are_those_of_the_study_or_those_that_are_asked_for():
    def names(**given):
        given = {"systems": list(SYSTEMS), "sizes": None, "seeds": None} | given
        return [cell.name for cell in utilization.wanted(SimpleNamespace(**given)) if cell.lr is None]

    study = names()
    assert len(study) == len(set(study))
    assert {"fvq-262144-0", "fvq-16384-2", "lc-100000-0", "vqgan-16384-0"} <= set(study)
    assert not {"fvq-262144-1", "vqgan-1024-1", "vqgan-65536-0"} & set(study)
    assert names(systems=["vqgan"], sizes=[2048], seeds=[5, 6]) == ["vqgan-2048-5", "vqgan-2048-6"]
    assert len(names(systems=list(GRID))) == 24
    assert len(names(systems=list(BRIDGES))) == 9 * len(BRIDGES)


def test_seeds_of_a_cell_are_one_row():
    first, other = cell("fvq", 1024, 0.99), cell("fvq", 1024, 1.0, seed=1) | {"seconds": None, "psnr": 21.0}
    lines = utilization.table([other, first]).splitlines()
    assert len(lines) == 3
    told = "| FVQ, ours | 1,024 | 0, 1 | 99.50% (99.00% to 100.00%) | 12 | 3 | 100 | 20.50 (20.00 to 21.00) |"
    assert lines[2] == f"{told} 0.002, codes x 30 | 500 | 60 |"


def test_rates_are_told_and_the_chosen_one_is_bold():
    tried = [
        {"system": system, "psnr": psnr, "rate": {"lr": lr, "codebook_rate": factor}}
        for system, psnr, lr, factor in (
            ("vqgan", 15, 1e-3, 1),
            ("vqgan", 18, 1e-3, 30),
            ("fvq", 21, 1e-3, 1),
        )
    ]
    assert rates_table(tried).splitlines() == [
        "| system | 0.001 | 0.001, codes x 30 |",
        "|---|---|---|",
        "| VQGAN | 15.00 | **18.00** |",
        "| FVQ, ours | **21.00** |  |",
    ]


def cell(system, size, utilization, seed=0, uniform=1.0):
    return {
        "system": system,
        "codebook_size": size,
        "seed": seed,
        "utilization": utilization,
        "uniform_expectation": uniform,
        "once": 12,
        "unseen_estimate": 3.2,
        "perplexity": 100.0,
        "psnr": 20.0,
        "rate": {"lr": 2e-3, "codebook_rate": 30},
        "curve": [[250, 0.5, 10.0], [500, utilization, 100.0]],
        "steps": 500,
        "seconds": 60.0,
    }


def every_system():
    """All systems at their sizes; two have three seeds at one size."""
    shares = {"vqgan": 0.05, "ema": 0.12, "fc": 0.01}
    known = SYSTEMS.items()
    cells = [cell(name, size, shares.get(name, 1.0)) for name, system in known for size in system.sizes]
    return cells + [cell(s, 1024, v, seed) for s in ("ema", "fvq") for seed, v in ((1, 0.2), (2, 0.4))]


PICTURES = {
    "utilization": utilization_picture,
    "curves": lambda cells: curves_picture(cells, 1024),
    "psnr": lambda cells: quality_picture(cells, 1024),
}


def texts(picture):
    """What stands in a picture, with its places; a number inside a mark is left out."""
    root = ElementTree.fromstring(picture)
    marks = {id(e) for g in root.iter(f"{SVG}g") for e in g.iter(f"{SVG}text")}
    found = [e for e in root.iter(f"{SVG}text") if id(e) not in marks]
    return root, [(e.text, float(e.get("x")), float(e.get("y")), e.get("text-anchor")) for e in found]


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("cells", [every_system(), [cell("ibq", 1024, 0.3)], every_system()[:4]])
def test_names_stand_apart_inside_a_white_picture(name, cells):
    root, found = texts(PICTURES[name](cells))
    width, height = map(float, root.get("viewBox").split()[2:])
    assert next(root.iter(f"{SVG}rect")).get("fill") == "#fff"
    boxes = []
    for text, x, y, anchor in found:
        long = 6.2 * len(text)  # 12 pixels high: DejaVu, a wide font, has 5.8 on average
        left = x - {"start": 0, "middle": long / 2, "end": long}[anchor]
        boxes.append((left, left + long, y - 10, y + 3))
        assert left >= 0
        assert left + long <= width
        assert 0 <= y - 10 < y + 3 <= height
    for a, b in combinations(boxes, 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
    shown = {c["system"] for c in cells if name == "utilization" or c["codebook_size"] == 1024}
    titles = {SYSTEMS[system].title for system in shown}
    assert titles == {text for text, *_ in found} & {s.title for s in SYSTEMS.values()}


def test_a_share_stands_in_its_row_and_column_and_the_least_seed_counts():
    _, found = texts(utilization_picture(every_system()))
    rows = {text: y for text, _, y, _ in found}
    columns = {text: x for text, x, _, _ in found}
    at = {(x, y): text for text, x, y, _ in found}
    assert at[columns["K = 1,024"], rows["VQGAN-EMA, published start"]] == "12.0 %"
    assert at[columns["K = 1,024"], rows["FVQ, ours"]] == "20.0 %"
    assert at[columns["K = 262,144"], rows["FVQ, ours"]] == "100 %"
    assert (columns["K = 262,144"], rows["VQGAN"]) not in at


@pytest.mark.parametrize(
    ("share", "told"), [(1.0, "100 %"), (0.99999, "99.99 %"), (0.9934, "99.34 %"), (0.049, "4.9 %")]
)
def test_nothing_but_all_is_a_hundred_per_cent(share, told):
    assert per_cent(share) == told


def test_points_and_lines_stand_where_their_numbers_are():
    y = svg.vertical(0, 100, height=470)
    root = ElementTree.fromstring(curves_picture([cell("fvq", 1024, 1.0)], 1024))
    line = next(e.get("d") for e in root.iter(f"{SVG}path") if e.get("stroke-width") == "1.8")
    heights = [float(b) for b in re.findall(r"[\d.]+ ([\d.]+)", line)]
    assert heights == pytest.approx([y(50), y(100)], abs=0.06)
    root = ElementTree.fromstring(quality_picture([cell("fvq", 1024, 0.5)], 1024))
    place = next(e.get("transform") for e in root.iter(f"{SVG}g"))
    x, b = map(float, re.findall(r"[\d.]+", place))
    assert b == pytest.approx((470 - svg.BOTTOM + svg.TOP) / 2, abs=0.06)
    assert x == pytest.approx((svg.LEFT + 900 - 210 - svg.RIGHT) / 2, abs=0.06)


def test_trials_tell_every_seed():
    told = ((0, 0.5, 2048), (1, 1.0, 4096))
    cells = [cell("bridge-small", 4096, share, seed) | {"used": used} for seed, share, used in told]
    row = trials_table(cells, BRIDGES).splitlines()[2]
    assert row == "| small | 4,096 | 0, 1 | 50.00, 100.00 % | 2,048, 0 | 100 | 20.00 | 60 |"


def test_the_pages_get_tables_and_pictures(tmp_path, monkeypatch, capsys):
    docs, out = tmp_path / "docs", tmp_path / "cells"
    pages = {docs / "utilization.md": ("table", "rates"), docs / "vqbridge.md": ("bridges",)}
    for page, names in pages.items():
        places = "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in names)
        files.write_text(page, f"# A page\n\n{places}End.\n")
    cells = [cell("fvq", 1024, 1.0), cell("vqgan", 1024, 0.05)]
    trial = cell("bridge-small", 4096, 0.5) | {"used": 2048}
    tried = {"system": "fvq", "psnr": 20.0, "rate": {"lr": 1e-3, "codebook_rate": 1}}
    for told in (*cells, trial):
        files.write_json(out / f"{told['system']}-1024-0.json", told)
    files.write_json(out / "fvq-1024-0-lr0.001-x1.json", tried)
    monkeypatch.setattr(sys, "argv", ["utilization.py", "--out", str(out), "--docs", str(docs)])
    utilization.main()
    tables = {
        "table": utilization.table(cells),
        "rates": rates_table([tried]),
        "bridges": trials_table([trial], BRIDGES),
    }
    assert "| VQGAN | 1,024 | 0 | 5.00% |" in tables["table"]
    printed = capsys.readouterr().out
    for page, names in pages.items():
        assert all(tables[name] in printed for name in names)
        places = "".join(f"<!-- {name} -->\n\n{tables[name]}\n<!-- /{name} -->\n" for name in names)
        assert page.read_text() == f"# A page\n\n{places}End.\n"
    assert (docs / "images" / "utilization.svg").read_text() == utilization_picture(cells)
    assert {path.name for path in (docs / "images").iterdir()} == {
        *("utilization.svg", "utilization-curves.svg", "utilization-psnr.svg")
    }
    before = {path: path.read_bytes() for path in docs.rglob("*.*")}
    utilization.main()
    assert before == {path: path.read_bytes() for path in docs.rglob("*.*")}
    page = docs / "vqbridge.md"
    page.write_text("<!-- /bridges --> <!-- bridges -->")
    with pytest.raises(ValueError, match="has no place for the table"):
        utilization.main()
    assert page.read_text() == "<!-- /bridges --> <!-- bridges -->"


@pytest.mark.parametrize(
    ("page", "names"),
    [("utilization.md", ("table", "rates", "claims")), ("vqbridge.md", ("bridges", "grid"))],
)
def test_the_projects_own_pages_have_a_place_for_each(page, names):
    text = (utilization.DOCS / page).read_text(encoding="utf-8")
    for name in names:
        begin, end = utilization.BEGIN.format(name), utilization.END.format(name)
        assert text.count(begin) == text.count(end) == 1
        assert text.index(begin) < text.index(end)


def test_images_to_train_on_and_to_count_over_belong_together(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["utilization.py", "--out", str(tmp_path), "--train", "demo:9"])
    with pytest.raises(SystemExit):
        utilization.main()
    assert "--train and --test belong together" in capsys.readouterr().err
