"""How large may be what others made: the one table of such numbers."""

from __future__ import annotations

TEXT, LINE = 16 << 20, 1 << 20
"""Bytes of settings or descriptions that are read as a whole, and of one line of a log."""
LISTS = 1 << 30
"""Of JSON that names images, of which there may be millions."""
HEADER, TENSORS = 16 << 20, 50_000
"""Bytes and entries of the header of a safetensors file, and tensors of any: published models have some
thousand."""
IMAGE = 256 << 20
"""Bytes of an image's file, wherever it lies."""
TABLE = 256 << 20
"""Of a list of images, names on standard input, a table of fields."""
BESIDE = 1 << 20
"""Of a caption, or the fields of one picture."""
EXTRA = 16 << 20
"""Of a long name, a pax header (it may hold a Mac's preview of a picture), or a label, in a tar."""
INDEX, SHARDS = 64 << 20, 1000
"""Bytes of an index of weights, and files that it may name."""
LIGHT = 64 << 20
"""Of a file of the Hub that is no weights."""
ANSWER, NAMES = 16 << 20, 10_000
"""Of what the Hub answers besides files, and names in a repository."""
ENTRIES = 200_000
"""Of a zip file of weights: one for each tensor of a model and its optimizer."""
OPERATIONS, CALLS = 2_000_000, 300_000
"""Of a pickle: 50,000 tensors of a model and its optimizer take about half."""
ROWS = 1_000_000
"""Of a Parquet file, besides one for each of its bytes."""
GRACE, RATE = 30, 1000
"""Seconds in which a server must have sent something, and bytes that it must send a second from then on."""
MEMORY, TIMES = 640 << 20, 4
"""Bytes that reading a file may take, or so many times its size, whichever is more."""


def allowed(size: int) -> int:
    """Bytes of memory that reading a file of this size may take."""
    return max(MEMORY, TIMES * size)
