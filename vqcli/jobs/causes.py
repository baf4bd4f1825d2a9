"""Why a model's codebook is used as it is: what is gathered for ``metrics.diagnosis``, and asked of it.

Shape letters: B images, D code width, h, w sides of latents, N latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vqcli import files
from vqcli.config import read_yaml
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.diagnosis import diagnose
from vqcli.metrics.usage.facts import Counted, Diagnosis, Facts
from vqcli.metrics.usage.geometry import CodeGeometry
from vqcli.metrics.usage.latents import LatentGeometry, measure_latents

if TYPE_CHECKING:
    from torch import Tensor

    from vqcli.jobs.encoder import Encoder
    from vqcli.quantizers.base import Quantizer

LATENTS = 4096
"""Latents that are sampled."""
FEWEST = 16
"""Images they come from at least, if there are so many."""


def find_causes(
    counted: Counted,
    folder: Path,
    geometry: CodeGeometry | None,
    latents: LatentGeometry | None = None,
) -> Diagnosis:
    """Likely causes of low usage of the model in ``folder``, which may be part of a run."""
    return diagnose(Facts(counted, geometry, latents, trained_as(folder), history_of(folder)))


def run_of(folder: Path) -> Path | None:
    """The run that a model folder or a checkpoint is part of."""
    above = folder.resolve().parents
    return next((run for run in above[:2] if (run / "recipe.yaml").is_file()), None)


def trained_as(folder: Path) -> Mapping[str, Any]:
    """The section ``tokenizer`` of the run's recipe, or of a checkpoint; empty of a model baked elsewhere."""
    if run := run_of(folder):
        section = read_yaml(run / "recipe.yaml").get("tokenizer")
    else:
        baked = (folder / "codebook.safetensors").is_file()
        section = None if baked else files.read_json(folder / "config.json").get("tokenizer")
    return section if isinstance(section, dict) else {}


def history_of(folder: Path) -> Sequence[Mapping[str, float]]:
    """Lines of the run's log; none without a run."""
    run = run_of(folder)
    return list(files.read_lines(run / "metrics.jsonl")) if run and (run / "metrics.jsonl").is_file() else []


def last_logged(folder: Path, size: int) -> Counted | None:
    """How a run used its ``size`` codes over the last steps it logged; None without a run."""
    counted = [line for line in history_of(folder) if "utilization" in line]
    if not counted:
        return None
    return Counted(size, round(counted[-1]["utilization"] * size), int(counted[-1]["utilization_tokens"]))


def sample_latents(encoder: Encoder, counts: UsageCounts) -> LatentGeometry | None:
    """Latents of images spread over the source, against the codes; None where they are not so compared."""
    import torch

    from vqcli.data.loader import eval_batches
    from vqcli.nn.precision import autocast
    from vqcli.pixels import normalize

    tokenizer, device = encoder.tokenizer, encoder.device
    if tokenizer.quantizer.codebook.IMPLICIT:
        return None
    counts_k = counts.counts_k
    positions = int(counts_k.sum()) // counts.images
    wanted = min(encoder.count, max(FEWEST, LATENTS // positions))
    indices = np.unique(np.linspace(0, encoder.count - 1, wanted).astype(np.int64))
    found = []
    with torch.inference_mode():
        codes_kd = tokenizer.quantizer.codes().detach()
        for batch in eval_batches(encoder.source, indices, encoder.transform, 1, 0):
            for image in batch.images:
                with autocast(encoder.options.precision, device):
                    latents = tokenizer.latents(normalize(image[None].to(device)))
                found += compared(tokenizer.quantizer, latents.float(), codes_kd)
    if not found:
        return None
    z_nd = np.concatenate([z.cpu().numpy() for z in found])
    z_nd = z_nd[np.random.default_rng(0).permutation(len(z_nd))[:LATENTS]]
    return measure_latents(z_nd, codes_kd.cpu().numpy(), counts_k)


def compared(quantizer: Quantizer, latents: Tensor, codes_kd: Tensor) -> list[Tensor]:
    """The vectors (N, D) of latents (B, D, h, w) that are compared with codes; none where nothing is so."""
    from vqcli.quantizers.base import flatten
    from vqcli.quantizers.nearest import NearestQuantizer
    from vqcli.quantizers.residual import ResidualQuantizer

    if isinstance(quantizer, NearestQuantizer):
        return [flatten(quantizer.normalize(latents))]
    if isinstance(quantizer, ResidualQuantizer):
        return [z_nd for z_nd, _, _ in quantizer.steps(latents, codes_kd)]
    return []
