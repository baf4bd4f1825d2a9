"""The blocks of an evaluation as work in shards: metrics are shown them, and what these come to is saved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from vqcli.jobs.evaluation.measuring import Measuring
from vqcli.jobs.evaluation.parts import Part
from vqcli.jobs.evaluation.work import Stretch
from vqcli.jobs.sharded import Work
from vqcli.types import Progress


class Blocks(Work[None]):
    """The blocks of a stretch: its block 0 is number ``start`` of all."""

    def __init__(
        self, stretch: Stretch, start: int, measuring: Measuring, part: Part, known: set[int]
    ) -> None:
        """``known`` are the numbers of those that are done, of this stretch and of others."""
        self.stretch, self.start, self.measuring, self.part = stretch, start, measuring, part
        self.what, self.shards, self.known = stretch.what, stretch.blocks, known

    def size(self, k: int) -> int:
        return len(self.stretch.block(k))

    def done(self, k: int) -> bool:
        return self.start + k in self.known

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        stretch, waiting, seen_of_block = self.stretch, iter(shards), 0
        items = np.concatenate([np.arange(0), *map(stretch.block, shards)])
        block = next(waiting, None)
        for seen in stretch.batches(items):
            self.measuring.see(seen)
            for image in seen.rejected:
                self.part.reject(image, stretch.what)
            progress.advance(seen.items)
            seen_of_block += seen.items
            assert block is not None
            if seen_of_block == self.size(block):
                self.part.finish(self.start + block, self.measuring)
                block, seen_of_block = next(waiting, None), 0
        self.part.save(self.measuring)

    def finish(self) -> None:
        """Nothing yet: all stretches are concluded together."""


def starts(stretches: Sequence[Stretch]) -> list[int]:
    """Number of each stretch's block 0 among all blocks."""
    return list(accumulate((stretch.blocks for stretch in stretches[:-1]), initial=0))


def left(stretches: Sequence[Stretch], done: set[int]) -> int:
    """Items of blocks that are not ``done``."""
    blocks = [stretch.block(k) for stretch in stretches for k in range(stretch.blocks)]
    return sum(len(block) for number, block in enumerate(blocks) if number not in done)
