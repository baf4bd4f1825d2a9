"""A generator for direct use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vqcli.checkpoint.classes import read_classes
from vqcli.data.classes import readable
from vqcli.data.tokens.store import token_type
from vqcli.door.options import LoadOptions, check_whole
from vqcli.door.results import GeneratedPictures
from vqcli.door.tokens import as_files_have
from vqcli.generators.base import Generator
from vqcli.jobs.options import GenerateOptions
from vqcli.jobs.sampler import Opened, Picture, Sampler
from vqcli.pixels import to_uint8
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import TokenizerSpec, Tokens


class GeneratorModel:
    """Classes to images, as ``vqcli generate`` does it."""

    module: Generator
    """The network, in evaluation mode."""
    folder: Path
    """Where it lies."""

    def __init__(self, module: Generator, folder: Path, options: LoadOptions) -> None:
        self.module, self.folder, self._options = module, folder, options
        self._tokenizer: Tokenizer | None = None

    @property
    def spec(self) -> TokenizerSpec:
        """Of the tokenizer whose tokens or latents it makes."""
        return self.module.spec

    @cached_property
    def classes(self) -> list[str]:
        """Names of its classes; empty where nobody told them."""
        return readable(read_classes(self.folder))

    def generate(
        self,
        classes: int | str | Sequence[int | str],
        count: int = 1,
        *,
        seed: int = 0,
        batch_size: int = 32,
        **sampling: Any,
    ) -> GeneratedPictures:
        """``count`` images of each class, which is a number, a range such as ``"0-9"``, or a name.

        ``sampling`` is what differs from the model's own: ``cfg``, ``temperature``, ``top_k`` ... An image is
        the command's of the same class, seed, index and batch size: rounding depends on how many are made
        together. Raises ValueError on numbers below 1, VqcliError on unknown classes and options, and where
        the tokenizer is not here or does not fit.
        """
        check_whole(1, count=count, batch_size=batch_size)
        check_whole(0, seed=seed)
        sampler = self._sampler(classes, count, seed, batch_size, sampling)
        found: dict[Picture, tuple[np.ndarray, np.ndarray]] = {}
        for some, made in sampler.batches(sampler.pictures):
            pixels = to_uint8(sampler.decode(made)).permute(0, 2, 3, 1).numpy()
            rows = made.ids if isinstance(made, Tokens) else made.standardized(None).values.float()
            found.update(zip(some, zip(pixels, rows.cpu().numpy())))
        order = [Picture(label, i) for label in sampler.labels for i in range(count)]
        made_of, of_tokens = np.stack([found[picture][1] for picture in order]), self.module.makes == "tokens"
        grid, codes = self.module.grid, self.spec.codebook_size
        return GeneratedPictures(
            array=np.stack([found[picture][0] for picture in order]),
            labels=np.array([picture.label for picture in order], np.int64),
            indices=np.array([picture.index for picture in order], np.int64),
            seed=seed,
            names=sampler.asked,
            tokens=as_files_have(made_of.astype(token_type(codes)), grid) if of_tokens else None,
            latents=None if of_tokens else made_of,
            grid=grid,
            codebook_size=codes,
            fingerprint=sampler.tokenizer.spec.fingerprint,
        )

    def _sampler(
        self,
        classes: int | str | Sequence[int | str],
        count: int,
        seed: int,
        batch_size: int,
        sampling: dict[str, Any],
    ) -> Sampler:
        """The command's, with the networks that are open already."""
        options = GenerateOptions(
            classes=_asked(classes),
            model=self._options.reference,
            tokenizer=self._options.tokenizer,
            count=count,
            seed=seed,
            sampling=sampling,
            batch_size=batch_size,
            device=str(self._options.device),
            precision=self._options.precision,
        )
        sampler = Sampler(options, opened=Opened(self.module, self.folder, self._tokenizer))
        if self._tokenizer is None:
            if not self.module.NEEDS:  # else it was opened for that
                sampler.add_tokenizer()
            self._tokenizer = sampler.tokenizer
        return sampler


def _asked(classes: int | str | Sequence[int | str]) -> list[str]:
    """Classes as the command takes them. Raises ValueError where they are no numbers and names."""
    asked: Sequence[Any] = [classes] if isinstance(classes, int | str | np.integer) else classes
    if not isinstance(asked, Sequence | np.ndarray):
        asked = [asked]
    for each in asked:
        if not isinstance(each, int | str | np.integer):
            raise ValueError(f"a class is a number, a range such as '0-9', or a name, not {each!r}")
    if not len(asked):
        raise ValueError("no classes are asked for")
    return [str(each) for each in asked]
