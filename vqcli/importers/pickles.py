"""Files of ``torch.save``, read without running anything that they hold.

``weights_only`` alone reads them. Objects that training scripts leave beside weights are let in by name, as
empty stand-ins: none of their packages is imported, none of their code runs. No flag lets in more.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from pickletools import genops
from typing import IO, Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from vqcli import bounds
from vqcli.errors import VqcliError

CUT = "download it again, and compare its size and SHA-256 with its source"
"""What helps with a damaged file."""
CONVERT = (
    "save its weights alone where it was made, for this runs what the file holds: "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=False)['state_dict'], 'model.safetensors')"
)
"""What helps with a file that holds too much."""
WHOLE = (
    "it is a whole model with its code's classes: save its weights alone where that code is, "
    "for this runs it: "
    "torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pt')"
)
"""What helps where a module was saved and not its weights."""


SCRIPT = "save its weights alone: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')"
"""What helps with TorchScript."""
ARRAYS = (
    "make tensors of it: "
    "torch.save({name: torch.from_numpy(x) for name, x in np.load(FILE).items()}, 'weights.pt')"
)
"""What helps with numpy's files."""


class Inert:
    """Stands for an object that is not needed: takes any arguments and state, and keeps none."""

    def __new__(cls, *_arguments: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


class InertDict:
    """Stands for a kind of dict: an empty one, which the file may fill and give attributes."""

    def __new__(cls, *_arguments: object) -> Any:
        return OrderedDict()


class InertList:
    """Stands for a kind of list: an empty one, which the file may fill."""

    def __new__(cls, *_arguments: object) -> Any:
        return []


class InertText:
    """Stands for a kind of text."""

    def __new__(cls, *_arguments: object) -> Any:
        return ""


CALLBACKS = {
    "early_stopping": "EarlyStopping",
    "lr_monitor": "LearningRateMonitor",
    "model_checkpoint": "ModelCheckpoint",
    "stochastic_weight_avg": "StochasticWeightAveraging",
    "timer": "Timer",
    "weight_averaging": "EMAWeightAveraging WeightAveraging",
}
"""Lightning's, which its checkpoints name by class."""
KINDS = "bool_ float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 str_ complex64"
"""Of numpy's scalars."""
DTYPES = "Bool Float16 Float32 Float64 Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Str Bytes Object"
INERT = {
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "typing": "Any Dict List Optional Tuple Union",
    "builtins": "bool bytes dict float frozenset int list object range slice str tuple",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePosixPath PureWindowsPath WindowsPath",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "numpy": f"bool bytes_ dtype ndarray longlong ulonglong complex128 {KINDS}",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.dtypes": " ".join(f"{kind}DType" for kind in DTYPES.split()),
    "ml_collections.config_dict.config_dict": "ConfigDict FrozenConfigDict",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "random": "Random",
    "torch.optim.adam": "Adam",
    "torch.optim.adamw": "AdamW",
    "torch.optim.sgd": "SGD",
    "torch.optim.lr_scheduler": "CosineAnnealingLR ExponentialLR MultiStepLR OneCycleLR StepLR",
    "torch.amp.grad_scaler": "GradScaler _refresh_per_optimizer_state",
    "torch.cuda.amp.grad_scaler": "GradScaler",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode PathNode StringNode",
    **{
        f"{package}.callbacks.{module}": names
        for package in ("pytorch_lightning", "lightning.pytorch")
        for module, names in CALLBACKS.items()
    },
}
"""What files of training scripts really hold beside weights: names of classes, by module."""
INERT_DICTS = (
    "collections.defaultdict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "easydict.EasyDict",
    "addict.addict.Dict",
    "munch.Munch",
    "yacs.config.CfgNode",
    "fvcore.common.config.CfgNode",
    "mmengine.config.config.ConfigDict",
    "mmcv.utils.config.ConfigDict",
)
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((Inert, f"{module}.{name}") for module, names in INERT.items() for name in names.split()),
    *((InertDict, name) for name in INERT_DICTS),
    (InertList, "collections.deque"),
    (InertText, "torch.torch_version.TorchVersion"),
]


SLOW, LEGACY = ("REDUCE", "NEWOBJ", "BUILD"), 5
"""Operations that take longest, and pickles of a file as ``torch.save`` wrote them before it made zips."""


def check_zip(path: Path) -> None:
    """Raises VqcliError if a byte has changed since ``torch.save``, which torch itself does not check.

    What it never writes is refused too: compressed records, two of one name.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if len(records) > bounds.ENTRIES:
            message = f"{path} is no file of torch.save: it has {len(records):,} records"
            raise VqcliError(message, hint=CUT, reason="format")
        check_kind(path, archive.namelist())
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        total = sum(record.file_size for record in records)
        if not stored or total > path.stat().st_size or len(set(archive.namelist())) < len(records):
            message = f"{path} is no file of torch.save: its records are compressed, or lie over each other"
            raise VqcliError(message, hint=CUT, reason="format")
        changed = archive.testzip()
        if not changed:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as file:
                        check_operations(path, file, 1)
    if changed:
        message = f"{path} is damaged: {changed} has another checksum than when it was written"
        raise VqcliError(message, hint=CUT, reason="damaged")


def check_kind(path: Path, names: Sequence[str]) -> None:
    """Raises VqcliError on a zip that is sound and no file of ``torch.save``, by what it holds."""
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        what, hint = "is TorchScript, a program with its weights", SCRIPT
    elif names and all(name.endswith(".npy") for name in names):
        what, hint = "is an .npz of numpy", ARRAYS
    elif "data.pkl" not in ends:
        what, hint = "is a zip archive, not a file of torch.save", "if the file is in it, unpack it first"
    else:
        return
    raise VqcliError(f"{path} {what}", hint=hint, reason="format")


def check_operations(path: Path, file: IO[bytes], pickles: int) -> None:
    """Raises VqcliError where pickles have more operations than weights need; torch tells what is none."""
    calls = 0
    with suppress(ValueError, IndexError, EOFError):
        for _ in range(pickles):
            for n, (operation, _, _) in enumerate(genops(file)):
                calls += operation.name in SLOW
                if n > bounds.OPERATIONS or calls > bounds.CALLS:
                    message = f"{path} is no file of weights: its pickle goes on and on"
                    raise VqcliError(message, hint=CUT, reason="damaged")


def unpickle(path: Path, *, mmap: bool) -> Any:
    """What ``torch.save`` wrote, with stand-ins for objects. Raises VqcliError where that would run code."""
    with safe_globals(STAND_INS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols, and of TorchScript, which is refused
        try:
            if path.suffix != ".safetensors":
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
            with open(path, "rb") as file:  # of a path, torch believes the ending
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as e:
            if type(e).__name__ != "UnpicklingError":
                raise
            names = re.findall(r"GLOBAL (\S+)", str(e))  # of a legacy file only the first is known
            with suppress(Exception):
                names = get_unsafe_globals_in_checkpoint(path)
            what = ", ".join(sorted(names)) or "a pickle that torch.save does not write"
            module = any(name.startswith("torch.nn.modules.") for name in names)
            raise VqcliError(
                f"{path} holds more than weights, and is not loaded because that could run code: {what}",
                hint=WHOLE if module else CONVERT,
                reason="unsafe",
            ) from e
