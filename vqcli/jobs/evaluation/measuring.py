"""The metrics of an evaluation with their networks: they see batches, and say what all came to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from vqcli.checkpoint.weights import hash_of
from vqcli.data.names import named
from vqcli.errors import VqcliError, suggestion
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.evaluation.work import Seen
from vqcli.library.weights import is_published, network_weights
from vqcli.metrics.base import LabelMetric, Metric, PairMetric, SetMetric, Side, TokenMetric
from vqcli.metrics.frechet import FrechetMetric
from vqcli.metrics.protocols import Protocol
from vqcli.nn.inception import FidInception
from vqcli.nn.lpips import Backbone, Lpips
from vqcli.nn.random_weights import random_weights
from vqcli.registry import MetricConfig, build, known_parts, resolve
from vqcli.types import Progress

SIDES: tuple[Side, ...] = ("reference", "sample")
INCEPTION = "fid-inception"
WITHOUT = "--metrics psnr,ssim,usage, by which a tokenizer is measured without any network"
"""How to do without a network."""
PUBLISHED, FOREIGN = "published weights", "other weights than the published"
"""What is said of a network's weights: whether each of their files has the SHA-256 of the published one."""


class Measuring:
    """Metrics by name, and the network that those of sets share."""

    def __init__(self, metrics: dict[str, Metric], codebook_size: int = 0) -> None:
        self.metrics, self.codebook_size = metrics, codebook_size
        self.inception: FidInception | None = None
        self.device = torch.device("cpu")
        """Where the networks are."""
        self.networks: dict[str, str] = {}
        """Of each network: where its weights come from, and their hash."""
        self.unmeasured: dict[str, str] = {}
        """Metrics that were to be measured and are not: why, and what would help."""
        self.statistics: Mapping[str, np.ndarray] = {}
        self.samples = 0

    def prepare(self, statistics: Mapping[str, np.ndarray], samples: int) -> list[str]:
        """Be told what is stored of the reference, and how many samples there will be.

        Names the metrics that have to see the reference's images all the same.
        """
        self.statistics, self.samples, unmet = statistics, samples, []
        for name, metric in self.sets.items():
            metric.expect(samples)
            taken = bool(statistics) and metric.take_statistics(statistics)
            unmet += [name] if "reference" in metric.SIDES and not taken else []
        return unmet

    def renewed(self) -> Measuring:
        """The same metrics, of which none has seen anything; they cannot look, only ``merge``."""
        again = Measuring(build_metrics(self.configs(), self.codebook_size), self.codebook_size)
        again.networks, again.unmeasured = self.networks, self.unmeasured
        again.prepare(self.statistics, self.samples)
        return again

    def configs(self) -> dict[str, dict[str, Any]]:
        """All options of each metric."""
        return {name: metric.config.model_dump(mode="json") for name, metric in self.metrics.items()}

    @property
    def pairs(self) -> dict[str, PairMetric]:
        """Metrics that compare a reconstruction with its image."""
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, PairMetric)}

    @property
    def sets(self) -> dict[str, SetMetric]:
        """Metrics that compare two sets."""
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, SetMetric)}

    def see(self, seen: Seen) -> None:
        """Show a batch to all metrics that look at such things."""
        for name, metric in self.pairs.items():
            for pair in seen.pairs:
                try:
                    metric.observe(*pair)
                except ValueError as e:
                    hint = "leave it out: --metrics with the others, or larger images: --size"
                    raise VqcliError(f"{name} cannot be measured: {e}", hint=hint, reason="size") from e
        for judging in (m for m in self.metrics.values() if isinstance(m, LabelMetric)):
            for labels, guesses in seen.classes:
                judging.observe(labels, guesses)
        for counting in (m for m in self.metrics.values() if isinstance(m, TokenMetric)):
            for ids, grid in seen.tokens:
                counting.observe(ids, grid)
        for side in SIDES:
            watching = [each for each in self.sets.values() if side in each.SIDES]
            some = [(indices, images) for its, indices, images in seen.sets if its == side]
            if watching and some and self.inception:
                # images of many sizes are one batch for the network: alone, each would take a pass
                alike = [self.inception.resize(images.to(self.device).float()) for _, images in some]
                features = self.inception(torch.cat(alike))
                for comparing in watching:
                    comparing.observe(side, np.concatenate([indices for indices, _ in some]), features)

    @property
    def foreign(self) -> list[str]:
        """Networks whose weights were named by a user and are not the published ones."""
        return [name for name, told in self.networks.items() if told.startswith(FOREIGN)]

    def titles(self) -> dict[str, str]:
        """What people call each number."""
        return {key: title for metric in self.metrics.values() for key, title in metric.TITLES.items()}


def build_metrics(sections: Mapping[str, Any], codebook_size: int) -> dict[str, Metric]:
    """Metrics of which each is described by a section; those of tokens count so many codes."""
    adapter: TypeAdapter[Any] = TypeAdapter(MetricConfig)
    metrics: dict[str, Metric] = {}
    for name, section in sections.items():
        codes = (codebook_size,) if issubclass(resolve("metrics", name), TokenMetric) else ()
        metrics[name] = build("metrics", adapter.validate_python(section), *codes)
    return metrics


def open_measuring(
    options: EvaluateOptions,
    protocol: Protocol,
    names: Sequence[str],
    codebook_size: int,
    device: torch.device,
    progress: Progress,
) -> Measuring:
    """The metrics called ``names`` as ``protocol`` has them, with their networks on ``device``.

    Those whose network cannot be reached are left out and told, unless they were asked for by name. Raises
    VqcliError where such weights cannot be had, and where nothing would be left.
    """
    measuring = Measuring(
        build_metrics({name: protocol.metric(name) for name in names}, codebook_size), codebook_size
    )
    found = _all_weights(measuring, options, progress)
    for metric in measuring.metrics.values():
        if not metric.network:
            continue
        weights = found[metric.network]
        told = f"SHA-256 {hash_of(weights)[:16]}"
        measuring.networks[metric.network] = f"{weights_source(metric.network, options)}, {told}"
        if isinstance(metric, PairMetric):
            metric.load(weights, device)
        elif not measuring.inception:
            measuring.inception = FidInception(resize=protocol.resize)
            measuring.inception.load(weights)
            measuring.inception.to(device)
            measuring.device = device
    return measuring


def weights_source(name: str, options: EvaluateOptions) -> str:
    """What weights of a network are, in words: the published ones only where files have their hashes."""
    if options.random_networks:
        return "random weights"
    return PUBLISHED if is_published(name, _given(name, options)) else FOREIGN


UNREACHED = ("offline", "unavailable", "denied", "protocol", "hash")
"""Reasons for which a network cannot be had here and now."""


def _all_weights(
    measuring: Measuring, options: EvaluateOptions, progress: Progress
) -> dict[str, dict[str, Tensor]]:
    """The weights of every network; metrics are taken out whose network cannot be reached."""
    weights: dict[str, dict[str, Tensor]] = {}
    missing: dict[str, VqcliError] = {}
    for name, metric in list(measuring.metrics.items()):
        network = metric.network
        if network and network not in weights and network not in missing:
            try:
                weights[network] = find_weights(network, options, progress)
            except VqcliError as e:
                if e.reason not in UNREACHED or options.statistics:
                    raise
                missing[network] = e
        if error := missing.get(network):
            if name in options.metrics or len(measuring.metrics) == 1:
                raise error
            del measuring.metrics[name]
            same = [other for other, why in measuring.unmeasured.items() if str(error) in why]
            help = error.hint.partition("; or go without")[0]
            why = f"it needs the same network as {same[0]}" if same else f"{error} ({help})"
            measuring.unmeasured[name] = why
    return weights


def find_weights(name: str, options: EvaluateOptions, progress: Progress) -> dict[str, Tensor]:
    """The weights of a network, as published, or drawn. Raises VqcliError where they cannot be had."""
    if options.random_networks:
        with torch.device("meta"):
            own = FidInception().published() if name == INCEPTION else Lpips(_backbone(name)).state_dict()
        return random_weights(own)
    without = "" if named(options.target) == "images" else WITHOUT  # which is for a tokenizer
    return network_weights(name, _given(name, options), progress, without)


def _given(name: str, options: EvaluateOptions) -> str | None:
    given = options.inception_weights if name == INCEPTION else options.lpips_weights
    return str(given) if given else None


def _backbone(name: str) -> Backbone:
    return "vgg" if name.endswith("vgg") else "alex"


@dataclass(frozen=True)
class View:
    """What there is to look at."""

    pairs: bool
    """Images and what a tokenizer makes of them."""
    sides: frozenset[Side]
    """Sets of images."""
    storing: bool = False
    """Statistics of the samples are wanted, for which a reference is not needed."""
    tokens: bool = True
    """A tokenizer has a codebook."""
    classes: bool = False
    """What a classifier takes images for, and nothing else."""


def check_known(wanted: Sequence[str]) -> Collection[str]:
    """All metrics there are. Raises VqcliError where one of ``wanted`` is none of them."""
    known = known_parts("metrics")
    for name in wanted:
        if name not in known:
            hint = suggestion(name, list(known))
            raise VqcliError(f"there is no metric '{name}'", hint=hint, reason="option")
    return known


def choose(protocol: Protocol, wanted: Sequence[str], view: View) -> list[str]:
    """The metrics that are measured: those a user ``wanted``, else those of the protocol that fit.

    Raises VqcliError where a metric is not known or does not fit, and where none does.
    """
    known = check_known(wanted)
    unfit = {name: why for name in known if (why := _unfit(resolve("metrics", name), view))}
    usual = known if view.classes else protocol.metrics
    chosen = list(dict.fromkeys(wanted)) or [name for name in usual if name not in unfit]
    for name in chosen or protocol.metrics:
        if name in unfit:
            message = f"{name} cannot be measured: {unfit[name]}"
            raise VqcliError(message, hint=HINTS[unfit[name]], reason="option")
    if view.storing and not any(issubclass(resolve("metrics", name), FrechetMetric) for name in chosen):
        message = "statistics are what fid and sfid keep, of which none is measured"
        raise VqcliError(message, hint="--metrics fid,sfid", reason="option")
    return chosen


NO_PAIRS, NO_REFERENCE = "it looks at what a tokenizer makes of images", "it needs images to measure against"
NO_IMAGES = "it looks at images that a model makes, and a classifier makes none"
NO_CLASSES = "it looks at what a classifier takes images for"
NO_TOKENS = "it counts codes, and this model has no codebook"
HINTS = {
    NO_PAIRS: "give a tokenizer as the target, or --paired for two sets of images; or leave it out",
    NO_IMAGES: "leave it out: --metrics accuracy",
    NO_CLASSES: "give a classifier as the target; or leave it out",
    NO_REFERENCE: "name them with --images",
    NO_TOKENS: "leave it out: --metrics psnr,ssim",
}


def _unfit(metric: type[Metric], view: View) -> str:
    """Why a metric cannot be measured; empty if it can."""
    if view.classes or issubclass(metric, LabelMetric):
        if view.classes == issubclass(metric, LabelMetric):
            return ""
        return NO_IMAGES if view.classes else NO_CLASSES
    if not issubclass(metric, SetMetric):
        missing = NO_TOKENS if issubclass(metric, TokenMetric) and not view.tokens else ""
        return missing if view.pairs else NO_PAIRS
    stored = view.storing and issubclass(metric, FrechetMetric)
    return "" if view.sides >= metric.SIDES or stored else NO_REFERENCE
