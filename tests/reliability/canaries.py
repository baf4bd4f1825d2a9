"""A command in a forked process whose every step is watched: what it runs, connects to, loads and writes."""

import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

CANARY = "canary"
"""The file that every payload makes, in the folder of its trial; its name stands in all of their code."""
SECRET = "A PRIVATE KEY"
"""What lies outside of all that a stranger sent."""
SECONDS = 120
NEVER = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.forkpty",
    "os.startfile",
    "pty.spawn",
    "subprocess.Popen",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "webbrowser.open",
    "urllib.Request",
    "ftplib.connect",
    "smtplib.connect",
    "pickle.find_class",
    "sqlite3.connect",
}
"""Events that no command on a stranger's files has."""
CHANGES = {
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.chown",
    "os.truncate",
    "shutil.rmtree",
}
"""Events whose first argument, and second where it is a path, is changed."""
IN_A_FOLDER = {"os.remove", "os.rmdir"}
"""Those whose last argument is a folder's handle, or -1."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
"""What no terminal may be sent."""


class Net:
    """An audit hook for the work on a stranger's files in ``top``; what it notices is a line of a file."""

    def __init__(self, top: Path, told: int) -> None:
        self.top, self.told = os.path.realpath(top), told
        self.free = (*(f"{self.top}/{name}/" for name in ("out", "cache", "tmp")), "/dev/")

    def __call__(self, event: str, given: tuple) -> None:
        wrong = self._wrong(event, given)
        if wrong:
            os.write(self.told, f"{event}: {wrong}\n".encode(errors="replace"))

    def _wrong(self, event: str, given: tuple) -> str:
        if event in NEVER:
            return repr(given)[:200]
        if event == "exec":
            code = given[0]
            name = getattr(code, "co_filename", "")
            strange = self._strange(name) or CANARY in repr(getattr(code, "co_consts", ""))
            return f"code of {name}" if strange else ""
        if event in ("import", "ctypes.dlopen"):
            name = next((each for each in given[:2] if isinstance(each, str) and "/" in each), "")
            return f"module of {name}" if self._strange(name) else ""
        if event == "open":
            path, _, flags = given
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) if flags else False
            return f"writes {path!r}" if writes and not self._allowed(path) else ""
        if event in CHANGES:
            paths = [each for each in given[:2] if isinstance(each, str | bytes | os.PathLike)]
            folders = [each for each in given[1:] if type(each) is int and each >= 0][-1:]
            if event in IN_A_FOLDER and folders:  # as shutil.rmtree does
                paths = [f"/proc/self/fd/{folders[0]}/{os.fsdecode(each)}" for each in paths]
            return f"changes {paths!r}" if not all(map(self._allowed, paths)) else ""
        return ""

    def _strange(self, path: str) -> bool:
        return bool(path) and Path(path).exists() and os.path.realpath(path).startswith(f"{self.top}/")

    def _allowed(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a handle that was open
        there = Path(os.fsdecode(path))
        return f"{there.parent.resolve() / there.name}/".startswith(self.free)


def watched(top: Path, work, *, net: bool = True) -> tuple[int, str, str]:
    """Do work in a fork, in ``top/here``: how it ended, what it said, and what the net noticed."""
    for name in ("here", "out", "cache", "tmp"):
        (top / name).mkdir(exist_ok=True)
    said, noticed = top / "said", top / "noticed"
    child = os.fork()
    if child == 0:
        code = 99
        try:
            _prepare(top, said)
            told = os.open(noticed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if net:
                sys.addaudithook(Net(top, told))
            code = work()
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 1
        except BaseException as e:  # told as what it is, and the process ends
            os.write(2, f"Traceback: {type(e).__name__}: {e}\n".encode(errors="replace"))
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code if 0 <= code < 256 else 1)
    end = time.monotonic() + SECONDS
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -signal.SIGKILL, said.read_text(errors="replace"), f"took more than {SECONDS} s"
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(ended[1])
    return code, said.read_text(errors="surrogateescape"), noticed.read_text() if noticed.exists() else ""


def _prepare(top: Path, said: Path) -> None:
    """Make a fork what a fresh command would be: its streams, environment, limits and folder."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(handle, number)
    sys.stdin, sys.stdout, sys.stderr = (open(i, "rw"[i > 0], closefd=False) for i in range(3))  # noqa: SIM115
    sys.dont_write_bytecode = True
    for name in ("VQCLI_PLUGINS", "HF_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(VQCLI_CACHE=str(top / "cache"), TMPDIR=str(top / "tmp"), HF_HUB_OFFLINE="1")
    os.environ.update(HOME=str(top / "tmp"), BROWSER="/bin/false", CUDA_VISIBLE_DEVICES="")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    os.chdir(top / "here")


def verdict(top: Path, code: int, said: str, noticed: str) -> str:
    """How a promise was broken, or nothing."""
    if noticed:
        return f"the net noticed: {noticed[:600]}"
    if any((place / CANARY).exists() for place in (top.parent, Path("/"))) or list(top.rglob(CANARY)):
        return "the canary is there"
    if code not in (0, 1, 2, 3):
        return f"exit code {code}: {said[-600:]}"
    if "Traceback" in said or "internal error" in said:
        return f"not in a sentence: {said[-600:]}"
    if found := UNSEEN.search(said):
        return f"{found[0]!r} was sent to the terminal"
    for path in (top / "out").rglob("*"):
        if path.is_file() and SECRET.encode() in path.read_bytes():
            return f"{path.name} holds what lies elsewhere"
    return ""
