"""What a command needs of the user and the environment, put in order before libraries look for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from vqcli.errors import VqcliError

NUMBERS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
"""Variables that libraries take for whole numbers, and fail without a word where they are none."""


def settle_surroundings(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Give a user without an entry in passwd a name and a folder for caches, and drop settings that are none.

    Returns what the user should know of it, in sentences. Raises VqcliError without a current folder.
    """
    try:
        Path.cwd()
    except FileNotFoundError as e:
        message = "the current folder is not there any more"
        raise VqcliError(message, hint="go to another one: cd", reason="os") from e
    told = []
    for name in NUMBERS:
        value = environment.get(name)
        if value is not None and not value.strip().isdecimal():
            del environment[name]
            told.append(f"{name} is {value!r} and should be a number of seconds: it is not used")
    return told + (_settle_user(environment) if os.name == "posix" else [])


def _settle_user(environment: MutableMapping[str, str]) -> list[str]:
    """Containers often run under a number that has no name and no home."""
    import pwd

    user = os.getuid()
    with suppress(KeyError):
        pwd.getpwuid(user)
        return []
    if not any(environment.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        environment["LOGNAME"] = f"user-{user}"
    if environment.get("HOME"):
        return []
    home = Path(tempfile.gettempdir()) / f"vqcli-home-{user}"
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        if home.stat().st_uid != user or home.is_symlink():  # another user's: nothing of it is believed
            home = Path(tempfile.mkdtemp(prefix="vqcli-home-"))
    except OSError:
        return []
    environment["HOME"] = str(home)
    return [f"this user has no home folder: caches are kept in {home}, or where HF_HOME and VQCLI_CACHE say"]
