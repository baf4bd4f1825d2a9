"""Devices and processes of a job, and how its memory is kept."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress

import torch

from vqcli.errors import VqcliError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of ``mallopt``, as in malloc.h."""
PIXELS = 256 * 256
"""Of the images that go through a network on a CPU together: a VQ-16 took as long for four of 256x256 as for
one, and twice the memory."""


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


def passes(count: int, size: tuple[int, int], device: torch.device) -> Iterator[slice]:
    """Images of ``size`` (height, width) that go through a network together: on a CPU few large ones, which
    is as fast as many and takes a fraction of the memory.
    """
    few = max(1, PIXELS // (size[0] * size[1])) if device.type == "cpu" else max(1, count)
    return (slice(start, start + few) for start in range(0, count, few))


def working_device(name: str | None, rank: int = 0) -> torch.device:
    """The device on which a job's networks compute. Raises VqcliError as ``pick_device``.

    On a CPU, freed memory stays with the process: fetching it again after every layer, page by page, costs a
    third of the time of a network with large activations. Peaks are held; glibc alone is concerned.
    """
    device = pick_device(name, rank)
    if device.type == "cpu" and sys.platform == "linux":
        with suppress(AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    return device
