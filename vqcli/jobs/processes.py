"""The processes of a job, brought together."""

from __future__ import annotations

import atexit
import os
import socket
import time
from datetime import timedelta
from threading import Timer

import torch
import torch.distributed as dist

from vqcli.errors import VqcliError
from vqcli.jobs.devices import pick_device
from vqcli.launcher import ADDRESS, LOCAL_RANK, PORT, Place, settle
from vqcli.signals import by_default
from vqcli.types import Progress, silent

MEETING = timedelta(minutes=10)
"""How long processes wait for the last one to start: some machines load software slowly."""
UNKNOWN = 30
"""Seconds in which the first machine's name may become known."""
SOON = 10
"""Seconds of waiting after which it is said."""


def meet(device: str | None, progress: Progress = silent, patience: timedelta | None = None) -> torch.device:
    """This process's device, when all processes that a launcher has started have met.

    From then on they wait ``patience`` for each other, or as long as torch does. A caller who has connected
    them is left alone. Raises VqcliError where the device is not there, or the others do not come.
    """
    if dist.is_initialized():
        return pick_device(device, int(os.environ.get(LOCAL_RANK, 0)))
    place = settle()
    found = pick_device(device, place.local_rank)
    if place.processes > 1 and found.type not in ("cpu", "cuda"):
        message = f"several processes do not share their work on {found.type}"
        raise VqcliError(message, hint="--device cpu, or start one alone", reason="environment")
    if place.processes > 1:
        _connect(place, "nccl" if found.type == "cuda" else "gloo", progress, patience)
    return found


def _connect(place: Place, backend: str, progress: Progress, patience: timedelta | None) -> None:
    # imported later, its functions would have the group for a default, and keep its threads alive at the end
    import torch.distributed.nn.functional  # noqa: F401

    where = f"{os.environ[ADDRESS]}:{os.environ[PORT]}"
    waiting = f"waiting for the others of {place.processes} processes to come to {where}"
    telling = Timer(SOON, progress.say, [waiting])
    telling.daemon = True
    telling.start()
    try:
        _look_up(os.environ[ADDRESS])
        with by_default():  # torch waits in C++, where no handler of Python's is called
            store, rank, size = next(dist.rendezvous("env://", timeout=MEETING))
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=patience)
    except (RuntimeError, ValueError, OSError) as e:
        raise VqcliError(
            f"the {place.processes} processes of this job did not meet at {where}: {_short(e)}",
            hint=f"were all started, can they reach it, and is the port free? {ADDRESS} and {PORT} say where",
            reason="environment",
        ) from e
    finally:
        telling.cancel()
    atexit.register(_leave)


def _look_up(host: str) -> None:
    """Raises OSError where a machine's name stays unknown; that of a container may come a little late."""
    end = time.monotonic() + UNKNOWN
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(1)


def _short(e: Exception) -> str:
    return str(e).strip().partition("\n")[0] or type(e).__name__


def _leave() -> None:
    """End what connects this process to the others: its threads would abort a process that simply ends."""
    if dist.is_initialized():
        dist.destroy_process_group()
