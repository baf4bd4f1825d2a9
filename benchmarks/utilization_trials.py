"""Trials beside the study of utilization: forms of VQBridge, a grid of runs of ours, and claims beyond usage.

All are cells like the study's. ``bridges`` is made hard on purpose: wide codes and few latents, at which
slots of the published form fall asleep. ``grid`` asks whether our form holds with and without warm-up, with
small and large batches, and with any seed. ``claims`` are what FVQ's paper says of its bridge beside usage:
wider codes, longer training, annealing, larger bridges, other quantizers.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from utilization_systems import BRIDGE, OURS, SYSTEMS, WARM, WIDTH, System, bridged, learned, nearest

PLUGIN = str(Path(__file__).with_name("bridge_forms.py"))
"""Has the forms that are no part of vqcli."""
HARD: dict[str, Any] = {"tokenizer.network": "patch-4", "tokenizer.res_blocks": 2, "optimizer.lr": 5e-4}
THREE = {1024: 3, 4096: 3, 16_384: 3}
WIDE = 64
"""Width of codes."""
REVIVED = {"revive_below": OURS["revive_below"]}


def form(title: str, warm: bool, name: str = "bridged", **options: Any) -> System:
    """A form of VQBridge, with the rate and the network of the trials."""

    def codebook(size: int) -> dict[str, Any]:
        return bridged(**options)(size) | {"name": name, "width": WIDE}

    return System(
        title,
        codebook,
        nearest(1.0, 0.25),
        sets=HARD | (WARM if warm else {}),
        seeds=THREE,
        lr=5e-4,
        steps=400,
        batch=16,
        tokens=64,
    )


BRIDGES: dict[str, System] = {
    "bridge-published": form("zero, warm-up (published)", True),
    "bridge-zero": form("zero", False),
    "bridge-small": form("small", False, last_layer="small"),
    "bridge-small-warm": form("small, warm-up", True, last_layer="small"),
    "bridge-revived": form("zero, warm-up, slots revived", True, **REVIVED),
    "bridge-revived-quick": form("zero, slots revived", False, **REVIVED),
    "bridge-revived-small": form("**small, warm-up, slots revived (ours)**", True, **OURS),
    "bridge-permuted": form("zero, warm-up, base permuted", True, "permuted-bridge"),
    "bridge-shared": form("one last layer for all slots, warm-up", True, "shared-bridge"),
}

GRID: dict[str, System] = {
    f"grid-warm{warm}-batch{batch}": replace(
        SYSTEMS["fvq"],
        title=f"warm-up {warm}, batch {batch}",
        sets={"schedule.warmup": warm},
        sizes=(4096,),
        seeds={4096: 6},
        lr=4e-3,
        batch=batch,
        steps=1000,
    )
    for warm, batch in product((0, 100), (16, 64))
}


def ours(
    title: str, *, steps: int = 1000, width: int = WIDTH, decay: str = "linear", **options: Any
) -> System:
    """FVQ as in the study, in one respect otherwise."""

    def codebook(size: int) -> dict[str, Any]:
        return bridged(**OURS | options)(size) | {"width": width}

    sets, rate = WARM | {"schedule.decay": decay}, {"factors": BRIDGE, "lr": 1e-2}
    return System(title, codebook, nearest(1.0, 0.25), sets=sets, sizes=(4096,), steps=steps, **rate)


def alone(name: str, title: str, **changes: Any) -> System:
    """A system of the study, in one respect otherwise, with 4,096 codes and FVQ's rate."""
    return replace(SYSTEMS[name], title=title, sizes=(4096,), seeds=None, lr=1e-2, **changes)


def table(init: str) -> dict[str, Any]:
    """A table in the place of the bridge, at a rate at which it arrives."""
    return {"codebook": learned(init), "sets": WARM, "factors": (10,)}


LONG = 4000
CLAIMS: dict[str, System] = {
    "claim-base": ours("FVQ, ours: width 16, hidden 128, patch 4, 1,000 steps, annealed"),
    **{f"claim-width-{width}": ours(f"width {width}", width=width) for width in (4, 8, 32, 64)},
    "claim-long": ours("4,000 steps", steps=LONG),
    "claim-long-constant": ours("4,000 steps, constant rate", steps=LONG, decay="constant"),
    "claim-linear": alone("fvq-linear", "linear map in place of the bridge"),
    "claim-linear-long": alone("fvq-linear", "linear map, 4,000 steps", steps=LONG),
    "claim-linear-long-constant": alone(
        "fvq-linear",
        "linear map, 4,000 steps, constant rate",
        steps=LONG,
        sets={"schedule.decay": "constant"},
    ),
    **{f"claim-hidden-{hidden}": ours(f"hidden {hidden}", hidden=hidden) for hidden in (64, 256)},
    **{f"claim-patch-{patch}": ours(f"patch {patch}", patch=patch) for patch in (2, 8)},
    "claim-rq": alone("fvq-rq", "residual, 4 deep, with the bridge"),
    "claim-rq-table": alone("fvq-rq", "residual, 4 deep, a table, its rate x 10", **table("normal")),
    "claim-var": alone("fvq-var", "multi-scale, with the bridge"),
    "claim-var-table": alone("fvq-var", "multi-scale, a table (VAR), its rate x 10", **table("standard")),
}
"""Each differs from the first in what its title says."""
