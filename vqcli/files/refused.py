"""What an OSError means: that a name leads nowhere, or that the machine could not do it just now."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vqcli.errors import VqcliError

T = TypeVar("T")
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What is said of a name. All else is said of the machine, and may be otherwise in a moment."""
WAITS = (0.05, 0.4)
"""Seconds before a call is made again that the machine has refused."""
HINTS = {
    errno.EACCES: "check its rights",
    errno.EPERM: "check its rights",
    errno.EMFILE: "let more files be open (ulimit -n), or use fewer workers",
    errno.ENFILE: "let more files be open, or use fewer workers",
    errno.ENOMEM: "free memory, or use fewer workers",
}
AGAIN = "check the disk or the share it is on, and give the command again"


def is_absent(e: OSError) -> bool:
    """Whether an error tells that there is nothing of that name, and nothing of the machine."""
    return e.errno in ABSENT


def os_error(e: BaseException | None) -> OSError | None:
    """The system's error that an exception comes from, if any: of bytes, libraries raise some without a
    number, and for a seek before the start Python has EINVAL.
    """
    while e is not None:
        if isinstance(e, OSError) and e.errno and e.errno != errno.EINVAL:
            return e
        e = e.__cause__ or e.__context__
    return None


@contextmanager
def passing_over() -> Iterator[None]:
    """Pass over what is missing or not as it should be; what the machine refused may be neither."""
    try:
        yield
    except VqcliError as e:
        if e.reason == "os":
            raise


def patiently(call: Callable[[], T]) -> T:
    """What a call returns, made again after a moment where the machine refuses it: twice, then it fails."""
    for seconds in WAITS:
        try:
            return call()
        except OSError as e:
            if is_absent(e) or e.errno is None or isinstance(e, IsADirectoryError):
                raise
        time.sleep(seconds)
    return call()


def unread(path: object, e: OSError) -> VqcliError:
    """The error of a path, place or image that cannot be read: absent, or refused by the machine."""
    if e.errno == errno.ENOENT:
        return VqcliError(f"{path} does not exist", hint="check the path", reason="input-missing")
    said = e.strerror or str(e)
    if is_absent(e) or e.errno == errno.EISDIR:
        return VqcliError(f"cannot read {path}: {said}", hint="check the path", reason="input-missing")
    hint = HINTS.get(e.errno or 0, AGAIN)
    return VqcliError(f"cannot read {path}: {said}", hint=hint, reason="os")


def unwritten(path: str | os.PathLike[str], e: OSError) -> VqcliError:
    """The error of something that cannot be written."""
    hint = "check the disk's space and the folder's rights"
    return VqcliError(f"cannot write {path}: {e.strerror or e}", hint=hint, reason="output")
