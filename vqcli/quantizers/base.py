"""The quantizer contract: latents to tokens and back, given a codebook.

Shape letters: B images, D code width, h, w sides of latents, N = B*h*w positions, K codes, L tokens an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook, Restarted
from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.nn.estimators import rotation_trick, straight_through
from vqcli.nn.precision import finite, float32
from vqcli.quantizers.compared import Compared
from vqcli.quantizers.steps import Steps
from vqcli.quantizers.words import changes, first_misfit, no_codes, no_token, unpaired, untrained
from vqcli.registry import resolve
from vqcli.types import CodeSteps, Grid, Quantized, Tokens, grid_length


class VqConfig(PartConfig):
    """Weights of the two classic losses."""

    codebook_weight: float = Field(1.0, ge=0)
    """Weight of the term that pulls codes to latents; left out where the chosen codes need no gradient."""
    commitment_weight: float = Field(0.25, ge=0)
    """Weight of the term that pulls latents to codes."""


class EstimatorConfig(VqConfig):
    """Also how the encoder gets its gradient through the choice of a code."""

    gradient: Literal["straight_through", "rotation"] = "straight_through"
    """``straight_through`` as published, or the rotation trick, https://arxiv.org/abs/2410.06424."""


class Quantizer(nn.Module, ABC):
    """Latents to tokens and back. Always in float32, whatever autocast says around it."""

    Config: ClassVar[type[PartConfig]]
    TINY: ClassVar[dict[str, Any]]
    DECIDES: ClassVar[tuple[str, ...]] = ("name",)
    """Options that decide tokens; a fingerprint has these alone."""
    NEEDS_GRADIENT: ClassVar[bool] = False
    """Whether codes must be trained by gradient."""
    DRAWS: ClassVar[bool] = False
    """Whether tokens are drawn at random in training."""
    EMPTY: ClassVar[bool] = False
    """Whether it goes without codes, and only without."""
    config: PartConfig
    codebook: Codebook

    def __init__(self, config: PartConfig, codebook: Codebook) -> None:
        super().__init__()
        self.config, self.codebook = config, codebook
        if (codebook.size == 0) != self.EMPTY:
            raise unpaired(self.name, codebook)
        if self.NEEDS_GRADIENT and not codebook.HAS_GRADIENT:
            raise untrained(self.name, codebook)

    @property
    def name(self) -> str:
        """What it is called in a recipe."""
        return getattr(self.config, "name", "")

    @property
    def size(self) -> int:
        """Number of codes K."""
        return self.codebook.size

    @property
    def width(self) -> int:
        """Code width D."""
        return self.codebook.width

    @property
    def moments(self) -> int:
        """Channels that the encoder gives for each of the latents: 2 are a mean and a log-variance."""
        return 1

    def receive(self, features: Tensor) -> Tensor:
        """Latents (B, D, h, w) of what the encoder gives, (B, moments * D, h, w)."""
        return features

    def release(self, latents: Tensor) -> Tensor:
        """What the decoder is given for latents (B, D, h, w)."""
        return latents

    @property
    def codebook_config(self) -> PartConfig:
        """What rebuilds the codebook as it is now."""
        return self.codebook.config

    def codes(self) -> Tensor:
        """Codes (K, D) as they are compared and looked up; may cost a network pass: once per forward."""
        return self.codebook.codes()

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, D, h, w) for training: with a gradient to the encoder, and weighted losses."""
        with float32(latents):
            return self.quantize(self.codebook.prepare(latents.float()))

    @torch.no_grad()
    def tokenize(self, latents: Tensor) -> Tokens:
        """Tokens of latents (B, D, h, w), never (N, K) at once. Raises VqcliError on NaN or Inf."""
        with float32(latents):
            ids = self.assign(self.codebook.prepare(finite(latents, "what the encoder makes").float()))
        return Tokens(ids, self.grid(*sides(latents)))

    def lookup(self, tokens: Tokens) -> Tensor:
        """Latents (B, D, h, w) of tokens, equal to those ``forward`` gives.

        Raises ValueError if the ids do not fit their grid, VqcliError if one is no token of this codebook.
        """
        self._check(tokens)
        with float32(tokens.ids):
            return self.restore(tokens)

    @torch.no_grad()
    def compared(self, latents: Tensor, codes_kd: Tensor) -> Compared | str:
        """What of latents (B, D, h, w) is compared with ``codes()``; or why nothing is, in words."""
        with float32(latents):
            return self.vectors(self.codebook.prepare(latents.float()), codes_kd)

    def snap(self, latents: Tensor) -> Tensor:
        """Latents (B, D, h, w) moved to their codes."""
        return self.lookup(self.tokenize(latents))

    @abstractmethod
    def quantize(self, latents: Tensor) -> Quantized:
        """``forward`` on prepared float32 latents."""

    @abstractmethod
    def assign(self, latents: Tensor) -> Tensor:
        """Token ids (B, L) of prepared float32 latents."""

    def vectors(self, latents: Tensor, codes_kd: Tensor) -> Compared | str:
        """``compared`` on prepared float32 latents."""
        return f"the {self.name} quantizer does not tell what it compares with codes"

    def restore(self, tokens: Tokens) -> Tensor:
        """``lookup`` on tokens known to be right; here one code a position."""
        return self.part(tokens.ids.flatten(), self.codes(), 0, tokens.grid)

    def part(self, tokens_n: Tensor, codes_kd: Tensor, step: int, grid: Grid) -> Tensor:
        """What a step's tokens (B*n,) add to the sum of all steps, (B, D, h, w)."""
        return self.place(F.embedding(tokens_n, codes_kd), step, grid)

    def place(self, chosen_nd: Tensor, step: int, grid: Grid) -> Tensor:
        """What vectors in the place of a step's codes add, (B, D, h, w); here there is one step."""
        return unflatten(chosen_nd, grid[-1])

    def shrink(self, total: Tensor, size: tuple[int, int]) -> Tensor:
        """Latents at full size, as a step of this size sees them."""
        return total

    def code_steps(self) -> CodeSteps:
        """The codes as they are now, for generators that work step by step."""
        return Steps(self)

    def grid(self, height: int, width: int) -> Grid:
        """Token layout for latents of this size; the last entry is always (height, width).

        Raises ValueError where the quantizer takes no latents of this size.
        """
        return ((height, width),)

    def bake(self) -> None:
        """Replace the codebook by its codes, computed once."""
        self.codebook = self.codebook.bake()

    def prune(self, kept_k: Tensor) -> None:
        """Keep these codes alone, int64 indices (K',) in their order; the codebook becomes a learned one.

        Raises VqcliError where codes follow from a rule.
        """
        self.require_table()
        codes_kd = self.codebook.codes().detach()
        self.codebook = resolve("codebooks", "learned").from_codes(codes_kd[kept_k])

    def freeze_codebook(self) -> None:
        """Let the codebook's averages stand still from now on."""
        self.codebook.frozen = True

    def start_from(self, other: Quantizer) -> str:
        """Take another quantizer's codebook, or its codes, as far as this can; returns what to say."""
        ours, theirs = self.codebook, other.codebook
        old, new = other.deciding_fields(), self.deciding_fields()
        notes = [changes("the quantizer is", old["quantizer"], new["quantizer"])]
        misfit = first_misfit(theirs.learned(), ours.learned())
        if not misfit and ours.name == theirs.name:
            ours.load_state_dict(theirs.learned())
            notes.append(changes("the codes are", old["codebook"], new["codebook"]))
            if theirs.config != ours.config and not ours.IMPLICIT:
                notes.append("the codebook is the model's, how the recipe would start it has no effect")
        elif (theirs.size, theirs.width) != (ours.size, ours.width):
            sizes = f"{theirs.size} codes of width {theirs.width} -> {ours.size} of width {ours.width}"
            notes.append(f"the codebook starts anew ({sizes})")
        elif ours.adopt(other.codes().detach()):
            notes.append("the codebook adopts the model's codes")
        elif misfit and ours.name == theirs.name:
            notes.append(f"the codebook starts anew ({misfit})")
        else:
            notes.append(f"the codebook starts anew (a {ours.name} codebook cannot start from codes alone)")
        return "; ".join(filter(None, notes))

    def update(self) -> list[Restarted]:
        """Let the codebook learn from what it observed; the loop calls it after each optimizer step."""
        return self.codebook.update()

    def require_codes(self) -> None:
        """Raises VqcliError where there is no codebook, and so no tokens."""
        if not self.size:
            raise no_codes()

    def require_table(self) -> None:
        """Raises VqcliError where codes follow from a rule, so that none can be dropped."""
        if self.codebook.IMPLICIT:
            raise VqcliError(
                f"codes of a codebook '{self.codebook.name}' follow from a rule: none can be dropped",
                hint="train with fewer bits or levels instead",
                reason="wrong-kind",
            )

    def deciding_tensors(self) -> dict[str, Tensor]:
        """The named tensors that decide tokens: part of the fingerprint."""
        own = {name: x for name, x in self.state_dict().items() if not name.startswith("codebook.")}
        return own | {f"codebook.{name}": x for name, x in self.codebook.deciding_tensors().items()}

    def deciding_fields(self) -> dict[str, Any]:
        """Options that decide tokens beside the tensors: part of the fingerprint."""
        own = self.config.model_dump(mode="json", include=set(self.DECIDES))
        return {"quantizer": own, "codebook": self.codebook.deciding_fields()}

    def observe(self, vectors_md: Tensor, tokens_m: Tensor) -> None:
        """Hand everything that was compared in this forward to the codebook, in training."""
        if self.training and not self.codebook.frozen:
            self.codebook.observe(vectors_md.detach(), tokens_m)

    def _check(self, tokens: Tokens) -> None:
        ids = tokens.ids
        if ids.ndim != 2 or ids.shape[1] != grid_length(tokens.grid):
            raise ValueError(f"tokens of shape {tuple(ids.shape)} do not fit the grid {tokens.grid}")
        if ids.numel() and not 0 <= ids.min() <= ids.max() < self.size:
            bad = ids[(ids < 0) | (ids >= self.size)][0].item()
            raise no_token(int(bad), self.size)


def sides(latents: Tensor) -> tuple[int, int]:
    """(h, w) of latents (B, D, h, w)."""
    return latents.shape[2], latents.shape[3]


def flatten(latents: Tensor) -> Tensor:
    """(B, D, h, w) -> (B*h*w, D)."""
    return rearrange(latents, "b d h w -> (b h w) d")


def unflatten(vectors_nd: Tensor, size: tuple[int, int]) -> Tensor:
    """(B*h*w, D) -> (B, D, h, w)."""
    return rearrange(vectors_nd, "(b h w) d -> b d h w", h=size[0], w=size[1])


def by_image(tokens_n: Tensor, latents: Tensor) -> Tensor:
    """Tokens (B*h*w,) of latents (B, D, h, w) -> (B, h*w)."""
    return tokens_n.view(len(latents), latents.shape[2] * latents.shape[3])


def vq_losses(config: VqConfig, latents: Tensor, chosen: Tensor) -> dict[str, Tensor]:
    """The two classic terms, weighted; ``codebook`` only where something learns from it."""
    losses = {"commitment": config.commitment_weight * F.mse_loss(latents, chosen.detach())}
    if chosen.requires_grad:
        losses["codebook"] = config.codebook_weight * F.mse_loss(chosen, latents.detach())
    return losses


def estimate(config: EstimatorConfig, latents: Tensor, chosen: Tensor) -> Tensor:
    """The value of ``chosen`` (B, D, h, w), to the last bit, with a gradient for ``latents`` alone."""
    return (rotation_trick if config.gradient == "rotation" else straight_through)(latents, chosen)
