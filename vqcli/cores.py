"""Cores of the processor: those this process may use, those that are free, and threads that fit them.

Read before torch is imported, whose threads are settled then.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

THREADS, SPINNING, WAITING = "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
SPINS = "3000"
"""Rounds that a thread waits awake for its next work, some 60 microseconds; OpenMP's own are 300,000.
With a core for each thread both take the same time (``benchmarks/threads.py``); where another process wants a
core, the many make work one and a half to twenty times slower: threads that wait hold the cores of those that
work. With 1,000 rounds small pieces of work took a tenth longer on an idle machine.
"""
CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores this process may use: by affinity, and by the quota of its container."""
    return min(_given(), _quota())


def settle_threads(environment: MutableMapping[str, str] = os.environ, processes: int = 1) -> None:
    """Let threads of this process, one of so many on the machine, fit its cores and wait asleep.

    Nothing that the user has set is changed.
    """
    if not environment.get(WAITING):
        environment.setdefault(SPINNING, SPINS)
    share = max(1, cores() // processes)
    if share < _given() and not environment.get(THREADS, "").strip().isdecimal():
        environment[THREADS] = str(share)


def free_cores(seconds: float = 0.1) -> float | None:
    """How many of its cores others leave, watched so long by a process that rests; None if not told."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        before = _times()
        time.sleep(seconds)
        free = [
            (idle - idle_0) / (whole - whole_0) for (idle, whole), (idle_0, whole_0) in zip(_times(), before)
        ]
        return min(sum(free), float(cores()))
    return None


def crowded(threads: int, free: float | None) -> str:
    """What to know where several threads have only so many free cores; "" where all is well."""
    if threads == 1 or free is None or free > threads - 0.5:
        return ""
    fewer = max(1, round(free))
    return f"only {free:.1f} of {cores()} cores are free: {THREADS}={fewer} may be faster"


def _given() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> int:
    """Whole cores of the container's share of time; a huge number without a limit."""
    for read in (_quota_v2, _quota_v1):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = read()
            if quota > 0:
                return max(1, math.ceil(quota / period))
    return 1 << 20


def _quota_v2() -> tuple[int, int]:
    quota, period = (CGROUPS / "cpu.max").read_text().split()
    return int(quota), int(period)  # "max" is no number: no limit


def _quota_v1() -> tuple[int, int]:
    quota, period = ((CGROUPS / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota), int(period)


def _times() -> list[tuple[int, int]]:
    """For each core this process may use: time idle, and all time."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    found = []
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name[:3] == "cpu" and name[3:].isdecimal() and (mine is None or int(name[3:]) in mine):
            spent = [int(number) for number in numbers[:8]]  # what comes after is counted in these already
            found.append((spent[3] + spent[4], sum(spent)))
    return found
