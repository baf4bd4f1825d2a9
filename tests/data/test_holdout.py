"""Which images are held out: enough to tell, and always the same ones as far as that goes."""

import numpy as np
import pytest

from vqcli.data.holdout import LEAST, SHARE, holdout


class Names:
    """Images of which there are only names."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def key(self, i):
        return f"photo-{i:05d}.jpg"


def held(count, fraction=None):
    training, kept = holdout(Names(count), fraction)
    assert sorted([*training, *kept]) == list(range(count))
    return set(kept.tolist())


@pytest.mark.parametrize(
    ("count", "kept"), [(0, 0), (1, 0), (2, 1), (3, 1), (8, 2), (40, 10), (256, 64), (500, 64), (3000, 64)]
)
def test_at_least_64_or_a_quarter_of_few(count, kept):
    assert len(held(count)) == kept


def test_two_per_cent_of_many():
    many = held(10_000)
    assert 150 < len(many) < 250
    assert many == held(10_000, SHARE)


def test_what_is_trained_on_stays_so_when_others_are_added():
    """From 256 images on; one that was held out may give its place to an image that is added."""
    for few, more in ((256, 300), (500, 2000), (2000, 9000)):
        before, after = held(few), held(more)
        assert {i for i in after if i < few} <= before
    assert len(held(500) & held(501)) >= LEAST - 1


def test_a_share_that_is_given_is_that_share_as_before():
    """Runs of before have 0.02 in their recipe, and go on with the same images."""
    hashes = np.array([i in held(500, 0.02) for i in range(500)])
    assert 3 <= hashes.sum() <= 20
    assert held(500, 0.02) == {i for i in held(2000, 0.02) if i < 500}
    assert held(500, 0) == set()
