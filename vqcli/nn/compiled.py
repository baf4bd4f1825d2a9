"""Kernels for a CPU: machine code from Python by numba, the extra ``fast``, and threads that share one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any, cast

import torch
from numba import njit

Kernel = Callable[..., None]


def machine_code(kernel: Kernel, *, anyhow: bool = False) -> Kernel:
    """A kernel, compiled when it is first called, or read from numba's folder where it was compiled before.

    It holds no lock of Python's. ``anyhow`` lets sums be taken in any order, which only so become vectors.
    """
    kept = partial(njit, nogil=True, fastmath={"contract", "reassoc", "nsz"} if anyhow else {"contract"})
    try:
        return cast(Kernel, kept(cache=True)(kernel))
    except RuntimeError:  # there is no folder to keep it in
        return cast(Kernel, kept()(kernel))


def parts(length: int, work: int, least: int) -> list[slice]:
    """Even parts of a length for the threads that torch has; each has ``least`` of the ``work`` or more."""
    count = max(1, min(torch.get_num_threads(), work // least, length))
    return [slice(a, b) for a, b in pairwise(length * i // count for i in range(count + 1))]


def each(kernel: Kernel, arguments: Iterable[tuple[Any, ...]]) -> None:
    """Call a kernel with each of these arguments: the first here, the others in threads that stay."""
    first, *others = arguments
    begun = [_threads(os.getpid()).submit(kernel, *more) for more in others]
    kernel(*first)
    for future in begun:
        future.result()


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Of this process: threads do not outlive a fork."""
    return ThreadPoolExecutor(max(1, torch.get_num_threads() - 1))
