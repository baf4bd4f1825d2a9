"""Steps that never wait for the device, as on a GPU; here on a CPU, where what would wait is counted."""

import copy
import signal
from contextlib import contextmanager

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

import vqcli.training.on_tokens as training_on_tokens
from tests.models import make_model
from tests.training.test_adversarial import LATE, gan
from tests.training.test_loop import Poison, trainer  # noqa: F401 (a fixture)
from tests.training.tiny import Recorded, assert_same, resume, start
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs.train import TrainOptions, train
from vqcli.library.references import newest_checkpoint
from vqcli.nn.precision import asking_later
from vqcli.training import flags
from vqcli.training.loop import Trainer

CUDA = torch.device("cuda")

EMA = 'tokenizer.codebook={"name": "ema", "size": 16, "width": 8, "revive_below": 1}'
RESIDUAL = 'tokenizer.quantizer={"name": "residual", "depth": 2}'
WAITS = {"_local_scalar_dense", "is_nonzero", "equal", "masked_select", "bincount", "_unique2"}
"""Operators that a GPU answers only when all before them is done."""


class Counting(TorchDispatchMode):
    """Counts what would wait for a device."""

    def __init__(self):
        super().__init__()
        self.waits = []
        self.computed = []
        """Operators that a GPU would launch something for; copies to it and views are none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITS:
            self.waits.append(name)
        if not func.is_view and name not in ("lift_fresh", "detach", "_to_copy", "empty"):
            self.computed.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def later(monkeypatch, own=lambda step: step):
    """Inside, trainers ask later, as on a GPU; ``own`` is wrapped around each of their steps."""
    make = Trainer.__init__

    def asking_later(self, *arguments):
        make(self, *arguments)
        self.ask_later()

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "__init__", asking_later)
        patch.setattr(Trainer, "train_step", own(Trainer.train_step))
        yield


def counted(steps):
    """Wraps steps: what waits in each is put into ``steps``."""

    def around(step):
        def counting(self, batches):
            with Counting() as counts, no_copies(counts):
                step(self, batches)
            steps.append(counts.waits)

        return counting

    return around


@contextmanager
def no_copies(counts):
    """Inside, copies to the host are counted, where a CPU has none to make."""
    own = {name: getattr(torch.Tensor, name) for name in ("cpu", "numpy", "tolist")}

    def counting(name):
        def call(self, *arguments, **options):
            counts.waits.append(name)
            return own[name](self, *arguments, **options)

        return call

    for name in own:
        setattr(torch.Tensor, name, counting(name))
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(torch.Tensor, name, method)


@pytest.mark.parametrize(
    "settings",
    [(), (gan(disc_start=2),), (LATE,), (EMA,), (RESIDUAL, "training.accumulate=2", "training.average=0.9")],
    ids=["plain", "gan", "adaptive", "ema", "accumulated"],
)
def test_a_step_of_a_tokenizer_waits_for_nothing(tmp_path, monkeypatch, settings):
    steps = []
    with later(monkeypatch, counted(steps)):
        start(tmp_path / "run", *settings)
    assert steps[1:] == [[]] * 7  # the first looks whether an ema codebook has begun


@pytest.mark.parametrize("settings", [(), (LATE, "training.average=0.9")], ids=["plain", "gan"])
def test_asking_later_changes_nothing(tmp_path, monkeypatch, settings):
    start(tmp_path / "now", *settings)
    with later(monkeypatch):
        start(tmp_path / "later", *settings)
    assert_same(tmp_path / "now", tmp_path / "later")


def test_a_step_of_a_generator_waits_for_nothing(tmp_path, monkeypatch):
    recipe = {
        "task": "generator",
        "tokenizer": str(make_model(tmp_path / "model")),
        "data": {"source": "demo:64", "num_workers": 0},
        "generator": {"name": "gpt", "width": 16, "heads": 2, "layers": 1, "classes": 10},
        "training": {"steps": 4, "batch_size": 16, "log_every": 2, "validate_every": 9, "sample_every": 9},
    }
    (tmp_path / "gpt.yaml").write_text(yaml.safe_dump(recipe))
    steps = []
    monkeypatch.setattr(training_on_tokens, "asking_later", lambda device: asking_later(CUDA))
    with later(monkeypatch, counted(steps)):
        train(TrainOptions(str(tmp_path / "gpt.yaml"), tmp_path / "run", device="cpu"), Recorded())
    assert steps == [[]] * 4


@pytest.mark.parametrize(
    ("what", "term"), [("nan", "l2 nan"), ("inf", "l2 inf"), ("gradient", "gradient norm of model is nan")]
)
def test_what_is_not_finite_is_never_applied_nor_what_follows(trainer, what, term):  # noqa: F811
    made = trainer("training.checkpoint_every=4", "training.log_every=50")
    made.ask_later()
    made.task.objective.terms["l2"] = poison = Poison(what)
    sound = []
    step = made.train_step

    def remember(batches):
        if made.step == 4:
            sound.append(copy.deepcopy(made.modules["model"].state_dict()))
        step(batches)

    made.train_step = remember
    with pytest.raises(VqcliError) as raised:
        made.fit()
    assert raised.value.reason == "diverged"
    assert f"step 5: {term}" in str(raised.value)
    assert poison.passes == 6  # the host knew a step later
    assert newest_checkpoint(made.run.folder).name == "step-00000004"
    now = made.modules["model"].state_dict()
    assert [name for name, x in sound[0].items() if not torch.equal(now[name], x)] == []


def test_no_checkpoint_is_written_of_a_step_that_is_not_sound(trainer):  # noqa: F811
    made = trainer("training.checkpoint_every=5", "training.log_every=50")
    made.ask_later()
    made.task.objective.terms["l2"] = Poison("nan")
    with pytest.raises(VqcliError, match="step 5: l2 nan"):
        made.fit()
    assert newest_checkpoint(made.run.folder) is None


def test_a_signal_stops_a_step_later_and_the_run_goes_on(tmp_path, monkeypatch):
    """The flag that all processes share is read where it has arrived."""
    with later(monkeypatch):
        start(tmp_path / "whole")
        with pytest.raises(Interrupted, match="stopped at step 5") as raised:
            start(tmp_path / "run", progress=Recorded(stop_at=3))
        assert raised.value.signal == signal.SIGTERM
        resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_flags_of_another_process_hold_here(monkeypatch):
    """It found something that is not finite in step 1, and was asked to stop."""
    others = iter([torch.ones(2), torch.zeros(2)])
    monkeypatch.setattr(flags, "all_reduce_sum", lambda x: x.add_(next(others)))
    ours = flags.Flags(torch.device("cpu"))
    told = []
    for step in (1, 2):
        ours.add(flags.Check(step, "model", torch.ones(()), lambda: "l2 1"))
        ours.share(stop=False)
        assert ours.skip == 1
        told.append(ours.before(step))
    assert told[0] == (None, False)
    failed, stop = told[1]
    assert (failed.step, stop) == (1, True)


def test_what_was_asked_is_forgotten():
    ours = flags.Flags(torch.device("cpu"))
    for step in range(1, 5):
        ours.add(flags.Check(step, "model", torch.ones(()), lambda: "l2 1"))
        ours.share(stop=False)
        assert ours.before(step) == (None, False)
        assert len(ours.open) <= 2
    assert ours.now() is None
    assert ours.open == []
