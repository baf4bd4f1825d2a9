"""What a diagnosis of codebook usage goes by, and what it says. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcli.metrics.usage.counts import UsageReport, uniform_expectation
from vqcli.metrics.usage.geometry import CodeGeometry
from vqcli.metrics.usage.latents import LatentGeometry
from vqcli.nn.code_grid import code_grid, slots_of

LOW = 0.9
"""Share of what uniform use would show below which usage is low. Sound codebooks stay above: images do not
use all codes evenly, and a few codes are always just being won or lost."""


@dataclass(frozen=True)
class Cause:
    """One reason why usage is low."""

    name: str
    evidence: str
    """One sentence, with the numbers that show it."""
    cure: str
    """What to change: a flag or a ``--set`` line of ``vqcli train``, and why."""


@dataclass(frozen=True)
class Diagnosis:
    """Why usage is what it is."""

    causes: tuple[Cause, ...] = ()
    """Likely causes of low usage, the likeliest first; empty for a sound codebook."""
    latents: LatentGeometry | None = None
    """How latents lie against the codes; None where no images were encoded, or none can be measured."""
    no_latents: str = ""
    """Why none could be measured although images were encoded, in words."""


@dataclass(frozen=True)
class Counted:
    """How many codes are used, by how many tokens."""

    size: int
    """K."""
    used: int
    tokens: int
    """N."""
    images: int = 0
    """0 where only tokens are known."""
    once: int = 0
    """Codes used a single time: about as many again would turn up in twice the images (Good-Turing)."""

    @classmethod
    def of(cls, report: UsageReport) -> Counted:
        """What exact counts say."""
        return cls(report.codebook_size, report.used, report.tokens, report.images, report.once)

    @property
    def expected(self) -> float:
        """Share of the codes that uniform use would show."""
        return uniform_expectation(self.size, self.tokens)

    @property
    def low(self) -> bool:
        """Whether less is used than chance and few images explain."""
        return self.used + self.once < LOW * self.expected * self.size


@dataclass(frozen=True)
class Facts:
    """What a diagnosis goes by; what is not known is left out."""

    counted: Counted
    geometry: CodeGeometry | None = None
    latents: LatentGeometry | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's section ``tokenizer``, where it is known; its codebook may be baked otherwise."""
    history: Sequence[Mapping[str, float]] = ()
    """Lines of the run's ``metrics.jsonl``."""
    no_latents: str = ""
    """Why there are none although images were encoded, in words; empty where none were encoded."""

    counts_k: NDArray[np.int64] | None = None
    """How often each code was used, (K,)."""

    @property
    def slots(self) -> NDArray[np.float64] | None:
        """Share of its codes that each slot of a VQBridge uses; None where there is none."""
        patch = self.trained.get("codebook", {}).get("patch")
        counts_k, size = self.counts_k, self.trained.get("codebook", {}).get("size")
        if self.codebook != "bridged" or counts_k is None or not patch or len(counts_k) != size:
            return None
        slots = slots_of(np.arange(size), code_grid(size, patch)[1], patch)
        return np.bincount(slots, counts_k > 0, patch**2) * patch**2 / size

    @property
    def codebook(self) -> str:
        """The codebook's name; empty where a table may have been baked from any."""
        return str(self.trained.get("codebook", {}).get("name", ""))


def mean_share(size: int, lines: Sequence[Mapping[str, float]]) -> float:
    """Mean over lines of a log of ``share_of_uniform``."""
    return sum(share_of_uniform(size, line) for line in lines) / len(lines)


def share_of_uniform(size: int, line: Mapping[str, float]) -> float:
    """Utilization in a line of a log over what uniform use would show of its tokens."""
    expected = uniform_expectation(size, int(line["utilization_tokens"]))
    return line["utilization"] / expected if expected else 0.0
