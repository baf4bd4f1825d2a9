"""How much of its codebook each system uses: one network, one budget, one count, every cell seeded.

    python benchmarks/utilization.py --train 'cifar10/train-*.parquet' --test 'cifar10/test-*.tar'
    python benchmarks/utilization.py ... --systems fvq ema --sizes 1024 --seeds 3 4
    python benchmarks/utilization.py ... --study bridges
    python benchmarks/utilization.py --docs

First every system is trained with each rate of one short grid, with 1,024 codes for 200 steps, and keeps the
rate whose PSNR on held-out images is best. Then it is trained with each number of codes and each seed, and
its tokens are counted over all test images and their mirror images (of 262,144 codes over training images,
since those are too few). Frozen codes are k-means of features of the training images. A cell is one JSON file
in --out; a finished cell is never run again, an unfinished one goes on, and several of these commands may
share the work. Then the tables of all cells of --out are printed; without --train and --test that is all.
--docs puts tables and pictures into docs/. Beside the study of systems there are trials of VQBridge.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from utilization_plot import curves_picture, quality_picture, utilization_picture
from utilization_systems import FEATURES, LR, PER_CLASS, SYSTEMS
from utilization_table import rates_table, table, trials_table
from utilization_trials import BRIDGES, CLAIMS, GRID, PLUGIN

import vqcli
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.build_codebook import build_codebook
from vqcli.jobs.options import CodebookOptions, FeatureOptions, ImageOptions, TrainOptions
from vqcli.jobs.train import train
from vqcli.jobs.usage import measure_usage
from vqcli.library.log import logged
from vqcli.plugins import allow

HOME = Path(__file__).parent / "utilization"
RECIPE = HOME / "study.yaml"
TOKENS_A_CODE = 50
"""Fewer would leave codes of a sound codebook unseen."""
TEST_VIEWS = 20_000
RATE_STEPS, RATE_SIZE = 200, 1024
CLASSES = 10
"""Of CIFAR-10."""
SHOWN = 1024
"""Codes in the plots of one number of them: all systems have that."""
STUDIES = {"systems": SYSTEMS, "bridges": BRIDGES, "grid": GRID, "claims": CLAIMS}
ALL = SYSTEMS | BRIDGES | GRID | CLAIMS
EFFICIENTNET = str(Path(__file__).parents[1] / "examples" / "efficientnet_features.py")
"""Features of a pretrained network; its packages are needed by ``lc-features`` alone."""
DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- {} -->", "<!-- /{} -->"
"""Between these two the page has a table."""


@dataclass(frozen=True)
class Cell:
    """One training run and one count; or, with a rate, one of the runs by which a rate is chosen."""

    system: str
    size: int
    seed: int
    lr: float | None = None
    table_rate: float = 1

    @property
    def name(self) -> str:
        """What its files are called."""
        rate = "" if self.lr is None else f"-lr{self.lr:g}-x{self.table_rate:g}"
        return f"{self.system}-{self.size}-{self.seed}{rate}"

    def settings(self, rate: dict[str, float], features: str) -> list[str]:
        """Overrides of the study's recipe."""
        return [
            *ALL[self.system].settings(self.size, features),
            *(f"optimizer.{name}={value:g}" for name, value in rate.items()),
            *([f"training.steps={RATE_STEPS}"] if self.lr is not None else []),
            f"seed={self.seed}",
        ]


def rate_cells(system: str) -> Iterator[Cell]:
    """The runs by which a system's rate is chosen; none where it is set."""
    if ALL[system].lr is not None:
        return
    for factor in ALL[system].factors:
        for lr in LR:
            yield Cell(system, RATE_SIZE, 0, lr, factor)


def chosen_rate(system: str, out: Path) -> dict[str, float] | None:
    """What came out best of the grid, or is set; None before all of the grid has run."""
    if (lr := ALL[system].lr) is not None:
        return {"lr": lr, "codebook_rate": ALL[system].factors[0]}
    paths = [out / f"{cell.name}.json" for cell in rate_cells(system)]
    if not all(path.exists() for path in paths):
        return None
    best: dict[str, float] = max(map(files.read_json, paths), key=lambda cell: cell["psnr"])["rate"]
    return best


def run_cell(cell: Cell, rate: dict[str, float], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, count, and say what came out."""
    system, run = ALL[cell.system], arguments.work / cell.name
    features = make_features(system.features, cell.size, arguments) if system.features else Path()
    begun = (run / "recipe.yaml").exists()
    settings = cell.settings(rate, str(features))
    options = TrainOptions(
        recipe=None if begun else str(RECIPE),
        out=run,
        resume=begun,
        settings=[] if begun else [*settings, f"data.source={json.dumps(arguments.train)}"],
        device=arguments.device,
    )
    start = time.process_time()
    trained = train(options)
    found = {
        "system": cell.system,
        "codebook_size": cell.size,
        "seed": cell.seed,
        "rate": rate,
        "settings": cell.settings(rate, features.name),
        "steps": trained.steps,
        "psnr": trained.measured["psnr"],
        "psnr_images": trained.measured["images"],
        "seconds": None if begun else round(time.process_time() - start, 1),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "vqcli": vqcli.__version__,
    }
    if cell.lr is None:
        found |= counted(cell, run, arguments) | {"curve": curve(run)}
    shutil.rmtree(run)
    return found


def counted(cell: Cell, run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """How the codes are used, over as many images as they need."""
    each = ALL[cell.system].tokens
    few = cell.size * TOKENS_A_CODE > TEST_VIEWS * each
    needed = -(-cell.size * TOKENS_A_CODE // (2 * each))
    options = ImageOptions(
        arguments.train if few else arguments.test,
        str(run),
        batch_size=250,
        augment="flip",
        limit=needed if few else None,
        device=arguments.device,
    )
    usage = measure_usage(str(run), options).usage
    assert usage is not None
    told = ("tokens", "used", "utilization", "uniform_expectation", "once", "unseen_estimate", "perplexity")
    what = f"{usage.images:,} views of {'training' if few else 'test'} images"
    return {"images": what} | {name: getattr(usage, name) for name in told}


def curve(run: Path) -> list[tuple[int, float, float]]:
    """Utilization and perplexity over the last steps, from line to line of the log."""
    lines = [line for line in logged(run) if "utilization" in line]
    return [(int(x["step"]), round(x["utilization"], 5), round(x["perplexity"], 1)) for x in lines]


def make_features(kind: str, size: int, arguments: argparse.Namespace) -> Path:
    """A frozen table of features of the training images, made once for each number of codes."""
    path: Path = arguments.work / f"{kind}-{size}.safetensors"
    if not path.exists():
        many = size > PER_CLASS
        source = FeatureOptions(
            arguments.train,
            kind,
            patch=2,
            pool=1,
            limit=FEATURES[kind][many],
            batch_size=250,
            device=arguments.device,
        )
        per_class = many and size % CLASSES == 0
        build_codebook(CodebookOptions(source, size, per_class, arguments.iterations), path)
    return path


def run_cells(arguments: argparse.Namespace) -> None:
    """Every cell that is asked for, not there yet, and not in another command's hands."""
    for cell in wanted(arguments):
        path = arguments.out / f"{cell.name}.json"
        if path.exists():
            continue
        tried = {"lr": cell.lr, "codebook_rate": cell.table_rate} if cell.lr else None
        if not (rate := tried or chosen_rate(cell.system, arguments.out)):
            print(f"{cell.name}: another command is at the rates of {cell.system}", flush=True)
            continue
        try:
            found = run_cell(cell, rate, arguments)
        except VqcliError as e:
            if e.reason != "locked":
                raise
            continue  # another command is at it
        files.write_json(path, found)
        used = f"{found['utilization']:.2%}, " if "utilization" in found else ""
        print(f"{cell.name}: {used}PSNR {found['psnr']:.2f} dB, {found['seconds']} s", flush=True)


def wanted(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Rates first, then cells: all systems with few codes before any with many."""
    for system in arguments.systems:
        yield from rate_cells(system)
    sizes = sorted({size for system in arguments.systems for size in ALL[system].sizes})
    most = max(max((ALL[system].seeds or {0: 1}).values()) for system in arguments.systems)
    for size in arguments.sizes or sizes:
        for seed in arguments.seeds if arguments.seeds is not None else range(most):
            for system in arguments.systems:
                asked, known = arguments.sizes and arguments.seeds, ALL[system]
                if asked or (size in known.sizes and seed < (known.seeds or {}).get(size, 1)):
                    yield Cell(system, size, seed)


def write_results(out: Path, docs: Path | None) -> None:
    """Print the tables of all cells in ``out``; with ``docs``, write them and pictures into the pages there.

    Raises ValueError where a page has no place for a table.
    """
    found = [files.read_json(path) for path in sorted(out.glob("*.json"))]
    counted = [cell for cell in found if "utilization" in cell]
    cells = [cell for cell in counted if cell["system"] in SYSTEMS]
    shown: dict[str, dict[str, str]] = {"utilization.md": {}, "vqbridge.md": {}}
    if cells:
        tried = [cell for cell in found if "utilization" not in cell]
        shown["utilization.md"] |= {"table": table(cells), "rates": rates_table(tried)}
    for name, page in (("bridges", "vqbridge.md"), ("grid", "vqbridge.md"), ("claims", "utilization.md")):
        if trials := [cell for cell in counted if cell["system"] in STUDIES[name]]:
            shown[page][name] = trials_table(trials, STUDIES[name])
    for tables in shown.values():
        for text in tables.values():
            print(text)
    if not docs:
        return
    for page, tables in shown.items():
        put(docs / page, tables)
    for name, draw in {
        "utilization": utilization_picture,
        "utilization-curves": partial(curves_picture, size=SHOWN),
        "utilization-psnr": partial(quality_picture, size=SHOWN),
    }.items():
        if cells:
            files.write_text(docs / "images" / f"{name}.svg", draw(cells))


def put(page: Path, tables: dict[str, str]) -> None:
    """Write tables where a page has places for them. Raises ValueError where it has none."""
    text = page.read_text(encoding="utf-8") if tables else ""
    for name, rows in tables.items():
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        if not end:
            raise ValueError(f"{page} has no place for the table: {BEGIN.format(name)} ...")
        text = f"{before}{begin}\n\n{rows}\n{end}{after}"
    if tables:
        files.write_text(page, text)


def main() -> None:
    """Run the cells that are asked for and not there yet, then write the tables of all that are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", help="images to train on")
    parser.add_argument("--test", help="images to count over")
    parser.add_argument("--out", type=Path, default=HOME / "cells")
    parser.add_argument("--work", type=Path, default=Path("runs/utilization"), help="where runs are kept")
    parser.add_argument("--study", choices=STUDIES, default="systems")
    parser.add_argument("--systems", nargs="+", choices=ALL, help="these; else all of the study")
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of codes; else each system's own")
    parser.add_argument("--seeds", nargs="+", type=int, help="seeds; else as many as the study has")
    parser.add_argument("--iterations", type=int, default=10, help="of k-means, for VQGAN-LC's codes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--docs", type=Path, nargs="?", const=DOCS, help="a folder, else docs")
    arguments = parser.parse_args()
    if (arguments.train is None) != (arguments.test is None):
        parser.error("--train and --test belong together")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.systems = arguments.systems or list(STUDIES[arguments.study])
    for plugin in (PLUGIN, EFFICIENTNET):
        allow(plugin)
    if arguments.train:
        run_cells(arguments)
    write_results(arguments.out, arguments.docs)


if __name__ == "__main__":
    main()
