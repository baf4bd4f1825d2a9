"""``vqcli runs`` as a user meets it."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from tests.cli.said import refused
from tests.jobs.test_runs import USAGE, make_run
from vqcli.cli.app import app


def runs(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)], prog_name="vqcli")


def test_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "one", steps=2000, log=[{"step": 1500}], at=86400 * 365)
    make_run(tmp_path / "runs" / "two", steps="4 epochs", finished=True, usage=USAGE, at=86400 * 300)
    done = runs()
    assert done.exit_code == 0
    head, one, two = done.stdout.splitlines()
    assert head.split() == ["run", "trains", "state", "step", "usage", "PSNR", "rFID", "changed", "size"]
    assert one.split()[:8] == ["one", "bridged,", "1,024", "codes", "stopped", "1,500", "of", "2,000"]
    assert "1970-12-" in one or "1971-01-" in one
    assert two.split()[4:12] == ["finished", "0", "of", "4", "epochs", "87.50%", "21.50", "4.25"]
    assert runs("-q").stdout == "runs/one\nruns/two\n"
    assert [row["name"] for row in json.loads(runs("runs", "--json").stdout)] == ["one", "two"]


def test_what_no_run_has_gets_no_column(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "one", steps=2000, log=[{"step": 1500}])
    assert runs().stdout.splitlines()[0].split() == ["run", "trains", "state", "step", "changed", "size"]


def test_without_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(runs(), "runs is no folder with runs", "vqcli train makes runs/")


def test_it_answers_without_torch(tmp_path):
    make_run(tmp_path / "one")
    code = (
        "import sys, pathlib; from vqcli.jobs.runs import list_runs;"
        "list_runs(pathlib.Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], timeout=60).returncode == 0
