"""Recipes with a discriminator that cannot be trained: what is said, before there is a run."""

import pytest

from tests.training.test_adversarial import PATCHES, gan
from tests.training.tiny import Recorded, resume, start
from vqcli.errors import Interrupted, VqcliError
from vqcli.training.recipe import read_recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((gan(adaptive=True), "freeze=[decoder]"), "adversarial.adaptive compares gradients"),
        (
            (gan(), "training.precision=fp16", "training.accumulate=2"),
            "does not go with fp16 and accumulate",
        ),
        ((gan(adaptive=True), "training.compile=true"), "does not go with training.compile"),
        ((gan(discriminator=PATCHES | {"layers": 4}),), "8"),
        ((gan(weight=0),), "adversarial.weight"),
        (("losses={l2: 0}",), "losses: all weights are 0"),
        (("losses={l2: {name: l1}}",), "the loss l2 is called l1"),
        (("losses={3: 1}",), "unknown loss '3'"),
        ((gan(optimizer={"lr": 1}), "optimizer=null"), "optimizer"),
        ((gan(optimizer={"lr": 1}), "optimizer=[1]"), "optimizer"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_run(tmp_path, settings, message):
    with pytest.raises(VqcliError, match=message) as refusal:
        start(tmp_path / "run", *settings)
    assert refusal.value.hint
    assert not (tmp_path / "run").exists()


def test_a_discriminator_cannot_come_to_a_run(tmp_path):
    with pytest.raises(Interrupted):
        start(tmp_path / "run", progress=Recorded(3))
    with pytest.raises(VqcliError, match="has no discriminator") as refusal:
        resume(tmp_path / "run", gan(), accept_changes=True)
    assert f"--init {tmp_path / 'run'}" in refusal.value.hint


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("adversarial.disc_strat=1", "unknown key 'adversarial.disc_strat'", "did you mean 'disc_start'?"),
        ("adversarial.optimizer.lrr=1", "unknown key 'adversarial.optimizer.lrr'", "did you mean 'lr'?"),
        ("adversarial.discriminator=stylgan", "unknown discriminator 'stylgan'", "did you mean 'stylegan'?"),
    ],
)
def test_typos_get_the_nearest_name(setting, message, hint):
    with pytest.raises(VqcliError, match=message) as refusal:
        read_recipe("fvq-cifar10-gan", [setting])
    assert refusal.value.hint == hint
    named = read_recipe("fvq-cifar10-gan", ["adversarial.discriminator=stylegan"])
    assert named.adversarial.discriminator.name == "stylegan"
