"""What a run says of itself on the way: lines whose parts always stand in the same order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vqcli.types import Grid, grid_length

HIDDEN = (
    *("gradient_norm", "learning_rate", "real", "fake", "lecam"),
    *("utilization_tokens", "perplexity", "weakest_slot", "revived_slots"),
)
"""What is logged and not shown on the way."""
LAST = ("adaptive_weight", "utilization", "slots", "rejected", "images_per_second")
"""What stands behind the losses, in this order."""
TOTAL = "total_loss"
"""Sum of the model's losses."""


def log_line(
    at: tuple[int, int], numbers: Mapping[str, float], losses: Sequence[str], left: float | None
) -> str:
    """``step 20/600  loss 0.1316  l2 0.1207 ...``: the total, its parts, then the rest, rate and time left.

    ``losses`` are names of parts that come first, ``at`` the step and how many there are, ``left`` seconds.
    """
    shown = [name for name in numbers if name.split("/")[-1] not in HIDDEN]
    order = {name: i for i, name in enumerate((TOTAL, *losses, "adversarial"))}
    parts = sorted((n for n in shown if n not in LAST), key=lambda n: (order.get(n, 99), "/" in n, n))
    step, steps = (f"{n:,}" for n in at)
    words = [f"step {step:>{len(steps)}}/{steps}"]
    words += [_told(name, numbers[name]) for name in (*parts, *(n for n in LAST if n in shown))]
    return "  ".join(words if left is None else [*words, f"{duration(left)} left"])


def _told(name: str, value: float) -> str:
    if name == "utilization":
        return f"utilization {value:6.1%}"
    if name == "slots":
        return f"slots {value:.0f}"
    if name == "images_per_second":
        return f"{value:,.0f} images/s" if value >= 100 else f"{value:.3g} images/s"
    if name == "rejected":
        return f"rejected {value:,.0f}"
    return f"{'loss' if name == TOTAL else name} {value:<8.4g}"


def duration(seconds: float) -> str:
    """``0:07``, ``12:34``, ``3:25:45``, ``2d 1:00:00``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    text = f"{h}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"
    return f"{days}d {text}" if days else text


def minutes(seconds: float) -> str:
    """``48 s``, ``9.2 min``, ``3.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def tokens_in_words(grid: Grid, size: tuple[int, int], codes: int) -> str:
    """``32x32 = 1,024 an image of 128x128 pixels, 4,096 codes``; also ``4 x 16x16``, ``1x1 to 8x8``."""
    first, last = ("x".join(map(str, entry)) for entry in (grid[0], grid[-1]))
    of = f"an image of {size[0]}x{size[1]} pixels"
    if not codes:
        return f"none: latents of {last} {of}, without a codebook"
    several = last if len(grid) == 1 else f"{len(grid)} x {last}" if first == last else f"{first} to {last}"
    return f"{several} = {grid_length(grid):,} {of}, {codes:,} codes"


def time_left(done: int, steps: int, seconds: float) -> float | None:
    """Seconds to go, after ``done`` steps of this sitting took so long; None where that cannot be told."""
    return seconds / done * steps if done and steps and math.isfinite(seconds) else None
