"""What training scripts leave beside weights, and files of other kinds that are sound."""

import datetime
import functools
import random
import sys
import uuid
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import PosixPath, PureWindowsPath

import numpy as np
import pytest
import torch

from tests.importers.test_containers import STATE, check, modules_of, refused, write
from vqcli.importers.containers import read_checkpoints


class Bunch(dict):
    """A dict with attributes, as EasyDict is."""


def test_what_scripts_leave_beside_weights(tmp_path, monkeypatch):
    """Versions, devices, shapes, dtypes, numpy's scalars and states, dates, and kinds of dicts."""
    with monkeypatch.context() as patch:
        modules_of(patch, easydict__EasyDict=Bunch)
        settings = Bunch(lr=1e-4, nested=Bunch(size=256))
        settings.lr = 1e-4  # it also has attributes
        value = {
            "model": STATE,
            "versions": {"torch": torch.__version__, "python": sys.version_info[:3]},
            "where": [torch.device("cuda:0"), torch.Size([1, 2]), torch.float16, torch.Size(())],
            "numpy": [
                np.float16(1),
                np.uint8(3),
                np.str_("a"),
                np.bool_(True),
                np.dtype("int16"),
                np.int64(3),
            ],
            "arrays": [np.ones(2, "uint8"), np.ones(0), np.array(["a"]), np.ones((2, 3), "float16").T],
            "random": [np.random.RandomState(0).get_state(), torch.get_rng_state()],
            "when": [datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(seconds=3)],
            "paths": [PosixPath("a"), PureWindowsPath("c:\\a")],
            "dicts": [defaultdict(list, a=[1]), Counter("aab"), OrderedDict(a=1), deque([1, 2], maxlen=3)],
            "others": [{1, 2}, frozenset("a"), 1j, bytearray(b"a"), range(3), uuid.UUID(int=3)],
            "settings": settings,
        }
        path = write(tmp_path / "a.pt", value)
    check(path, container="model")


@pytest.mark.parametrize("inner", [functools.partial(print, "a"), np.load, torch.load, open])
def test_what_could_be_called_is_refused(tmp_path, inner):
    refused(write(tmp_path / "a.pt", {"model": STATE, "loader": inner}), "could run code", "unsafe")


def test_a_whole_model_gets_other_advice(tmp_path):
    error = refused(write(tmp_path / "a.pt", torch.nn.Sequential(torch.nn.ReLU())), "could run", "unsafe")
    assert "state_dict(), 'weights.pt')" in error.hint


def test_all_weights_of_a_file_best_first(tmp_path):
    other = {"a.b": torch.ones(1)}
    path = write(tmp_path / "a.pt", {"disc": other, "model": STATE, "ema": STATE | other, "epoch": 3})
    assert [found.container for found in read_checkpoints(path)] == ["ema", "model", "disc"]


def test_many_names_of_one_place_are_one_place(tmp_path):
    """Dicts in dicts, each named a thousand times, take no longer than one."""
    inner = {"a.b": torch.ones(1)}
    for _ in range(2):
        inner = {f"{i}": inner for i in range(1000)}
    path = write(tmp_path / "a.pt", {"model": STATE, "many": inner})
    assert len(read_checkpoints(path)) == 2


def test_sound_archives_of_other_kinds_are_not_damaged(tmp_path):
    """TorchScript, numpy's arrays, any zip: what they are, and what makes a file of them that is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its end
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    assert "torch.jit.load(FILE)" in refused(tmp_path / "a.pt", "is TorchScript", "format").hint
    np.savez(tmp_path / "b.npz", a=np.ones(2))
    assert "np.load(FILE)" in refused(tmp_path / "b.npz", "is an .npz of numpy", "format").hint
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a/b.txt", "text")
    refused(tmp_path / "c.zip", "is a zip archive", "format")


def test_tensors_without_values_are_told(tmp_path):
    state = {key: x.to("meta") for key, x in STATE.items()}
    refused(write(tmp_path / "a.pt", state), "'encoder.weight' has a shape and no values", "layout")


def test_states_of_training_are_let_in(tmp_path):
    """Random numbers' generators, optimizers and scalers as objects."""
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())
    random_numbers = [np.random.RandomState(0), np.random.default_rng(0), random.Random(0)]
    rest = {"optimizer": optimizer, "scaler": torch.amp.GradScaler("cpu"), "random": random_numbers}
    check(write(tmp_path / "a.pt", {"model": STATE, **rest}), container="model")
