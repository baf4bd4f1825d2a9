"""Imports point down the ladder only; light modules import no torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vqcli"
RUNGS = [
    {"types", "errors", "refusals", "parts", "bounds", "escapes"},
    {"cores", "files", "recipes", "launcher", "plugins", "signals"},
    {"config", "yaml_text"},
    {"registry"},
    {"nn", "pixels"},
    {"codebooks", "losses", "discriminators", "features", "metrics", "data", "importers"},
    {"quantizers"},
    {"tokenizers", "generators", "classifiers"},
    {"checkpoint"},
    {"library"},
    {"training"},
    {"report"},
    {"jobs"},
    {"cli", "door"},
    {"__main__"},
]
RUNG = {name: rung for rung, names in enumerate(RUNGS) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
LIGHT = [
    "types",
    "bounds",
    "errors",
    "refusals",
    "parts",
    "plugins",
    "cores",
    "launcher",
    "signals",
    "config",
    "yaml_text",
    "files",
    "registry",
    "checkpoint.kinds",
    "checkpoint.folder",
    "door.tokens",
    "library.references",
    "library.aliases",
    "library.downloads.fetch",
    "cli.app",
    "checkpoint.classes",
    "jobs.catalog",
    "jobs.generator_info",
    "jobs.info",
    "jobs.tokenizer_info",
    "jobs.options",
    "jobs.evaluation.options",
    "importers.options",
    "library.networks",
    "library.downloads.web",
    "metrics.usage.counts",
    "metrics.usage.diagnosis",
    "metrics.usage.record",
    "metrics.protocols",
    "data.classes",
    "data.names",
    "data.images.forms",
]


def part(path: Path) -> str:
    """First name below the package: ``cli`` of ``vqcli/cli/app.py``, ``types`` of ``vqcli/types.py``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of everything a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from vqcli import files` names a module, `from vqcli.files import x` is inside one
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module(path: Path) -> str:
    """Its full name: ``vqcli.cli.app``, and ``vqcli.cli`` of that folder's ``__init__.py``."""
    return ".".join(("vqcli", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def circle(below: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one again at the end; empty if there is none."""
    done: set[str] = set()

    def walk(own: str, way: list[str]) -> list[str]:
        if own in way:
            return [*way[way.index(own) :], own]
        for other in sorted(below[own] - done):
            if found := walk(other, [*way, own]):
                return found
        done.add(own)
        return []

    return next((found for own in below if (found := walk(own, []))), [])


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path):
    own = part(path)
    assert own in RUNG, f"{own} has no rung on the ladder"
    for full in imports(path):
        names = full.split(".")
        if names[0] != "vqcli" or full in {"vqcli", "vqcli.__version__"} or names[1] == own:
            continue
        assert names[1] in RUNG, f"{full} has no rung on the ladder"
        assert RUNG[names[1]] < RUNG[own], f"{name(path)} imports {full}, which is not below it"


@pytest.mark.parametrize("folder", sorted({part(path) for path in FILES if path.parent != PACKAGE}))
def test_no_circle_inside_a_folder(folder):
    own = {module(path): path for path in FILES if part(path) == folder and path.parent != PACKAGE}
    below = {}
    for name, path in own.items():
        heads = {full if full in own else full.rpartition(".")[0] for full in imports(path)}
        below[name] = heads & own.keys() - {name}
    assert not circle(below)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_contributing_shows_this_ladder():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    shown = [set(re.findall(r"`(\w+)`", names)) for _, names in rows]
    assert [int(number) for number, _ in rows] == list(range(len(RUNGS)))
    assert shown == RUNGS


@pytest.mark.parametrize("path", FILES, ids=name)
def test_forbidden_imports(path):
    heads = {full.split(".")[0] for full in imports(path)}
    assert not heads & {"torchvision", "click", "pickle"}
    if part(path) != "training" and name(path) != "jobs/sharded.py":
        assert "accelerate" not in heads


@pytest.mark.parametrize("module", LIGHT)
def test_no_torch(module):
    place = PACKAGE / module.replace(".", "/")
    if not (place.with_suffix(".py").exists() or place.is_dir()):
        pytest.fail(f"there is no {module}")
    code = f"import sys, vqcli.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
