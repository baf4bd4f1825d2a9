"""Reading lists of names: how they are encoded, what is a comment, and labels that follow a name."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from vqcli import bounds
from vqcli.data.images.base import IMAGE_SUFFIXES
from vqcli.data.images.fields import LABEL_NAMES
from vqcli.data.location import suffix_of
from vqcli.errors import VqcliError

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""In the order they are looked for: UTF-32's begins with UTF-16's."""
LOOKED_AT = 64
"""Lines that are looked for as files, where a line may be read in two ways."""
_ENDINGS = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES, key=len, reverse=True))
_LABELLED = re.compile(rf"(.*(?:{_ENDINGS})[\"']?)( *[,;\t] *| +)(.*)", re.IGNORECASE | re.DOTALL)
"""A name, which ends as pictures do, a separator, a label."""
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_NUMBERS = re.compile(r"-?[\d.]+(?:[ ,;\t]+-?[\d.]+)+")
_WHOLE = re.compile(r"(-?\d+)\.0+")
LOCAL = "file://"

There = Callable[[str], bool]
"""Whether a file of this name is there."""


class Listed(NamedTuple):
    """What a list names."""

    names: list[str]
    labels: list[str | None]
    """What follows each name, as its label."""
    remarks: tuple[str, ...] = ()


def text_of(data: bytes, where: str) -> str:
    """A list's text; bytes that are no UTF-8 stay as they are in names of files. Raises VqcliError."""
    check_list(data, where)
    mark = next((mark for mark in BYTE_ORDER_MARKS if data.startswith(mark)), b"")
    encoding = BYTE_ORDER_MARKS.get(mark) or _without_mark(data)
    text = data.removeprefix(mark).decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    if "\0" in text or (encoding != "utf-8" and "\ufffd" in text):
        message = f"{where} is no list: it is text neither in UTF-8 nor in UTF-16"
        raise VqcliError(message, hint="save it as UTF-8, one path a line", reason="damaged")
    return text


def check_list(data: bytes, where: str) -> None:
    """Raises VqcliError where so much was read that there may be more."""
    if len(data) > bounds.TABLE:
        message = f"{where} has more than {bounds.TABLE >> 20} MiB, too much for a list"
        raise VqcliError(message, hint="is it the right file? divide it, if it is", reason="format")


def _without_mark(data: bytes) -> str:
    """Text of plain letters has a NUL in every other byte in UTF-16, none in UTF-8."""
    for encoding, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        if data[first::2].count(0) * 2 > len(data[first::2]) > 0 and not data[1 - first :: 2].count(0):
            return encoding
    return "utf-8"


def listed(text: str, there: There, where: str) -> Listed:
    """The names in a list's text, one a line, and labels that follow them. Raises VqcliError.

    Blank lines are left out, and lines that begin with ``#`` unless a file has that name. Blanks around a
    name, quotes, labels and backslashes are seen as such unless files are there whose names have them.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines, remarks = _without_comments(lines, there)
    lines = _unless_there(lines, [line.strip() for line in lines], there)
    if table := _table(lines, there):
        remarks.append(f"the first line, {lines[0]}, is taken as the names of columns: {table.remarks[0]}")
        lines = names = table.names
        labels = table.labels
    else:
        lines, names, labels = _parsed(lines, there, quoted='"' in text or "'" in text)
    if "\\" in text:
        names = list(map(_slashed, names)) if _helps(_slashed, names, there) else names
    if _helps(lambda name: _after_key(name)[0], names, there):
        names, labels = map(list, zip(*map(_after_key, names)))
        remarks.append("names stand last on their lines: what is before them is not read, but for a label")
    if len(lines) > 1 and _is_header(names) and not there(lines[0]):
        remarks.append(f"the first line, {lines[0]}, is taken as the names of columns")
        lines, names, labels = lines[1:], names[1:], labels[1:]
    found = len(labels) - labels.count(None)
    without = sum(name != line and label is None for name, line, label in zip(names, lines, labels))
    remarks += [f"lines with a label beside the name: {found:,} of {len(names):,}"] if found else []
    remarks += [f"lines with more than a name, and no single label: {without:,}"] if without else []
    if "~" in text or "://" in text:
        names = [_here(name, where) for name in names]
    return Listed(names, labels, tuple(remarks))


def _parsed(lines: list[str], there: There, *, quoted: bool) -> tuple[list[str], list[str], list[str | None]]:
    """Lines without quotes around them, the names in them, and the labels."""
    if quoted:
        lines = _unless_there(lines, [_unquoted(line) for line in lines], there)
    parsed = [_labelled(line) for line in lines]
    names = _unless_there(lines, [name for name, _ in parsed], there)
    return lines, names, [label if names is not lines else None for _, label in parsed]


def _table(lines: Sequence[str], there: There) -> Listed | None:
    """Names and labels of lines that are rows under names of columns; None of all others.

    The first column with pictures' names alone names them; labels are called so, or are the only others.
    """
    between = "\t" if "\t" in "".join(lines[:1]) else ","
    if len(lines) < 2 or between not in lines[0] or there(lines[0]):
        return None
    try:
        rows = list(csv.reader(lines, delimiter=between))
    except csv.Error:  # a quote that is never closed
        return None
    header = [name.strip().lower() for name in rows.pop(0)]
    if any(len(row) != len(header) for row in rows):
        return None
    columns = range(len(header))
    named = (i for i in columns if all(suffix_of(row[i]) in IMAGE_SUFFIXES for row in rows))
    name = next((i for i in named if suffix_of(header[i]) not in IMAGE_SUFFIXES), None)
    if name is None:
        return None
    known = [header.index(label) for label in LABEL_NAMES if label in header]
    label = known[0] if known else 1 - name if len(header) == 2 else None
    labels = [None if label is None else _plain(row[label]) for row in rows]
    told = "images have no label" if label is None else f"labels are those of {header[label] or 'the other'}"
    return Listed([row[name].strip() for row in rows], labels, (told,))


def _without_comments(lines: Sequence[str], there: There) -> tuple[list[str], list[str]]:
    """The lines that name something, and what is said of the others."""
    kept, names = [], 0
    for line in lines:
        if not line.startswith("#") or there(line) or there(_labelled(line)[0]):
            kept += [line] if line.strip() else []
        elif suffix_of(line) in IMAGE_SUFFIXES:
            names += 1
    what = "1 line that begins with # is" if names == 1 else f"{names:,} lines that begin with # are"
    return kept, [f"{what} taken as comment, no picture of that name is there"] if names else []


def _unless_there(lines: list[str], changed: list[str], there: There) -> list[str]:
    """Lines as they were changed; as they stand where some that would change are names of files."""
    differ = [line for line, other in zip(lines, changed) if line != other]
    return lines if any(map(there, _some(differ))) else changed


def _helps(change: Callable[[str], str], lines: Sequence[str], there: There) -> bool:
    """Whether lines are names of files when they are changed, and not as they stand."""
    some = [line for line in _some(lines) if change(line) != line]
    return any(there(change(line)) for line in some) and not any(map(there, some))


def _some(lines: Sequence[str]) -> Sequence[str]:
    """``LOOKED_AT`` at most, from all over the list."""
    return lines[:: -(-len(lines) // LOOKED_AT) or 1]


def _slashed(line: str) -> str:
    return line.replace("\\", "/")


def _unquoted(line: str) -> str:
    inside = line[1:-1]
    return inside if inside and line[0] == line[-1] in ("'", '"') and line[0] not in inside else line


def _labelled(line: str) -> tuple[str, str | None]:
    """Name and label in a line; the line itself where no label follows. Several values are no label."""
    found = None if suffix_of(line) in IMAGE_SUFFIXES else _LABELLED.fullmatch(line)
    if not found:
        return line, None
    name, between, label = found.groups()
    whole = _unquoted(label) != label
    several = not whole and (
        _NUMBERS.fullmatch(label) or (between.strip(" ") and between.strip(" ") in label)
    )
    return _unquoted(name), None if several else _plain(label)


def _plain(label: str) -> str | None:
    """A label without quotes; ``3.000000`` is 3."""
    label = label.strip()
    whole = _WHOLE.fullmatch(label) if "." in label else None
    return whole[1] if whole else _unquoted(label) or None


def _after_key(line: str) -> tuple[str, str | None]:
    """Name and label in a line whose name comes last, after a key (Kaldi), or after key and label (MXNet)."""
    key, _, name = line.rpartition("\t") if "\t" in line else line.partition(" ")
    if not key or not name or suffix_of(key) in IMAGE_SUFFIXES:
        return line, None
    _, tab, label = key.partition("\t")
    return name, _plain(label) if tab and "\t" not in label else None


def _is_header(names: Sequence[str]) -> bool:
    """Whether all names but the first end as pictures do."""
    pictures = (suffix_of(name) in IMAGE_SUFFIXES for name in names)
    return not next(pictures) and all(pictures)


def _here(name: str, where: str) -> str:
    """A path, from a name that may be one's home or a local address. Raises VqcliError."""
    if name.startswith("~/"):
        return os.path.expanduser(name)  # noqa: PTH111 (names are text here)
    if name.startswith(LOCAL):
        return unquote(name.removeprefix(LOCAL))
    if _ELSEWHERE.match(name):
        raise VqcliError(
            f"{where} names {name}: only files that lie here are read",
            hint="download them first, and list the files",
            reason="input-missing",
        )
    return name
