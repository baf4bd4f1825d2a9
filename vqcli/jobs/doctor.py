"""What vqcli finds on this machine, and what is known to make trouble."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import vqcli
from vqcli.cores import cores, crowded, free_cores
from vqcli.plugins import BROKEN, installed, loaded

CORE = (
    "torch",
    "numpy",
    "einops",
    "typer",
    "rich",
    "safetensors",
    "pillow",
    "huggingface-hub",
    "accelerate",
    "pydantic",
    "pyyaml",
)
EXTRAS = {
    "parquet": "pyarrow",
    "fast": "numba",
    "features": "transformers",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "trackio": "trackio",
}
"""Extra of the package -> what it installs."""

SEARCHED = 16384, (8, 64, 256)
"""Number of codes, and widths, for which it is told how they are searched."""

OLDEST_TORCH = (2, 10)
LEAST_DISK = 1 << 30
"""Free bytes below which a run can hardly keep a checkpoint."""
VARIABLES = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "VQCLI_MODEL",
    "VQCLI_PLUGINS",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "VQCLI_COMPILED",
)


@dataclass(frozen=True)
class Problem:
    """Something that will get in the way, and what to do about it."""

    message: str
    hint: str


@dataclass(frozen=True)
class Diagnosis:
    """The machine as vqcli sees it. Sizes in bytes."""

    versions: dict[str, str | None]
    """Package -> version, None where it is not installed."""
    devices: list[str]
    search: dict[str, dict[int, str]]
    """Device -> width of codes -> what finds the nearest of 16,384: torch, numba, Triton (fp32, bf16x3)."""
    cpu_count: int
    """Cores this process may use, by affinity and by its container's quota."""
    free_cores: float | None
    """Of these, what other processes leave now."""
    threads: int | None
    """Threads torch computes with."""
    crowded: str
    """What to do where the threads have fewer free cores than they are; else empty."""
    memory_available: int | None
    disk_free: int
    """Where the command was given."""
    environment: dict[str, str]
    plugins: list[str]
    """Modules that bring parts: of installed packages, and those that were named."""
    missing_extras: dict[str, str]
    """Extra -> the line that installs it."""
    problems: list[Problem]


def diagnose() -> Diagnosis:
    """Look at versions, devices, room and settings. Imports torch."""
    versions = _versions()
    problems = [*_missing(versions), *_torchvision()]
    installed()
    devices, threads, trouble = _torch()
    search, no_kernels = _search() if devices else ({}, [])
    free = free_cores()
    disk_free = shutil.disk_usage(Path.cwd()).free
    if disk_free < LEAST_DISK:
        problems.append(
            Problem(f"only {disk_free >> 20} MiB are free here", "make room, or work on another disk")
        )
    return Diagnosis(
        versions=versions,
        devices=devices,
        search=search,
        cpu_count=cores(),
        free_cores=free,
        threads=threads,
        crowded=crowded(threads or 1, free),
        memory_available=_memory_available(),
        disk_free=disk_free,
        environment=_environment(),
        plugins=sorted(loaded()),
        missing_extras={
            x: f"pip install 'vqcli[{x}]'" for x, package in EXTRAS.items() if not versions[package]
        },
        problems=problems + trouble + no_kernels + _cache() + _plugins(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versions() -> dict[str, str | None]:
    own = {"vqcli": vqcli.__version__, "python": platform.python_version(), "platform": platform.platform()}
    return own | {package: _version(package) for package in (*CORE, "triton", *EXTRAS.values())}


def _missing(versions: dict[str, str | None]) -> list[Problem]:
    problems = [
        Problem(f"{name} is not installed", f"pip install {name}") for name in CORE if not versions[name]
    ]
    torch = re.match(r"(\d+)\.(\d+)", versions["torch"] or "")
    if torch and (int(torch[1]), int(torch[2])) < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        problems.append(
            Problem(f"torch {versions['torch']} is older than {wanted}", f"pip install 'torch>={wanted}'")
        )
    return problems


def _torchvision() -> list[Problem]:
    """A torchvision built for another torch fails on import, and takes every package that wants it along."""
    if importlib.util.find_spec("torchvision") is None:
        return []
    done = subprocess.run(
        [sys.executable, "-c", "import torchvision"], capture_output=True, text=True, timeout=120
    )
    if done.returncode == 0:
        return []
    reason = (done.stderr.strip().splitlines() or ["it crashed"])[-1]
    return [
        Problem(f"torchvision cannot be imported ({reason})", "pip uninstall torchvision: vqcli needs none")
    ]


def _torch() -> tuple[list[str], int | None, list[Problem]]:
    """Devices, threads, problems."""
    try:
        import torch
    except Exception as e:  # a broken install raises OSError, RuntimeError and others
        return (
            [],
            None,
            [Problem(f"torch cannot be imported ({e})", "install torch again: https://pytorch.org")],
        )
    devices = ["cpu"]
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        devices.append(f"cuda:{index} ({device.name}, {device.total_memory >> 30} GiB)")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices, torch.get_num_threads(), []


def _search() -> tuple[dict[str, dict[int, str]], list[Problem]]:
    """How each device finds nearest codes, and why a GPU cannot by kernels."""
    import torch

    from vqcli.nn.fast import compiles
    from vqcli.nn.nearest import way

    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    size, widths = SEARCHED
    devices = [torch.device("cpu"), *gpus]
    found: dict[str, dict[int, str]] = {str(x): {d: way(size, d, x) for d in widths} for x in devices}
    problems = []
    if gpus and compiles(False, by="triton"):
        from vqcli.nn.nearest_fused import trouble

        hint = "the search goes on without it: Triton needs a C compiler and a GPU it knows"
        problems = [Problem(f"no Triton kernel on {x}: {why}", hint) for x in gpus if (why := trouble(x))]
    return found, problems


def _plugins() -> list[Problem]:
    return [
        Problem(why, f"update or uninstall the package that brings {module}")
        for module, why in BROKEN.items()
    ]


def _memory_available() -> int | None:
    try:
        match = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _environment() -> dict[str, str]:
    """Settings that steer downloads and devices; secrets are only said to be there."""
    found = {
        name: re.sub(r"//[^/@]*@", "//...@", os.environ[name]) for name in VARIABLES if name in os.environ
    }
    return found | ({"HF_TOKEN": "(set)"} if os.environ.get("HF_TOKEN") else {})


def _cache() -> list[Problem]:
    """Downloads need a folder that can be written."""
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    here = home
    while not here.exists() and here != here.parent:
        here = here.parent
    if here.is_dir() and os.access(here, os.W_OK):
        return []
    return [Problem(f"the download cache {home} cannot be written", "set HF_HOME to a folder of yours")]
