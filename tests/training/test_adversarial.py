"""Training against a discriminator: when it plays, what it hears, and that nothing of it is lost."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file

from tests.processes import VQCLI, two_processes
from tests.training.test_loop import GENTLE, assert_close, trainer  # noqa: F401 (a fixture)
from tests.training.tiny import Recorded, assert_same, metrics, resume, start, write_recipe
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs.check import check_recipe
from vqcli.jobs.train import TrainOptions, train
from vqcli.library.references import newest_checkpoint
from vqcli.training.adversary import AdversarialConfig, Adversary, standing_still
from vqcli.training.recipe import read_recipe

PATCHES = {"name": "patchgan", "layers": 1, "channels": 8}
SMOOTH = {"name": "stylegan", "width": 8}
EVERY = "training.log_every=1"


def gan(**options):
    return f"adversarial={json.dumps({'discriminator': PATCHES, 'ramp': 0} | options)}"


LATE = gan(disc_start=3, disc_warmup=2, ramp=2, adaptive=True, lecam=0.05)


def adversary(**options):
    config = AdversarialConfig(**{"discriminator": PATCHES, "ramp": 0} | options)
    return Adversary(config, (8, 8), per_epoch=10, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped: discriminator from step 3, heard from step 5."""
    run = tmp_path_factory.mktemp("whole") / "run"
    start(run, LATE, EVERY)
    return run


def test_the_log_shows_when_the_discriminator_starts_and_is_heard(whole):
    lines = [line for line in metrics(whole) if "l2" in line]
    steps = {
        name: [line["step"] for line in lines if name in line]
        for name in ("discriminator/loss", "discriminator/real", "discriminator/fake", "adversarial")
    }
    assert steps["discriminator/loss"] == [3, 4, 5, 6, 7, 8]
    assert steps["discriminator/real"] == steps["discriminator/fake"] == steps["discriminator/loss"]
    assert steps["adversarial"] == [5, 6, 7, 8]
    assert [line["step"] for line in lines if "adaptive_weight" in line] == [5, 6, 7, 8]
    assert [line["step"] for line in lines if "discriminator/gradient_norm" in line] == [3, 4, 5, 6, 7, 8]
    assert all(line["discriminator/learning_rate"] == line["learning_rate"] for line in lines)


def test_steps_before_the_discriminator_are_those_of_a_run_without(whole, tmp_path):
    start(tmp_path / "plain", EVERY)
    plain = [line for line in metrics(tmp_path / "plain") if "l2" in line]
    late = [line for line in metrics(whole) if "l2" in line]
    for ours, theirs in zip(late[:4], plain[:4]):
        assert {name: ours[name] for name in theirs} == theirs
    assert late[5]["l2"] != plain[5]["l2"]


@pytest.mark.parametrize(
    ("options", "trained", "factors"),
    [
        ({}, [True] * 6, [0.5] * 6),
        ({"disc_start": 3}, [False, False, True, True, True, True], [0, 0, 0.5, 0.5, 0.5, 0.5]),
        (
            {"disc_start": 2, "disc_warmup": 2, "ramp": 2, "weight": 1.0},
            [False, True, True, True, True, True],
            [0, 0, 0, 0.5, 1, 1],
        ),
        (
            {"disc_start": "0.3 epochs", "ramp": 4, "weight": 4.0},
            [False] * 2 + [True] * 4,
            [0, 0, 1, 2, 3, 4],
        ),
    ],
)
def test_when_it_plays_and_how_much_it_counts(options, trained, factors):
    made = adversary(**options)
    assert [made.plays(step) for step in range(6)] == trained
    assert [made.factor(step) for step in range(6)] == pytest.approx(factors)


def test_the_tokenizers_loss_leaves_nothing_in_the_discriminator():
    made = adversary()
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    made.against(images, 0).backward()
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in made.discriminator.parameters())
    made.losses(made.discriminator, images, torch.rand(2, 3, 8, 8))["loss"].backward()
    assert all(p.grad is not None for p in made.discriminator.parameters())


def test_what_stands_still_trains_again_after_an_error():
    layer = torch.nn.Linear(1, 1)
    layer.bias.requires_grad_(False)

    def fail():
        with standing_still(layer):
            assert not layer.weight.requires_grad
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


def test_the_discriminator_has_its_own_optimizer_and_schedule(tmp_path):
    """What it does not say is the tokenizer's."""
    own = gan(optimizer={"lr": 5e-4}, schedule={"decay": "constant", "warmup": 0})
    start(tmp_path / "run", own, EVERY, "optimizer.eps=1e-7", "optimizer.clip=0")
    lines = [line for line in metrics(tmp_path / "run") if "l2" in line]
    assert {line["discriminator/learning_rate"] for line in lines} == {5e-4}
    assert len({line["learning_rate"] for line in lines}) > 3
    written = (tmp_path / "run" / "recipe.yaml").read_text()
    assert written.count("eps: 1.0e-07") == 2
    resume(tmp_path / "run")  # the resolved recipe says the same


def test_a_rate_of_its_own_is_meant_as_it_stands():
    """VQGAN's rate grows with the batch; one that is set for the discriminator does not, unless told to."""
    for options, lr_batch in ({"lr": 5e-5}, None), ({"lr": 5e-5, "lr_batch": 2}, 2), ({"eps": 1e-7}, 1):
        own = [f"adversarial.optimizer.{key}={value}" for key, value in options.items()]
        assert read_recipe("vqgan-f16-1024", own).adversarial.optimizer.lr_batch == lr_batch


def test_a_run_too_short_for_its_discriminator_says_so(tmp_path):
    said = Recorded()
    start(tmp_path / "run", gan(disc_start=9), progress=said)
    odd = "the run ends after 8 steps, and its discriminator would be heard from step 9 on"
    assert odd in said.said
    path = str(write_recipe(tmp_path))
    assert check_recipe(path, [gan(disc_start=9)]).remarks == [odd]
    assert check_recipe(path, [gan(disc_start=8)]).remarks == []
    form = gan(discriminator=PATCHES | {"norm": "actnorm"})
    assert check_recipe(path, [form]).memory["activations"] > check_recipe(path, []).memory["activations"]


@pytest.mark.parametrize("stops", [(2,), (3,), (4, 6), (8,)])
def test_stopped_and_resumed_is_the_same_run(tmp_path, whole, stops):
    run = tmp_path / "run"
    for i, stop in enumerate(stops):
        with pytest.raises(Interrupted, match=f"stopped at step {stop}"):
            (resume if i else start)(run, *(() if i else (LATE, EVERY)), progress=Recorded(stop))
    resume(run)
    assert_same(run, whole)


RICH = (
    gan(disc_start=2, disc_warmup=1, ramp=3, adaptive=True, lecam=0.05),
    "training.accumulate=2",
    "training.average=0.9",
    "training.log_every=3",
)
ACTNORM = (gan(discriminator=PATCHES | {"norm": "actnorm"}, generator_loss="non_saturating"), EVERY)
STYLE = (gan(discriminator=SMOOTH, discriminator_loss="vanilla", disc_start=4), EVERY)


@pytest.mark.parametrize("settings", [RICH, ACTNORM, STYLE], ids=["rich", "actnorm", "stylegan"])
def test_every_form_resumes(tmp_path, settings):
    start(tmp_path / "whole", *settings)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", *settings, progress=Recorded(5))
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_two_hundred_resumes_at_random_steps(tmp_path):
    """A run with a discriminator, stopped at 200 random steps in all, is the run that was not."""
    rng, resumed = random.Random(0), 0
    settings = (*RICH, "training.steps=40", "training.keep=1", "training.checkpoint_every=1000")
    start(tmp_path / "whole", *settings)
    attempt = 0
    while resumed < 200:
        run, attempt, done = tmp_path / f"run{attempt}", attempt + 1, 0
        while done < 40 and resumed < 200:
            further = rng.randint(1, 12)
            act = resume if done else start
            if done + further >= 40:
                break
            with pytest.raises(Interrupted):
                act(run, *(() if done else settings), progress=Recorded(done + further))
            done += further
            resumed += 1
        resume(run) if done else start(run, *settings)
        assert_same(run, tmp_path / "whole")
    assert resumed == 200


def test_accumulated_passes_are_one_pass(tmp_path):
    """Of a discriminator without batch statistics; losses are means over passes."""
    settings = (*GENTLE, gan(discriminator=SMOOTH, lecam=0.05, disc_start=2))
    start(tmp_path / "one", *settings)
    start(tmp_path / "two", *settings, "training.accumulate=2")
    assert_close(tmp_path / "two", tmp_path / "one")


def test_two_processes_are_one(tmp_path):
    """Adaptive weight, ActNorm's start and LeCam's averages are those of all images."""
    recipe, run = write_recipe(tmp_path), tmp_path / "two"
    form = gan(discriminator=PATCHES | {"norm": "actnorm"}, adaptive=True, lecam=0.05, disc_start=2)
    settings = (*GENTLE, form, EVERY, "training.steps=3")  # rounding grows from step to step
    two_processes(VQCLI, "train", recipe, "--out", run, "--device", "cpu", *(f"--set={s}" for s in settings))
    assert json.loads((newest_checkpoint(run) / "state.json").read_text())["environment"]["processes"] == 2
    start(tmp_path / "one", *settings)
    assert_close(run, tmp_path / "one")
    ours, theirs = (load_file(newest_checkpoint(r) / "state.safetensors") for r in (run, tmp_path / "one"))
    torch.testing.assert_close(ours["task.lecam.averages"][0], ours["task.lecam.averages"][1])
    torch.testing.assert_close(ours["task.lecam.averages"][0], theirs["task.lecam.averages"][0])


def test_losses_are_float32_whatever_the_precision():
    made, images = adversary(lecam=0.05), torch.rand(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert made.discriminator(images).dtype == torch.bfloat16
        found = {"adversarial": made.against(images, 0)} | made.losses(made.discriminator, images, images)
    assert {loss.dtype for loss in found.values()} == {torch.float32}


def test_bf16_is_near_float32(tmp_path):
    settings = (gan(adaptive=True), EVERY, "training.steps=2")
    start(tmp_path / "half", *settings, "training.precision=bf16")
    start(tmp_path / "full", *settings)
    half, full = (metrics(tmp_path / name)[0] for name in ("half", "full"))
    for name in ("l2", "adversarial", "discriminator/loss", "adaptive_weight"):
        assert half[name] != full[name]
        assert half[name] == pytest.approx(full[name], rel=0.1, abs=0.02)
    weights = load_file(newest_checkpoint(tmp_path / "half") / "discriminator.safetensors")
    assert {x.dtype for x in weights.values() if x.is_floating_point()} == {torch.float32}


def test_weights_of_another_model_and_a_new_discriminator(tmp_path, whole):
    """Fine-tuning: only the decoder moves, and hears of the discriminator when that has trained."""
    said = Recorded()
    form = gan(disc_warmup=4, adaptive=True)
    frozen = 'freeze=["encoder", "quant_conv", "quantizer"]'
    start(tmp_path / "run", form, frozen, f"init={whole}", EVERY, progress=said)
    assert any(text.startswith("starting from") for text in said.said)
    lines = [line for line in metrics(tmp_path / "run") if "l2" in line]
    assert [line["step"] for line in lines if "adversarial" in line] == [5, 6, 7, 8]
    before, after = (load_file(newest_checkpoint(r) / "model.safetensors") for r in (whole, tmp_path / "run"))
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "post_quant_conv"}


def test_a_discriminator_that_is_not_finite_stops_the_run(trainer):  # noqa: F811
    made = trainer(gan(disc_start=3))
    with torch.no_grad():
        next(made.modules["discriminator"].parameters()).fill_(float("nan"))
    with pytest.raises(VqcliError, match=r"training diverged at step 3: l2 .*adversarial nan"):
        made.fit()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_gpu_trains_in_half_precision(tmp_path, precision):
    settings = (gan(adaptive=True, lecam=0.05), EVERY, f"training.precision={precision}")
    options = TrainOptions(str(write_recipe(tmp_path)), tmp_path / "run", settings=list(settings))
    train(options, Recorded())
    lines = [line for line in metrics(tmp_path / "run") if "l2" in line]
    assert 0 < lines[-1]["adaptive_weight"] < 100
    assert lines[-1]["l2"] < lines[0]["l2"]


def test_the_logged_loss_has_weight_and_ramp_either_way():
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    torch.manual_seed(0)
    plain = adversary(ramp=4, weight=2.0)
    torch.manual_seed(0)
    adaptive = adversary(ramp=4, weight=2.0, adaptive=True)
    losses = [made.against(images, 0) for made in (plain, adaptive)]
    torch.testing.assert_close(losses[0], losses[1])
    slopes = [torch.autograd.grad(loss, images)[0] for loss in losses]
    torch.testing.assert_close(slopes[0], 0.5 * slopes[1])  # 2 / 4: ``split`` brings the factor
