"""The systems of the study of utilization: what each sets in the study's recipe, for any number of codes.

Weights of losses, starts and kinds of codes are each system's own, as docs/recipes.md tells them; network,
images, loss on images, optimizer, schedule and budget are the study's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WIDTH, NARROW = 16, 8
"""Of codes: the study's, and that of systems that are published with 8."""
LEVELS = {
    1024: [4, 4, 8, 8],
    4096: [8, 8, 8, 8],
    16_384: [8, 8, 16, 16],
    65_536: [16, 16, 16, 16],
    262_144: [8, 8, 8, 8, 8, 8],
}
"""FSQ's, of as many codes as the others have; the paper's are of nearly as many."""
SCALES = [1, 2, 3, 4, 6, 8, 12, 16]
FEATURES = {"pixels": (5000, 5000), "efficientnet": (10_000, 25_000)}
"""Images whose features become frozen codes: of up to PER_CLASS codes, and of more."""
PER_CLASS = 16_384
"""With more codes each class has a k-means of its own, as published, where K is a multiple of the classes."""
LR = (1.5e-3, 4e-3, 1e-2)
"""Rates that each system is tried with."""
TABLE = (1, 30)
"""Factors on that rate for codes that are a table trained by gradient alone, all of which are tried."""
BRIDGE = (0.1,)
"""The factor for ours, whose codes are used more evenly at a tenth of it."""

Part = dict[str, Any]


@dataclass(frozen=True)
class System:
    """What one system sets."""

    title: str
    codebook: Callable[[int], Part]
    """Of K codes."""
    quantizer: Part
    factors: tuple[float, ...] = (1,)
    """Factors on the rate of its codes that it is tried with."""
    sets: Mapping[str, Any] | None = None
    """What else is set in the recipe."""
    features: str = ""
    """What its frozen codes are made of, where they are: a key of FEATURES."""
    sizes: tuple[int, ...] = (1024, 4096, 16_384)
    """Numbers of codes in the study."""
    seeds: Mapping[int, int] | None = None
    """Numbers of codes with more than one seed."""
    lr: float | None = None
    """Rate, where it is not chosen by the grid."""
    steps: int = 1000
    """Optimizer steps at least."""
    batch: int = 64
    """Images of a step."""
    tokens: int = 256
    """Tokens of an image."""
    latents: int = 100
    """That every code can meet in a run: with many codes, training is longer for it."""

    def settings(self, size: int, features: str = "") -> list[str]:
        """Overrides of the study's recipe."""
        codebook = {k: features if v == "FEATURES" else v for k, v in self.codebook(size).items()}
        own = {"tokenizer.codebook": codebook, "tokenizer.quantizer": self.quantizer, **(self.sets or {})}
        budget = {"training.steps": self.steps_of(size), "training.batch_size": self.batch}
        return [f"{key}={told(value)}" for key, value in (own | budget).items()]

    def steps_of(self, size: int) -> int:
        """Optimizer steps with K codes."""
        return max(self.steps, -(-self.latents * size // (self.batch * self.tokens)))


def told(value: Any) -> str:
    """A value as ``--set`` takes it."""
    return json.dumps(value)  # which is YAML too


def learned(init: str, width: int = WIDTH) -> Callable[[int], Part]:
    """A table trained by gradient."""
    return lambda size: {"name": "learned", "size": size, "width": width, "init": init}


def ema(**options: Any) -> Callable[[int], Part]:
    """Running averages."""
    return lambda size: {"name": "ema", "size": size, "width": WIDTH, **options}


def projected(width: int = WIDTH, **options: Any) -> Callable[[int], Part]:
    """A table behind one matrix."""
    return lambda size: {"name": "projected", "size": size, "width": width, **options}


def bridged(**options: Any) -> Callable[[int], Part]:
    """VQBridge; patches are larger from 65,536 codes on, as published."""

    def codebook(size: int) -> Part:
        patch = 4 if size < 65_536 and size % 16 == 0 else 8 if size % 64 == 0 else 4
        return {"name": "bridged", "size": size, "width": WIDTH, "hidden": 128, "patch": patch, **options}

    return codebook


def nearest(codebook: float, commitment: float, **options: Any) -> Part:
    """The nearest code, with the weights of its two losses."""
    return {"name": "nearest", "codebook_weight": codebook, "commitment_weight": commitment, **options}


OURS: Part = {"last_layer": "small", "revive_below": 0.5}
"""FVQ as our recipes have it: docs/vqbridge.md."""
WARM = {"schedule.warmup": 100}
"""Steps in which the rate rises, as FVQ has them."""
THREE = {1024: 3, 4096: 3}
LARGE = (1024, 4096, 16_384, 65_536)

SYSTEMS: dict[str, System] = {
    "vqgan": System("VQGAN", learned("uniform"), nearest(0.25, 1.0), factors=TABLE),
    "ema": System(
        "VQGAN-EMA, published start",
        ema(init="uniform", first_size=0),
        nearest(0.0, 0.1),
        seeds=THREE,
    ),
    "ema-revive": System(
        "VQGAN-EMA with restarts",
        ema(init="normal", revive_below=1.0),
        nearest(0.0, 0.1),
        seeds=THREE,
    ),
    "fc": System("VQGAN-FC", learned("uniform", NARROW), nearest(0.033, 0.1), factors=TABLE),
    "llamagen": System(
        "LlamaGen VQ",
        learned("unit", NARROW),
        nearest(1.0, 0.25, metric="cosine"),
        factors=TABLE,
    ),
    "lc": System(
        "VQGAN-LC, pixels",
        projected(NARROW, base="FEATURES", base_width=12, map_init="normal"),
        nearest(0.033, 0.1),
        features="pixels",
        seeds=THREE,
        sizes=(*LARGE, 100_000),
    ),
    "lc-features": System(
        "VQGAN-LC, EfficientNet",
        projected(NARROW, base="FEATURES", base_width=320, map_init="normal"),
        nearest(0.033, 0.1),
        features="efficientnet",
        sizes=(1024, 4096, 16_384, 100_000),
    ),
    "simvq": System(
        "SimVQ",
        projected(base="gaussian", base_width=WIDTH, map_init="torch"),
        nearest(1.0, 0.25),
        seeds=THREE,
        sizes=LARGE,
    ),
    "ibq": System(
        "IBQ",
        learned("standard"),
        {
            "name": "index_propagation",
            "codebook_weight": 0.25,
            "commitment_weight": 1.0,
            "soft_weight": 1.0,
            "entropy_weight": 0.05,
        },
        factors=TABLE,
    ),
    "lfq": System(
        "LFQ",
        lambda size: {"name": "sign", "bits": size.bit_length() - 1},
        {"name": "nearest", "commitment_weight": 0.25, "entropy_weight": 0.1},
        sizes=LARGE,
    ),
    "fsq": System(
        "FSQ",
        lambda size: {"name": "levels", "levels": LEVELS[size]},
        {"name": "nearest", "commitment_weight": 0.0},
        sizes=LARGE,
    ),
    "fvq-published": System("FVQ, published start", bridged(), nearest(1.0, 0.25), sets=WARM),
    "fvq": System(
        "FVQ, ours",
        bridged(**OURS),
        nearest(1.0, 0.25),
        factors=BRIDGE,
        sets=WARM,
        seeds=THREE | {16_384: 3},
        sizes=(*LARGE, 100_000, 262_144),
    ),
    "fvq-constant": System(
        "FVQ, ours, constant rate",
        bridged(**OURS),
        nearest(1.0, 0.25),
        factors=BRIDGE,
        sets=WARM | {"schedule.decay": "constant"},
    ),
    "fvq-linear": System(
        "FVQ, linear map",
        projected(base="uniform", base_width=WIDTH, train_base=True),
        nearest(1.0, 0.25),
    ),
    "fvq-rq": System(
        "FVQ-RQ",
        bridged(**OURS),
        {"name": "residual", "depth": 4, "codebook_weight": 1.0, "commitment_weight": 0.25},
        factors=BRIDGE,
        sets=WARM,
    ),
    "fvq-var": System(
        "FVQ-VAR",
        bridged(**OURS, init="standard", blocks="modulated"),
        {
            "name": "multiscale",
            "scales": SCALES,
            "phis": 4,
            "codebook_weight": 1.0,
            "commitment_weight": 0.25,
        },
        factors=BRIDGE,
        sets=WARM,
    ),
}
