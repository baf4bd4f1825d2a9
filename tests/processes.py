"""Two processes of one job, started as a launcher does it, without the time that it takes itself."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def two_processes(script: str, *arguments: object) -> str:
    """Run Python text with these arguments as two processes that must end well; what the first printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    everywhere = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=os.environ | everywhere | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    for process, (_, said) in zip(started, ended):
        assert process.returncode == 0, said
    assert ended[1][0] == ""  # the first process alone speaks
    return ended[0][0]
