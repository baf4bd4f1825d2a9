"""What a step does: passes, processes, precision, and numbers that are not finite."""

import copy
import itertools
import json
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from tests.processes import VQCLI, two_processes
from tests.training.tiny import (
    ENVIRONMENT,
    Recorded,
    assert_same,
    leftovers,
    metrics,
    resume,
    start,
    tensors,
    write_recipe,
)
from vqcli.errors import VqcliError
from vqcli.jobs.train import TrainOptions, begin, make_trainer, prepare_run
from vqcli.library.references import newest_checkpoint
from vqcli.losses.pixel import L2Loss
from vqcli.training.accelerator import end, make_accelerator
from vqcli.training.data import Data

CLOSE = {"rtol": 1e-3, "atol": 1e-5}


GENTLE = ("optimizer.eps=1e-2", "training.steps=4")
"""Adam that does not blow up rounding: gradients near zero get no say."""


def assert_close(run, other):
    ours, theirs = tensors(run), tensors(other)
    for name, x in ours.items():
        if x.is_floating_point() and "state.safetensors" not in name:
            torch.testing.assert_close(
                x, theirs[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
            )
    for ours_line, theirs_line in zip(metrics(run), metrics(other), strict=True):
        assert ours_line == pytest.approx(theirs_line, rel=1e-2)


def test_accumulated_passes_are_one_pass(tmp_path):
    start(tmp_path / "one", *GENTLE)
    start(tmp_path / "two", *GENTLE, "training.accumulate=2")
    assert_close(tmp_path / "two", tmp_path / "one")


EMA = 'tokenizer.codebook={"name": "ema", "size": 16, "width": 8}'


def torchrun(*arguments):
    """Both processes of the launcher talk to one terminal; what was printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    command += ["vqcli", *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train: 0/4 steps") == 1
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("together", "own"),
    [(torchrun, ()), (partial(two_processes, VQCLI), (EMA, "training.accumulate=2"))],
    ids=["bridged", "ema"],
)
def test_two_processes_are_one(tmp_path, together, own):
    """Two processes share each batch; the first alone talks and writes.

    Moments of Adam stand for gradients: the same codebook, averages and gradients as on one process.
    """
    recipe, run = write_recipe(tmp_path), tmp_path / "two"
    settings = (*GENTLE, "training.validation_images=7", *own)
    arguments = ["train", recipe, "--out", run, "--device", "cpu", "--json"]
    told = together(*arguments, *(f"--set={setting}" for setting in settings))
    assert json.loads(told)["steps"] == 4  # one result
    state = json.loads((newest_checkpoint(run) / "state.json").read_text())
    assert state["environment"]["processes"] == 2
    random_states = load_file(newest_checkpoint(run) / "state.safetensors")["rng.cpu"]
    assert len(random_states) == 2
    start(tmp_path / "one", *settings)
    assert_close(run, tmp_path / "one")
    assert metrics(run)[-1]["validation/images"] == 7  # of uneven shares
    assert leftovers(run) == []


@pytest.fixture
def trainer(tmp_path):
    """A trainer of the tiny recipe on one process, not started."""
    made = []

    def make(*settings):
        torch.set_num_threads(1)
        options = TrainOptions(
            str(write_recipe(tmp_path)), tmp_path / "run", settings=list(settings), device="cpu"
        )
        run, recipe = prepare_run(options)
        accelerator = make_accelerator(recipe, run, torch.device("cpu"), ())
        made.append(accelerator)
        trainer = make_trainer(recipe, run, accelerator, Recorded())
        begin(trainer, options, Recorded())
        return trainer

    yield make
    for accelerator in made:
        end(accelerator)


class Poison(L2Loss):
    """The l2 loss, but not finite in value or in gradient from the fifth pass on."""

    def __init__(self, what):
        super().__init__(L2Loss.Config())
        self.what, self.passes = what, 0

    def forward(self, reconstruction, images):
        self.passes += 1
        loss = super().forward(reconstruction, images)
        if self.passes <= 4:
            return loss
        if self.what == "gradient":
            return loss + (reconstruction.sum() * 0).sqrt()  # 0, with an infinite slope times 0
        return loss * float(self.what)


@pytest.mark.parametrize(
    ("what", "term"), [("nan", "l2 nan"), ("inf", "l2 inf"), ("gradient", "gradient norm of model is nan")]
)
def test_what_is_not_finite_is_never_applied(trainer, what, term):
    made = trainer("training.checkpoint_every=4")
    made.task.objective.terms["l2"] = Poison(what)
    before = {}
    step = made.train_step

    def remember(batches):
        before.update(copy.deepcopy(made.modules["model"].state_dict()))
        step(batches)

    made.train_step = remember
    with pytest.raises(VqcliError) as raised:
        made.fit()
    assert raised.value.reason == "diverged"
    assert f"step 5: {term}" in str(raised.value)
    now = made.modules["model"].state_dict()
    stored = load_file(newest_checkpoint(made.run.folder) / "model.safetensors")
    assert newest_checkpoint(made.run.folder).name == "step-00000004"
    for name, x in before.items():
        assert torch.equal(now[name], x)
        assert torch.equal(stored[name], x)


def test_a_pass_of_an_accumulated_step_is_checked_too(trainer):
    made = trainer("training.accumulate=2")
    made.task.objective.terms["l2"] = Poison("nan")  # the first pass of the third step
    with pytest.raises(VqcliError, match="step 3: l2 nan"):
        made.fit()


def test_bf16_runs_and_keeps_float32_weights(tmp_path):
    run = tmp_path / "run"
    result = start(run, "training.precision=bf16", "training.steps=2", "training.average=0.5")
    assert result.steps == 2
    assert {x.dtype for name, x in tensors(run).items() if " encoder." in name} == {torch.float32}
    start(tmp_path / "full", "training.steps=2")
    assert metrics(run)[0]["l2"] != metrics(tmp_path / "full")[0]["l2"]
    assert metrics(run)[0]["l2"] == pytest.approx(metrics(tmp_path / "full")[0]["l2"], rel=0.02)


def test_fp16_needs_a_gpu(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(VqcliError, match="fp16"):
        start(tmp_path / "run", "training.precision=fp16")
    start(tmp_path / "run", "training.steps=1")  # nothing was left behind


def test_rejected_images_are_named_once_and_counted(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(images / f"{i}.png")
    (images / "bad.png").write_bytes(b"not an image")
    settings = ("data.holdout=0", "training.batch_size=4", "training.checkpoint_every=4")
    progress = Recorded()
    result = start(tmp_path / "run", f"data.source={images}", *settings, progress=progress)
    assert result.rejected == 1
    said = [text for text in progress.said if text.startswith("rejected")]
    assert len(said) == 1  # over several epochs
    assert "bad.png" in said[0]
    assert [line for line in metrics(tmp_path / "run") if "l2" in line][-1]["rejected"] == 1
    state = json.loads((newest_checkpoint(tmp_path / "run") / "state.json").read_text())
    assert state["rejected"] == ["bad.png"]


def test_a_batch_without_a_usable_image_stops(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(4):
        (images / f"{i}.png").write_bytes(b"not an image")
    with pytest.raises(
        VqcliError, match=r"every image of a batch of 4 was rejected; 4 have been until step 0"
    ):
        start(tmp_path / "run", f"data.source={images}", "data.holdout=0", "training.batch_size=4")


def test_what_was_trained_before_images_could_not_be_read_is_kept(tmp_path, monkeypatch):
    """A process that reads them dies: the run goes on from there, to the same bits."""
    batches, run = Data.__init__, tmp_path / "run"

    def dying(self, train, *arguments, **options):
        def train_until(first):
            yield from itertools.islice(train(first), 5 - first)
            raise VqcliError("a process that loads images died", reason="worker-died")

        batches(self, train_until, *arguments, **options)

    monkeypatch.setattr(Data, "__init__", dying)
    with pytest.raises(VqcliError, match="died"):
        start(run, progress=(said := Recorded()))
    assert said.said[-1] == "what was trained until step 5 is kept"
    monkeypatch.undo()
    resume(run)
    start(tmp_path / "whole")
    assert_same(run, tmp_path / "whole")


def test_a_run_without_held_out_images(tmp_path):
    result = start(tmp_path / "run", "data.holdout=0", "training.steps=2", "data.source=demo:16")
    assert result.model.joinpath("config.json").is_file()


def test_training_in_an_ordinary_thread(tmp_path):
    """Signals belong to the main thread; elsewhere training goes without them."""
    import threading

    results = []
    thread = threading.Thread(target=lambda: results.append(start(tmp_path / "run", "training.steps=1")))
    thread.start()
    thread.join()
    assert results[0].steps == 1


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        start(tmp_path / name, f"seed={seed}", "training.steps=2")
    a, b, c = (tensors(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    weight = "model.safetensors encoder.stem.weight"
    assert not torch.equal(a[weight], c[weight])


@pytest.mark.slow
def test_two_processes_resume(tmp_path):
    """Stopped by a signal to both processes in the middle of a line of metrics, and resumed."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "vqcli",
    ]
    settings = (
        "training.steps=200",
        "training.log_every=7",
        "training.checkpoint_every=500",
        "training.average=0.9",
    )
    runs = [tmp_path / "stopped", tmp_path / "whole"]
    arguments = [x for s in settings for x in ("--set", s)]
    for run in runs:
        command = [*launcher, "train", write_recipe(tmp_path), "--out", run, "--device", "cpu", *arguments]
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        if run is runs[0]:
            while not (run / "metrics.jsonl").exists():
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    assert 0 < int(newest_checkpoint(runs[0]).name.removeprefix("step-")) < 200
    command = [*launcher, "train", "--resume", runs[0], "--device", "cpu"]
    subprocess.run(command, env=ENVIRONMENT, timeout=120, check=True)
    assert_same(*runs)
