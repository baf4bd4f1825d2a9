"""How much of its codebook each system uses: one network, one budget, one count, every cell seeded.

    python benchmarks/utilization.py --train 'cifar10/train-*.parquet' --test 'cifar10/test-*.tar'
    python benchmarks/utilization.py ... --systems fvq ema fc --sizes 1024 --seeds 1 2
    python benchmarks/utilization.py --docs

Trains the CIFAR-10 recipe of each system with each number of codes and each seed, and counts tokens over all
test images (over the training images where those give fewer than 20 tokens a code). The frozen codes of
VQGAN-LC are k-means of patches of the training images. A cell is one JSON file in --out; a finished cell is
never run again, an unfinished one goes on, and two of these commands may share the work. Then all cells of
--out become table.md, table.json and the picture table.svg; without --train and --test that is all. --docs
puts table and picture into docs/utilization.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from utilization_plot import plot

import vqcli
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.build_codebook import build_codebook
from vqcli.jobs.options import CodebookOptions, FeatureOptions, ImageOptions, TrainOptions
from vqcli.jobs.train import train
from vqcli.jobs.usage import measure_usage

TOKENS_A_CODE = 20
"""Fewer would leave codes of a perfect codebook unseen."""
TOKENS_AN_IMAGE, TEST_IMAGES = 64, 10_000
DOCS = Path(__file__).parents[1] / "docs" / "utilization.md"
BEGIN, END = "<!-- table -->", "<!-- /table -->"
"""Between these two the page has the table."""
LINEAR = "{name: projected, base: gaussian, base_width: 64, train_base: true, width: 64}"
QUIET = ("training.sample_every=100000", "training.validate_every=100000", "training.checkpoint_every=200")

SYSTEMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vqgan": ("vqgan-cifar10", ()),
    "ema": ("vqgan-ema-cifar10", ()),
    "fc": ("vqgan-fc-cifar10", ()),
    "llamagen": ("llamagen-cifar10", ()),
    "lc": ("vqgan-lc-cifar10", ("tokenizer.codebook.base={features}",)),
    "simvq": ("simvq-cifar10", ("tokenizer.name=conv", "tokenizer.network=small-4")),
    "ibq": ("ibq-cifar10", ()),
    "fvq": ("fvq-cifar10", ()),
    "fvq-constant": ("fvq-cifar10", ("schedule.decay=constant",)),
    "fvq-linear": ("fvq-cifar10", (f"tokenizer.codebook={LINEAR[:-1]}, size: {{size}}}}",)),
}
"""Recipe of each, and what is set beside the number of codes."""


@dataclass(frozen=True)
class Cell:
    """One training run and one count."""

    system: str
    size: int
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.system}-{self.size}-{self.seed}"

    def settings(self, steps: int, features: Path) -> list[str]:
        """Overrides of the recipe."""
        own = [
            s.replace("{size}", str(self.size)).replace("{features}", str(features))
            for s in SYSTEMS[self.system][1]
        ]
        return [
            *own,
            f"tokenizer.codebook.size={self.size}",
            f"training.steps={steps}",
            f"seed={self.seed}",
            *QUIET,
        ]


def run_cell(cell: Cell, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, count, and say what came out."""
    run = arguments.work / cell.name
    features = arguments.work / f"features-{cell.size}.safetensors"
    if cell.system == "lc" and not features.exists():
        make_features(arguments, cell.size, features)
    recipe, settings = SYSTEMS[cell.system][0], cell.settings(arguments.steps, features)
    begun = (run / "recipe.yaml").exists()
    options = TrainOptions(
        recipe=None if begun else recipe,
        out=run,
        resume=begun,
        settings=[] if begun else [*settings, f"data.source={json.dumps(arguments.train)}"],
        device=arguments.device,
    )
    start = time.monotonic()
    trained = train(options)
    seconds = time.monotonic() - start
    enough = TOKENS_A_CODE * cell.size <= TEST_IMAGES * TOKENS_AN_IMAGE
    images = arguments.test if enough else arguments.train
    counted = measure_usage(
        str(run), ImageOptions(images, str(run), batch_size=256, device=arguments.device)
    ).usage
    assert counted is not None
    return {
        "system": cell.system,
        "codebook_size": cell.size,
        "seed": cell.seed,
        "recipe": recipe,
        "settings": cell.settings(arguments.steps, Path(features.name)),
        "steps": trained.steps,
        "images": f"{'test' if enough else 'training'} images, {counted.images:,}",
        "tokens": counted.tokens,
        "used": counted.used,
        "utilization": counted.utilization,
        "uniform_expectation": counted.uniform_expectation,
        "perplexity": counted.perplexity,
        "psnr": trained.measured["psnr"],
        "psnr_images": trained.measured["images"],
        "seconds": None if begun else round(seconds, 1),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "vqcli": vqcli.__version__,
    }


def run_cells(arguments: argparse.Namespace) -> None:
    """Every cell that is asked for, not there yet, and not in another command's hands."""
    for cell in (Cell(*x) for x in wanted(arguments)):
        path = arguments.out / f"{cell.name}.json"
        if path.exists():
            continue
        try:
            found = run_cell(cell, arguments)
        except VqcliError as e:
            if e.reason != "locked":
                raise
            continue  # another command is at it
        files.write_json(path, found)
        print(f"{cell.name}: {found['utilization']:.2%}, PSNR {found['psnr']:.2f} dB", flush=True)


def make_features(arguments: argparse.Namespace, size: int, path: Path) -> None:
    """VQGAN-LC's frozen table, of raw patches."""
    source = FeatureOptions(arguments.train, batch_size=256, device=arguments.device)
    build_codebook(CodebookOptions(source, size=size, iterations=arguments.iterations), path)


def table(cells: list[dict[str, Any]]) -> str:
    """Markdown, a row for each system and size; several seeds as mean and range."""
    lines = [
        "| system | K | seeds | utilization | if uniform | perplexity | PSNR | steps | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size in sorted({cell["codebook_size"] for cell in cells}):
        for system in SYSTEMS:
            rows = [c for c in cells if (c["system"], c["codebook_size"]) == (system, size)]
            if rows:
                lines.append(table_row(system, size, rows))
    return "\n".join(lines) + "\n"


def table_row(system: str, size: int, rows: list[dict[str, Any]]) -> str:
    """What the seeds of a system and size came to."""

    def told(name: str, form: str) -> str:
        values = [row[name] for row in rows if row[name] is not None]
        if not values:
            return ""
        mean, *ends = (form.format(x) for x in (sum(values) / len(values), min(values), max(values)))
        spread = f" ({' to '.join(ends)})" if ends[0] != ends[1] else ""
        return mean + spread

    cells = [
        system,
        f"{size:,}",
        ", ".join(str(row["seed"]) for row in rows),
        told("utilization", "{:.2%}"),
        told("uniform_expectation", "{:.2%}"),
        told("perplexity", "{:,.0f}"),
        told("psnr", "{:.2f}"),
        told("steps", "{:,.0f}"),
        told("seconds", "{:,.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


def write_results(out: Path, docs: Path | None) -> None:
    """Table and picture of all cells in ``out``; also into the page ``docs`` and beside it.

    Raises ValueError where that page has no place for the table.
    """
    cells = [files.read_json(path) for path in sorted(out.glob("*-*-*.json"))]
    if not cells:
        return
    shown, picture = table(cells), plot(cells)
    files.write_text(out / "table.md", shown)
    files.write_json(out / "table.json", cells)
    files.write_text(out / "table.svg", picture)
    print(shown)
    if docs:
        before, begin, rest = docs.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"{docs} has no place for the table: {BEGIN} ... {END}")
        files.write_text(docs, f"{before}{begin}\n\n{shown}\n{end}{after}")
        files.write_text(docs.parent / "images" / "utilization.svg", picture)


def main() -> None:
    """Run the cells that are asked for and not there yet, then write table and picture of all that are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", help="images to train on")
    parser.add_argument("--test", help="images to count over")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "utilization")
    parser.add_argument("--work", type=Path, default=Path("runs/utilization"), help="where runs are kept")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1024, 4096])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--iterations", type=int, default=20, help="of k-means, for VQGAN-LC's codes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--docs", type=Path, nargs="?", const=DOCS, help="a page, else docs/utilization.md")
    arguments = parser.parse_args()
    if (arguments.train is None) != (arguments.test is None):
        parser.error("--train and --test belong together")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.train:
        run_cells(arguments)
    write_results(arguments.out, arguments.docs)


def wanted(arguments: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Cells, those of small codebooks first."""
    return [(s, k, seed) for seed in arguments.seeds for k in arguments.sizes for s in arguments.systems]


if __name__ == "__main__":
    main()
