"""How well a tokenizer reconstructs held-out images, and how it uses its codes: over all processes."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from vqcli.metrics.base import PairMetric
from vqcli.metrics.lpips import LpipsDistance
from vqcli.metrics.protocols import PROTOCOLS
from vqcli.metrics.psnr import Psnr
from vqcli.metrics.ssim import Ssim
from vqcli.metrics.usage.counts import UsageReport
from vqcli.metrics.usage.diagnosis import ENOUGH, tokens_needed
from vqcli.metrics.usage.record import UsageRecord
from vqcli.nn.distributed import all_reduce_sum
from vqcli.nn.lpips import Lpips
from vqcli.pixels import normalize, to_uint8
from vqcli.tokenizers.base import Tokenizer
from vqcli.training.usage import DeviceCounts

PROTOCOL = PROTOCOLS["plain"]
"""How reconstructions are compared with their images."""
QUALITY = ("psnr", "ssim", "lpips_vgg", "lpips_alex")
"""What a record has of how near they are, as far as it was measured."""
MOST_COUNTED = 20_000
"""Training images at most that are encoded for the sake of counting: minutes, of small images on a CPU."""


def score(
    model: Tokenizer, batches: Iterable[Tensor], usage: DeviceCounts | None, network: Lpips | None
) -> dict[str, Any]:
    """PSNR, SSIM and LPIPS by the protocol ``plain``, means over images, and the exact use of the codebook.

    ``batches`` (B, 3, H, W) in [-1, 1], of the model's image size, are this process's share. ``usage`` is
    empty, or None for a model without a codebook. SSIM is left out of images smaller than its window; LPIPS
    is called by its network, ``lpips_vgg``, and left out without one. Empty where there is no image.
    A collective call.
    """
    baked, device = copy.deepcopy(model), model.last_layer.device
    baked.bake()
    assert baked.image_size
    metrics = pair_metrics(min(baked.image_size), network, device)
    sums = torch.zeros(len(metrics) + 1, dtype=torch.float64)
    for images in batches:
        made, tokens = baked.roundtrip(images)
        if usage and tokens:
            usage.add(tokens)
        pair = [normalize(to_uint8(each, PROTOCOL.compared)) for each in (images, made)]
        values = [metric.measure(*pair).sum().item() for metric in metrics.values()]
        sums += torch.tensor([*values, len(images)], dtype=torch.float64)
    *totals, images_seen = all_reduce_sum(sums.float().to(device)).tolist()
    report = usage.summed().report() if usage else None
    if not images_seen:
        return {}
    quality = {name: total / images_seen for name, total in zip(metrics, totals)}
    measured = {**quality, "images": int(images_seen)}
    return measured | counted(report) if report else measured


def counted(report: UsageReport) -> dict[str, Any]:
    """What ``score`` says of the use of the codebook."""
    return {
        "utilization": report.utilization,
        "tokens": report.tokens,
        "uniform_expectation": report.uniform_expectation,
        "perplexity": report.perplexity,
        "usage": report,
    }


def missing_images(codes: int, tokens: int, each: int) -> int:
    """Further images, of ``each`` tokens, that uniform use of the codes needs to show ``ENOUGH`` of them.

    ``MOST_COUNTED`` at most.
    """
    return min(MOST_COUNTED, max(0, -(-(tokens_needed(codes) - tokens) // each))) if codes else 0


def count_further(
    model: Tokenizer, batches: Iterable[Tensor], usage: DeviceCounts, measured: dict[str, Any]
) -> dict[str, Any]:
    """What ``score`` measured, with the use of the codebook over training images too.

    ``usage`` is what this process counted there; quality stays that of held-out images. A collective call.
    """
    baked = copy.deepcopy(model)
    baked.bake()
    for images in batches:
        usage.add(baked.encode(images))
    report, held = usage.summed().report(), measured.get("images", 0)
    if not report.images:
        return measured
    return measured | counted(report) | {"images": held, "training_images": report.images - held}


def images_in_words(measured: dict[str, Any]) -> str:
    """``64 held-out images``, ``64 held-out and 32 training images``."""
    held, training = measured.get("images", 0), measured.get("training_images", 0)
    parts = [f"{held:,} held-out"] if held or not training else []
    return " and ".join([*parts, *([f"{training:,} training"] if training else [])]) + " images"


def in_words(measured: dict[str, Any]) -> str:
    """One line on what ``score``, and ``count_further``, measured."""
    psnr = f"PSNR {measured['psnr']:.2f} dB" if "psnr" in measured else ""
    if "utilization" not in measured:
        return f"{psnr} over {images_in_words(measured)}"
    uniform = measured["uniform_expectation"]
    used = (
        f"utilization {measured['utilization']:.2%} over {measured['tokens']:,} tokens of "
        f"{images_in_words(measured)} (uniform use: {uniform:.2%}"
        f"{'; too few images to tell' if uniform < ENOUGH else ''})"
    )
    alone = " of those held out" if measured.get("training_images") else ""
    return f"{used}, {psnr}{alone}" if psnr else used


def pair_metrics(side: int, network: Lpips | None, device: torch.device) -> dict[str, PairMetric]:
    """What compares images of ``side`` pixels, the shorter one, by the names of its numbers."""
    metrics: dict[str, PairMetric] = {"psnr": Psnr(Psnr.Config(**PROTOCOL.metric("psnr")))}
    ssim = Ssim(Ssim.Config(**PROTOCOL.metric("ssim")))
    if side >= ssim.smallest:
        metrics["ssim"] = ssim
    if network:
        config = LpipsDistance.Config(**PROTOCOL.metric("lpips") | {"net": network.net})
        lpips = metrics[f"lpips_{network.net}"] = LpipsDistance(config)
        lpips.load(network.state_dict(), device)  # a copy: the loss's own has dropout, and its own eps
    return metrics


def usage_record(measured: dict[str, Any], source: str) -> UsageRecord | None:
    """The record of the last ``score`` on images of ``source``; None if there was none."""
    report = measured.get("usage")
    if not report:
        return None
    images = f"{images_in_words({'images': report.images} | measured)} of {source}"
    quality = {name: measured[name] for name in QUALITY if name in measured}
    return UsageRecord.of(report, images, PROTOCOL.name, **quality)
