"""Processes that load: in the order of what is asked for, whatever becomes of one of them."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from vqcli.errors import VqcliError
from vqcli.signals import leave_to_parent

W = TypeVar("W")
T = TypeVar("T")
MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))
"""More are a slip of the hand, and take a machine's memory."""
REPLACED = 3
"""Times that processes which died are replaced by half as many."""
FEWER = "try fewer --num-workers, or 0 to load in this process"
LIMITS = f"check /dev/shm, ulimit -n and ulimit -f; {FEWER}"
GONE = (ConnectionError, FileNotFoundError, EOFError)
"""What comes of asking a worker that has ended for the memory it shared."""


@dataclass(frozen=True)
class _Failure:
    """A user's problem met in a worker: told as it is, not wrapped into a traceback."""

    message: str
    hint: str
    reason: str


class _Died(Exception):
    """A worker has."""


def loaded(load: Callable[[W], T], wishes: Iterator[W], num_workers: int) -> Iterator[T]:
    """What ``load`` makes of every wish, in their order; 0 workers load in this process.

    Workers that died are replaced, as long as something comes of it. Raises VqcliError.
    """
    if num_workers > MOST_WORKERS:
        message = f"{num_workers} processes that load images are more than {MOST_WORKERS}"
        raise VqcliError(message, hint="give fewer --num-workers: one a core is plenty", reason="option")
    pending: deque[W] = deque()
    for left in reversed(range(REPLACED + 1)):
        came, first = False, left == REPLACED
        try:
            again = _noted(itertools.chain([*pending], wishes), pending)
            for value in _loaded(load, again, num_workers, 2 if first else 1):
                pending.popleft()
                came = True
                yield value
            return
        except _Died as e:  # with what it had made, and nobody had taken: that is loaded again
            if not left or not (came or first):
                hint = f"out of memory or of /dev/shm? {FEWER}"
                raise VqcliError("a process that loads images died", hint=hint, reason="worker-died") from e
            num_workers = max(1, num_workers // 2)


def _noted(wishes: Iterator[W], pending: deque[W]) -> Iterator[W]:
    pending.clear()
    for wish in wishes:
        pending.append(wish)
        yield wish


def _loaded(load: Callable[[W], T], wishes: Iterator[W], num_workers: int, ahead: int) -> Iterator[T]:
    if not num_workers:
        yield from map(load, wishes)
        return
    values = _start(_Passing(load), wishes, num_workers, ahead)
    while True:
        try:
            told = next(values)
            value = ForkingPickler.loads(told) if isinstance(told, bytes) else told
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as e:
            if str(e).startswith("DataLoader worker (pid") or isinstance(e, GONE):
                raise _Died from e
            if _is_unshared(e):
                raise _unshared(e) from e
            raise
        if isinstance(value, _Failure):
            raise VqcliError(value.message, hint=value.hint, reason=value.reason)
        yield value


class _Passing(Dataset):
    """Loads in a worker, and makes bytes of it: what fails in torch's thread is waited for for ever."""

    def __init__(self, load: Callable[[Any], Any]) -> None:
        self.load = load

    def __getitem__(self, wish: Any) -> bytes | _Failure:
        try:
            value = self.load(wish)
            try:
                return bytes(ForkingPickler.dumps(value))
            except (OSError, RuntimeError) as e:
                if not _is_unshared(e):
                    raise
                raise _unshared(e) from e
        except VqcliError as e:
            return _Failure(str(e), e.hint, e.reason)


def _is_unshared(e: Exception) -> bool:
    """Whether memory could not be shared, which torch tells in words."""
    told = re.match(r"unable to .*\(\d+\)|.*(ancdata|open files)", str(e), re.DOTALL)
    return isinstance(e, OSError) or told is not None


def _unshared(e: Exception) -> VqcliError:
    said = (isinstance(e, OSError) and e.strerror) or str(e).partition("\n")[0]
    return VqcliError(f"a process that loads images cannot pass them on: {said}", hint=LIMITS, reason="os")


def _start(passing: _Passing, wishes: Iterator[Any], num_workers: int, ahead: int) -> Iterator[Any]:
    """Torch's loader, at work, without its side effects: warnings, global random draws, a signal handler.

    That handler would raise a worker's death in the middle of whatever the main process does;
    ``next`` tells it as well, within seconds. Each worker loads so many things ahead.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    with warnings.catch_warnings(action="ignore"):  # about the number of cores, and forking with threads
        loader = DataLoader(
            passing,
            batch_size=None,
            sampler=wishes,
            num_workers=num_workers,
            prefetch_factor=ahead,
            collate_fn=_as_it_is,
            worker_init_fn=_prepare_worker,
            generator=torch.Generator(),
        )
        try:
            values = iter(loader)
        except OSError as e:
            message = f"cannot start {num_workers} processes that load images: {e.strerror or e}"
            raise VqcliError(message, hint=f"check ulimit -u and ulimit -n; {FEWER}", reason="os") from e
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, handler)
    return values


def _as_it_is(value: Any) -> Any:
    return value


def _prepare_worker(worker: int) -> None:
    """Signals are the main process's to handle; it ends its workers, and alone tells what went wrong."""
    leave_to_parent()
    if os.environ.get("VQCLI_DEBUG") != "1":
        sys.stderr = io.StringIO()  # of what multiprocessing fails to tidy up
