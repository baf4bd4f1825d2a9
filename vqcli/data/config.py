"""The ``data`` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vqcli.config import LARGEST, PartConfig
from vqcli.pixels import CenterCrop, Flip, RandomCrop, Transform
from vqcli.types import Reading

Side = Annotated[int, Field(gt=0, le=LARGEST)]


class DataConfig(PartConfig):
    """Which images, at what size, how augmented."""

    source: str = "demo"
    """Images, named in any way that ``vqcli encode`` takes: a folder, shards, demo[:N] ..."""
    split: str | None = None
    """Split to train on; ``train`` where the data has splits."""
    image_column: str | None = None
    """Which of several pictures, as ``--image-column``."""
    label_column: str | None = None
    """What holds the label, as ``--label-column``."""
    labels: bool = True
    """Whether labels are read."""
    keep_profile: bool = False
    """Take numbers as they are, whatever colours an ICC profile gives them."""
    size: Side | tuple[Side, Side] = 256
    """Side, or height and width, in pixels."""
    augment: Literal["none", "flip", "crop-flip", "crop"] = "crop-flip"
    """``none``: the centre; ``flip``: half of them mirrored; ``crop``: scaled to cover the size, cut anywhere
    (VQGAN); ``crop-flip``: scaled to 1-1.25 times that, cut anywhere, half of them mirrored (LlamaGen)."""
    holdout: float | None = Field(None, ge=0, lt=1)
    """Share of the images kept for validation, chosen by hash of the key, where the data has no splits. None:
    0.02, but at least 64 images, or a quarter where there are few."""
    num_workers: int | None = Field(None, ge=0, le=1024)
    """Processes that load images; 0 loads in the training process. None: two, for a GPU its share of the
    cores, up to 16. Has no influence on results."""

    def reading(self, split: str | None = None) -> Reading:
        """How its images are read."""
        chosen = (self.image_column, self.label_column, self.labels, self.keep_profile)
        return Reading(split, self.height_width, *chosen)

    @property
    def height_width(self) -> tuple[int, int]:
        """``size`` as (height, width)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


def train_transform(config: DataConfig) -> Transform:
    """How training images come to size."""
    if config.augment == "none":
        return CenterCrop(config.height_width)
    if config.augment == "flip":
        return Flip(config.height_width)
    if config.augment == "crop":
        return RandomCrop(config.height_width, flip=False, largest=1.0)
    return RandomCrop(config.height_width, flip=True)


def eval_transform(config: DataConfig) -> Transform:
    """How images come to size for measuring: nothing random."""
    return CenterCrop(config.height_width)
