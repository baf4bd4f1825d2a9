"""Words shared by every rung. No torch at run time here.

Shape letters: B images, L tokens an image, n tokens of a step, K codes, D code width, h, w sides of latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Grid = tuple[tuple[int, int], ...]
"""Token layout, coarse to fine: ``((h, w),)``, or one entry per scale or residual depth."""
Size = tuple[int, int] | Literal["native"]
"""What images are brought to: (height, width) in pixels, or each image's own."""
Augment = Literal["none", "flip", "ten-crop"]
"""Which views of an image are encoded."""


def grid_length(grid: Grid) -> int:
    """Number of tokens L of an image with this grid."""
    return sum(h * w for h, w in grid)


@dataclass(frozen=True)
class Tokens:
    """Tokens of a batch: ``ids`` int64 (B, L), scale- or depth-major, row-major inside."""

    ids: Tensor
    grid: Grid


@dataclass(frozen=True)
class Standard:
    """Mean and deviation (D,) of each channel of latents: what they are standardized by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Latents:
    """Latents of a batch: ``values`` float (B, D, h, w)."""

    values: Tensor
    standard: Standard | None = None
    """What they were standardized by; None for latents as the tokenizer has them."""
    settled: bool = False
    """Whether they are made of codes: no latent is moved to a code any more."""

    def standardized(self, standard: Standard | None) -> Latents:
        """The same latents, standardized in this way; None for as the tokenizer has them."""
        values = self.values
        if self.standard is not None:
            mean, std = (values.new_tensor(x)[:, None, None] for x in (self.standard.mean, self.standard.std))
            values = values * std + mean
        if standard is not None:
            mean, std = (values.new_tensor(x)[:, None, None] for x in (standard.mean, standard.std))
            values = (values - mean) / std
        return Latents(values, standard, self.settled)


Made = Tokens | Latents
"""What a generator sees and makes of images."""
Makes = Literal["tokens", "latents"]
"""Which of the two."""


class CodeSteps(Protocol):
    """What a generator that works step by step sees of its tokenizer's codes: scales, or residual depths."""

    codes: Tensor
    """(K, D), float32."""

    def part(self, ids: Tensor, step: int, grid: Grid) -> Tensor:
        """What tokens (B, n) of a step add to the sum, (B, D, h, w) at full size, phi included."""

    def blend(self, shares: Tensor, step: int, grid: Grid) -> Tensor:
        """The same of mixed codes, given the share of each code (B, n, K)."""

    def seen(self, total: Tensor, size: tuple[int, int]) -> Tensor:
        """The sum so far (B, D, h, w), as a step of this size sees it."""


@dataclass(frozen=True)
class Quantized:
    """What a quantizer returns: latents (B, D, h, w) that pass gradients on, tokens, weighted losses.

    Without a codebook there are no tokens: ids (B, 0) and an empty grid.
    """

    latents: Tensor
    tokens: Tokens
    losses: dict[str, Tensor]


@dataclass(frozen=True)
class TokenizerSpec:
    """What other parts must know of a tokenizer."""

    codebook_size: int
    """Vocabulary size K; 0 of an autoencoder, which makes latents and no tokens."""
    width: int
    """Code width D; 0 where nobody told."""
    downsample: int
    """Pixels per latent side."""
    image_size: tuple[int, int] | None = None
    """(height, width) it was trained on, in pixels."""
    fingerprint: str = ""
    """Identity of its map from pixels to tokens; empty until the model is exported, or where nobody told."""
    grid: Grid | None = None
    """Token layout of an image of ``image_size``, that of latents without a codebook; None if not known."""
    latents: Standard | None = None
    """How its latents were standardized for a generator that is trained on them; None for as they are."""


@dataclass(frozen=True)
class Reading:
    """How the images that a user named are read."""

    split: str | None = None
    """Only these, where the data is divided into splits."""
    size: tuple[int, int] | None = None
    """(height, width) that will be asked of the images, for sources that draw them."""
    image_column: str | None = None
    """Which of several pictures: a column of Parquet, the ending of a sample's member (``left.png``)."""
    label_column: str | None = None
    """What holds the label: a column, a field of the JSON beside a picture, ``folder``."""
    labels: bool = True
    """Whether labels are read. ``open_source`` takes them away; a source need not look for them then."""
    keep_profile: bool = False
    """Take the numbers of a picture as they are, whatever colours its ICC profile gives them."""
    keep: tuple[str, ...] = ()
    """Fields that are kept of every image: its caption, or columns."""

    def record(self) -> dict[str, Any]:
        """What was asked for beside a split and a size, as JSON values; nothing where it is as usual."""
        asked, usual = asdict(self), asdict(Reading(self.split, self.size))
        return {name: value for name, value in asked.items() if value != usual[name]}


ANYHOW = Reading()
"""As images are read where nothing is asked for."""


@dataclass(frozen=True)
class Sample:
    """One item of a source."""

    image: Image
    label: int | None
    key: str
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What is kept of it: field -> JSON value."""


class Progress(Protocol):
    """How long work reports on itself; ``cli`` supplies a bar and a plain form."""

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        """A new stretch of work begins; ``total`` units, or None if that is not known.

        ``done`` of them were done before: they have no part in how fast it goes.
        """

    def advance(self, n: int = 1) -> None:
        """``n`` more units are done."""

    def show(self, **numbers: Any) -> None:
        """Numbers worth seeing beside the bar; later values replace earlier ones."""

    def say(self, text: str) -> None:
        """One line for the reader, now."""


class _Silent:
    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None: ...

    def advance(self, n: int = 1) -> None: ...

    def show(self, **numbers: Any) -> None: ...

    def say(self, text: str) -> None: ...


silent: Progress = _Silent()
"""The progress of callers who want none."""
