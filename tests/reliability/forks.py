"""The command line in forks of a process that has imported everything: a command costs a tenth of a second.

``Forks`` is the caller's side; the other one runs as ``python -m tests.reliability.forks``.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

KILLED = 137


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    renames: int
    """Files and folders that it gave their names."""
    out: str
    err: str


class Forks:
    """Runs commands, one after the other."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, folder: Path, *words: str, stop: int = 0, **environment: str) -> Ended:
        """Run ``vqcli`` with these words in a folder; it is killed at its rename number ``stop``, from 1."""
        if self._server is None:
            settings = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
            command = [sys.executable, "-m", "tests.reliability.forks"]
            self._server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=settings
            )
        assert self._server.stdin
        assert self._server.stdout
        asked = {"folder": str(folder), "words": words, "stop": stop, "environment": environment}
        self._server.stdin.write(json.dumps(asked).encode() + b"\n")
        self._server.stdin.flush()
        code = json.loads(self._server.stdout.readline())
        renames = folder.with_name(f"{folder.name}.renames")
        out, err = (folder.with_name(f"{folder.name}.{name}") for name in ("out", "err"))
        ended = Ended(
            code, renames.stat().st_size, out.read_text(errors="replace"), err.read_text(errors="replace")
        )
        out.unlink()
        err.unlink()
        renames.unlink()
        return ended

    def close(self) -> None:
        if self._server:
            self._server.communicate()
            self._server = None


def serve() -> None:
    """Answer each line with the exit code of a command."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    warm()
    for line in sys.stdin.buffer:
        learned, child_end = os.pipe()
        child = os.fork()
        if not child:
            answer(json.loads(line), child_end)
        os.close(child_end)
        with os.fdopen(learned) as names:
            for name in names.read().split():  # what this command imported, the next ones find there
                with suppress(Exception):
                    import_module(name)
        _, status = os.waitpid(child, 0)
        answers.write(json.dumps(os.waitstatus_to_exitcode(status)).encode() + b"\n")


def warm() -> None:
    """Import what commands import."""
    import pkgutil

    import torch

    import vqcli.cli.app
    import vqcli.jobs

    torch.set_num_threads(1)
    for found in pkgutil.walk_packages(vqcli.jobs.__path__, "vqcli.jobs."):
        __import__(found.name)


def answer(asked: dict, learned: int) -> None:
    """Be the command, in a process of its own, and tell which modules it has imported."""
    known = set(sys.modules)
    folder = Path(asked["folder"])
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder.with_name(f"{folder.name}.{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(folder)
    os.environ.update(asked["environment"])
    kill_at(asked["stop"], folder.with_name(f"{folder.name}.renames"))
    sys.argv = ["vqcli", *asked["words"]]
    code = 70
    try:
        from vqcli.cli.app import main

        main()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(learned, "w") as names:
            names.write("\n".join(sorted(set(sys.modules) - known)))
        os._exit(code)


def kill_at(number: int, count: Path) -> None:
    """End the process before it gives so many-th file its name; a byte for each goes into ``count``."""
    handle, renames = os.open(count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 0

    def heard(event: str, _: object) -> None:
        nonlocal renames
        if event == "os.rename":
            renames += 1
            os.write(handle, b".")
            if renames == number:
                os._exit(KILLED)

    sys.addaudithook(heard)


if __name__ == "__main__":
    serve()
