"""Images in, tokens or latents out: what every command that encodes shares.

Shape letters: B images of a batch, L tokens an image, D code width, h, w sides of latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from vqcli.data.decoding.colour import COLOURS
from vqcli.data.images.base import Source
from vqcli.data.images.open import open_source
from vqcli.data.images.views import VIEWS, Views
from vqcli.data.loader import Batch
from vqcli.data.tokens.latents import LatentsInfo
from vqcli.data.tokens.store import TokensInfo
from vqcli.errors import VqcliError
from vqcli.jobs.devices import passes, working_device
from vqcli.jobs.loading import load_batches
from vqcli.jobs.options import ImageOptions
from vqcli.jobs.sharded import SHARD
from vqcli.library.open import open_tokenizer
from vqcli.library.references import check_named
from vqcli.nn.precision import autocast
from vqcli.pixels import CenterCrop, NativeCrop, on_device
from vqcli.tokenizers.base import Tokenizer
from vqcli.tokenizers.sizes import check_size, target_size
from vqcli.types import Grid, Latents, Progress, silent

Watch = Callable[[np.ndarray, Tensor], None]
"""Is shown the numbers of images (B,) and their latents (B, D, h, w) on the way to their tokens."""


class Encoder:
    """A model with a source, at one size: images in, tokens or latents out; its items may be views.

    Raises VqcliError where there is no model, tokens are asked of one without a codebook, or no images.
    """

    def __init__(self, options: ImageOptions, rank: int = 0, progress: Progress = silent) -> None:
        check_size_is_one(options)
        self.options = options
        self.device = working_device(options.device, rank)
        check_named(options.model)
        images = open_source(options.images, options.reading(), progress)  # before a model is fetched
        self.tokenizer, self.folder = open_tokenizer(options.model, self.device, progress)
        if not options.latents:
            self.tokenizer.quantizer.require_codes()
        self.size = target_size(options.size, self.tokenizer)
        self.images: Source = images.sized(self.size)
        self.source, self.views = self.images, VIEWS[options.augment]
        if self.size and options.augment != "none":
            crop_range = options.crop_range if options.augment == "ten-crop" else None
            self.source = Views(self.images, self.size, crop_range)
        self.count = min(len(self.images), options.limit or len(self.images)) * self.views
        whole = options.batch_size // math.gcd(options.batch_size, self.views)
        self.per_shard = whole * max(1, SHARD // whole) * self.views
        """Items of a shard: whole images, and whole batches, so that none depends on an interruption."""
        self.shards = -(-self.count // self.per_shard)
        self.transform = CenterCrop(self.size) if self.size else NativeCrop(self.tokenizer.spec.downsample)

    @property
    def preprocessing(self) -> str:
        """How images come to the tokenizer's size, in words."""
        colours = "" if self.options.keep_profile else f"{COLOURS}, "  # as jobs of older versions say it
        if isinstance(self.source, Views):
            return f"{colours}{self.source.preprocessing}"
        if self.size is None:
            return f"{colours}native: centre cut to a multiple of {self.tokenizer.spec.downsample}"
        return f"{colours}resize (bicubic) and centre crop to {self.size[0]}x{self.size[1]}"

    @property
    def info(self) -> TokensInfo | LatentsInfo:
        """What is written beside the tokens or latents."""
        spec, classes = self.tokenizer.spec, tuple(self.images.classes)
        if dtype := self.options.latents:
            assert self.size
            sides = self.tokenizer.grid(*self.size)[-1]
            made = (spec.width, sides, dtype, spec.fingerprint)
            return LatentsInfo(*made, self.preprocessing, self.views, classes, self.options.keep)
        made_of = (spec.codebook_size, spec.fingerprint, self.preprocessing)
        return TokensInfo(*made_of, self.views, classes, self.options.keep)

    def shard(self, k: int) -> np.ndarray:
        """Indices of the items of shard ``k``."""
        return np.arange(k * self.per_shard, min((k + 1) * self.per_shard, self.count))

    def batches(
        self, indices: np.ndarray, watch: Watch | None = None
    ) -> Iterator[tuple[Batch, dict[int, tuple[Grid, np.ndarray]]]]:
        """Every batch with the grid of its usable images, and their tokens (L,) or latents (D, h, w).

        Raises BadImage if strict.
        """
        options = self.options
        for batch in load_batches(
            self.source, indices, self.transform, options.batch_size, options, self.device
        ):
            if options.latents:
                yield batch, latents_of(self.tokenizer, batch, options.precision, self.device)
            else:
                yield batch, encode_batch(self.tokenizer, batch, options.precision, self.device, watch)


def check_size_is_one(options: ImageOptions) -> None:
    """Raises VqcliError where images keep sizes of their own and are to be of one all the same."""
    if options.size != "native":
        return
    if options.augment != "none":
        wanted = f"--augment {options.augment} makes views of one size"
    elif options.latents:
        wanted = "--latents keeps latents of one size"
    else:
        return
    message = f"{wanted}, --size native keeps each image's own"
    raise VqcliError(message, hint="leave one of the two out", reason="size")


def _passes(batch: Batch, device: torch.device) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Numbers (B,) and uint8 images (B, 3, H, W) of one size that are encoded together."""
    for indices, images in batch.by_size():
        for some in passes(len(images), (images.shape[2], images.shape[3]), device):
            yield indices[some], images[some]


@torch.inference_mode()
def encode_batch(
    tokenizer: Tokenizer, batch: Batch, precision: str, device: torch.device, watch: Watch | None = None
) -> dict[int, tuple[Grid, np.ndarray]]:
    """Grid and tokens (L,) of every image of a batch, by its index; those of one size share passes."""
    out = {}
    for indices, images in _passes(batch, device):
        check_size(tokenizer, *images.shape[2:])
        with autocast(precision, device):
            latents = tokenizer.latents(on_device(images, device))
            tokens = tokenizer.quantizer.tokenize(latents)
        if watch:
            watch(indices, latents)
        for index, ids in zip(indices.tolist(), tokens.ids.cpu().numpy()):
            out[index] = (tokens.grid, ids)
    return out


@torch.inference_mode()
def latents_of(
    tokenizer: Tokenizer, batch: Batch, precision: str, device: torch.device
) -> dict[int, tuple[Grid, np.ndarray]]:
    """Sides and latents float32 (D, h, w) of every image of a batch, by its index."""
    out: dict[int, tuple[Grid, np.ndarray]] = {}
    for indices, images in _passes(batch, device):
        check_size(tokenizer, *images.shape[2:])
        with autocast(precision, device):
            made = tokenizer.represent(on_device(images, device), "latents")
        assert isinstance(made, Latents)
        sides = (made.values.shape[2], made.values.shape[3])
        for index, latents in zip(indices.tolist(), made.values.float().cpu().numpy()):
            out[index] = ((sides,), latents)
    return out
