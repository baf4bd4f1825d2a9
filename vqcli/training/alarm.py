"""Words for what goes wrong between a tokenizer and its discriminator, read off the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vqcli.losses.adversarial import DiscriminatorLoss
from vqcli.nn.balance import LIMIT

PATIENCE = {"won": 3, "died": 10, "clamped": 3, "ruined": 3, "silent": 3}
"""Lines of the log in a row that look wrong before it is said. One that has just begun is no dead one."""
CHANCE: dict[DiscriminatorLoss, float] = {
    "hinge": 1.0,
    "vanilla": math.log(2),
    "non_saturating": 2 * math.log(2),
}
"""A discriminator's loss while all its logits are 0."""
WON, DIED = 0.05, 0.97
"""Shares of that loss below which it makes no mistakes, and above which it tells nothing apart."""
APART = 0.05
"""Distance of mean logits of images and reconstructions below which they are alike."""
WORSE = 1.5
"""Growth of the other losses on images, since before the discriminator was heard, that is no small price."""

SENTENCES = {
    "won": "the discriminator has won: it tells every reconstruction from its image (loss {share:.0%} of "
    "chance, mean logits {real:.2f} and {fake:.2f}), and its loss teaches little; train longer before "
    "disc_start, lower adversarial.optimizer.lr, or set adversarial.lecam",
    "died": "the discriminator has died: it cannot tell reconstructions from images (loss {share:.0%} of "
    "chance, mean logits {real:.2f} and {fake:.2f}); raise adversarial.optimizer.lr, or lower its weight",
    "clamped": f"the adaptive weight sits at its limit of {LIMIT:g}: the discriminator gives no gradient; "
    "train longer before disc_start, or set adversarial.lecam",
    "ruined": "the other losses on images are {times:.1f} times what they were before the tokenizer heard of "
    "the discriminator; lower adversarial.weight or the rates, or give it a longer disc_warmup and ramp",
    "silent": "the adaptive weight is 0: the other losses have no gradient at the decoder's last layer",
}


class Alarm:
    """Says once what has looked wrong for a while, and again when it comes back."""

    def __init__(self, kind: DiscriminatorLoss, weight: float, losses: Sequence[str]) -> None:
        """``weight`` is that of the discriminator's loss; ``losses`` names the others on images."""
        self.chance, self.losses = weight * CHANCE[kind], losses
        self.before: float | None = None
        """Sum of the other losses in the last line before the discriminator was heard."""
        self.lasting = dict.fromkeys(SENTENCES, 0)
        """Lines in a row that each has lasted."""

    def read(self, numbers: Mapping[str, float]) -> list[str]:
        """What begins to be worth saying with this line of the log, a sentence each."""
        found = self._signs(numbers)
        told = []
        for sign in SENTENCES:
            self.lasting[sign] = self.lasting[sign] + 1 if sign in found else 0
            if self.lasting[sign] == PATIENCE[sign]:
                told.append(SENTENCES[sign].format(**found[sign]))
        return told

    def state(self) -> Tensor:
        """What has been read so far, for a checkpoint."""
        before = -1.0 if self.before is None else self.before
        return torch.tensor([before, *self.lasting.values()], dtype=torch.float64)

    def load_state(self, state: Tensor) -> None:
        """Take ``state()`` back."""
        before, *lasting = state.tolist()
        self.before = before if before >= 0 else None
        self.lasting = dict(zip(SENTENCES, map(int, lasting)))

    def _signs(self, numbers: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """What looks wrong in a line, with the numbers that show it."""
        found: dict[str, dict[str, float]] = {}
        if "discriminator/loss" in numbers:
            facts = {name: numbers[f"discriminator/{name}"] for name in ("loss", "real", "fake")}
            share = facts["share"] = facts["loss"] / self.chance
            if share < WON:
                found["won"] = facts
            elif share > DIED and abs(facts["real"] - facts["fake"]) < APART:
                found["died"] = facts
        found |= self._price(numbers)
        if "adaptive_weight" in numbers:
            weight = numbers["adaptive_weight"]
            if weight > 0.99 * LIMIT:
                found["clamped"] = {}
            elif weight == 0:
                found["silent"] = {}
        return found

    def _price(self, numbers: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """Whether the other losses pay too much for the discriminator's favour."""
        others = sum(numbers.get(name, 0.0) for name in self.losses)
        if "adversarial" not in numbers:
            self.before = others
        elif self.before and others > WORSE * self.before:
            return {"ruined": {"times": others / self.before}}
        return {}
