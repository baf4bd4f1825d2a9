"""Tags of TIFF files, for what Pillow does not read of them."""

from __future__ import annotations

import struct

PHOTOMETRIC = 262
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


def tags(data: bytes) -> dict[int, tuple[int, int]]:
    """By tag of the first directory, where its value lies, and its value, or the first where it holds two.

    Of short integers alone, which is what tells the layout; nothing of a BigTIFF, or where it is cut.
    """
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return {}
    order = "<" if data.startswith(b"II") else ">"
    found = {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, length, value = struct.unpack_from(f"{order}HHIH", data, entry)
            if kind == 3 and length <= 2:
                found[tag] = entry + 8, value
    except struct.error:
        return {}
    return found


def with_black_as_zero(data: bytes) -> bytes | None:
    """The same TIFF said to hold greys whose 0 is black; None where they are not the other way round."""
    at, value = tags(data).get(PHOTOMETRIC, (0, BLACK_IS_ZERO))
    if value != WHITE_IS_ZERO:
        return None
    order = "<" if data.startswith(b"II") else ">"
    return data[:at] + struct.pack(f"{order}H", BLACK_IS_ZERO) + data[at + 2 :]
