"""What a user asks of each job. Light: the command line is made of these, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vqcli.types import Augment, Reading, Size


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How images are read: the same for every command that takes some."""

    split: str | None = None
    limit: int | None = None
    """Images at most, the first ones."""
    image_column: str | None = None
    """Which of several pictures: a column of Parquet, the ending of a sample's member."""
    label_column: str | None = None
    """What holds the label: a column, a field of the JSON beside a picture, ``folder``."""
    labels: bool = True
    """Whether labels are read."""
    keep_profile: bool = False
    """Take the numbers of a picture as they are, whatever colours its ICC profile gives them."""
    num_workers: int | None = None
    """Processes that load images; None: two, for a GPU its share of the cores, up to 16."""
    strict: bool = False
    """The first bad image is fatal."""

    def reading(self, size: tuple[int, int] | None = None) -> Reading:
        """How a source is to read, whose images will be of ``size`` (height, width)."""
        return Reading(self.split, size, self.image_column, self.label_column, self.labels, self.keep_profile)


@dataclass(frozen=True)
class ImageOptions(ReadOptions):
    """Images, and how a model looks at them: the same for every command that encodes."""

    images: str
    model: str | None = None
    size: Size | None = None
    """The model's own by default."""
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"
    augment: Augment = "none"
    """Views of every image that are encoded."""
    crop_range: float = 1.1
    """Of ``ten-crop``: the part they are cut from, as a multiple of a view."""
    latents: Literal["float16", "float32"] | None = None
    """Keep latents in this number format, in the place of tokens."""
    keep: tuple[str, ...] = ()
    """Fields of the images that go into the token files: captions, columns."""

    def reading(self, size: tuple[int, int] | None = None) -> Reading:
        return replace(super().reading(size), keep=self.keep)


@dataclass(frozen=True)
class DecodeOptions:
    """How tokens are decoded."""

    model: str | None = None
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"
    limit: int | None = None
    force: bool = False
    """Decode tokens of another tokenizer too, and replace images of other tokens."""


@dataclass(frozen=True)
class GenerateOptions:
    """Which images of which generator."""

    classes: Sequence[str]
    """Numbers, ranges and names, as users write them."""
    model: str | None = None
    tokenizer: str | None = None
    """What makes images of what is generated; the one that came with the generator otherwise."""
    count: int = 8
    """Images of each class."""
    seed: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """What is to differ from the generator's own sampling."""
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"
    """Number format of the generator's weights, as published ones are run; the tokenizer has autocast."""
    compile: bool = False
    quantize: bool = True
    """Latents move to their codes before they are decoded."""
    force: bool = False
    """Take a tokenizer of another fingerprint too, and replace what is there."""


@dataclass(frozen=True)
class ClassifyOptions(ReadOptions):
    """Images, and what tells their classes."""

    classifier: str
    """MODEL: a folder, a run, a checkpoint, or a name on the Hub."""
    images: str
    top: int = 5
    """Classes that are told of an image, likeliest first."""
    tokenizer: str | None = None
    """What makes tokens of the images; the one that came with the classifier otherwise."""
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"


@dataclass(frozen=True)
class FeatureOptions(ReadOptions):
    """Images, and what vectors are made of them."""

    images: str
    features: str = "pixels"
    """``pixels``, ``vision`` (CLIP ViT-L/14), or the name of another vision model."""
    patch: int = 4
    """Side of a patch in pixels; of ``pixels`` only."""
    pool: int | None = None
    """Side of the squares of neighbouring vectors that are averaged; 1 for pixels, 4 for models if None."""
    size: tuple[int, int] | None = None
    """(height, width) of the images; the features' own by default."""
    batch_size: int = 32
    device: str | None = None


@dataclass(frozen=True)
class CodebookOptions:
    """What decides a codebook."""

    source: FeatureOptions
    size: int = 4096
    """Codes K."""
    per_class: bool = False
    """Every class has its own k-means and as many codes, as published."""
    iterations: int = 20
    """Lloyd's iterations at most."""
    seed: int = 0


@dataclass(frozen=True)
class PruneOptions:
    """Where uses of codes are counted, and how many a code needs."""

    images: ImageOptions | None = None
    """Encoded with the model; their ``model`` is ignored."""
    tokens: tuple[Path, ...] = ()
    """Files and folders that the model made: counted, and written anew."""
    min_count: int = 1
    """Uses that keep a code, in all images and tokens together."""
    force: bool = False
    """Take tokens of another tokenizer too, and replace results that are there."""


@dataclass(frozen=True)
class TrainOptions:
    """What a user may ask of a run."""

    recipe: str | None = None
    """Shipped name or YAML file; when resuming, a run folder or the name of one under ``runs/``."""
    out: Path | None = None
    """Run folder; ``runs/RECIPE`` by default."""
    resume: bool = False
    settings: list[str] = field(default_factory=list)
    """Overrides ``a.b=value``."""
    codes: int | None = None
    """Entries of the codebook; an error where the recipe's has no such option."""
    device: str | None = None
    trackers: list[str] = field(default_factory=list)
    accept_changes: bool = False
    lpips_weights: Path | None = None
    """File or folder with the weights of the perceptual loss's network."""
