"""The figures are put together as they were measured, and the page tells of every part."""

import json

import pytest

from tests.reliability import table
from tests.reliability.parts import PARTS


def test_figures_are_those_of_the_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "DOCS", tmp_path)
    (tmp_path / "reliability.md").write_text(f"before\n{table.BEGIN}\nstale\n{table.END}\nafter\n")
    lines = [
        {"name": "json/0", "count": 7, "wrong": "a hang", "seconds": 60.0, "build": "a"},
        {"name": "json/0", "count": 7, "wrong": "", "seconds": 30.0, "build": "b"},
        {"name": "yaml/0", "count": 5, "wrong": "bad", "seconds": 30.0, "build": "b"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "fuzz-0.jsonl").write_text(text + '{"torn')
    price = {"prices": [{"what": "x", "limit": "2%", "measured": "1%"}]}
    (tmp_path / "price.json").write_text(json.dumps(price))
    rows = [table.row(tmp_path, "fuzz", 3)]
    assert [(row["tried"], row["trials"], row["violations"], row["minutes"]) for row in rows] == [
        (12, 2, 1, 1.0)
    ]
    assert rows[0]["builds"] == ["b"]
    for _ in range(2):
        table.write(rows, 3, tmp_path / "price.json")
    page = (tmp_path / "reliability.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith(f"{table.END}\nafter\n")
    assert "stale" not in page
    assert f"| `fuzz` | fuzz executions of our parsers | 5,000,000 | 12 | 1 | 1.0 | {table.today()} |" in page
    assert "| x | 2% | 1% |" in page
    assert json.loads((tmp_path / "reliability.json").read_text())["parts"] == rows
    bombs = {"part": "bombs", "figure": "f", "goal": 1, "tried": 2, "violations": 0, "minutes": 1.0}
    (tmp_path / "bombs").mkdir()
    table.write([bombs | {"builds": ["c"], "date": "2026-01-02"}], 3, tmp_path / "bombs" / "price.json")
    found = json.loads((tmp_path / "reliability.json").read_text())
    assert {row["part"]: row["date"] for row in found["parts"]} == {
        "bombs": "2026-01-02",
        "fuzz": table.today(),
    }
    assert (found["price"], found["commits"]) == (price, ["b", "c"])
    assert "| x | 2% | 1% |" in (tmp_path / "reliability.md").read_text()


def test_the_page_tells_of_every_part():
    page = (table.ROOT / "docs" / "reliability.md").read_text()
    assert [name for name in PARTS if f"| `{name}` |" not in page] == []
    assert page.count(table.BEGIN) == page.count(table.END) == 1


def test_without_a_name_all_parts_are_meant(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["table", "--no-run", "--no-docs", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        table.main()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert [name for name in PARTS if f"| `{name}` |" not in out] == []
