"""What a launcher says in the environment: how many processes share a job, which this is, where they meet.

Read before torch is imported, and left as torchrun writes it, or without a word where a process is alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from itertools import chain

from vqcli.errors import VqcliError

RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
OWN = (RANK, SIZE, LOCAL_RANK, LOCAL_SIZE)
FAMILIES = (
    OWN,
    tuple(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
    tuple(f"MV2_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)
"""Names of torchrun (and accelerate), Open MPI, MVAPICH, MPICH (and Intel MPI), in the order they count."""
ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"


@dataclass(frozen=True)
class Place:
    """A process among those of its job."""

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    """Among those of its machine."""
    local_processes: int = 1


ALONE = Place()


def settle(environment: MutableMapping[str, str] = os.environ) -> Place:
    """This process's place, which is all that the environment says afterwards; one alone needs no variables.

    Raises VqcliError where several processes are announced and something about them is missing or odd.
    """
    place = _place(environment)
    work_alone(environment)
    if place.processes > 1:
        numbers = (place.rank, place.processes, place.local_rank, place.local_processes)
        environment.update({name: str(number) for name, number in zip(OWN, numbers)})
    return place


def work_alone(environment: MutableMapping[str, str] = os.environ) -> None:
    """Forget what a launcher said: for work that no processes share."""
    for name in chain(*FAMILIES):
        environment.pop(name, None)


def _place(environment: Mapping[str, str]) -> Place:
    names = next((names for names in FAMILIES if _number(environment, names[1]) is not None), OWN)
    rank, size, local_rank, local_size = (_number(environment, name) for name in names)
    if size is None and not rank and not local_rank:
        return ALONE
    if size is None:
        lone = names[0] if rank else names[2]
        raise _odd(f"{lone} is {rank or local_rank}, and {names[1]} does not say of how many", environment)
    if size < 1:
        raise _odd(f"{names[1]} is {size}, and should be the number of processes", environment)
    if size == 1 and not rank:
        return ALONE
    if rank is None:
        raise _odd(
            f"{names[1]} announces {size} processes, and {names[0]} does not say which this is", environment
        )
    if rank >= size:
        raise _odd(f"{names[0]} is {rank}, and {names[1]} announces only {size}, counted from 0", environment)
    _check_meeting(environment, f"{names[1]} announces {size} processes")
    return Place(rank, size, local_rank or 0, max(local_size or 1, (local_rank or 0) + 1))


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """The number that a variable holds; -1 means none, as some launchers write it."""
    text = environment.get(name, "").strip()
    if not text or text == "-1":
        return None
    if not text.isdecimal():
        raise _odd(f"{name} is {text!r}, and should be a number that a launcher sets", environment)
    return int(text)


def _check_meeting(environment: Mapping[str, str], announced: str) -> None:
    """Raises VqcliError where several processes could not meet."""
    missing = [name for name in (ADDRESS, PORT) if not environment.get(name, "").strip()]
    if missing:
        raise _odd(f"{announced}, and nothing says where they meet: {' and '.join(missing)}", environment)
    port = environment[PORT].strip()
    if not (port.isdecimal() and 0 < int(port) < 1 << 16):
        raise _odd(f"{announced}, and {PORT} is {port!r}, which is no port", environment)


def _odd(message: str, environment: Mapping[str, str]) -> VqcliError:
    there = " ".join(name for name in chain(*FAMILIES) if name in environment)
    hint = f"start all with torchrun (docs/many-gpus.md); to work alone: unset {there}"
    return VqcliError(message, hint=hint, reason="environment")
