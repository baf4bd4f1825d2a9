import pytest

from vqcli.training.recipe import ScheduleConfig, steps_in
from vqcli.training.schedules import rate_factor

PER_EPOCH = 1_281_167 // 128
STEPS, WARMUP = steps_in("40 epochs", PER_EPOCH), steps_in("4 epochs", PER_EPOCH)


@pytest.mark.parametrize(
    ("decay", "step", "factor"),
    [
        ("linear", 0, 0.005),
        ("linear", 20_000, 0.50205),
        ("linear", 40_036, 1.0),
        ("linear", 200_000, 0.79642),
        ("cosine", 200_000, 0.90024),
        ("linear", 300_000, 0.40391),
        ("cosine", 300_000, 0.34892),
        ("linear", 400_359, 0.01),
        ("cosine", 400_359, 0.01),
        ("constant", 400_359, 1.0),
    ],
)
def test_published_values(decay, step, factor):
    # 1,281,167 images in batches of 128, 40 epochs of which 4 warm up: the run of the FVQ paper
    assert (PER_EPOCH, STEPS, WARMUP) == (10_009, 400_360, 40_036)
    config = ScheduleConfig(decay=decay)
    assert rate_factor(config, step, WARMUP, STEPS) == pytest.approx(factor, abs=1e-5)


def test_first_decayed_step():
    config = ScheduleConfig()
    assert rate_factor(config, 148_132, WARMUP, STEPS) == 1
    assert rate_factor(config, 148_133, WARMUP, STEPS) < 1


def test_one_step_without_warmup():
    assert rate_factor(ScheduleConfig(), 0, 0, 1) == 1


@pytest.mark.parametrize(("duration", "steps"), [(7, 7), ("7 steps", 7), ("2 epochs", 20), ("0.5 epochs", 5)])
def test_durations(duration, steps):
    assert steps_in(duration, 10) == steps


def test_a_duration_needs_a_unit_it_knows():
    with pytest.raises(ValueError, match="40 epochs"):
        ScheduleConfig(warmup="4 days")
