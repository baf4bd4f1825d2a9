"""Devices and processes of a job, and how its memory is kept."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

import torch

from vqcli.errors import VqcliError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Of ``mallopt``, as in malloc.h."""
LARGE = 4 << 20
"""Bytes of a tensor that is mapped on its own: mapping smaller ones would cost time."""


def pick_device(name: str | None, rank: int = 0) -> torch.device:
    """The named device, else the best there is. Raises VqcliError if it is not there."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and torch.cuda.device_count() > 1:
        name = f"cuda:{rank % torch.cuda.device_count()}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise _unusable(name) from e
    if device.type == "meta" or (device.type == "cpu" and device.index):
        raise _unusable(name)
    return device


def _unusable(name: str) -> VqcliError:
    return VqcliError(
        f"device '{name}' cannot be used", hint="vqcli doctor lists devices", reason="environment"
    )


def settle_allocator() -> None:
    """Let every large tensor be mapped on its own, so that it goes back when freed; glibc alone is concerned.

    Its heap would take them in after a while and keep holes: over 100 MB in a long job with worker processes.
    """
    _mallopt(M_MMAP_THRESHOLD, LARGE)


def keep_allocated() -> None:
    """Let freed memory stay with the process: fetching it again, page by page, cost a third of the time of a
    network with large activations on a CPU. Peaks are held; glibc alone is concerned.
    """
    _mallopt(M_MMAP_MAX, 0)
    _mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _mallopt(parameter: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(parameter, value)
