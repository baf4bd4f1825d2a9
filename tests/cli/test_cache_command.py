"""``vqcli cache`` as a user meets it."""

import json

import pytest
from typer.testing import CliRunner

from tests.cli.said import refused
from vqcli.cli.app import app


def cache(*arguments):
    return CliRunner().invoke(app, ["cache", *map(str, arguments)], prog_name="vqcli")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    for name in ("lpips-alex", "fid-inception"):
        folder = tmp_path / "cache" / "networks-1" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 2_000_000)
    return tmp_path / "cache"


@pytest.mark.parametrize("arguments", [(), ("ls",)])
def test_list(kept, arguments):
    done = cache(*arguments)
    head, *rows, total = done.stdout.splitlines()
    assert head.split() == ["name", "kind", "size", "last", "used", "from"]
    assert {row.split()[0] for row in rows} == {"lpips-alex", "fid-inception"}
    assert total == f"{kept}  2 kept, 4.0 MB"
    value = json.loads(cache(*arguments, "--json").stdout)
    assert {entry["bytes"] for entry in value["entries"]} == {2_000_000}
    assert set(cache(*arguments, "-q").stdout.split()) == {"lpips-alex", "fid-inception"}


def test_remove(kept):
    done = cache("rm", "lpips-alex", "--yes")
    assert (done.exit_code, done.stdout) == (0, f"{kept}  1 removed, 2.0 MB freed\n")
    assert refused(cache("rm", "lpips-alex", "--yes"), "is called lpips-alex", "fid-inception")
    assert json.loads(cache("rm", "--all", "-y", "--json").stdout)["removed"] == ["fid-inception"]
    assert cache("ls").stdout == f"{kept}  0 kept, 0.0 MB\n"
    assert cache("rm", "--all", "-y").exit_code == 0


def test_nothing_goes_without_a_yes(kept):
    done = cache("rm", "--all")
    assert done.exit_code == 2
    assert "give --yes" in done.stderr
    assert len(list((kept / "networks-1").glob("[!.]*"))) == 2


@pytest.mark.parametrize(
    "arguments", [("rm",), ("rm", "x", "--all"), ("ls", "x"), ("ls", "--all"), ("clean",)]
)
def test_wrong_usage(kept, arguments):
    assert cache(*arguments).exit_code == 2
