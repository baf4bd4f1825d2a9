"""A tokenizer for direct use.

Shape letters: N images, B images of a batch, L tokens an image, H, W sides in pixels, h, w those of the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vqcli.data.loader import eval_batches
from vqcli.data.tokens.store import Row, token_type
from vqcli.door.options import LoadOptions, check_whole
from vqcli.door.pictures import GivenImages, ImageLike
from vqcli.door.results import ImageTokens, Pictures
from vqcli.door.tokens import Given, TokensLike, as_files_have, given
from vqcli.jobs.decode import decode_rows, default_grid
from vqcli.jobs.encoder import encode_batch
from vqcli.nn.precision import autocast
from vqcli.pixels import CenterCrop, NativeCrop
from vqcli.tokenizers.base import Tokenizer
from vqcli.tokenizers.sizes import decodable
from vqcli.types import Grid, TokenizerSpec

Size = int | tuple[int, int] | Literal["native"]
"""A side, or (height, width), in pixels; or each image's own."""


class TokenizerModel:
    """Images to tokens and back, as ``vqcli encode`` and ``vqcli decode`` do it."""

    module: Tokenizer
    """The network, baked, in evaluation mode."""
    folder: Path
    """Where it lies."""

    def __init__(self, module: Tokenizer, folder: Path, options: LoadOptions) -> None:
        self.module, self.folder, self._options = module, folder, options

    @property
    def spec(self) -> TokenizerSpec:
        """Codebook size, code width, downsample factor, image size, fingerprint, grid."""
        return self.module.spec

    def encode(
        self,
        images: ImageLike | Sequence[ImageLike] | Tensor,
        *,
        size: Size | None = None,
        batch_size: int = 32,
    ) -> ImageTokens:
        """Tokens of images: of Pillow, paths of files, arrays uint8 (H, W, 3) or (N, H, W, 3), or a tensor.

        Images are resized and cut to ``size``, the model's own unless it is given; ``native`` only cuts to a
        multiple of the downsample factor, and then all must have one size. A float tensor (N, 3, H, W) in
        [-1, 1] is taken pixel by pixel. Raises ValueError on other forms and sizes, BadImage on a bad image,
        VqcliError where the model makes latents and no tokens.
        """
        check_whole(1, batch_size=batch_size)
        if isinstance(images, Tensor):
            batches = self._of_tensor(images, size, batch_size)
        else:
            batches = self._of_images(GivenImages(images), size, batch_size)
        rows = list(batches)
        if len({grid for grid, _ in rows}) > 1:
            raise ValueError("images of different sizes have different grids: give a size, or one at a time")
        grid, spec = rows[0][0], self.spec
        ids_nl = np.concatenate([ids for _, ids in rows]).astype(token_type(spec.codebook_size))
        return ImageTokens(as_files_have(ids_nl, grid), grid, spec.codebook_size, spec.fingerprint)

    def decode(
        self,
        tokens: TokensLike,
        *,
        grid: Grid | None = None,
        batch_size: int = 32,
        force: bool = False,
    ) -> Pictures:
        """Images of tokens: of ``encode``, ``generate`` or ``read_tokens``, or integers (N, h, w) or (N, L).

        ``grid`` is needed for (N, L) that are not of an image of the model's own size. Raises ValueError
        where they cannot be this tokenizer's, VqcliError where it has no tokens; ``force`` takes those with
        another fingerprint.
        """
        check_whole(1, batch_size=batch_size)
        found = given(tokens, grid)
        layout = self._check(found, force)
        options, parts = self._options, []
        for at in range(0, len(found.ids_nl), batch_size):
            rows = [Row("", None, layout, ids) for ids in found.ids_nl[at : at + batch_size]]
            images = decode_rows(self.module, rows, options.precision, options.device)
            parts.append(images.permute(0, 2, 3, 1).numpy())
        return Pictures(np.concatenate(parts))

    def _of_images(
        self, source: GivenImages, size: Size | None, batch_size: int
    ) -> Iterator[tuple[Grid, np.ndarray]]:
        """Grid and tokens (1, L) of each image, in order."""
        wanted = self._target(size)
        transform = CenterCrop(wanted) if wanted else NativeCrop(self.module.downsample)
        for batch in eval_batches(source, np.arange(len(source)), transform, batch_size):
            if batch.rejected:
                raise batch.rejected[0]
            found = encode_batch(self.module, batch, self._options.precision, self._options.device)
            yield from ((found[i][0], found[i][1][None]) for i in batch.indices)

    @torch.inference_mode()
    def _of_tensor(
        self, images: Tensor, size: Size | None, batch_size: int
    ) -> Iterator[tuple[Grid, np.ndarray]]:
        """Grid and tokens (B, L) of each batch."""
        if not images.is_floating_point() or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            form = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"tensors of images are float (N, 3, H, W) in [-1, 1], not {form}")
        if not bool((images.abs() <= 1).all()):
            raise ValueError("tensors of images are in [-1, 1]: this one has values beyond, or NaN")
        pixels = (images.shape[2], images.shape[3])
        if size is not None and (self._target(size) or pixels) != pixels:
            raise ValueError(f"tensors are not resized: this one is of {pixels[0]}x{pixels[1]} pixels")
        self.module.grid(*pixels)
        for batch in images.split(batch_size):
            with autocast(self._options.precision, self._options.device):
                tokens = self.module.encode(batch.float().to(self._options.device))
            yield tokens.grid, tokens.ids.cpu().numpy()

    def _target(self, size: Size | None) -> tuple[int, int] | None:
        """(height, width) that images are brought to, None for ``native``. Raises ValueError."""
        if size == "native":
            return None
        wanted = (size, size) if isinstance(size, int) else size or self.module.image_size
        if wanted is None:
            raise ValueError("the model does not tell its image size: give size=N, (H, W) or 'native'")
        sides = wanted if isinstance(wanted, tuple) and len(wanted) == 2 else (0, 0)
        if not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
            raise ValueError(f"size is N, (H, W) or 'native', not {size!r}")
        self.module.grid(*wanted)
        return wanted

    def _check(self, found: Given, force: bool) -> Grid:
        """The grid of tokens. Raises ValueError where they are not the model's, VqcliError if it has none."""
        self.module.quantizer.require_codes()
        own, grid = self.spec, found.grid or default_grid(self.module)
        length = found.ids_nl.shape[1]
        if grid is None or sum(h * w for h, w in grid) != length:
            raise ValueError(f"{length} tokens an image: give their grid")
        if not decodable(grid, self.module):
            raise ValueError(f"the model cannot decode tokens of the grid {grid}")
        if found.fingerprint not in ("", own.fingerprint) and not force:
            made, here = found.fingerprint[:8], own.fingerprint[:8]
            raise ValueError(f"these are tokens of tokenizer {made}, this is {here}: force=True takes them")
        if found.ids_nl.min() < 0 or found.ids_nl.max() >= own.codebook_size:
            raise ValueError(f"the model's tokens are 0 to {own.codebook_size - 1}, some of these are not")
        return grid
