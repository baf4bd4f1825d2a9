"""Where files lie: sources open, measure, read and list through a ``Location`` alone, wherever it is."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vqcli import files
from vqcli.data.strings import Names

HIDDEN = frozenset({
    "Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "#recycle", "@Recycle", "lost+found",
    "System Volume Information",
})  # fmt: skip
"""What systems leave in people's folders under names without a dot in front: bins are among it."""


class NotAFile(OSError):
    """A pipe or a device where a file should be."""


class Listing(NamedTuple):
    """The files below a folder, each of them either named or counted."""

    names: Mapping[str, Sequence[str]]
    """Ending that was sought -> relative names, sorted; an ending that no file has is left away."""
    left_out: dict[str, int]
    """How many others there are, by kind: ``.mp4``, ``no ending``, ``hidden``, ``link to nothing`` ..."""


class Location(ABC):
    """A file or a folder, here or elsewhere; cheap to hold, to pickle and to share with workers."""

    @abstractmethod
    def __str__(self) -> str:
        """As a user would write it."""

    @abstractmethod
    def __truediv__(self, name: str) -> Location:
        """What is called ``name``, seen from this folder."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything is there. Raises VqcliError where the machine cannot tell."""

    @abstractmethod
    def is_folder(self) -> bool:
        """Whether a folder is there. Raises VqcliError where the machine cannot tell."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """The file for reading, from any place. Raises VqcliError; OSError while it is read."""

    @abstractmethod
    def size(self) -> int:
        """Bytes of the file. Raises OSError, NotAFile, ValueError where no file can have this name."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Bytes at a place of the file; fewer where it ends. Never waits for a pipe. Raises OSError."""

    @abstractmethod
    def listing(self, suffixes: Collection[str]) -> Listing:
        """The files below this folder: names of those with these endings, and how many others there are.

        What is hidden is counted, a folder once. Raises VqcliError.
        """

    @property
    def suffix(self) -> str:
        """How its name ends, in small letters: ``.png``."""
        return suffix_of(str(self))

    def holds_file(self) -> bool:
        """Whether something is there that is no folder."""
        return self.exists() and not self.is_folder()


@dataclass(frozen=True, slots=True)
class Disk(Location):
    """A path on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Disk:
        return Disk(self.path / name)

    def exists(self) -> bool:
        return files.exists(self.path)

    def is_folder(self) -> bool:
        return files.is_folder(self.path)

    def open(self) -> BinaryIO:
        return files.open_regular(self.path)

    def size(self) -> int:
        found = files.patiently(self.path.stat)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        if not stat.S_ISREG(found.st_mode):
            raise NotAFile(errno.EINVAL, "it is no regular file", str(self.path))
        return found.st_size

    def read(self, offset: int, length: int) -> bytes:
        return files.patiently(lambda: self._read(offset, length))

    def _read(self, offset: int, length: int) -> bytes:
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            parts = [os.pread(handle, length, offset)]
            while parts[-1] and (got := sum(map(len, parts))) < length:  # a share may give less at a time
                parts.append(os.pread(handle, length - got, offset + got))
            return b"".join(parts)
        finally:
            os.close(handle)

    def listing(self, suffixes: Collection[str]) -> Listing:
        found = {suffix: Names() for suffix in suffixes}
        left_out: Counter[str] = Counter()
        inside = [self._taken("", found, left_out)]
        while inside:
            below = next(inside[-1], None)
            if below is None:
                inside.pop()
            else:
                inside.append(self._taken(below, found, left_out))
        return Listing({suffix: names for suffix, names in found.items() if names}, dict(left_out))

    def _taken(self, below: str, found: dict[str, Names], left_out: Counter[str]) -> Iterator[str]:
        """Take in what lies in one folder; gives the folders in it, each when all before it is taken."""
        try:
            kinds = files.patiently(lambda: self._kinds(below))
        except OSError as e:
            raise files.unread(self.path / below, e) from e
        folders = sorted(f"{name}/" for name in kinds.pop("folder", ()))
        sought = {kind: sorted(kinds.pop(kind)) for kind in found.keys() & kinds.keys()}
        left_out.update({kind: len(names) for kind, names in kinds.items()})
        at = dict.fromkeys(sought, 0)
        for folder in (*folders, None):
            for kind, names in sought.items():
                start, at[kind] = at[kind], bisect(names, folder) if folder else len(names)
                found[kind].extend([below + name for name in names[start : at[kind]]])
            if folder:
                yield below + folder

    def _kinds(self, below: str) -> dict[str, list[str]]:
        """What lies in one folder, by kind."""
        kinds: defaultdict[str, list[str]] = defaultdict(list)
        endings: defaultdict[str, list[str]] = defaultdict(list)
        with os.scandir(self.path / below) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or not entry.is_file(follow_symlinks=False) or name in HIDDEN:
                    kinds[self._kind(below, entry)].append(name)
                else:
                    endings[name[name.rfind(".") :]].append(name)  # not kind_of: it is asked of every file
        for ending, names in endings.items():
            kinds[kind_of(f"a{ending}")] += names
        return kinds

    def _kind(self, below: str, entry: os.DirEntry[str]) -> str:
        """A file's ending, ``folder``, or why it is neither; links count as what they lead to."""
        if entry.name.startswith("."):
            return "hidden"
        if entry.is_symlink():
            return self._linked(below, entry)
        if not (entry.is_file() or entry.is_dir()):
            return "no file"
        return "hidden" if entry.name in HIDDEN else "folder"

    def _linked(self, below: str, entry: os.DirEntry[str]) -> str:
        try:
            to = entry.stat()
        except FileNotFoundError:
            return "link to nothing"
        except OSError as e:
            if e.errno != errno.ELOOP:
                raise
            return "link in a loop"
        if not stat.S_ISDIR(to.st_mode):
            return kind_of(entry.name) if stat.S_ISREG(to.st_mode) else "no file"
        here = self.path.resolve() / below
        loop = any(os.path.samestat(to, path.stat()) for path in (here, *here.parents))
        return "link in a loop" if loop else "folder"


def location(text: str) -> Location:
    """Where a text points: on this machine. Another kind of place is told apart here."""
    return Disk(Path(text))


def suffix_of(name: str) -> str:
    """How a name ends, in small letters: ``.png``."""
    base = name[name.rfind("/") + 1 :].lstrip(".")  # not os.path.splitext: it is asked of every file
    dot = base.rfind(".")
    return base[dot:].lower() if dot >= 0 else ""


def kind_of(name: str) -> str:
    """A file's kind, as it is counted: its ending, or ``no ending``."""
    return suffix_of(name) or "no ending"
