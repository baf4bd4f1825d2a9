"""What must hold after a fault, of any command: one place that says what is promised."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from tests.reliability.server import Ended

Tree = dict[str, str]
"""Hashes of files by relative name; folders end with a slash and have none."""
TIMES = re.compile(rb'"(seconds|images_per_second|sittings|seal|crc32)": ("[0-9a-f]*"|[0-9.e+-]+|null),?')
"""All that may differ between two runs of a training: how long it took, and so its seal."""
TIMED = re.compile(rb'"state.json": \{[^}]*\}')
"""What a manifest says of a file with such times."""
GROWS = ("metrics.jsonl", "curves.svg", ".decode.json")
"""Files that are written again and again while a command goes on."""
LONGEST = 1000
"""Characters of an error at most."""
UNFINISHED = re.compile(r"(?:^|/)\.(?:tmp|lock)-")
"""What the next command lets go of: files and folders that were being made, and who was making them."""


def tree(folder: Path) -> Tree:
    """What is below a folder, but for the cache, whose temporary files alone are looked at."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (name.startswith("cache/") and not UNFINISHED.search(name)) or name == "cache":
            continue
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            found[name] = "link"
        elif path.is_dir():
            found[name + "/"] = ""
        else:
            found[name] = hashlib.sha256(untimed(name, path.read_bytes())).hexdigest()
    return found


def finished(tree: Tree) -> Tree:
    """What is not on its way."""
    return {name: value for name, value in tree.items() if not UNFINISHED.search(name)}


def untimed(name: str, data: bytes) -> bytes:
    """A file's bytes without how long a training took."""
    if name.endswith(("state.json", "metrics.jsonl")):
        return TIMES.sub(b"", data)
    if name.endswith("curves.svg"):  # draws the numbers of metrics.jsonl, which are looked at
        return b""
    return TIMES.sub(b"", TIMED.sub(b"", data)) if name.endswith("manifest.json") else data


def answer(out: str) -> list[str]:
    """What a command printed, but for how fast it was."""
    return [line for line in out.splitlines() if not line.startswith("speed ")]


def below(name: str, places: Iterable[str]) -> bool:
    """Whether a file is one of the places, or in one."""
    return any(name.rstrip("/") == place or name.startswith(f"{place}/") for place in places)


def told(said: str) -> str:
    """What is wrong with how a failure was told; ``""`` if nothing."""
    for bad in ("Traceback", "internal error", "Exception ignored"):
        if bad in said:
            return f"it says {bad!r}: {said[-600:]}"
    errors = [line for line in said.splitlines() if re.match(r"error( \(process \d+\))?: ", line)]
    if len(errors) != 1:
        return f"it says {len(errors)} errors: {said[-600:]!r}"
    return "" if len(errors[0]) < LONGEST else f"its error has {len(errors[0])} characters"


def answered(ended: Ended, codes: Iterable[int]) -> str:
    """What is wrong with the exit codes and the messages of a command; 1 is an error that is told."""
    for code, said in zip(ended.codes, ended.said):
        if code not in {*codes, 1}:
            return f"exit {code}: {said[-600:]!r}"
        if code == 1 and (wrong := told(said)):
            return wrong
    return ""


def untouched(before: Tree, now: Tree, makes: Iterable[str]) -> str:
    """Whether all that is none of a command's results is as it was."""
    for name, value in before.items():
        if not below(name, makes) and now.get(name) != value:
            return f"{name} was {'changed' if name in now else 'removed'}, and is not the command's"
    return ""


def whole(before: Tree, now: Tree, end: Tree, places: Iterable[str]) -> str:
    """Whether each file that has its name is an old one or the new one; and none was lost on the way.

    All of ``places`` are all old or all new.
    """
    for name, value in now.items():
        known = name.endswith("/") or UNFINISHED.search(name) or name not in end or Path(name).name in GROWS
        if not known and value not in (before.get(name), end[name]):
            return f"{name} is neither what it was nor what it becomes"
    for name in before:
        if name in end and name not in now:
            return f"{name} is lost"
    for place in places:
        states = [{n: v for n, v in one.items() if below(n, [place])} for one in (before, now, end)]
        visible = finished(states[1])
        if visible not in (states[0], states[2]):
            return f"{place} is neither the old one nor the new one: {differs(visible, states[2])}"
    return ""


def differs(now: Tree, end: Tree) -> str:
    """How a folder differs from what it should be; ``""`` if it does not."""
    gone, more = sorted(end.keys() - now.keys()), sorted(now.keys() - end.keys())
    other = sorted(name for name in end.keys() & now.keys() if end[name] != now[name])
    words = (("missing", gone), ("too many", more), ("different", other))
    return "; ".join(f"{word}: {', '.join(names[:5])}" for word, names in words if names)
