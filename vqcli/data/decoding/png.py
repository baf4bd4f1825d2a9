"""PNG files that Pillow refuses: sound pixels beside much compressed text, or a large ICC profile."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_TEXT = 32 << 20
"""Bytes of a file's text, uncompressed, that are handed on; what goes beyond has no bearing on pixels."""
MOST_PROFILE = 32 << 20
"""Bytes of an ICC profile, uncompressed; a larger one is as none."""


def chunks(data: bytes, *, all_of_them: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of the contents of whole chunks; those before the pixels, or all."""
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data) or (name == b"IDAT" and not all_of_them):
            return
        yield name, at + 8, size
        at += 12 + size


def plain(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG with its texts uncompressed and without its ICC profile; and that profile, if it can be had."""
    parts, left, end = [PNG_MAGIC], MOST_TEXT, len(PNG_MAGIC)
    profiles: list[bytes | None] = []
    for name, at, size in chunks(data, all_of_them=True):
        end = at + size + 4
        if name not in (b"iCCP", b"tEXt", b"zTXt", b"iTXt"):
            parts.append(data[at - 8 : end])
            continue
        keyword, _, rest = data[at : at + size].partition(b"\0")
        if name == b"iCCP":
            profiles = profiles or [_inflate(rest[1:], MOST_PROFILE)]  # one, whatever comes of it
            continue
        text = _text(name, rest, left) if left > 0 else None
        left = 0 if text is None else left - len(text)  # after one that is too large nothing is tried
        if text is not None and left >= 0:
            parts.append(_chunk(b"iTXt" if name == b"iTXt" else b"tEXt", keyword + b"\0" + text))
    return b"".join([*parts, data[end:]]), profiles[0] if profiles else None


def _text(name: bytes, rest: bytes, most: int) -> bytes | None:
    """What follows the keyword, uncompressed."""
    if name == b"zTXt":
        return _inflate(rest[1:], most)
    if name == b"iTXt" and rest[:1] == b"\1":
        language, _, more = rest[2:].partition(b"\0")
        translated, _, text = more.partition(b"\0")
        inflated = _inflate(text, most)
        return None if inflated is None else b"\0".join([b"\0", language, translated, inflated])
    return rest


def _inflate(data: bytes, most: int) -> bytes | None:
    """Uncompressed bytes; None where they are damaged, or more than ``most``."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, most)
    except zlib.error:
        return None
    return found if stream.eof else None


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
