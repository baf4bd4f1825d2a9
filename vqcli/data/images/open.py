"""From what a user names to a source of images."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from vqcli.data.images.base import ARRAY_SUFFIX, IMAGE_SUFFIXES, SHARD_SUFFIXES, Source
from vqcli.data.images.files import names_in, read_list
from vqcli.data.images.folder import find_files
from vqcli.data.images.splits import by_file_name, by_first_folder, check_split, present
from vqcli.errors import VqcliError
from vqcli.registry import resolve

KNOWN = (
    "a folder, .txt list, .tar or .parquet shards, an .npz of images, an image, a quoted glob, demo[:N], "
    "or - for names on stdin"
)


def open_source(text: str, *, split: str | None = None, size: tuple[int, int] | None = None) -> Source:
    """The images ``text`` names; of ``split`` alone where the data is divided into splits.

    ``size`` (height, width) is what will be asked of the images; only ``demo`` draws to it. Raises VqcliError
    with reason ``input-missing`` or ``input-empty``, or that of a damaged file.
    """
    source = _open(text, split, size)
    if split and not source.has_splits:
        raise VqcliError(f"{text} has no splits", hint="leave --split away", reason="input-missing")
    return source


def _open(text: str, split: str | None, size: tuple[int, int] | None) -> Source:
    demo = re.fullmatch(r"demo(?::(.*))?", text)
    if demo:
        return _demo(text, demo.group(1), split, size)
    if text == "-":
        return resolve("sources", "list")(names_in(sys.stdin.read()))
    path = Path(text)
    if path.is_dir():
        return _folder(path, split)
    if path.exists():
        return _files([text], None, text)
    if glob.has_magic(text):
        return _files(sorted(glob.glob(text, recursive=True)), split, text)  # noqa: PTH207 (absolute ones too)
    raise VqcliError(f"{text} does not exist", hint=f"give {KNOWN}", reason="input-missing")


def _demo(text: str, count: str | None, split: str | None, size: tuple[int, int] | None) -> Source:
    options: dict[str, object] = {"split": split}
    if count is not None:
        if not (count.isascii() and count.isdigit() and 0 < int(count) < 10**9):
            raise VqcliError(
                f"{text}: the number of images is missing", hint="demo:500", reason="input-missing"
            )
        options["count"] = int(count)
    if size is not None:
        options["size"] = size
    return resolve("sources", "demo")(**options)


def _folder(folder: Path, split: str | None) -> Source:
    names = find_files(folder, IMAGE_SUFFIXES | SHARD_SUFFIXES)
    shards = [name for name in names if Path(name).suffix.lower() in SHARD_SUFFIXES]
    if shards:
        return _shards(shards, split, str(folder), folder)
    return resolve("sources", "folder")(folder, names, split)


def _files(names: list[str], split: str | None, text: str) -> Source:
    """Files that a glob matched, or the one that was named."""
    files = [name for name in names if not Path(name).is_dir()]
    suffixes = {Path(name).suffix.lower() for name in files}
    if suffixes == {".txt"} and len(names) == 1:
        return resolve("sources", "list")(read_list(Path(text)), Path(text).parent)
    if suffixes & SHARD_SUFFIXES:
        return _shards(names, split, text, Path())
    if ARRAY_SUFFIX in suffixes:
        return _array(files, split, text)
    images = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise VqcliError(f"{text} holds no images", hint=f"give {KNOWN}", reason="input-empty")
    return resolve("sources", "list")(images)


def _shards(names: Sequence[str], split: str | None, text: str, folder: Path) -> Source:
    """Shards of one kind, those of ``split`` where names or folders tell splits."""
    kinds = {Path(name).suffix.lower() for name in names}
    if len(kinds) > 1 or not kinds <= SHARD_SUFFIXES:
        raise VqcliError(
            f"{text} mixes {' and '.join(sorted(kinds))} files",
            hint="name one kind: 'folder/*.tar'",
            reason="input-mixed",
        )
    names, known = _of_split(names, split, text)
    source = resolve("sources", kinds.pop().removeprefix("."))([folder / name for name in names])
    source.splits = known
    return source


def _array(names: Sequence[str], split: str | None, text: str) -> Source:
    """The images of one array file; its name may tell its split."""
    if len(names) > 1:
        message = f"{text} names an {ARRAY_SUFFIX} file beside others"
        raise VqcliError(message, hint=f"name one {ARRAY_SUFFIX} file alone", reason="input-mixed")
    _, known = _of_split(names, split, text)
    source = resolve("sources", "npz")(Path(names[0]))
    source.splits = known
    return source


def _of_split(names: Sequence[str], split: str | None, text: str) -> tuple[Sequence[str], tuple[str, ...]]:
    """The files of ``split``, and the splits there are, where names or folders tell them."""
    splits = by_file_name(names) or by_first_folder(names)
    known = present(splits)
    if split and splits:
        wanted = check_split(split, known, text)
        names = [name for name, its in zip(names, splits) if its == wanted]
    return names, known
