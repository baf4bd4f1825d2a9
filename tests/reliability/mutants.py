"""Break a copy of vqcli on purpose, and run what must notice: what has caught nothing proves nothing.

A mutant is caught where its catcher fails in the copy and passes on the sources as they are.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.reliability.mutations import MUTANTS, Mutant
from tests.reliability.trials import Part, Trial

ROOT = Path(__file__).parents[2]
LIMIT = 900
"""Seconds that a catcher may take."""
LEFT_OUT = shutil.ignore_patterns(".*", "out", "runs")


@dataclass(frozen=True)
class Said:
    """What came of a catcher."""

    passed: bool
    failed: bool
    """Whether a test failed; neither, where it could not be run."""
    tail: str


def catch(words: str, root: Path, out: Path) -> Said:
    """Run a catcher on the sources in a folder: tests, or with ``part`` in front trials of a part."""
    arguments = words.split()
    if arguments[0] == "part":
        command = ["-m", "tests.reliability", *arguments[1:], "--out", str(out)]
    else:
        command = ["-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return Said(passed=False, failed=True, tail="it did not end")
    tail = (ended.stdout + ended.stderr)[-600:]
    noticed = "WRONG " in ended.stdout if arguments[0] == "part" else "FAILED " in ended.stdout
    return Said(not ended.returncode, ended.returncode == 1 and noticed, tail)


class Mutants(Part):
    name, figure, goal, share = "mutants", "mutants caught", len(MUTANTS), 1

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        for mutant in MUTANTS:
            yield Trial(f"{mutant.name}/0", partial(self.run, base, mutant))

    def run(self, base: Path, mutant: Mutant, folder: Path) -> str:
        """Break a copy; why the mutant was not caught."""
        copy = folder / "copy"
        for name in ("vqcli", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=LEFT_OUT)
        for name in (
            "pyproject.toml",
            "README.md",
            "CHANGELOG.md",
            "docs",
            "examples",
            "benchmarks",
            "Makefile",
        ):
            (copy / name).symlink_to(ROOT / name)
        for file, old, new in mutant.changes:
            path = copy / "vqcli" / file
            text = path.read_text() if path.is_file() else ""
            if text.count(old) != 1:
                return f"{file} has {text.count(old)} times {old!r}: the mutant needs to be written anew"
            path.write_text(text.replace(old, new))
            shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        sound = self.sound(base, mutant.catcher, folder)
        if not sound.passed:
            return f"its catcher fails on sound sources: {sound.tail}"
        found = catch(mutant.catcher, copy, folder / "out")
        return "" if found.failed else f"nothing noticed it: {found.tail}"

    def sound(self, base: Path, catcher: str, folder: Path) -> Said:
        """What comes of a catcher on the sources as they are; remembered where it passes."""
        digest = hashlib.sha256(catcher.encode())
        for path in sorted([*(ROOT / "vqcli").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
            digest.update(path.read_bytes())
        known = base / f"sound-{digest.hexdigest()[:16]}"
        if known.exists():
            return Said(passed=True, failed=False, tail="")
        said = catch(catcher, ROOT, folder / "sound")
        if said.passed:
            base.mkdir(parents=True, exist_ok=True)
            known.touch()
        return said
