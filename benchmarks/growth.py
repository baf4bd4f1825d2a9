"""What grows with the data, at two sizes ten times apart, each against the least that can be done.

* Folders of images: opened, against ``os.walk`` alone.
* ``vqcli usage-report`` of tokens: counted, against ``np.bincount`` alone.
* Keys and labels beside tokens: opened, against parsing the file.
* ``vqcli --help``: the whole process, against one that imports Typer alone.

Every turn is a process of its own: seconds are those after its imports, megabytes by how much its peak grew.

    python benchmarks/growth.py --out out/growth.json
    python benchmarks/growth.py --quick
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

PER_FOLDER, LENGTH, CODES = 1000, 16, 16384
"""Images of a class, tokens of an image, codes of the codebook."""
SIZES = {
    "listing": (100_000, 1_000_000),
    "usage": (1_000_000, 10_000_000),
    "sidecar": (1_000_000, 10_000_000),
}
QUICK = 1000
"""How many times smaller a quick run is."""
BLOCK = 4096


def make_listing(place: Path, count: int) -> Path:
    """Empty files in folders of classes, as ImageNet has them."""
    for start in range(0, count, PER_FOLDER):
        folder = place / "images" / f"n{start // PER_FOLDER:08d}"
        folder.mkdir(parents=True)
        handle = os.open(folder, os.O_RDONLY)
        for i in range(start, min(start + PER_FOLDER, count)):
            os.close(os.open(f"{folder.name}_{i:08d}.JPEG", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.close(handle)
    return place / "images"


def make_usage(place: Path, count: int) -> Path:
    """Tokens drawn uniformly, with nothing beside them."""
    path, draw = place / "tokens.npy", np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, "w+", np.uint16, (count, LENGTH))
    for start in range(0, count, BLOCK):
        array[start : start + BLOCK] = draw.integers(0, CODES, array[start : start + BLOCK].shape, np.uint16)
    array.flush()
    return path


def make_sidecar(place: Path, count: int) -> Path:
    """An array of no matter, with the keys and labels of so many rows beside it."""
    from vqcli import files

    path = place / "tokens.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (count, 1)).flush()
    head = {"format": 1, "codebook_size": 2, "fingerprint": "", "preprocessing": "", "grid": [[1, 1]]}
    with ExitStack() as opened, files.writing(path.with_suffix(".json")) as side:
        keys, labels = (opened.enter_context(files.LongList(place)) for _ in range(2))
        for start in range(0, count, PER_FOLDER):
            label, some = start // PER_FOLDER, range(start, min(start + PER_FOLDER, count))
            keys.add([f"n{label:08d}/n{label:08d}_{i:08d}.JPEG" for i in some])
            labels.add([label] * len(some))
        files.write_lists(side, head, {"keys": keys, "labels": labels})
    return path


def _open_source() -> Callable[[Path], object]:
    from vqcli.data.images.open import open_source

    return lambda path: open_source(str(path))


def _walk() -> Callable[[Path], object]:
    return lambda path: sum(len(names) for _, _, names in os.walk(path))


def _usage() -> Callable[[Path], object]:
    from vqcli.jobs.usage import measure_usage

    return lambda path: measure_usage(str(path), codebook_size=CODES)


def _bincount() -> Callable[[Path], object]:
    def run(path: Path) -> object:
        array, counts = np.load(path, mmap_mode="r"), np.zeros(CODES, np.int64)
        for start in range(0, len(array), BLOCK):
            counts += np.bincount(array[start : start + BLOCK].ravel(), minlength=CODES)
        return counts

    return run


def _sidecar() -> Callable[[Path], object]:
    from vqcli.data.tokens.files import TokensFile

    return TokensFile


def _parse() -> Callable[[Path], object]:
    return lambda path: json.loads(path.with_suffix(".json").read_bytes())


RIVALS: dict[str, dict[str, Callable[[], Callable[[Path], object]]]] = {
    "listing": {"vqcli": _open_source, "os.walk": _walk},
    "usage": {"vqcli": _usage, "np.bincount": _bincount},
    "sidecar": {"vqcli": _sidecar, "json.loads": _parse},
}
MAKE = {"listing": make_listing, "usage": make_usage, "sidecar": make_sidecar}


def turn(kind: str, name: str, path: Path) -> dict[str, float]:
    """One rival in this process: seconds, and megabytes that it takes at most."""
    run, before = RIVALS[kind][name](), peak()
    processor, wall = time.process_time(), time.perf_counter()
    kept = run(path)
    spent = {"processor": time.process_time() - processor, "wall": time.perf_counter() - wall}
    del kept
    return {**spent, "mb": peak() - before}


def peak() -> float:
    """Megabytes that this process has had at most; of ``getrusage`` it is those of its parent, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def in_child(kind: str, name: str, path: Path) -> dict[str, float]:
    """``turn`` in a fresh process."""
    command = [sys.executable, __file__, "--child", kind, name, str(path)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def whole(*arguments: str) -> dict[str, float]:
    """Seconds of a whole process."""
    before, wall = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - wall, os.times()
    user, system = (
        getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system")
    )
    return {"processor": user + system, "wall": wall, "mb": 0.0}


def race(what: str, rivals: dict[str, Callable[[], dict[str, float]]], repeats: int) -> dict[str, Any]:
    """Medians of rivals that take turns, after one that does not count, and their ratios to vqcli's."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in rivals}
    for _ in range(repeats + 1):
        for name, run in rivals.items():
            seen[name].append(run())
    found = {name: _median(turns[1:]) for name, turns in seen.items()}
    for spent in found.values():
        for clock in ("processor", "wall"):
            spent[f"{clock}_ratio"] = spent[clock] / found["vqcli"][clock]
    return {"what": what, "rivals": found}


def _median(turns: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in turns) for name in turns[0]}


def measure(options: argparse.Namespace, kinds: Iterable[str]) -> list[dict[str, Any]]:
    """A row for every kind and size, and one for the help."""
    help_, typer = ("-m", "vqcli", "--help"), ("-c", "import typer")
    rows = [
        race(
            "--help", {"vqcli": lambda: whole(*help_), "import typer": lambda: whole(*typer)}, options.repeats
        )
    ]
    for kind in kinds:
        for count in SIZES[kind]:
            count = count // QUICK if options.quick else count
            with tempfile.TemporaryDirectory(dir=options.place) as name:
                path = MAKE[kind](Path(name), count)
                turns = {who: partial(in_child, kind, who, path) for who in RIVALS[kind]}
                rows.append({**race(f"{kind} of {count:,}", turns, options.repeats), "count": count})
    return rows


def main() -> None:
    """Measure, print, and write where that is wanted."""
    if sys.argv[1:2] == ["--child"]:
        kind, name, path = sys.argv[2:]
        print(json.dumps(turn(kind, name, Path(path))))
        return
    from side_by_side import neighbour, parser, report

    made = parser(__doc__)
    made.add_argument("--quick", action="store_true", help=f"{QUICK:,} times fewer of everything")
    made.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    made.add_argument("--place", type=Path, help="folder for what is measured, which takes a gigabyte")
    options = made.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    with neighbour(options.busy):
        rows = measure(options, options.only)
    report(options, rows)
    for row in rows[1:]:
        told = ", ".join(f"{name} {spent['mb']:,.0f} MB" for name, spent in row["rivals"].items())
        print(f"{row['what']}: {told}")


if __name__ == "__main__":
    main()
