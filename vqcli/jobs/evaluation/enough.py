"""Whether enough images were seen for a number: one that would mislead is not given, or says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vqcli.jobs.evaluation.measuring import Measuring
from vqcli.metrics.base import Metric, SetMetric, Side


@dataclass
class Judged:
    """Numbers of metrics, and what there is to say of them."""

    numbers: dict[str, float | None] = field(default_factory=dict)
    """By the names of ``Metric.result``; None where there were too few images."""
    unmeasured: dict[str, str] = field(default_factory=dict)
    """Why a metric has no number, by its name."""
    cautions: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong with a number, by its name; those with nothing wrong are left out."""


def judge(measuring: Measuring, *, few_images: bool, measured_against: bool) -> Judged:
    """What all metrics came to. ``few_images``: also those that need more images than there were.

    What compares two sets is left out where nothing is ``measured_against``.
    """
    judged = Judged()
    for name, metric in measuring.metrics.items():
        alone = isinstance(metric, SetMetric) and "reference" in metric.SIDES and not measured_against
        if alone:
            continue
        seen = metric.seen() if isinstance(metric, SetMetric) else {}
        least = metric.LEAST if isinstance(metric, SetMetric) else 0
        enough = few_images or min(seen.values(), default=least) >= least
        found = metric.result() if enough else {}
        if not found:
            judged.numbers |= dict.fromkeys(main_numbers(metric))
            judged.unmeasured[name] = _too_few(seen, least, few_images)
            continue
        judged.numbers |= found
        if said := _wrong(metric, seen, measuring.foreign):
            judged.cautions |= dict.fromkeys(main_numbers(metric), said)
    return judged


def _too_few(seen: Mapping[Side, int], least: int, few_images: bool) -> str:
    if not seen:
        return "there are too few images"
    ways = f"at least {least} are needed (--force measures all the same)"
    return f"{images(seen)}, {'more are needed' if few_images else ways}"


def _wrong(metric: Metric, seen: Mapping[Side, int], foreign: Collection[str]) -> list[str]:
    """What is wrong with a number that a metric gives."""
    caution = metric.caution() if isinstance(metric, SetMetric) else ""
    said = [f"{images(seen)}, {caution}"] if caution else []
    return said + (
        [f"by other weights of {metric.network} than the published"] if metric.network in foreign else []
    )


def main_numbers(metric: Metric) -> list[str]:
    """Names of a metric's numbers without those that only tell of another: a deviation, a size."""
    first = next(iter(metric.TITLES))
    return [name for name in metric.TITLES if not name.startswith(f"{first}_")]


def images(seen: Mapping[Side, int]) -> str:
    """How many images there were, in words: of the smaller side where they differ."""
    count = min(seen.values())
    if len(seen) == 1:
        return f"{count:,} images"
    if len(set(seen.values())) == 1:
        return f"{count:,} images a side"
    return f"{count:,} images {'to measure against' if count == seen['reference'] else 'to measure'}"
