"""A process that has imported vqcli once and forks a child for every command, with a fault on its way.

``Server`` is the side of the trials; run as a module this is the process itself: a line of JSON in, one out.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import pkgutil
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
NOTHING, FAIL, SHORT, TORN, KILL, STEP = range(6)
"""As ``shim.c`` numbers them; the last sends a signal when a step of training is done."""
LIMIT, HANGS = 120.0, -signal.SIGALRM
"""Seconds after which a command counts as hanging, and its exit code then."""
ROOM = 6 << 30
"""Bytes of address space beyond what the server has: a bomb ends itself, not the machine."""
MOST_SAID = 8 << 20


@dataclass(frozen=True)
class Fault:
    """What happens at an operation."""

    at: int
    """Number of the operation, or of the step, from 1."""
    action: int
    number: int = 0
    """An errno, or a signal."""
    kinds: str = ""
    """Kinds of operations that fail from then on; none where the one alone does."""
    rank: int = 0
    """The process that it happens to."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: in each of its processes, but for ``out``."""

    codes: list[int]
    """Exit codes; negative where a signal ended it."""
    said: list[str]
    """What was written to stderr."""
    out: str
    """What the first wrote to stdout."""
    kinds: list[str] = field(default_factory=list)
    """Letters of the operations, as ``shim.c`` names them; empty where it was killed."""
    failed: int = 0
    """How many operations the fault made fail; -1 where nobody is left to tell."""
    seconds: list[float] = field(default_factory=list)
    """Since the first began."""
    grown: int = 0
    """Bytes of memory at most, above those of the server."""

    @property
    def code(self) -> int:
        return max(self.codes, key=abs)

    @property
    def err(self) -> str:
        return self.said[0]


class Server:
    """Runs commands in a folder of its own in memory, where trials put what they start from."""

    process: subprocess.Popen[str] | None = None
    lock: IO[str] | None = None

    @cached_property
    def folder(self) -> Path:
        """One that no other server has; results tell its name, so that there are few."""
        memory = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
        for n in count():
            self.lock = (memory / f".vqcli-trials-{n}").open("w")
            with suppress(OSError):
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            self.lock.close()
        return memory / f"vqcli-trials-{n}"

    @property
    def place(self) -> Path:
        """Commands run here: at the same path each time, since results may tell it."""
        return self.folder / "w"

    @property
    def environment(self) -> dict[str, str]:
        """Of the commands: nothing of them reaches the user's own."""
        found = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "HOME": str(self.place / "cache" / "home"),
            "VQCLI_CACHE": str(self.place / "cache"),
            "HF_HOME": str(self.place / "cache" / "hf"),
            "HF_HUB_CACHE": str(self.place / "hub"),
        }
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            found.pop(name, None)
        return found

    def fresh(self) -> Path:
        """The place, empty."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        return self.place

    def run(
        self,
        argv: Sequence[str],
        *,
        fault: Fault | None = None,
        processes: int = 1,
        other: Sequence[str] | None = None,
        delay: float = 0.0,
        limit: float = LIMIT,
    ) -> Ended:
        """Run ``vqcli`` with these arguments, in so many processes.

        An ``other`` command begins so many seconds later, and runs at the same time.
        """
        if not self.process:
            self.folder.mkdir(exist_ok=True)
            shim = built(self.folder / "shim.so")
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.server", str(self.place)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self.environment | {"LD_PRELOAD": str(shim)},
                cwd=ROOT,
            )
        assert self.process.stdin
        assert self.process.stdout
        commands = [argv, other] if other else [argv] * processes
        job = {"commands": commands, "fault": fault and asdict(fault), "processes": processes}
        self.process.stdin.write(json.dumps(job | {"delay": delay, "limit": limit}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of commands ended: {self.process.wait()}")
        return Ended(**json.loads(line))

    def close(self) -> None:
        if self.process:
            self.process.communicate()
        if self.lock:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.lock.close()
        self.process, self.lock = None, None


@cache
def shared() -> Server:
    """The one that all parts of this process use: to import everything takes it seconds."""
    return Server()


def close_shared() -> None:
    shared().close()
    shared.cache_clear()


def built(shim: Path) -> Path:
    """The compiled shim. Raises RuntimeError without a C compiler: nothing would fail, and all would hold."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler or not sys.platform.startswith("linux"):
        raise RuntimeError("faults are injected by a C library on Linux, and there is no C compiler (cc)")
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


def main(place: Path) -> None:
    """Answer jobs until stdin ends."""
    import vqcli

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    library = ctypes.CDLL(None)
    library.faults_kinds.restype = ctypes.c_char_p
    known: set[str] = set()
    learn({module.name for module in pkgutil.walk_packages(vqcli.__path__, "vqcli.")}, known)
    for line in sys.stdin:
        ended, new = serve(json.loads(line), place, library, known)
        answers.write(json.dumps(ended) + "\n")
        answers.flush()
        learn(new, known)


def learn(names: set[str], known: set[str]) -> None:
    """Import what a command has imported on its way: the next ones find it there."""
    for name in sorted(names - known):
        with suppress(Exception):
            import_module(name)
    if not names <= known:
        gc.collect()
        gc.freeze()  # what children share is not looked through, and not copied
    known |= names | set(sys.modules)


def serve(job: dict[str, Any], place: Path, library: Any, known: set[str]) -> tuple[dict[str, Any], set[str]]:
    """Fork the processes of a job, wait for them; how they ended, and what they have imported."""
    before, children = resident(), []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        job["port"] = free.getsockname()[1]
    began = time.monotonic()
    for rank in range(len(job["commands"])):
        time.sleep(job["delay"] * rank)
        pipes = [os.pipe() for _ in range(3)]
        pid = os.fork()
        if not pid:
            work(job, rank, [writer for _, writer in pipes], place, library, known)
        for _, writer in pipes:
            os.close(writer)
        children.append(Child(pid, [reader for reader, _ in pipes], [b"", b"", b""]))
    listen(children, began + job["limit"])
    told = [json.loads(child.said[2]) if child.said[2].endswith(b"}") else {} for child in children]
    ends = [os.wait4(child.pid, 0) for child in children]
    ended = {
        "codes": [HANGS if c.hangs else os.waitstatus_to_exitcode(end[1]) for c, end in zip(children, ends)],
        "said": [child.said[1].decode(errors="replace") for child in children],
        "out": children[0].said[0].decode(errors="replace"),
        "kinds": [one.get("kinds", "") for one in told],
        "failed": told[(job["fault"] or {"rank": 0})["rank"]].get("failed", -1),
        "seconds": [round(child.ended - began, 3) for child in children],
        "grown": max(usage.ru_maxrss for _, _, usage in ends) * 1024 - before,
    }
    return ended, {name for one in told for name in one.get("modules", [])}


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@dataclass
class Child:
    """A process of a job."""

    pid: int
    pipes: list[int]
    """Of its stdout, its stderr and its report."""
    said: list[bytes]
    ended: float = 0.0
    hangs: bool = False


def listen(children: list[Child], until: float) -> None:
    """Read what children say until they have ended; those that take too long are killed."""
    heard = {pipe: (child, n) for child in children for n, pipe in enumerate(child.pipes)}
    while heard:
        ready, _, _ = select.select(list(heard), [], [], max(0.0, until - time.monotonic()))
        if time.monotonic() >= until:
            until += LIMIT
            for child, _ in heard.values():
                child.hangs = True
                os.killpg(child.pid, signal.SIGKILL)
        for pipe in ready:
            child, n = heard[pipe]
            if data := os.read(pipe, 1 << 16):
                child.said[n] += data[: MOST_SAID - len(child.said[n])]
            else:
                del heard[pipe]
                os.close(pipe)
                child.ended = time.monotonic()


def work(
    job: dict[str, Any], rank: int, pipes: list[int], place: Path, library: Any, known: set[str]
) -> None:
    """Be a process of a job, to its end."""
    code, fault = 70, job["fault"]
    try:
        os.setpgid(0, 0)
        os.chdir(place)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *pipes[:2])):
            os.dup2(file, number)
            os.close(file)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, closefd=False)  # noqa: SIM115
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if job["processes"] > 1:
            named = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["processes"]}
            named |= {"LOCAL_WORLD_SIZE": job["processes"], "MASTER_PORT": job["port"]}
            os.environ |= {name: str(value) for name, value in named.items()} | {"MASTER_ADDR": "127.0.0.1"}
        library.faults_watch(str(place).encode())
        if fault and fault["rank"] == rank and fault["action"] == STEP:
            signal_at(fault["at"], fault["number"])
        elif fault and fault["rank"] == rank:
            library.faults_arm(fault["at"], fault["action"], fault["number"], fault["kinds"].encode())
        code = command(job["commands"][rank])
    except BaseException:
        traceback.print_exc()
    failed, kinds = library.faults_failed(), library.faults_kinds()[: library.faults_seen()].decode()
    library.faults_watch(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(pipes[2], "w") as report:
        json.dump({"failed": failed, "kinds": kinds, "modules": [*({*sys.modules} - known)]}, report)
    os._exit(code)


def signal_at(step: int, number: int) -> None:
    """Send a signal to this process when it has done a step of training."""
    from vqcli.training.loop import Trainer

    train_step = Trainer.train_step

    def signalled(self: Trainer, batches: Any) -> None:
        train_step(self, batches)
        if self.step + 1 == step:
            os.kill(os.getpid(), number)

    Trainer.train_step = signalled  # type: ignore[method-assign]


def command(words: Iterable[str]) -> int:
    """Be the command ``vqcli`` with these words; its exit code."""
    from vqcli.cli.app import main

    sys.argv = ["vqcli", *words]
    try:
        main()
    except SystemExit as e:
        if isinstance(e.code, str):
            sys.stderr.write(e.code + "\n")
            return 1
        return int(e.code or 0)
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
