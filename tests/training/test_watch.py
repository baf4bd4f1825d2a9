"""What is said of a codebook that loses codes while it trains."""

import pytest

from tests.training.tiny import Recorded, assert_same, resume, start
from vqcli.errors import Interrupted
from vqcli.training.watch import UsageWatch

K = 100


def line(share, rate=1e-3, tokens=10**6):
    return {"utilization": share, "utilization_tokens": tokens, "learning_rate": rate}


def read(watch, shares, rates=None):
    """How many sentences each line brings."""
    return [len(watch.read(line(x, rate))) for x, rate in zip(shares, rates or [1e-3] * len(shares))]


def test_a_fall_is_said_once_and_the_next_one_again():
    watch = UsageWatch(K)
    assert read(watch, [0.9] * 8 + [0.5] * 2) == [0] * 10  # a mean of 0.74 is no fall
    told = watch.read(line(0.1)) + watch.read(line(0.1))
    assert len(told) == 1
    assert told[0].startswith("utilization has fallen from 90% to 10% of what uniform use would show; ")
    assert sum(read(watch, [0.4] * 12)) == 0
    assert sum(read(watch, [0.2] * 12)) == 1
    assert sum(read(watch, [0.9] * 12)) == 0
    assert sum(read(watch, [0.4] * 12)) == 1, "it had come back"


def test_a_slow_fall_is_said_too_and_noise_and_a_dip_at_the_start_are_not():
    assert sum(read(UsageWatch(K), [0.9 - 0.02 * i for i in range(25)])) == 1
    assert sum(read(UsageWatch(K), [0.6, 0.9] * 20)) == 0
    assert sum(read(UsageWatch(K), [0.94, 0.48, 0.31, 0.28, 0.54, 0.6, 0.86, 0.98, 1.0])) == 0


def test_nothing_is_said_during_warmup_and_what_was_used_then_does_not_count():
    rates = [1e-4 * (i + 1) for i in range(10)] + [1e-3] * 20
    assert sum(read(UsageWatch(K), [0.9] * 5 + [0.1] * 5 + [0.2] * 20, rates)) == 0
    assert sum(read(UsageWatch(K), [0.9] * 5 + [0.1] * 25, [1e-3] * 30)) == 1


def test_annealing_is_named_where_the_fall_comes_with_it():
    shares, rates = [0.9] * 10 + [0.3] * 10, [1e-3] * 10 + [1e-4] * 10
    watch = UsageWatch(K)
    told = [text for share, rate in zip(shares, rates) for text in watch.read(line(share, rate))]
    assert len(told) == 1
    assert "of what uniform use would show while the rate was annealed; " in told[0]


def test_few_tokens_at_the_end_are_no_fall():
    """After the last step a line may stand for a few steps alone: it is measured by what it could show."""
    watch = UsageWatch(K)
    read(watch, [1.0] * 9)
    assert watch.read(line(0.2, tokens=22)) == []


def test_what_was_read_is_kept():
    whole, watch, again = UsageWatch(K), UsageWatch(K), UsageWatch(K)
    shares = [0.9] * 3 + [0.8] * 5 + [0.3] * 6
    assert [again.load_state(UsageWatch(K).state()), again.shares] == [None, []]
    expected = [whole.read(line(share)) for share in shares]
    assert sum(map(len, expected)) == 1
    for cut in range(len(shares)):
        watch, again = UsageWatch(K), UsageWatch(K)
        first = [watch.read(line(share)) for share in shares[:cut]]
        again.load_state(watch.state())
        assert first + [again.read(line(share)) for share in shares[cut:]] == expected


LOSING = (
    "tokenizer.codebook={name: ema, size: 256, width: 8}",
    "tokenizer.multipliers=[1, 1]",
    "tokenizer.attention_levels=[]",
    "training.log_every=1",
    "training.steps=18",
    "schedule.warmup=0",
    "optimizer.lr=3e-2",
)
"""At this rate latents soon leave most codes behind."""


def test_a_run_says_it_and_a_resumed_one_does_not_repeat_it(tmp_path):
    whole, stopped, resumed = Recorded(), Recorded(stop_at=9), Recorded()
    start(tmp_path / "whole", *LOSING, progress=whole)
    told = falls(whole)
    assert len(told) == 1
    with pytest.raises(Interrupted):
        start(tmp_path / "run", *LOSING, progress=stopped)
    resume(tmp_path / "run", progress=resumed)
    assert falls(stopped) + falls(resumed) == told
    assert int(told[0].split()[1].rstrip(":")) > 9
    assert_same(tmp_path / "run", tmp_path / "whole")


def falls(progress):
    return [text for text in progress.said if "utilization has fallen" in text]
