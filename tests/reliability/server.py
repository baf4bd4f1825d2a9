"""A process that has imported vqcli once and forks a child for every command, with a fault on its way.

``Server`` is the side of the trials; run as a module this is the process itself: a line of JSON in, one out.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
NOTHING, FAIL, SHORT, TORN, KILL = range(5)
"""As ``shim.c`` numbers them."""
LIMIT = 120.0
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Fault:
    """What happens at an operation."""

    at: int
    """Number of the operation, from 1."""
    action: int
    number: int = 0
    """An errno."""
    kinds: str = ""
    """Kinds of operations that fail from then on; none where the one alone does."""
    rank: int = 0
    """The process that it happens to."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    codes: list[int]
    """Exit code of each process; negative where a signal ended it."""
    said: list[str]
    """What each wrote to stderr."""
    out: str
    """What the first wrote to stdout."""
    kinds: list[str] = field(default_factory=list)
    """Letters of the operations of each, as ``shim.c`` names them; empty where it was killed."""
    failed: int = 0
    """How many operations the fault made fail; -1 where nobody is left to tell."""
    seconds: float = 0.0
    modules: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        return max(self.codes, key=abs)


class Server:
    """Runs commands in a folder of its own in memory, where trials put what they start from."""

    def __init__(self, temporary: Path) -> None:
        memory = Path("/dev/shm")
        self.folder, self.lock = own(memory if os.access(memory, os.W_OK) else temporary)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.place = self.folder / "w"
        """Commands run here: at the same path each time, since results may tell it."""
        shim = built(self.folder / "shim.so")
        environment = os.environ | {
            "LD_PRELOAD": str(shim),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "VQCLI_CACHE": str(self.place / "cache"),
            "HF_HOME": str(self.place / "cache" / "hf"),
        }
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def run(
        self,
        argv: list[str],
        *,
        fault: Fault | None = None,
        processes: int = 1,
        other: list[str] | None = None,
        delay: float = 0.0,
        learn: bool = False,
        call: str = "",
        limit: float = LIMIT,
    ) -> Ended:
        """Run ``vqcli`` with these arguments, or a function ``module:name`` with the folder's path.

        An ``other`` command begins so many seconds later, and runs at the same time.
        """
        assert self.process.stdin
        assert self.process.stdout
        job = {
            "argv": argv,
            "call": call,
            "folder": str(self.folder),
            "fault": fault and asdict(fault),
            "processes": processes,
            "other": other,
            "delay": delay,
            "learn": learn,
            "limit": limit,
        }
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of commands ended: {self.process.wait()}")
        return Ended(**json.loads(line))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def own(place: Path) -> tuple[Path, IO[str]]:
    """A folder that no other server has, and what holds it; results tell its name, so that there are few."""
    for n in count():
        lock = open(place / f".vqcli-trials-{n}", "w")  # noqa: SIM115 (closed with the server)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return place / f"vqcli-trials-{n}", lock
    raise AssertionError


def built(shim: Path) -> Path:
    """The compiled shim. Raises RuntimeError without a C compiler: nothing would fail, and all would hold."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler or not sys.platform.startswith("linux"):
        raise RuntimeError("faults are injected by a C library on Linux, and there is no C compiler (cc)")
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


def main() -> None:
    """Answer jobs until stdin ends."""
    import importlib
    import pkgutil
    from contextlib import suppress

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    library = ctypes.CDLL(None)
    library.faults_kinds.restype = ctypes.c_char_p
    import vqcli

    for module in pkgutil.walk_packages(vqcli.__path__, "vqcli."):
        importlib.import_module(module.name)
    known = set(sys.modules)
    for line in sys.stdin:
        job = json.loads(line)
        ended = serve(job, library)
        for name in ended.pop("modules"):
            if name not in known and job["learn"]:
                with suppress(Exception):
                    importlib.import_module(name)
            known.add(name)
        answers.write(json.dumps(ended) + "\n")
        answers.flush()


def serve(job: dict[str, Any], library: Any) -> dict[str, Any]:
    """Fork the processes of a job, wait for them, and tell how they ended."""
    folder, began = Path(job["folder"]), time.monotonic()
    (folder / "w").mkdir(exist_ok=True)
    port = 20000 + (os.getpid() * 7 + int(began * 1000)) % 20000
    children = []
    ranks = range(2 if job["other"] else job["processes"])
    for rank in ranks:
        (folder / f"report-{rank}").unlink(missing_ok=True)
        time.sleep(job["delay"] * rank)
        child = os.fork()
        if not child:
            work(job, rank, port, library)
        children.append(child)
    codes = [wait(child, began + job["limit"]) for child in children]
    reports = [folder / f"report-{rank}" for rank in ranks]
    told = [json.loads(report.read_text()) if report.exists() else {} for report in reports]
    hit = told[(job["fault"] or {"rank": 0})["rank"]]
    return {
        "codes": codes,
        "said": [(folder / f"err-{rank}").read_text(errors="replace") for rank in ranks],
        "out": (folder / "out-0").read_text(errors="replace"),
        "kinds": [one.get("kinds", "") for one in told],
        "failed": hit.get("failed", -1),
        "seconds": round(time.monotonic() - began, 3),
        "modules": told[0].get("modules", []),
    }


def wait(child: int, until: float) -> int:
    """A child's exit code; it is killed, and the code is -14, where it takes too long."""
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


def work(job: dict[str, Any], rank: int, port: int, library: Any) -> None:
    """Be a process of a job, to its end."""
    import traceback

    folder, code = Path(job["folder"]), 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder / "w")
        for number, name in enumerate((os.devnull, folder / f"out-{rank}", folder / f"err-{rank}")):
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
            os.close(file)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        if job["processes"] > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["processes"]}
            place |= {"LOCAL_WORLD_SIZE": job["processes"], "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ |= {name: str(value) for name, value in place.items()}
        fault = job["fault"]
        library.faults_watch(str(folder / "w").encode())
        if fault and fault["rank"] == rank:
            library.faults_arm(fault["at"], fault["action"], fault["number"], fault["kinds"].encode())
        code = command(job | {"argv": job["other"]} if rank and job["other"] else job)
    except BaseException:
        traceback.print_exc()
    failed, kinds = library.faults_failed(), library.faults_kinds()[: library.faults_seen()].decode()
    library.faults_watch(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    report = {"failed": failed, "kinds": kinds, "modules": list(sys.modules) if job["learn"] else []}
    (folder / f"report-{rank}").write_text(json.dumps(report))
    os._exit(code)


def command(job: dict[str, Any]) -> int:
    """Run what a job asks for; its exit code."""
    if job["call"]:
        from importlib import import_module

        module, _, name = job["call"].partition(":")
        getattr(import_module(module), name)(Path.cwd())
        return 0
    from vqcli.__main__ import main as vqcli_main

    sys.argv = ["vqcli", *job["argv"]]
    try:
        vqcli_main()
    except SystemExit as e:
        if isinstance(e.code, str):
            sys.stderr.write(e.code + "\n")
            return 1
        return int(e.code or 0)
    return 0


if __name__ == "__main__":
    main()
