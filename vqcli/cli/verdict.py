"""What becomes of an exception: an exit code, a sentence, a hint and a reason word."""

from __future__ import annotations

import re
import signal

from vqcli import __version__, signals
from vqcli.errors import BadImage, Interrupted, VqcliError
from vqcli.files import is_absent
from vqcli.files.refused import HINTS

Verdict = tuple[int, str, str, str]
"""Exit code, message, hint and reason word."""
MACHINE = re.compile(
    r"No space left on device|Cannot allocate memory|Too many open files|unable to mmap|"
    r"unable to open shared memory|can't start new thread|Resource temporarily unavailable"
)
"""How libraries pass on, as an error of another class, what the operating system refused."""
APART = re.compile(
    r"gloo|Connection (closed|reset) by peer|Broken pipe|Socket closed|NCCL|TCPStore|DDP expects same model"
)
"""How torch tells that processes lost each other."""


def verdict(e: BaseException, go_on: str) -> Verdict:
    """What is said of an exception; ``go_on`` where it is a stop that does not say itself how to go on."""
    if isinstance(e, KeyboardInterrupt):
        e = Interrupted("stopped", signal.SIGINT)
    elif signals.received and not isinstance(e, Interrupted):  # raised inside of an import, by C code
        e = Interrupted("stopped", signals.received[-1])
    match e:
        case VqcliError():
            return 1, str(e), e.hint, e.reason
        case BadImage():
            return 1, str(e), "without --strict such inputs are rejected and counted", e.reason
        case Interrupted():
            told = f"{e}; {go_on}" if str(e) == "stopped" and go_on else str(e)
            return 128 + e.signal, told, "", "interrupted"
    return _of_the_machine(e) or _internal(e)


def _of_the_machine(e: BaseException) -> Verdict | None:
    """The verdict on what hardware, operating system and installed software refuse."""
    name, text = type(e).__name__, str(e)
    first = text.partition("\n")[0]
    match e:
        case OSError() if e.filename and is_absent(e):
            return 1, f"there can be no {e.filename}: {e.strerror}", "check the path", "input-missing"
        case OSError():
            hint = HINTS.get(e.errno or 0, "check the path, its rights and the room on the disk")
            told = f"{e.filename}: {e.strerror}" if e.filename else e.strerror
            return 1, told or text, hint, "os"
        case ImportError() if not (e.name or "").startswith("vqcli"):
            hint = "vqcli doctor lists what is installed"
            return 1, f"a package cannot be imported: {first}", hint, "environment"
    if isinstance(e, MemoryError) or name == "OutOfMemoryError" or "DefaultCPUAllocator" in text:
        asked = re.search(r"tried to allocate (\d+) bytes", text)
        said = f"out of memory: {int(asked[1]) / 1e9:,.3g} GB were asked for at once" if asked else first
        return 1, said or "out of memory", "try a smaller --batch-size", "memory"
    if isinstance(e, RuntimeError) and "Storage size calculation overflowed" in text:
        return 1, "more memory would be needed than any machine has", "ask for smaller sizes", "memory"
    if isinstance(e, RuntimeError) and MACHINE.search(text):
        return 1, first, "check memory, /dev/shm, the disk and ulimit -a; fewer --num-workers need less", "os"
    if isinstance(e, RuntimeError) and (name.startswith("Dist") or APART.search(text)):
        hint = "see what the others said; the same command, or train --resume, goes on"
        return 1, "another process of this job has ended, or cannot be reached any more", hint, "environment"
    return None


def _internal(e: BaseException) -> Verdict:
    hint = (
        "please report it with the command, the output of vqcli doctor, and what is said when the command "
        "is given again with VQCLI_DEBUG=1"
    )
    return 1, f"internal error of vqcli {__version__}: {type(e).__name__}: {e}", hint, "internal"
