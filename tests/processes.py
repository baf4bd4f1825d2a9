"""Two processes of one job, as a launcher has them, without the time that starting takes.

They are forked off a process that has imported what is slow to import, and has done nothing else.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.multiprocessing import start_processes

SLOW = ("torch._dynamo", "torch.distributed.tensor", "accelerate", "numpy.random", "vqcli.cli.app")
"""To import; ``torch._dynamo`` is what the first gradient of a distributed module asks for."""
VQCLI = "from vqcli.cli.app import main; main()"
"""The script that is the command."""


def spread(work: Callable[..., None], *arguments: object) -> None:
    """Call ``work(rank, *arguments)``, a function of a module, in two processes that must end well."""
    multiprocessing.set_forkserver_preload([*SLOW])
    given = (work, dict(os.environ), arguments)
    start_processes(_worked, given, nprocs=2, start_method="forkserver")


def _worked(rank: int, work: Callable[..., None], environment: dict[str, str], arguments: tuple) -> None:
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    work(rank, *arguments)


def two_processes(script: str, *arguments: object) -> str:
    """Run Python text with these arguments as two processes that must end well; what the first printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "script.py").write_text(script)
        spread(_launched, folder, port, [*map(str, arguments)])
        first, second = (Path(folder, f"{rank}.out").read_text() for rank in (0, 1))
    assert second == ""  # the first process alone speaks
    return first


def _launched(rank: int, folder: str, port: int, arguments: list[str]) -> None:
    """Be a process of a launcher whose program is the script."""
    named = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in named.items()}, MASTER_ADDR="127.0.0.1")
    for number, kind in ((1, "out"), (2, "err")):
        with open(f"{folder}/{rank}.{kind}", "w") as file:
            os.dup2(file.fileno(), number)
    sys.argv[1:] = arguments
    try:
        runpy.run_path(f"{folder}/script.py", run_name="__main__")
    except SystemExit as e:
        if e.code:
            said = Path(folder, f"{rank}.err").read_text()
            raise RuntimeError(f"process {rank} ended with {e.code}: {said}") from None
    finally:
        sys.stdout.flush()
