"""From what a user names to a source of images: the registered sources are asked whose it is."""

from __future__ import annotations

import re

from vqcli.data.images.base import Source, Told, Unlabelled
from vqcli.data.images.forms import instead
from vqcli.data.images.misnamed import check_image
from vqcli.data.images.splits import split_name
from vqcli.data.location import location
from vqcli.errors import VqcliError
from vqcli.registry import known_parts, resolve
from vqcli.types import ANYHOW, Progress, Reading, silent

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|pipe:")


def claimant(text: str) -> type[Source] | None:
    """The source whose images ``text`` names; None where no source claims it.

    The last one in the registry is asked first, so that one from outside may know a folder or a file better.
    """
    kinds = (resolve("sources", name) for name in reversed(known_parts("sources")))
    return next((kind for kind in kinds if kind.claims(text)), None)


def open_source(text: str, reading: Reading = ANYHOW, progress: Progress = silent) -> Source:
    """The images ``text`` names, read as ``reading`` asks; ``progress`` says what was left out and chosen.

    Raises VqcliError with reason ``input-missing`` or ``input-empty``, or that of a damaged file.
    """
    source = claimed(text).open(text, reading)
    if reading.split and not source.has_splits:
        raise VqcliError(f"{text} has no splits", hint="leave --split away", reason="input-missing")
    if reading.labels:
        source.told += _without_label(source)
    for line in source.told.lines():
        progress.say(f"{text}: {line}")
    return source if reading.labels else Unlabelled(source)


def open_split(everything: Source, text: str, reading: Reading) -> Source:
    """The images of a split among ``everything`` that ``text`` names, listed again only where that is needed.

    Raises VqcliError as ``open_source``.
    """
    split = split_name(reading.split or "")
    part = everything.of_split(split) if split in everything.splits else None
    if part is None:
        return open_source(text, reading)
    whole = _without_label(everything).remarks
    rest = tuple(remark for remark in part.told.remarks if remark not in whole)
    part.told = Told(part.told.left_out, rest) + (_without_label(part) if reading.labels else Told())
    return part


def claimed(text: str) -> type[Source]:
    """The source whose images ``text`` names, unread. Raises VqcliError where no source claims it."""
    kind = claimant(text)
    if kind is not None:
        return kind
    place = location(text)
    if place.holds_file():
        check_image(place)
    if place.exists():
        raise VqcliError(f"{text} holds no images", hint=instead(text), reason="input-empty")
    if _ADDRESS.match(text):
        message, hint = f"{text} is an address: only files that lie here are read", "download them first"
        raise VqcliError(message, hint=hint, reason="input-missing")
    raise VqcliError(f"{text} does not exist", hint=instead(text), reason="input-missing")


def _without_label(source: Source) -> Told:
    """How many images have no label, where others have one."""
    none, count = source.unlabelled(), len(source)
    if not none or (none == count and not source.classes):
        return Told()
    have = "has" if none == 1 else "have"
    return Told({}, (f"{none:,} of {count:,} images {have} no label",))
