"""``import vqcli``: which names it has, what they cost, and what type checkers are told of them."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vqcli


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_nothing_heavy_is_imported():
    heavy = "{'torch', 'numpy', 'pydantic', 'typer', 'PIL'}"
    done = run(f"import sys, vqcli; vqcli.__version__, dir(vqcli); print({heavy} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr


def test_tokens_are_read_and_counted_without_torch(tmp_path):
    np.save(tmp_path / "tokens.npy", np.zeros((2, 2, 2), np.uint8))
    done = run(
        f"import sys, vqcli; found = vqcli.read_tokens('{tmp_path}/tokens.npy');"
        "report = vqcli.usage(found, codebook_size=4); vqcli.usage(found.ids, codebook_size=4);"
        "print(report.utilization, 'torch' in sys.modules)"
    )
    assert done.stdout == "0.25 False\n", done.stderr


@pytest.mark.parametrize("name", vqcli.__all__)
def test_every_public_name_is_there_and_described(name):
    found = getattr(vqcli, name)
    assert name == "__version__" or found.__doc__
    assert name in dir(vqcli)


def test_type_checkers_are_told_the_same():
    told = {}
    for node in ast.walk(ast.parse(Path(vqcli.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vqcli."):
            told |= {a.asname or a.name: f"{node.module}:{a.name}" for a in node.names}
    del told["attribute"]  # the one import that runs
    assert told == vqcli._LAZY
    assert {*told, "__version__"} == set(vqcli.__all__)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        vqcli.lod  # noqa: B018
