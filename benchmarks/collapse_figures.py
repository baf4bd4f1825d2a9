"""Pictures of codebooks that collapse, and of some that do not: docs/images/collapse-*.png, for collapse.md.

The trainings are those of collapse_toy.py, one thread, about a minute in all.

    python benchmarks/collapse_figures.py docs/images

Shape letters: N points, K codes, D = 2 code width.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).parent))
from collapse_toy import CODES, COUNTED, Toy, View, train

from vqcli.metrics.usage.counts import uniform_expectation
from vqcli.training.recipe import ScheduleConfig

Ticks = Sequence[tuple[float, str]]
"""Where names stand along an x axis from 0 to 1."""

SIDE, GAP, HEAD, SCALE = 232, 12, 40, 2
"""Pixels of a panel, between panels, and above one; pictures are drawn ``SCALE`` times as large first."""
PAPER, INK, SOFT, RULE = "#ffffff", "#1d2330", "#667085", "#e3e6ec"
LATENT, USED, UNUSED, SECOND = "#c3cbd8", "#2563eb", "#e11d48", "#0f8a5f"


class Sheet:
    """Panels side by side."""

    def __init__(self, panels: int, height: int = SIDE, width: int = SIDE) -> None:
        self.width, self.height = width, height
        whole = GAP + panels * (width + GAP), HEAD + height + GAP
        self.image = Image.new("RGB", (whole[0] * SCALE, whole[1] * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.panels = 0

    def panel(self, title: str, note: str) -> tuple[int, int]:
        """A frame with two lines above; returns its upper left corner."""
        left, top = GAP + self.panels * (self.width + GAP), HEAD
        self.panels += 1
        self.text((left, 4), title, INK, 14)
        self.text((left, 22), note, SOFT, 12)
        box = [left * SCALE, top * SCALE, (left + self.width) * SCALE, (top + self.height) * SCALE]
        self.draw.rectangle(box, outline=RULE, width=SCALE)
        return left, top

    def text(self, place: tuple[float, float], text: str, colour: str, size: int) -> None:
        font = ImageFont.load_default(size * SCALE)
        self.draw.text((place[0] * SCALE, place[1] * SCALE), text, colour, font)

    def dots(self, xy_n2: np.ndarray, colour: str, radius: float) -> None:
        for x, y in xy_n2 * SCALE:
            r = radius * SCALE
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def line(self, xy_n2: np.ndarray, colour: str) -> None:
        self.draw.line([tuple(xy) for xy in xy_n2 * SCALE], colour, 2 * SCALE)

    def scatter(self, title: str, view: View) -> None:
        """Latents, used and unused codes, around the latents; what lies outside is counted."""
        z_nd, codes_kd, counts_k = view
        used_k = counts_k > 0
        left, top = self.panel(title, f"{used_k.mean():.0%} of {len(codes_kd)} codes used")
        middle = (z_nd.max(0) + z_nd.min(0)) / 2
        reach = 1.25 * max(np.abs(z_nd - middle).max(), np.abs(middle).max(), 1e-9)
        out_k = (np.abs(codes_kd - middle) > reach).any(1)

        def place(xy_n2: np.ndarray) -> np.ndarray:
            return (xy_n2 - middle) * [1, -1] / reach * self.height / 2 + [
                left + self.width / 2,
                top + self.height / 2,
            ]

        self.dots(place(z_nd[:1500]), LATENT, 1.1)
        self.dots(place(codes_kd[used_k & ~out_k]), USED, 2.2)
        self.dots(place(codes_kd[~used_k & ~out_k]), UNUSED, 1.7)
        foot = f"width {2 * reach:.2g}"
        if out_k.any():
            far = np.median(np.linalg.norm(codes_kd[out_k] - middle, axis=1))
            foot += f"; {out_k.sum()} codes outside, {far:.2g} away"
        box = (left + 2, top + self.height - 19, left + 12 + 5.6 * len(foot), top + self.height - 2)
        self.draw.rectangle([x * SCALE for x in box], PAPER)
        self.text((left + 6, top + self.height - 18), foot, SOFT, 11)

    def chart(
        self, title: str, note: str, lines: Sequence[tuple[str, np.ndarray, str]], ticks: Ticks
    ) -> None:
        """Lines of (x, share) with x scaled to 0 to 1 by ``ticks``; each is named at its end."""
        left, top = self.panel(title, note)
        for share in (0.25, 0.5, 0.75, 1.0):
            y = top + self.height * (1 - share / 1.1)
            self.line(np.array([[left, y], [left + self.width, y]]), RULE)
            self.text((left + 3, y - 14), f"{share:.0%}", SOFT, 11)
        for at, name in ticks:
            self.text((left + at * self.width - 8, top + self.height - 16), name, SOFT, 11)
        for index, (name, xy_n2, colour) in enumerate(lines):
            x, y = xy_n2.T
            points_n2 = np.stack([left + x * self.width, top + self.height * (1 - y / 1.1)], 1)
            self.line(points_n2, colour)
            self.text((left + self.width * 0.14, top + 62 + 17 * index), name, colour, 12)

    def save(self, path: Path) -> None:
        small = self.image.resize((self.image.width // SCALE, self.image.height // SCALE), Image.LANCZOS)
        small.save(path, optimize=True)


FVQ = {"name": "bridged", "hidden": 32, "patch": 4}
PUBLISHED = {"codebook_weight": 0.25, "commitment_weight": 1.0}


def views(name: str, toy: Toy, titles: Sequence[str]) -> list[tuple[str, View]]:
    """Titles with what was seen after each of ``toy.shown``, said on stdout too."""
    start, seen = time.perf_counter(), train(toy)
    shares = ", ".join(f"step {step} {(view[2] > 0).mean():.1%}" for step, view in seen.views.items())
    print(f"{name}: {shares} ({time.perf_counter() - start:.1f} s)")
    return list(zip(titles, seen.views.values()))


def draw_views(path: Path, panels: Sequence[tuple[str, View]]) -> None:
    """One row of scatter plots."""
    sheet = Sheet(len(panels))
    for title, view in panels:
        sheet.scatter(title, view)
    sheet.save(path)


def start_figure(folder: Path) -> None:
    """VQGAN's start near zero against one among the latents and against VQBridge."""
    vqgan = Toy({}, PUBLISHED, shown=(20, 200, 1000))
    panels = views("vqgan", vqgan, ("VQGAN, step 20", "step 200", "step 1,000"))
    panels += views("fvq", Toy(FVQ, shown=(1000,)), ["VQBridge, step 1,000"])
    draw_views(folder / "collapse-start.png", panels)


def ema_figure(folder: Path) -> None:
    """Cluster sizes from 0 and from 1."""
    zero = Toy({"name": "ema", "init": "standard"}, counts_from_zero=True, shown=(2, 300, 1000))
    panels = views("ema from 0", zero, ("EMA from 0, step 2", "step 300", "step 1,000"))
    one = Toy({"name": "ema", "revive_below": 1.0}, shown=(1000,))
    panels += views("ema from 1, revived", one, ["from 1, revive_below: 1"])
    draw_views(folder / "collapse-ema.png", panels)


def shape_figure(folder: Path) -> None:
    """Latents drawn together by a strong commitment, and running away without any."""
    panels = []
    for weight, title in ((10.0, "commitment_weight: 10"), (0.25, "0.25"), (0.0, "0: norms explode")):
        toy = Toy({"init": "normal"}, {"commitment_weight": weight}, shown=(1000,))
        panels += views(f"commitment {weight}", toy, [title])
    draw_views(folder / "collapse-shape.png", panels)


def slots_figure(folder: Path) -> None:
    """A VQBridge whose last layer starts at zero, with a slow warm-up."""
    slow = ScheduleConfig(decay="constant", warmup=600)
    zero = Toy(FVQ | {"patch": 8}, schedule=slow, lr=1e-3, shown=(100, 400, 1000))
    panels = views("zero last layer", zero, ("zero last layer, step 100", "step 400", "step 1,000"))
    small = Toy(FVQ | {"patch": 8, "last_layer": "small"}, schedule=slow, lr=1e-3, shown=(1000,))
    panels += views("small last layer", small, ["last_layer: small, 1,000"])
    draw_views(folder / "collapse-slots.png", panels)


def annealing_figure(folder: Path) -> None:
    """A linear map and VQBridge over the same annealed run."""
    schedule, titles = ScheduleConfig(decay="linear", hold=0.3), {"linear map": USED, "VQBridge": SECOND}
    linear = {"name": "projected", "base": "uniform", "base_width": 2, "train_base": True}
    lines, sheet = [], Sheet(2, width=2 * SIDE)
    for codebook, (title, colour) in zip((linear, FVQ), titles.items()):
        toy = Toy(codebook, schedule=schedule, shown=(1000,))
        seen = train(toy)
        print(f"{title}, annealed: {seen.usage[29][1]:.1%} at step 300, {seen.usage[-1][1]:.1%} at the end")
        lines.append((title, np.array([(step / toy.steps, share) for step, share, _ in seen.usage]), colour))
        rates = np.array([(step / toy.steps, rate / toy.lr) for step, _, rate in seen.usage])
    ticks = [(i / 4, f"{250 * i:,}") for i in (1, 2, 3)]
    sheet.chart("Utilization", "over 10 steps of 256 points", [*lines, ("learning rate", rates, SOFT)], ticks)
    constant = Toy(linear, shown=(1000,))
    held = train(constant).usage
    print(f"linear map, constant: {held[29][1]:.1%} at step 300, {held[-1][1]:.1%} at the end")
    shown = np.array([(step / constant.steps, share) for step, share, _ in held])
    both = [("at a constant rate", shown, SECOND), ("annealed", lines[0][1], USED)]
    sheet.chart("The linear map alone", "over 10 steps of 256 points", both, ticks)
    sheet.save(folder / "collapse-annealing.png")


def tokens_figure(folder: Path) -> None:
    """What a count shows of a sound and of a collapsed codebook, by the number of tokens."""
    sheet, lines = Sheet(1, width=2 * SIDE), []
    sizes = np.unique(np.geomspace(8, COUNTED, 60).astype(int))
    x = np.log(sizes / 8) / np.log(COUNTED / 8)
    rng = np.random.default_rng(0)
    for name, toy, colour in (
        ("FVQ", Toy(FVQ, shown=(1000,)), SECOND),
        ("VQGAN", Toy({}, PUBLISHED, shown=(1000,)), USED),
    ):
        counts_k = train(toy).views[1000][2]
        ids = rng.permutation(np.repeat(np.arange(CODES), counts_k))
        lines.append((name, np.stack([x, [len(set(ids[:n].tolist())) / CODES for n in sizes]], 1), colour))
    uniform = np.stack([x, [uniform_expectation(CODES, int(n)) for n in sizes]], 1)
    ticks = [(np.log(n / 8) / np.log(COUNTED / 8), f"{n:,}") for n in (64, 512, 4096)]
    sheet.chart(
        "Codes seen, by tokens counted",
        "256 codes, after 1,000 steps",
        [*lines, ("uniform use", uniform, SOFT)],
        ticks,
    )
    print(f"uniform use reaches 99 % at {sizes[np.searchsorted(uniform[:, 1], 0.99)]:,} tokens")
    sheet.save(folder / "collapse-tokens.png")


def main() -> None:
    """Draw them all."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/images"))
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    start = time.perf_counter()
    for figure in (start_figure, ema_figure, slots_figure, shape_figure, annealing_figure, tokens_figure):
        figure(folder)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
