"""A classifier for direct use.

Shape letters: N images, R classes told of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vqcli.checkpoint.classes import read_classes
from vqcli.classifiers.base import Classifier
from vqcli.data.classes import readable
from vqcli.data.loader import eval_batches
from vqcli.door.options import LoadOptions, check_whole
from vqcli.door.pictures import GivenImages, ImageLike
from vqcli.door.results import Classified
from vqcli.jobs.judge import Asked, Judge, likeliest, open_judge
from vqcli.pixels import CenterCrop
from vqcli.types import TokenizerSpec


class ClassifierModel:
    """Images to classes, as ``vqcli classify`` does it."""

    module: Classifier
    """The network, in evaluation mode."""
    folder: Path
    """Where it lies."""

    def __init__(self, module: Classifier, folder: Path, options: LoadOptions) -> None:
        self.module, self.folder, self._options = module, folder, options

    @property
    def spec(self) -> TokenizerSpec:
        """Of the tokenizer whose tokens it looks at."""
        return self.module.spec

    @cached_property
    def classes(self) -> list[str]:
        """Names of its classes; empty where nobody told them."""
        return readable(read_classes(self.folder))[: self.module.config.classes]

    def classify(
        self, images: ImageLike | Sequence[ImageLike], *, top: int = 5, batch_size: int = 32
    ) -> Classified:
        """The ``top`` likeliest classes of images: of Pillow, paths of files, or arrays uint8 (N, H, W, 3).

        Images are resized and cut to the size that the classifier knows. Raises ValueError on other forms
        and numbers below 1, BadImage on a bad image, VqcliError where no tokenizer is here that fits.
        """
        check_whole(1, top=top, batch_size=batch_size)
        source, judge = GivenImages(images), self._judge
        found: dict[int, np.ndarray] = {}
        for batch in eval_batches(source, np.arange(len(source)), CenterCrop(judge.size), batch_size):
            if batch.rejected:
                raise batch.rejected[0]
            found |= judge.look(batch)
        every = np.stack([found[i] for i in range(len(source))])
        best = likeliest(every, top)
        names = [[self.classes[i] if i < len(self.classes) else "" for i in row] for row in best.tolist()]
        return Classified(best, np.take_along_axis(every, best, axis=1), names)

    @cached_property
    def _judge(self) -> Judge:
        """With its tokenizer, opened on first use."""
        options = self._options
        asked = Asked(options.reference, options.tokenizer, options.precision)
        return open_judge(self.folder, asked, options.device, self.module)
