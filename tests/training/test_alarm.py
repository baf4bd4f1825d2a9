"""What is said of a game between tokenizer and discriminator that goes wrong."""

import pytest

from tests.training.test_adversarial import EVERY, SMOOTH, gan
from tests.training.tiny import Recorded, assert_same, resume, start
from vqcli.errors import Interrupted
from vqcli.training.alarm import PATIENCE, SENTENCES, Alarm

GOOD = {"discriminator/loss": 0.8, "discriminator/real": 0.3, "discriminator/fake": -0.2}


@pytest.mark.parametrize(
    ("sign", "numbers"),
    [
        ("won", {"discriminator/loss": 0.01, "discriminator/real": 3.0, "discriminator/fake": -2.5}),
        ("died", {"discriminator/loss": 1.0, "discriminator/real": 0.001, "discriminator/fake": 0.002}),
        ("clamped", GOOD | {"adaptive_weight": 1e4}),
        ("silent", GOOD | {"adaptive_weight": 0.0}),
    ],
)
def test_what_lasts_is_said_once_and_again_when_it_comes_back(sign, numbers):
    alarm = Alarm("hinge", 1.0, ["l1"])
    begins, patience = SENTENCES[sign].split(":")[0], PATIENCE[sign]
    told = [alarm.read(numbers) for _ in range(patience + 3)]
    assert [len(each) for each in told] == [0] * (patience - 1) + [1, 0, 0, 0]
    assert told[patience - 1][0].startswith(begins)
    assert alarm.read(GOOD | {"adaptive_weight": 0.5}) == []
    assert [len(alarm.read(numbers)) for _ in range(patience)] == [0] * (patience - 1) + [1]


def test_nothing_is_said_of_a_sound_game_or_before_it():
    alarm = Alarm("hinge", 0.5, ["l1"])
    assert [alarm.read({"l2": 0.1}) for _ in range(5)] == [[]] * 5
    assert [alarm.read(GOOD | {"adaptive_weight": 0.5}) for _ in range(5)] == [[]] * 5


def test_a_run_says_that_its_discriminator_died_and_a_resumed_one_says_it_once(tmp_path):
    """A judge of whole images starts with logits near 0; at no rate worth the name it stays there."""
    settings = (gan(discriminator=SMOOTH, optimizer={"lr": 1e-12}, weight=1e-6), EVERY, "training.steps=14")
    whole, stopped, resumed = Recorded(), Recorded(stop_at=7), Recorded()
    start(tmp_path / "whole", *settings, progress=whole)
    assert deaths(whole) == ["step 10"]
    with pytest.raises(Interrupted):
        start(tmp_path / "run", *settings, progress=stopped)
    resume(tmp_path / "run", progress=resumed)
    assert deaths(stopped) + deaths(resumed) == ["step 10"]
    assert_same(tmp_path / "run", tmp_path / "whole")


def deaths(progress):
    return [text.split(":")[0] for text in progress.said if "discriminator has died" in text]


def test_what_was_read_is_kept(tmp_path):
    alarm, again = (Alarm("hinge", 1.0, ["l2"]) for _ in range(2))
    alarm.read({"l2": 0.1})
    bad = GOOD | {"l2": 0.3, "adversarial": 0.1}
    assert [alarm.read(bad), alarm.read(bad)] == [[], []]
    again.load_state(alarm.state())
    assert len(again.read(bad)) == 1
    fresh = Alarm("hinge", 1.0, ["l2"])
    fresh.load_state(Alarm("hinge", 1.0, ["l2"]).state())
    assert fresh.before is None


def test_a_price_that_is_too_high_is_said():
    """Beside what the losses were in the last line before the discriminator was heard."""
    alarm = Alarm("hinge", 1.0, ["l2", "perceptual"])
    before, heard = {"l2": 0.1, "perceptual": 0.3}, {"l2": 0.25, "perceptual": 0.4, "adversarial": 0.1}
    assert [alarm.read(GOOD | line) for line in ({"l2": 3.0}, before)] == [[], []]
    told = [alarm.read(GOOD | heard) for _ in range(4)]
    assert [len(each) for each in told] == [0, 0, 1, 0]
    assert told[-2][0].startswith("the other losses on images are 1.6 times what they were")
    small = {"l2": 0.12, "perceptual": 0.31, "adversarial": 0.1}
    assert [alarm.read(GOOD | small) for _ in range(4)] == [[]] * 4


def test_without_a_time_before_there_is_no_price():
    alarm = Alarm("hinge", 1.0, ["l2"])
    lines = [GOOD | {"l2": value, "adversarial": 0.1} for value in (0.1, 1.0, 1.0, 1.0, 1.0)]
    assert [alarm.read(line) for line in lines] == [[]] * 5
