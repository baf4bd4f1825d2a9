"""How well a tokenizer reconstructs held-out images, and how it uses its codes: over all processes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vqcli.metrics.image import lpips, psnr
from vqcli.metrics.usage import UsageCounts
from vqcli.nn.distributed import all_reduce_sum
from vqcli.nn.lpips import Lpips
from vqcli.pixels import to_uint8
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Tokens

USAGE = ("codebook_size", "tokens", "used", "utilization", "uniform_expectation", "perplexity")
"""What ``usage.json`` has of a report."""


def score(
    model: Tokenizer, batches: Iterable[Tensor], usage: UsageCounts, network: Lpips | None
) -> dict[str, Any]:
    """PSNR and LPIPS of 8-bit images (means over images), and the exact usage of the codebook.

    ``batches`` (B, 3, H, W) in [-1, 1] are this process's share. ``usage`` is empty. LPIPS is called by its
    network, ``lpips_vgg``, and left out without one. Empty where there is no image. A collective call.
    """
    baked, device = copy.deepcopy(model), model.last_layer.device
    baked.bake()
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr}
    if network:
        measures[f"lpips_{network.net}"] = partial(lpips, network)
    sums = torch.zeros(len(measures) + 1, dtype=torch.float64)
    for images in batches:
        tokens = baked.encode(images)
        count(usage, tokens)
        pair = to_uint8(baked.decode(tokens)), to_uint8(images)
        values = [measure(*pair).sum().item() for measure in measures.values()]
        sums += torch.tensor([*values, len(images)], dtype=torch.float64)
    *totals, images_seen = all_reduce_sum(sums.float().to(device)).tolist()
    report = summed(usage, device).report()
    if not images_seen:
        return {}
    return {
        **{name: total / images_seen for name, total in zip(measures, totals)},
        "images": int(images_seen),
        "utilization": report.utilization,
        "tokens": report.tokens,
        "uniform_expectation": report.uniform_expectation,
        "perplexity": report.perplexity,
        "usage": report,
    }


def usage_record(measured: dict[str, Any], source: str) -> dict[str, Any] | None:
    """What ``usage.json`` says of the last ``score`` on images of ``source``; None if there was none."""
    report = measured.get("usage")
    if not report:
        return None
    images = {"images": f"{report.images:,} held-out images of {source}"}
    quality = {name: x for name, x in measured.items() if name == "psnr" or name.startswith("lpips_")}
    return images | {name: getattr(report, name) for name in USAGE} | quality


def summed(usage: UsageCounts, device: torch.device) -> UsageCounts:
    """What all processes counted together. A collective call."""
    total = UsageCounts(usage.counts_ek.shape[1], usage.counts_ek.shape[0])
    total.counts_ek += all_reduce_sum(torch.from_numpy(usage.counts_ek).to(device, copy=True)).cpu().numpy()
    total.images = int(all_reduce_sum(torch.tensor(usage.images, device=device)))
    return total


def count(usage: UsageCounts, tokens: Tokens) -> None:
    """Add the tokens of a batch."""
    usage.add(tokens.ids.cpu().numpy(), tokens.grid)
