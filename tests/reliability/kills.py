"""Real signals at random moments: nothing finished is lost, and the same command goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.reliability import oracle
from tests.reliability.faults import Faults, version
from tests.reliability.scenarios import SCENARIOS, Scenario
from tests.reliability.server import ROOT, Ended
from tests.reliability.trials import Part, Trial

COMMANDS = (
    "train",
    "train-gan",
    "train-generator",
    "train-two",
    "resume",
    "encode",
    "encode-shards",
    "encode-two",
    "decode",
    "generate",
    "build-codebook",
    "evaluate",
    "evaluate-force",
    "reconstruct",
    "import",
    "import-force",
    "prune",
    "prune-tokens",
)
"""Scenarios whose commands write."""
WAYS = {
    "kill": ([signal.SIGKILL], 16),
    "int": ([signal.SIGINT], 4),
    "term": ([signal.SIGTERM], 4),
    "hup": ([signal.SIGHUP], 4),
    "twice": ([signal.SIGINT, signal.SIGTERM], 3),
}
"""What is sent, one after the other, and how often it is tried with each command."""
FRESH = ("train", "encode", "generate", "evaluate")
"""Commands that are started as processes of their own, too, ``EACH`` times with each signal."""
EACH = 3
EARLY = 2.0
"""Seconds after its start within which such a process is hit."""
LAUNCHER = 2.0
"""Seconds after which the others of a process that has ended are told to end, as torchrun does it."""
ENDS = 30.0
"""Seconds within which a process ends that was asked to."""


class Kills(Part):
    """Signals to processes of a command, forked from one that has imported vqcli, or started anew."""

    name, figure, goal, share = "kills", "real kills and signals", 500, 5

    def __init__(self) -> None:
        self.faults = Faults()
        self.seconds: dict[str, float] = {}

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        self.faults.stock = base / f"faults-{version()}"
        for one in SCENARIOS:
            for way, (numbers, times) in WAYS.items():
                for n in range(times if one.name in COMMANDS else 0):
                    chance = random.Random(f"{seed} {one.name} {way} {n}")
                    yield Trial(f"{one.name}/{way}/{n}", partial(self.hit, one, numbers, chance))
                for n in range(EACH if one.name in FRESH else 0):
                    chance = random.Random(f"{seed} {one.name} {way} {n} fresh")
                    yield Trial(f"{one.name}/fresh-{way}/{n}", partial(self.hit_fresh, one, numbers, chance))

    def hit(self, one: Scenario, numbers: list[int], chance: random.Random, _: Path) -> str:
        """Signals to one process of a command somewhere on its way."""
        known, server = self.faults.undisturbed(one), self.faults.serving()
        if one.name not in self.seconds:
            self.faults.begin(one)
            ended = server.run(one.command.split(), processes=one.processes)
            self.seconds[one.name] = max(ended.seconds)
        before = self.faults.begin(one)
        rank, moments = chance.randrange(one.processes), [chance.random() * self.seconds[one.name]]
        moments += [chance.random() * 0.1 for _ in numbers[1:]]
        assert server.process
        sender = Sender(server.process.pid, one.processes, rank, list(zip(moments, numbers)))
        sender.start()
        ended = server.run(one.command.split(), processes=one.processes)
        sender.ended.set()
        sender.join()
        return self.judged(one, known.end, before, ended, sender.sent)

    def hit_fresh(self, one: Scenario, numbers: list[int], chance: random.Random, _: Path) -> str:
        """Signals to a command that was started a moment ago."""
        known, server = self.faults.undisturbed(one), self.faults.serving()
        before = self.faults.begin(one)
        process = subprocess.Popen(
            [sys.executable, "-m", "vqcli", *one.command.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=server.environment,
            cwd=server.place,
        )
        time.sleep(chance.random() * EARLY)
        began, sent = time.monotonic(), []
        for number in numbers:
            if process.poll() is None:
                process.send_signal(number)
                sent.append(number)
            time.sleep(chance.random() * 0.1)
        out, said = process.communicate(timeout=4 * ENDS)
        seconds = time.monotonic() - began
        ended = Ended([process.returncode], [said], out)
        if sent and seconds > ENDS:
            return f"it ended {seconds:.0f} s after it was sent {sent}"
        return self.judged(one, known.end, before, ended, [(0, number) for number in sent], early=True)

    def judged(
        self,
        one: Scenario,
        end: oracle.Tree,
        before: oracle.Tree,
        ended: Ended,
        sent: list[tuple[float, int]],
        *,
        early: bool = False,
    ) -> str:
        """What is wrong with how a command that was hit ended, with what it left, or with how it goes on."""
        now = oracle.tree(self.faults.server.place)
        at_once = early or not oracle.differs(oracle.finished(now), end)  # not begun, or done: without a word
        codes = {0}
        for _, number in sent:
            codes |= {-number} if number == signal.SIGKILL or at_once else set()
            codes |= {128 + number} if number != signal.SIGKILL else set()
        if early and -signal.SIGINT in ended.codes and str(ROOT / "vqcli") not in ended.said[0]:
            ended = replace(ended, said=[""])  # Python was still loading what is its own
        wrong = (
            oracle.answered(ended, codes if one.processes == 1 else {*codes, 143, -signal.SIGTERM})
            or oracle.untouched(before, now, one.makes.split())
            or oracle.whole(before, now, end, one.whole.split())
        )
        if one.processes == 1 and ended.code == 1:
            wrong = wrong or f"it was stopped, and says that it failed: {ended.said[0][-600:]!r}"
        return wrong or self.faults.repeated(one, now, self.faults.undisturbed(one))


class Sender(threading.Thread):
    """Sends signals to a child of the server once that has taken charge of its signals."""

    def __init__(self, server: int, processes: int, rank: int, what: list[tuple[float, int]]) -> None:
        super().__init__(daemon=True)
        self.server, self.processes, self.rank, self.what = server, processes, rank, what
        self.ended = threading.Event()
        self.sent: list[tuple[float, int]] = []
        """When, and which: those that still found somebody."""

    def run(self) -> None:
        child = 0
        while not child and not self.ended.wait(0.002):
            child = self._ready()
        for moment, number in self.what if child else ():
            if self.ended.wait(moment):
                return
            with suppress(ProcessLookupError):
                os.kill(child, number)
                self.sent.append((time.monotonic(), number))
        while self.processes > 1 and self.sent and child in self._children() and not self.ended.wait(0.01):
            pass
        if self.processes > 1 and self.sent and not self.ended.wait(LAUNCHER):
            for other in self._children():
                with suppress(ProcessLookupError):
                    os.kill(other, signal.SIGTERM)

    def _children(self) -> list[int]:
        """The processes of the command that live."""
        with suppress(OSError):
            found = Path(f"/proc/{self.server}/task/{self.server}/children").read_text().split()
            return [int(child) for child in found if _state(int(child)) != "Z"]
        return []

    def _ready(self) -> int:
        """The child that is meant, where it has handlers; 0 before."""
        with suppress(OSError, ValueError, IndexError):
            children = self._children()
            child = sorted(children)[self.rank] if len(children) == self.processes else 0
            status = Path(f"/proc/{child}/status").read_text()
            caught = int(status.partition("SigCgt:")[2].split()[0], 16)
            return child if caught >> (signal.SIGTERM - 1) & 1 else 0
        return 0


def _state(child: int) -> str:
    """The letter of a process's state, as ps shows it; Z where it has ended."""
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "Z"
