"""Lines that a run says: their parts stand in one order, whatever comes and goes."""

import math

import pytest

from vqcli.training.words import duration, log_line, minutes, time_left, tokens_in_words

EARLY = {
    "commitment": 0.01, "l2": 0.3, "codebook": 0.04, "total_loss": 0.35, "gradient_norm": 2.0,
    "images_per_second": 11.2, "learning_rate": 1e-3, "utilization": 0.5, "utilization_tokens": 99,
}  # fmt: skip
LATE = {
    "l2": 0.2, "discriminator/loss": 1.0, "adaptive_weight": 3.0, "codebook": 0.03, "rejected": 2,
    "adversarial": 0.1, "commitment": 0.01, "total_loss": 0.34, "discriminator/real": 0.5,
    "discriminator/learning_rate": 1e-4, "utilization": 1.0, "perceptual": 0.5, "images_per_second": 1234.0,
}  # fmt: skip


def names(line):
    words = line.replace("images/s", "").replace("left", "").split()
    return [word for word in words if not word[0].isdigit() and word != "step"]


def test_total_then_parts_then_usage_and_rate():
    line = log_line((20, 600), EARLY, ("l2", "perceptual"), 431)
    assert line == (
        "step  20/600  loss 0.35      l2 0.3       codebook 0.04      commitment 0.01    "
        "  utilization  50.0%  11.2 images/s  7:11 left"
    )
    assert "left" not in log_line((600, 600), EARLY, ("l2",), None)


def test_what_comes_later_changes_no_order():
    early, late = (names(log_line((1, 9), x, ("l2", "perceptual"), None)) for x in (EARLY, LATE))
    assert late == [
        "loss", "l2", "perceptual", "adversarial", "codebook", "commitment", "discriminator/loss",
        "adaptive_weight", "utilization", "rejected",
    ]  # fmt: skip
    assert [name for name in late if name in early] == early
    shuffled = dict(reversed(LATE.items()))
    assert names(log_line((1, 9), shuffled, ("l2", "perceptual"), None)) == late


@pytest.mark.parametrize(
    ("grid", "codes", "words"),
    [
        (((32, 32),), 4096, "32x32 = 1,024 an image of 128x128 pixels, 4,096 codes"),
        (((8, 8),) * 4, 512, "4 x 8x8 = 256 an image of 128x128 pixels, 512 codes"),
        (((1, 1), (2, 2)), 16, "1x1 to 2x2 = 5 an image of 128x128 pixels, 16 codes"),
        (((16, 16),), 0, "none: latents of 16x16 an image of 128x128 pixels, without a codebook"),
    ],
)
def test_tokens_of_every_layout(grid, codes, words):
    assert tokens_in_words(grid, (128, 128), codes) == words


def test_times():
    assert [duration(x) for x in (7, 754, 12345, 176400)] == ["0:07", "12:34", "3:25:45", "2d 1:00:00"]
    assert [minutes(x) for x in (48.4, 552, 12600)] == ["48 s", "9.2 min", "3.5 h"]
    assert time_left(10, 90, 5.0) == 45.0
    assert [time_left(*x) for x in ((0, 90, 5.0), (90, 0, 5.0), (1, 1, math.nan))] == [None] * 3
