"""Fail the N-th operation of every command, for every N: nothing is lost, and the same command goes on."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.reliability import oracle, scenarios
from tests.reliability.oracle import Tree
from tests.reliability.scenarios import SCENARIOS, STOCK, STOPPED, Scenario
from tests.reliability.server import FAIL, KILL, ROOT, SHORT, TORN, Fault, Server, shared
from tests.reliability.trials import Part, Trial

ERRORS = {
    "o": "EIO EACCES EMFILE EINTR",
    "c": "ENOSPC EIO EACCES EMFILE kill",
    "r": "EIO EINTR short",
    "w": "ENOSPC EIO EINTR short torn kill",
    "s": "EIO ENOSPC kill",
    "n": "EIO EACCES ENOSPC kill",
    "u": "EIO EACCES kill",
    "m": "ENOSPC EACCES EIO kill",
    "l": "EIO EACCES EMFILE",
}
"""What happens to an operation of each kind, as ``shim.c`` names them: an errno, once, or one of ``WAYS``."""
LASTING = {
    "ENOSPC": ("cwms", "cwm"),
    "EIO": ("ocrwsnuml", "rw"),
    "EMFILE": ("ocl", "ocl"),
    "EACCES": ("ocnuml", "on"),
}
"""Errors that stay, of which kinds of operations, and at which kinds they begin."""
WAYS = {"short": SHORT, "torn": TORN, "kill": KILL}


@dataclass(frozen=True)
class Undisturbed:
    """What a command comes to when nothing happens."""

    kinds: list[str]
    """Of the operations of each process."""
    before: Tree
    end: Tree
    out: str
    """What a command that writes nothing prints."""


class Faults(Part):
    """Faults of the machine in the middle of commands."""

    name, figure, goal, share = "faults", "injected faults", 10_000, 8

    def __init__(self) -> None:
        self.server = shared()
        self.stock = Path()

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        self.stock = base / f"faults-{version()}"
        for one in SCENARIOS:
            known = self.undisturbed(one)
            for n, (name, fault) in enumerate(faults(known)):
                if n % one.every == seed % one.every:
                    yield Trial(f"{one.name}/{name}", partial(self.run, one, fault))

    def serving(self) -> Server:
        """The server; what scenarios start from is made when it is first needed, once."""
        if not (self.stock / "done").exists():
            shutil.rmtree(self.stock, ignore_errors=True)
            make_stock(self.server, self.stock)
        return self.server

    def undisturbed(self, one: Scenario) -> Undisturbed:
        """What a scenario comes to in the folder of this server, remembered in a file."""
        server = self.serving()
        path = self.stock / f"{one.name}-{server.folder.name}.json"
        if not path.exists():
            before = self.begin(one)
            ended = server.run(one.command.split(), processes=one.processes)
            if ended.code != one.code:
                raise RuntimeError(f"{one.name} without a fault: exit {ended.codes}: {ended.said}")
            known = Undisturbed(ended.kinds, before, oracle.tree(server.place), ended.out)
            path.with_suffix(".new").write_text(json.dumps(vars(known)))
            path.with_suffix(".new").replace(path)
        return Undisturbed(**json.loads(path.read_text()))

    def begin(self, one: Scenario) -> Tree:
        """Lay out what a scenario starts from; what is there then."""
        place = self.server.fresh()
        for need in one.needs.split():
            source, _, name = need.partition("=")
            target = place / (name or source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if (self.stock / source).is_dir():
                shutil.copytree(self.stock / source, target)
            else:
                shutil.copy2(self.stock / source, target)
        return oracle.tree(place)

    def run(self, one: Scenario, fault: Fault, _: Path) -> str:
        """Try a fault; how it does not hold."""
        known = self.undisturbed(one)
        server = self.serving()
        before, makes = self.begin(one), one.makes.split()
        first = server.run(one.command.split(), fault=fault, processes=one.processes)
        now = oracle.tree(server.place)
        killed = fault.action in (TORN, KILL)
        if not first.failed or (killed and first.codes[fault.rank] != -9):
            return f"the fault was not reached: exit {first.codes}"
        wrong = (
            oracle.answered(first, [one.code, *([-9] if killed else [])])
            or oracle.untouched(before, now, makes)
            or oracle.whole(before, now, known.end, one.whole.split())
        )
        if (
            not wrong
            and not any(first.codes)
            and not makes
            and oracle.answer(first.out) != oracle.answer(known.out)
        ):
            wrong = f"exit 0, and another answer: {first.out[-600:]!r}"
        if wrong:
            return wrong
        if not any(first.codes):
            if now == known.end:
                return ""
            if wrong := oracle.differs(oracle.finished(now), known.end):
                return f"exit 0, and {wrong}"
        return self.repeated(one, now, known)

    def repeated(self, one: Scenario, now: Tree, known: Undisturbed) -> str:
        """Whether the command ends as if nothing had happened when it is given again."""
        server, started = self.server, any(oracle.below(name, one.makes.split()) for name in now)
        command = (
            one.again
            if one.again and started and (server.place / "run" / "recipe.yaml").exists()
            else one.command
        )
        second = server.run(command.split(), processes=one.processes)
        told = any(word in second.said[0] for word in ("exist", " holds "))
        refused = one.exists and told and not oracle.differs(oracle.finished(now), known.end)
        if second.code != one.code and not refused:
            return f"the same command again: exit {second.codes}: {second.said[0][-600:]!r}"
        wrong = oracle.differs(oracle.tree(server.place), known.end)
        return f"the same command again ends otherwise: {wrong}" if wrong else ""


def faults(known: Undisturbed) -> Iterator[tuple[str, Fault]]:
    """Every fault of every operation, with a name each."""
    for rank, kinds in enumerate(known.kinds):
        where = f"{rank}:" if len(known.kinds) > 1 else ""
        for n, kind in enumerate(kinds, 1):
            for name in ERRORS[kind].split():
                action, number = WAYS.get(name, FAIL), getattr(errno, name, 0)
                yield f"{where}{n}{kind}/{name}", Fault(n, action, number, rank=rank)
            for name, (all_kinds, begins) in LASTING.items():
                if kind in begins:
                    fault = Fault(n, FAIL, getattr(errno, name), all_kinds, rank)
                    yield f"{where}{n}{kind}/{name}-on", fault


def make_stock(server: Server, stock: Path) -> None:
    """Make what scenarios start from, undisturbed."""
    scenarios.make_stock(server.fresh())
    for command in STOCK:
        made = server.run(command.split())
        if made.code:
            raise RuntimeError(f"what trials start from cannot be made: {made.said}")
    whole = server.run(STOPPED.split())
    checkpoints = server.place / "stopped" / "checkpoints"
    for at in range(len(whole.kinds[0]) // 2, len(whole.kinds[0]), 5):
        shutil.rmtree(server.place / "stopped")
        server.run(STOPPED.split(), fault=Fault(at, KILL))
        if {path.name for path in checkpoints.glob("step-*")} == {"step-00000002"}:
            break
    else:
        raise RuntimeError("no training was killed between its checkpoints")
    shutil.copytree(server.place / "cache", server.place / "cached", dirs_exist_ok=True)
    shutil.copytree(server.place, stock, dirs_exist_ok=True)
    (stock / "done").touch()


def version() -> str:
    """A name for this state of the sources: what undisturbed commands come to may differ in another."""
    found = hashlib.sha256()
    for path in sorted([*(ROOT / "vqcli").rglob("*.py"), *Path(__file__).parent.glob("*.*")]):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
