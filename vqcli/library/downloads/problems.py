"""What can go wrong on the way to the Hub, each as one sentence with a way out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vqcli.errors import VqcliError
from vqcli.library.alias import Published
from vqcli.library.aliases import ALIASES
from vqcli.library.downloads.settings import proxy_of

PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that another try may not meet."""


class Away(VqcliError):
    """The Hub could not be asked: what was downloaded before may be used."""


def title(source: Published) -> str:
    """What a source is called: its alias, repository and file."""
    place = f"{source.repository}, {source.file}" if source.file else source.repository
    alias = next((name for name, known in ALIASES.items() if known is source), "")
    return f"{alias} ({place})" if alias else place


def go_on(source: Published) -> str:
    """How to work without the network."""
    alias = next((name for name, known in ALIASES.items() if known is source), "MODEL")
    return (
        f"on a machine that can: vqcli pull {alias} -o DIR, then -m DIR here; or name a local folder, or "
        "train one: vqcli train"
    )


def status_of(e: BaseException) -> int:
    """HTTP status of an error; 0 where no answer came."""
    return getattr(getattr(e, "response", None), "status_code", 0)


def is_passing(e: Exception) -> bool:
    """Whether another try may go well."""
    from huggingface_hub import errors

    return isinstance(e, errors.HTTPError) and status_of(e) in (0, *PASSING)


@contextmanager
def explained(source: Published) -> Iterator[None]:
    """Turn what the client raises into VqcliError; ``Away`` where the Hub could not be asked."""
    from huggingface_hub import errors
    from huggingface_hub.utils import HFValidationError

    try:
        yield
    except VqcliError:
        raise
    except errors.OfflineModeIsEnabled as e:
        raise Away(
            f"{title(source)} is not on this machine, and HF_HUB_OFFLINE is set",
            hint=f"unset it; or {go_on(source)}",
            reason="offline",
        ) from e
    except HFValidationError as e:
        raise VqcliError(f"{title(source)}: {e}", hint="check the name", reason="reference") from e
    except UnicodeEncodeError as e:
        message = f"{title(source)} cannot be asked for: a request takes ASCII only"
        raise VqcliError(
            message, hint="check HF_TOKEN, or log in again: hf auth login", reason="denied"
        ) from e
    except errors.FileMetadataError as e:
        raise _no_hub(source) from e
    except errors.LocalEntryNotFoundError as e:
        cause = e.__cause__
        raise _answered(cause if isinstance(cause, errors.HTTPError) else e, source) from e
    except errors.HTTPError as e:
        raise _answered(e, source) from e
    except OSError as e:
        raise _disk(e, source) from e
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as e:  # what the client makes of odd answers
        raise _no_hub(source) from e


def _no_hub(source: Published) -> Away:
    """The error of an answer, or an address, that no Hub has."""
    return Away(
        f"what answered for {title(source)} is no Hub",
        hint=f"does a proxy stand between, or is HF_ENDPOINT wrong? {go_on(source)}",
        reason="protocol",
    )


def _answered(e: Exception, source: Published) -> VqcliError:
    """The error of a refused or failed request."""
    from huggingface_hub import errors

    what, status = title(source), status_of(e)
    if isinstance(e, errors.GatedRepoError) or status == 403:
        hint = "accept its terms on its page, then log in: hf auth login"
        return VqcliError(f"{what} is given only to those its authors let in", hint=hint, reason="denied")
    if isinstance(e, errors.RevisionNotFoundError):
        message = f"{source.repository} has no revision '{source.revision}'"
        return VqcliError(message, hint="leave @revision out for the newest", reason="input-missing")
    if isinstance(e, errors.RemoteEntryNotFoundError):
        message = f"{source.repository} has no file '{source.file}' at '{source.revision}'"
        hint = f"name the repository alone to see what it has: hf://{source.repository}"
        return VqcliError(message, hint=hint, reason="input-missing")
    if isinstance(e, errors.RepositoryNotFoundError) or status in (401, 404):
        hint = "check the name, or the path; if it is private: hf auth login (other hosts: $VQCLI_TOKEN_HOST)"
        message = f"the Hub has no {source.repository}, or does not show it to everyone"
        return VqcliError(message, hint=hint, reason="denied" if status == 401 else "input-missing")
    if status == 429:
        hint = f"wait some minutes, or log in: hf auth login; or {go_on(source)}"
        return Away(f"the Hub refuses {what}: too many requests", hint=hint, reason="unavailable")
    if status:
        message = f"the Hub failed on {what}: it answered {status}"
        return Away(message, hint=f"try again later; or {go_on(source)}", reason="unavailable")
    slow = "Timeout" in type(e).__name__
    why = "did not answer in time" if slow else "cannot be reached"
    proxy = proxy_of("huggingface.co")
    message = f"{what} is not on this machine, and the Hub {why}" + (f" through {proxy}" if proxy else "")
    check = f"is the proxy that {proxy} names the right one?" if proxy else "check the connection"
    return Away(message, hint=f"{check}; or {go_on(source)}".replace("?; or", "? or"), reason="unavailable")


def _disk(e: OSError, source: Published) -> VqcliError:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room, or set HF_HOME to a folder on another disk"
        return VqcliError(f"the disk is full: {title(source)} does not fit", hint=hint, reason="output")
    if "Consistency check" in str(e):
        message = f"{title(source)} came with another length than was announced"
        return VqcliError(message, hint="try again; a proxy may cut downloads", reason="damaged")
    hint = "check that the cache can be written: HF_HOME names its folder"
    return VqcliError(f"{title(source)}: {e.strerror or e}", hint=hint, reason="output")
