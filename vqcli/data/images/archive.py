"""The members of a tar file, found by one pass over its headers; nothing is extracted.

Strict: what is damaged or cut off is an error, never a shorter list. Format: POSIX.1-2017 pax and ustar, GNU
and Solaris extensions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from posixpath import dirname, join, normpath
from typing import BinaryIO, Literal, NamedTuple
from zlib import adler32

from vqcli import bounds

BLOCK = 512
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = b"xX", b"g", b"L", b"K"
NO_DATA = b"123456V"
SPARSE = b"S"
SPARSE_MORE, SPARSE_MORE_AGAIN = 482, 504
"""Where a sparse member's header, and each block after it, says that a block with more of its map follows."""
OCTAL = re.compile(rb"([0-7]+)[\0 ]{1,2}")
Kind = Literal["file", "link", "symlink", "folder", "device", "sparse", "other"]
KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "link",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"6": "device",
    b"D": "folder",
    SPARSE: "sparse",
}
"""What a header's letter means; other letters are other kinds."""


class Damaged(Exception):
    """What is wrong with an archive; ``unended`` where all of it may be there but for its end marker."""

    def __init__(self, what: str, *, unended: bool = False) -> None:
        super().__init__(what)
        self.unended = unended


class Member(NamedTuple):
    """What stands in an archive under a name; the bytes of a file are ``data[offset : offset + size]``."""

    name: str
    offset: int
    size: int
    kind: Kind = "file"
    target: str = ""
    """What a link stands for: a member's name, of a symbolic link seen from its own folder."""


def members(file: BinaryIO) -> Iterator[Member]:
    """All there is in an archive that is open, from its headers. Raises Damaged unless it is whole."""
    end, at = file.seek(0, os.SEEK_END), 0
    told: dict[str, str] = {}
    while True:
        header = read_at(file, at, BLOCK)
        if len(header) < BLOCK:
            what = f"it is cut off at byte {at + len(header)}" if header else "its end marker is missing"
            raise Damaged(what, unended=not header)
        if header[0] == 0 and not any(header):
            _check_end(file, at + BLOCK)
            return
        _check_sum(header, at)
        letter, size = header[156:157], int(told.get("size", -1))
        if size < 0 or letter in NO_DATA:
            size = _number(header[124:136], at)
        data = _after_map(file, at) if letter == SPARSE and header[SPARSE_MORE] else at + BLOCK
        at = data + (0 if letter in NO_DATA else -(-size // BLOCK) * BLOCK)
        if at > end:
            raise Damaged(f"it is cut off at byte {end}")
        if letter in PAX:
            told |= _pax(read_extra(file, data, size))
        elif letter == LONG_NAME:
            told["path"] = _text(read_extra(file, data, size))
        elif letter == LONG_LINK:
            told["linkpath"] = _text(read_extra(file, data, size))
        elif letter != PAX_GLOBAL:
            yield _member(header, told, data, size)
            told = {}


def resolved(links: Iterable[Member], files: dict[str, Member]) -> Iterator[tuple[Member, Member | None]]:
    """Each link with the file that it stands for; None where no file of the archive is that."""
    known = list(links)
    targets = {link.name: _target(link) for link in known}
    for link in known:
        name, seen = targets[link.name], {link.name}
        while name not in files and name in targets and name not in seen:
            seen.add(name)
            name = targets[name]
        file = files.get(name)
        yield link, file and file._replace(name=link.name)


def plain_name(name: str) -> str:
    """A member's name without a beginning that says nothing: ``./a`` is ``a``."""
    while name.startswith(("./", "/")):
        name = name.lstrip("/").removeprefix("./")
    return name


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Bytes of a file that is open; fewer where it ends."""
    file.seek(offset)
    return file.read(size)


def read_extra(file: BinaryIO, offset: int, size: int) -> bytes:
    """The bytes of a small member. Raises Damaged where it has more than ``bounds.EXTRA``."""
    if size > bounds.EXTRA:
        raise Damaged(f"the member at byte {offset} is {size} bytes long, too long for what it is")
    return read_at(file, offset, size)


def _target(link: Member) -> str:
    target = link.target if link.kind == "link" else join(dirname(link.name), link.target)
    return plain_name(normpath(target))


def _member(header: bytes, told: dict[str, str], data: int, size: int) -> Member:
    name = told.get("path") or _header_name(header)
    kind = KINDS.get(header[156:157], "other")
    if "sparse" in told:
        kind = "sparse"
    elif kind == "file" and name.endswith("/"):
        kind = "folder"  # as tar wrote them before there was a letter for it
    if kind == "file":
        return Member(plain_name(name), data, size)
    target = told.get("linkpath") or _text(header[157:257])
    return Member(plain_name(name), data, size, kind, target)


def _check_end(file: BinaryIO, at: int) -> None:
    """A block of zeros must be followed by another."""
    second = read_at(file, at, BLOCK)
    if len(second) < BLOCK or any(second):
        raise Damaged("its end marker is incomplete", unended=not any(second))


def _after_map(file: BinaryIO, at: int) -> int:
    """Where the data of a sparse member begins, whose header has blocks of its map behind it."""
    more = True
    while more:
        at += BLOCK
        block = read_at(file, at, BLOCK)
        more = len(block) == BLOCK and block[SPARSE_MORE_AGAIN] != 0
    return at + BLOCK


def _check_sum(header: bytes, at: int) -> None:
    """The sum of a header's bytes, its own field taken as blanks; some writers took bytes as signed."""
    field = header[148:156]
    expected, total = _number(field, at), _sum(header) - _sum(field) + 8 * 32
    if expected == total:
        return
    rest = header[:148] + header[156:]
    if expected != total - 256 * sum(byte > 127 for byte in rest):
        raise Damaged(f"the header at byte {at} fails its checksum")


def _sum(block: bytes) -> int:
    """The sum of a block's bytes; of text, Adler's first sum, far faster, is one more, and never wraps."""
    return (adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)


def _number(field: bytes, at: int) -> int:
    """A header's number: octal text, or binary where the first bit is set (GNU)."""
    if octal := OCTAL.fullmatch(field):  # nearly always
        return int(octal[1], 8)
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        digits = field.split(b"\0")[0].strip() or b"0"
        value = int(digits, 8) if digits.isdigit() and b"8" not in digits and b"9" not in digits else -1
    if value < 0:
        raise Damaged(f"the header at byte {at} holds no valid size")
    return value


def _header_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[345] and header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    """What a pax header tells of name, size and link, records ``LENGTH KEY=VALUE\\n``."""
    told: dict[str, str] = {}
    while data:
        digits = data.split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or length > len(data):
            raise Damaged("a pax header is malformed")
        if key.startswith(b"GNU.sparse"):
            told["sparse"] = "yes"
        if key in (b"path", b"linkpath", b"size", b"GNU.sparse.name"):
            told[_text(key.rpartition(b".")[2].replace(b"name", b"path"))] = _text(value[:-1])
        data = data[length:]
    size = told.get("size", "0")
    if not (size.isascii() and size.isdigit() and len(size) < 20):
        raise Damaged("a pax header is malformed")
    return told
