import math

import pytest

from vqcli.training.recipe import OptimizerConfig, ScheduleConfig, steps_in
from vqcli.training.schedules import decay_at, rate_factor

PER_EPOCH = 1_281_167 // 128
STEPS = steps_in("40 epochs", PER_EPOCH)


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
    assert (PER_EPOCH, STEPS, steps_in("4 epochs", PER_EPOCH)) == (10_009, 400_360, 40_036)
    config = ScheduleConfig(decay=decay, warmup="4 epochs")
    assert rate_factor(config, step, STEPS, PER_EPOCH) == pytest.approx(factor, abs=1e-5)


def test_first_decayed_step():
    config = ScheduleConfig(warmup="4 epochs")
    assert rate_factor(config, 148_132, STEPS, PER_EPOCH) == 1
    assert rate_factor(config, 148_133, STEPS, PER_EPOCH) < 1


def test_one_step_without_warmup():
    assert rate_factor(ScheduleConfig(), 0, 1, 1) == 1


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (2499, 1), (2500, 0.1), (2999, 0.1), (3000, 0.01)])
def test_drops(step, factor):
    config = ScheduleConfig(decay="drops", drops=("250 epochs", "300 epochs"))
    assert rate_factor(config, step, 3300, 10) == pytest.approx(factor)


def test_half_a_cosine_to_zero_after_a_warmup_from_zero():
    """VQGAN-LC: 5 epochs of warm-up, then half a cosine to 0, over 100 epochs of 10 steps."""
    config = ScheduleConfig(decay="cosine", warmup="5 epochs", start=0, hold=0, floor=0)
    factors = [rate_factor(config, step, 1000, 10) for step in range(1000)]
    assert factors[:3] == [0, 0.02, 0.04]
    for step in (50, 400, 999):
        want = 0.5 * (1 + math.cos(math.pi * (step - 50) / 949))
        assert factors[step] == pytest.approx(want, abs=1e-6)


def test_drops_and_their_decay_go_together():
    for wrong in ({"decay": "drops"}, {"drops": ("3 epochs",)}):
        with pytest.raises(ValueError, match="needs a list drops"):
            ScheduleConfig(**wrong)


@pytest.mark.parametrize(("duration", "steps"), [(7, 7), ("7 steps", 7), ("2 epochs", 20), ("0.5 epochs", 5)])
def test_durations(duration, steps):
    assert steps_in(duration, 10) == steps


def test_a_duration_needs_a_unit_it_knows():
    with pytest.raises(ValueError, match="40 epochs"):
        ScheduleConfig(warmup="4 days")


def test_var_s_rate():
    """Its schedule ``lin0``: full rate for 5 % of what follows the warm-up, then a line to a tenth."""
    config = ScheduleConfig(warmup=100, hold=0.05, floor=0.1)
    for step in (100, 130, 145, 146, 400, 1099):
        over = (step - 100) / 999
        want = 1 if over < 0.05 else 0.1 + 0.9 * (1 - over) / 0.95
        assert rate_factor(config, step, 1100, 1) == pytest.approx(want)


def test_decay_may_change_along_a_cosine():
    assert decay_at(OptimizerConfig(weight_decay=0.05), 7, 10) == 0.05
    config = OptimizerConfig(weight_decay=0.05, weight_decay_end=0.08)
    assert [decay_at(config, step, 101) for step in (0, 50, 100)] == pytest.approx([0.05, 0.065, 0.08])
    assert decay_at(config, 0, 1) == 0.05
