"""Fuzzing of vqcli's own parsers: mutated inputs, the same for a seed, a block of executions a trial.

A block runs in a forked process. Its present input lies in memory that the parent shares, so that an input
which kills or hangs the process is known too, and can become a test in ``test_found.py``.
"""

import base64
import mmap
import os
import random
import re
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.trials import Part, Trial
from vqcli.errors import VqcliError

LONGEST, MOST_KEPT, MOST_SHOWN = 4096, 200, 5
"""Bytes of an input, inputs that a block mutates further, and violations that it tells."""
HANG, GROWTH = 5.0, 512 << 20
"""Seconds that an input may take, and bytes by which the process may grow."""
NUMBERS = "0 1 -1 2 7 8 9 10 127 128 255 256 65535 65536 2147483647 2147483648 4294967295 4294967296 "
NUMBERS += "9223372036854775807 9223372036854775808 18446744073709551616 99999999999999999999 0x10 010 1_000 "
NUMBERS += "1e3 1e308 1e999 -0 0.5 .5 NaN Infinity -Infinity nan inf ² ٣ ０"
INTEGERS = (0, 1, 2, 127, 128, 255, 256, 511, 512, 32767, 65535, 1 << 24, (1 << 31) - 1, (1 << 32) - 1)
SIGNS = "\0 \n \t \x7f \\ / { } [ ] ( ) ' = : , < > & ~ * - # @ . %s %00 ../ ... null true {0} $HOME "
SIGNS += "é 𝔸 \u202e \u2028"
COMMON = [
    *(sign.encode() for sign in SIGNS.split(" ")),
    *(b" ", b"\r\n", b'"', b"\x1b[31m", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"[" * 200, b'{"a":' * 200, b"9" * 5000),
]  # fmt: skip


class Hang(Exception):
    """The time of an input is over."""


@dataclass(frozen=True)
class Target:
    """One parser: what feeds it bytes, and what it may raise."""

    name: str
    run: Callable[[bytes, Path], object]
    """Parses bytes; a folder is there for those that read files. An assertion may check the result."""
    seeds: Sequence[bytes]
    total: int
    """Executions in all."""
    block: int
    """Executions of a trial, of about half a second."""
    words: Sequence[bytes] = ()
    """What its inputs are made of."""
    raises: tuple[type[Exception], ...] = (VqcliError,)
    mend: Callable[[bytearray], object] = lambda data: None
    """Makes checksums right again, which would hide what lies behind them."""


class Mutator:
    """Endless inputs. What raised an error from a new place is mutated further."""

    def __init__(self, target: Target, seed: str) -> None:
        self.target, self.random = target, random.Random(seed)
        self.pool, self.words = list(target.seeds), [*target.words, *COMMON]
        self.numbers = [number.encode() for number in NUMBERS.split()]

    def __call__(self) -> bytes:
        chance = self.random.random
        data = bytearray(self.pool[int(chance() * len(self.pool))])
        for _ in range(1 + int(chance() * chance() * 6)):
            self.change(data, int(chance() * len(data)), int(chance() * 10), chance)
        if chance() < 0.8:
            self.target.mend(data)
        return bytes(data[:LONGEST])

    def change(self, data: bytearray, at: int, kind: int, chance: Callable[[], float]) -> None:
        """One mutation at a place."""
        length = 1 + int(chance() * chance() * 24)
        if kind == 0 and data:
            data[at] ^= 1 << int(chance() * 8)
        elif kind == 1 and data:
            data[at] = int(chance() * 256)
        elif kind <= 3:
            word = self.words[int(chance() * len(self.words))]
            data[at : at + (len(word) if kind == 3 else 0)] = word
        elif kind == 4:
            del data[at : at + length]
        elif kind == 5:
            data[at:at] = data[at : at + length] * (1 + int(chance() * 3))
        elif kind == 6:
            other = self.pool[int(chance() * len(self.pool))]
            data[at:] = other[int(chance() * len(other)) :]
        elif kind == 7 and chance() < 0.3:
            del data[at:]
        elif kind == 8 and (digits := re.search(rb"-?\d+", data[at:])):
            data[at + digits.start() : at + digits.end()] = self.numbers[int(chance() * len(self.numbers))]
        elif kind == 9:
            size, value = 1 << int(chance() * 4), INTEGERS[int(chance() * len(INTEGERS))]
            value = min(value, (1 << 8 * size) - 1)
            data[at : at + size] = value.to_bytes(size, "big" if chance() < 0.5 else "little")

    def keep(self, data: bytes) -> None:
        """Mutate this one further too."""
        if len(self.pool) < MOST_KEPT:
            self.pool.append(data)
        else:
            self.pool[len(self.target.seeds) + int(self.random.random() * 50)] = data


class Shared:
    """The present input and its number, seen by parent and child; and what the child has found."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 1 << 16)

    def put(self, n: int, data: bytes) -> None:
        self.memory[0:8] = n.to_bytes(4, "little") + len(data).to_bytes(4, "little")
        self.memory[8 : 8 + len(data)] = data

    def get(self) -> tuple[int, bytes]:
        n, size = int.from_bytes(self.memory[0:4], "little"), int.from_bytes(self.memory[4:8], "little")
        return n, self.memory[8 : 8 + size]

    def tell(self, text: str) -> None:
        said = text.encode(errors="backslashreplace")[: (1 << 15) - 2]
        self.memory[1 << 15 : (1 << 15) + 2 + len(said)] = len(said).to_bytes(2, "little") + said

    def told(self) -> str:
        size = int.from_bytes(self.memory[1 << 15 : (1 << 15) + 2], "little")
        return self.memory[(1 << 15) + 2 : (1 << 15) + 2 + size].decode()


def _place(e: BaseException) -> tuple[type, str, int]:
    """The kind of an error, and where it was raised."""
    trace = e.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace else None
    return type(e), code.co_filename if code else "", trace.tb_lineno if trace else 0


def _told(e: BaseException | str, data: bytes) -> str:
    what = e if isinstance(e, str) else f"{_place(e)[0].__name__} at {':'.join(map(str, _place(e)[1:]))}: {e}"
    return f"{what[:300]} <- {base64.b64encode(data).decode()}"


def wrong_with(target: Target, data: bytes, folder: Path) -> BaseException | None:
    """What a target raises that it may not; None where all is well, and the place of what it may."""
    try:
        target.run(data, folder)
    except target.raises as e:
        if not str(e):
            return AssertionError("an error without a message")
        raise
    except Exception as e:
        return e
    return None


def _child(target: Target, seed: str, folder: Path, shared: Shared) -> None:
    """A whole block."""
    mutate, seen, found = Mutator(target, seed), set(), []
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (2 << 30),) * 2)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in range(target.block):
        data = target.seeds[n] if n < len(target.seeds) else mutate()
        shared.put(n, data)
        e: BaseException | None
        try:
            e = wrong_with(target, data, folder)
        except target.raises as allowed:
            if (place := _place(allowed)) not in seen:
                seen.add(place)
                mutate.keep(data)
            e = None
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if now - grown > GROWTH >> 10:
            found.append(_told(f"it took {(now - grown) >> 10} MiB", data))
            grown = now
        if e is not None and (place := _place(e)) not in seen:
            seen.add(place)
            found.append(_told(e, data))
        if found:
            shared.tell("; ".join(found))
        if len(found) >= MOST_SHOWN:
            return


def _cpu(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


MEMORY = Path("/dev/shm")
"""Where files cost no disk's time."""


def run_block(target: Target, seed: str, folder: Path) -> str:
    """Execute a block; what was wrong with it, and the inputs."""
    if os.access(MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as memory:
            return _watched(target, seed, Path(memory))
    return _watched(target, seed, folder)


def _watched(target: Target, seed: str, folder: Path) -> str:
    shared = Shared()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, 2)  # libraries in C complain of what they read
            _child(target, seed, folder, shared)
            code = 0
        except BaseException as e:
            shared.tell(_told(e, shared.get()[1]))
        finally:
            os._exit(code)
    before, since, used, pause = -1, time.monotonic(), 0.0, 0.002
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        n, _ = shared.get()
        if n != before:
            before, since, used = n, time.monotonic(), _cpu(child)
        elif (took := time.monotonic() - since) > HANG and (
            _cpu(child) - used > HANG - 1 or took > 12 * HANG
        ):
            os.kill(child, 9)
            os.waitpid(child, 0)
            return f"{target.name}: " + _told(f"no end after {took:.0f} s", shared.get()[1])
        time.sleep(pause := min(pause * 1.5, 0.05))
    if status:
        said = shared.told() or _told(f"the process ended with status {status}", shared.get()[1])
        return f"{target.name}: {said}"
    return f"{target.name}: {shared.told()}" if shared.told() else ""


class Fuzz(Part):
    name, figure, goal, share = "fuzz", "fuzz executions of our parsers", 5_000_000, 39

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        from tests.reliability.targets import targets

        for target in targets():
            for k in range(-(-target.total // target.block)):
                name = f"{target.name}/{k:04d}"

                def run(folder: Path, target: Target = target, name: str = name) -> str:
                    return run_block(target, f"{seed} {name}", folder)

                yield Trial(name, run, target.block)
