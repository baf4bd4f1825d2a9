"""Pipes, devices, sockets, folders and links where files are expected."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import Case, Make, both, decode, encode, generate, nothing, put

GOOD = put("in/good.png", picture())
ENDINGS = ("png", "jpg", "txt", "tar", "parquet", "npz", "npy", "json", "pt", "ckpt", "safetensors", "yaml")


def pipe(name: str) -> Make:
    """A FIFO that nobody writes to."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)

    return make


def link(name: str, target: str) -> Make:
    """A symbolic link."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)

    return make


def plug(name: str) -> Make:
    """A socket that nobody listens at."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        here = Path.cwd()
        os.chdir((folder / name).parent)
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(Path(name).name)
        finally:
            os.chdir(here)

    return make


def inside(name: str) -> Make:
    """A folder of that name."""
    return lambda folder: (folder / name).mkdir(parents=True)


def command(name: str) -> tuple[str, ...]:
    """What takes a file of this ending."""
    ending = name.rpartition(".")[2]
    if ending in ("npy", "json"):
        return decode(name)
    if ending in ("pt", "ckpt", "safetensors"):
        return ("info", name, "--json")
    return ("check", name, "--json") if ending == "yaml" else encode(name)


ODD = (
    "format",
    "input-missing",
    "input-empty",
    "not-a-file",
    "damaged",
    "config",
    "no-info",
    "reference",
    "wrong-kind",
)
"""What may be said of something that is no regular file."""


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    kinds = {
        "fifo": pipe, "socket": plug, "folder": inside, "zero": lambda name: link(name, "/dev/zero"),
        "null": lambda name: link(name, "/dev/null"), "full": lambda name: link(name, "/dev/full"),
        "dangling": lambda name: link(name, "gone"), "loop": lambda name: link(name, Path(name).name),
        "mem": lambda name: link(name, "/proc/self/mem"), "random": lambda name: link(name, "/dev/urandom"),
    }  # fmt: skip
    for kind, make in kinds.items():
        for ending in ENDINGS:
            about = (
                "" if kind == "folder" or ending in ("png", "jpg") else f"f.{ending}"
            )  # a list names images
            yield Case(
                f"{kind}-{ending}",
                make(f"f.{ending}"),
                command(f"f.{ending}"),
                1,
                (*ODD, "empty-file", "truncated", "not-an-image", "os"),
                about,
            )
    for kind, make in kinds.items():
        if kind == "folder":
            yield Case("beside-folder", both(GOOD, make("in/x.png")), encode("in"), 0)
            continue
        reasons = ("not-a-file", "missing", "unreadable", "empty-file")
        code = 3 if kind == "mem" else 0  # what is no file is left out of a folder, counted and said
        yield Case(f"beside-{kind}", both(GOOD, make("in/x.png")), encode("in"), code, reasons)
        listed = both(GOOD, make("x.png"), put("list.txt", b"in/good.png\nx.png\n"))
        yield Case(f"listed-{kind}", listed, encode("list.txt"), 3, reasons)
    yield Case("link-to-good", both(GOOD, link("in/x.png", "good.png")), encode("in"), 0)
    yield Case("sparse", both(GOOD, _sparse("in/x.png")), encode("in"), 3, ("file-too-large",))
    yield Case("empty-folder", inside("in"), encode("in"), 1, ("input-empty",), "in")
    yield Case("texts-only", put("in/a.md", b"x"), encode("in"), 1, ("input-empty", "input-missing"), "in")
    yield Case("deep-tree", put("in/" + "d/" * 60 + "x.png", picture()), encode("in"), 0)
    yield Case("looping-folders", both(GOOD, link("in/loop", ".")), encode("in"), 0)
    yield Case("missing", nothing, encode("gone"), 1, ("input-missing", "reference"), "gone")
    for name in ("model.safetensors", "config.json", "codebook.safetensors"):
        for kind in ("fifo", "zero", "socket", "folder", "null"):
            yield Case(
                f"model-{kind}-{name}",
                both(_model, _instead(kinds[kind], name)),
                encode("in", "-m", "m"),
                1,
                ODD,
            )
    for kind in ("fifo", "zero", "null"):
        yield Case(
            f"classes-{kind}",
            both(_generator, _instead(kinds[kind], "classes.json")),
            generate("m"),
            1,
            (*ODD, "class"),
        )


def _sparse(name: str) -> Make:
    def make(folder: Path) -> None:
        with open(folder / name, "wb") as file:
            file.truncate(10 << 30)

    return make


def _model(folder: Path) -> None:
    from tests.reliability.corpus.folders import copied

    GOOD(folder)
    copied("tok", lambda path: None, folder)


def _generator(folder: Path) -> None:
    from tests.reliability.corpus.folders import copied

    copied("gen", lambda path: None, folder)


def _instead(kind: object, name: str) -> Make:
    def make(folder: Path) -> None:
        (folder / "m" / name).unlink(missing_ok=True)
        kind(f"m/{name}")(folder)  # type: ignore[operator]

    return make
