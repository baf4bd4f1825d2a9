"""Foreign files: what training scripts really write is read, what could run code or is damaged is refused."""

import argparse
import json
import os
import struct
import sys
import types
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import PosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vqcli.errors import VqcliError
from vqcli.importers.containers import read_checkpoint

STATE = {"encoder.weight": torch.arange(6.0).view(2, 3), "encoder.bias": torch.ones(2)}


@pytest.fixture(autouse=True)
def safe(monkeypatch):
    """No switch in the environment lets in more."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


def check(path, state=STATE, container=""):
    found = read_checkpoint(path)
    assert found.container == container
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[key], x) for key, x in state.items())


def refused(path, said, reason):
    with pytest.raises(VqcliError, match=said) as error:
        read_checkpoint(path)
    assert (error.value.reason, bool(error.value.hint)) == (reason, True)
    assert str(path) in str(error.value)
    return error.value


def write(path, value, **options):
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("value", "container"),
    [
        (STATE, ""),
        (OrderedDict(STATE), ""),
        ({"model": STATE, "optimizer": {"state": {0: {"step": 3}}}, "steps": 7}, "model"),
        ({"state_dict": STATE, "epoch": 1}, "state_dict"),
        ({"module": STATE, "global_steps": 1}, "module"),
        ({"model": {"other": torch.ones(1)}, "ema": STATE}, "ema"),
        ({"ema": None, "model": STATE, "state_dict": {"other": torch.ones(1)}}, "model"),
        ({"model": {f"module._orig_mod.{key}": x for key, x in STATE.items()}}, "model"),
        ({"model": {key: torch.nn.Parameter(x) for key, x in STATE.items()}}, "model"),
        (
            {"model_state_dict": STATE, "optimizer_state_dict": {"state": {}, "param_groups": []}},
            "model_state_dict",
        ),
        ({"ema_state_dict": STATE, "model_state_dict": {"a.b": torch.ones(1)}}, "ema_state_dict"),
        ({"net": STATE, "disc": {f"main.{i}.weight": torch.ones(1) for i in range(9)}}, "net"),
        ({"params": {"a.b": torch.ones(1)}, "params_ema": STATE}, "params_ema"),
        ({"ema": {"decay": 0.999, "shadow": STATE}, "model": {"a.b": torch.ones(1)}}, "ema.shadow"),
        ({"trainer": {"vae_local": STATE, "step": 3}}, "trainer.vae_local"),
        ({"mine": STATE, "log": {"loss": torch.tensor(1.0)}}, "mine"),
        ({"epoch": 3, "best": torch.tensor(0.5), "opt": {"lr": 1e-4}, **STATE}, ""),
        ({"model": {**STATE, "epoch": 3, "_extra_state": b"x", "a._extra_state": None}}, "model"),
        ({"model": {key.replace("encoder.", "encoder.module."): x for key, x in STATE.items()}}, "model"),
        ((STATE, 3), "0"),
        ({"models": [{"lr": 1}, STATE]}, "models.1"),
        ({"model": {f"_orig_mod.module.{key}": x for key, x in STATE.items()}}, "model"),
        ({"model": {f"_forward_module._orig_mod.{key}": x for key, x in STATE.items()}}, "model"),
        ({"model": {key.replace(".", "._orig_mod."): x for key, x in STATE.items()}}, "model"),
    ],
)
def test_containers(tmp_path, value, container, legacy):
    path = write(tmp_path / "a.pt", value, _use_new_zipfile_serialization=not legacy)
    check(path, container=container)


def test_tensors_with_attributes(tmp_path):
    """As sharded training leaves them: rebuilt by their type, which is Tensor."""
    state = {key: x.clone() for key, x in STATE.items()}
    state["encoder.bias"]._is_sharded = True
    path = write(tmp_path / "a.pt", state)
    assert b"_rebuild_from_type_v2" in path.read_bytes()
    check(path)


def test_forms_by_any_name(tmp_path):
    save_file(STATE, tmp_path / "a.bin", {"format": "pt"})
    check(tmp_path / "a.bin")
    check(write(tmp_path / "a.safetensors", STATE))
    check(write(tmp_path / "b.safetensors", STATE, _use_new_zipfile_serialization=False))


def modules_of(monkeypatch, **classes):
    """Modules and classes that are only there while a file is written."""
    for full, cls in classes.items():
        name, _, attribute = full.replace("__", ".").rpartition(".")
        parts = name.split(".")
        for package in (".".join(parts[:i]) for i in range(1, len(parts) + 1)):
            monkeypatch.setitem(sys.modules, package, sys.modules.get(package) or types.ModuleType(package))
        cls.__module__, cls.__qualname__ = name, attribute
        setattr(sys.modules[name], attribute, cls)


def plain():
    """A class of its own whose objects hold anything, and which no reader may build again."""

    class Anything:
        def __init__(self, **state):
            self.__dict__.update(state)

        def __setstate__(self, state):
            raise AssertionError("this ran when the file was read")

    return Anything


@pytest.mark.parametrize("package", ["pytorch_lightning", "lightning__pytorch"])
def test_lightning(tmp_path, monkeypatch, package):
    """Callbacks by class, OmegaConf nodes with metadata and a resolver cache, Namespace, numpy, paths."""
    checkpoint, stopping, node, config, metadata = (plain() for _ in range(5))
    attributes = type("AttributeDict", (dict,), {})
    with monkeypatch.context() as patch:
        modules_of(
            patch,
            **{f"{package}__callbacks__model_checkpoint__ModelCheckpoint": checkpoint},
            **{f"{package}__callbacks__early_stopping__EarlyStopping": stopping},
            **{f"{package}__utilities__parsing__AttributeDict": attributes},
            omegaconf__dictconfig__DictConfig=config,
            omegaconf__nodes__AnyNode=node,
            omegaconf__base__ContainerMetadata=metadata,
        )
        data = metadata(ref_type=dict, object_type=dict, resolver_cache=defaultdict(dict, a={"b": 1}))
        parameters = config(_metadata=data, _parent=None)
        parameters._content = {"lr": node(_val=4.5e-6, _parent=parameters)}
        value = {
            "state_dict": OrderedDict(STATE),
            "epoch": 3,
            "callbacks": {checkpoint: {"best_model_score": torch.tensor(0.5)}, stopping: {"wait": 1}},
            "hparams_type": config,
            "hyper_parameters": attributes(config=parameters, save=[PosixPath("a/b")]),
            "args": argparse.Namespace(lr=1e-4, sizes=[1, 2], nested=argparse.Namespace(a=np.float64(2))),
            "best": [np.float32(1.5), np.ones(3), float],
        }
        path = write(tmp_path / "last.ckpt", value)
    check(path, container="state_dict")


class Evil:
    """Runs a command when a careless reader builds it."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


class Caller:
    """Calls anything else."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_the_canary_would_be_seen(tmp_path):
    path = write(tmp_path / "evil.pt", {"model": STATE, "args": Evil(tmp_path / "canary")})
    torch.load(path, weights_only=False)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda evil: evil, "posix.system"),
        (lambda evil: {"model": STATE, "args": evil}, "posix.system"),
        (lambda evil: {"model": STATE, "args": argparse.Namespace(a=[{"b": (evil,)}])}, "posix.system"),
        (lambda evil: {"model": STATE | {"z": evil}}, "posix.system"),
        (lambda evil: {"model": STATE, "a": Caller(eval, f"open({evil.canary!r}, 'w')")}, "eval"),
        (lambda evil: {"model": STATE, "a": Caller(getattr, "text", "upper")}, "getattr"),
        (lambda evil: {"model": STATE, "a": Caller(exec, f"open({evil.canary!r}, 'w')")}, "exec"),
        (lambda evil: {"model": STATE, "a": Caller(torch.hub.load, "a", "b")}, "torch.hub.load"),
    ],
)
def test_nothing_runs(tmp_path, wrap, name, legacy):
    canary = tmp_path / "canary"
    value = wrap(Evil(canary))
    path = write(tmp_path / "evil.pt", value, _use_new_zipfile_serialization=not legacy)
    error = refused(path, "could run code", "unsafe")
    assert name in str(error)
    assert "safetensors" in error.hint
    assert not canary.exists()


def test_all_that_is_refused_is_named(tmp_path):
    value = {"model": STATE, "a": Caller(eval, "1"), "b": Caller(compile, "1", "", "eval")}
    assert "builtins.compile, builtins.eval" in str(
        refused(write(tmp_path / "a.pt", value), "could run", "unsafe")
    )


def test_other_pickles(tmp_path):
    """Protocols that ``torch.save`` does not write, and whole modules."""
    path = write(tmp_path / "a.pt", {"model": STATE, "a": {1, 2}}, pickle_protocol=4)
    refused(path, "could run code: a pickle that torch.save does not write", "unsafe")
    refused(write(tmp_path / "b.pt", torch.nn.Linear(2, 2)), "torch.nn.modules.linear.Linear", "unsafe")
    refused(write(tmp_path / "c.pt", [1, 2]), "holds no weights by key", "layout")
    refused(write(tmp_path / "d.pt", {"model": STATE | {"e.f": 3}}), "under 'e.f' is no tensor", "layout")


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The records of a zip file through ``change``: name, bytes -> records."""
    with zipfile.ZipFile(path) as old:
        records = [record for name in old.namelist() for record in change(name, old.read(name))]
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as new:
        warnings.simplefilter("ignore")
        for name, data in records:
            new.writestr(name, data)


def test_damaged_zip_files(tmp_path):
    whole = write(tmp_path / "whole.pt", {"model": {"a": torch.zeros(5000)}}).read_bytes()
    path = tmp_path / "a.pt"
    for size in (0, 1, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(VqcliError, match=r"a\.pt") as error:
            read_checkpoint(path)
        assert error.value.reason in ("damaged", "format")
        assert error.value.hint
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    refused(path, r"data/0 has another checksum than when it was written", "damaged")

    path.write_bytes(whole)
    rewritten(path, lambda name, data: [(name, data)], zipfile.ZIP_DEFLATED)
    refused(path, "records are compressed", "format")
    path.write_bytes(whole)
    rewritten(path, lambda name, data: [(name, data), (name, data)])
    refused(path, "lie over each other", "format")


def test_damaged_legacy_files(tmp_path):
    path = write(tmp_path / "whole.pt", {"model": STATE}, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for size in (3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(VqcliError) as error:
            read_checkpoint(path)
        assert error.value.reason in ("damaged", "unsafe")


def test_a_view_claims_no_memory(tmp_path):
    wide = torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0))
    path = write(tmp_path / "a.pt", {"model": {"a": wide}})
    assert path.stat().st_size < 2000
    refused(path, "claim 4,398,046,511,104 bytes", "damaged")


def header(text, data=b"\0" * 8):
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWICE = f'{{"a":{json.dumps(ENTRY)},"a":{json.dumps(ENTRY)}}}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (struct.pack("<Q", 1 << 40) + b'{"a":1}', "header claims 1,099,511,627,776 bytes"),
        (struct.pack("<Q", 500) + b'{"a":1}', "header claims 500 bytes"),
        (header(TWICE), "a key twice"),
        (header(json.dumps({"a": ENTRY}), b"\0" * 4), "cannot be read"),
        (header(json.dumps({"a": ENTRY | {"data_offsets": [0, 16]}})), "cannot be read"),
        (header(json.dumps({"a": ENTRY | {"shape": [1 << 62]}})), "cannot be read"),
        (header("{" * 100_000), "cannot be read"),
        (header(b"{\xff\xfe"), "cannot be read"),
        (header(json.dumps({f"{i}": 0 for i in range(50_001)})), "50,001 entries"),
    ],
)
def test_damaged_safetensors(tmp_path, content, said):
    (tmp_path / "a.safetensors").write_bytes(content)
    refused(tmp_path / "a.safetensors", said, "damaged")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\x1f\x8b\x08" + b"\0" * 40, "is compressed with gzip"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "is an HDF5 file"),
        (b"some text, not weights", "is neither a file of"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, content, said):
    (tmp_path / "a.pt").write_bytes(content)
    refused(tmp_path / "a.pt", said, "format")


def test_no_weights_in_safetensors(tmp_path):
    save_file({}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "holds no weights", "layout")
