"""The one module that writes files: every file appears whole or not at all.

Written beside the final name, flushed to the disk, renamed: a reader never sees half a file, whenever its
writer died.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vqcli.errors import VqcliError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

TEMPORARY = ".tmp-"
"""What the names of unfinished files and folders start with."""
UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)
"""What a share says that flushes files and no folders, or a folder that may be written and not read."""


def _beside(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{os.urandom(4).hex()}-{path.name[-40:]}")


def _sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, where that can be done: its files are whole in any case."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as e:
        if e.errno not in UNSUPPORTED:
            raise


def _discard(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when the block ends well. Raises VqcliError if the disk refuses."""
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as e:
        _discard(temporary)
        hint = "check the disk's space and the folder's rights"
        raise VqcliError(f"cannot write {path}: {e.strerror or e}", hint=hint, reason="output") from e
    except BaseException:
        _discard(temporary)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file."""
    with writing(path) as file:
        file.write(data)


def write_copy(path: Path, source: Path) -> None:
    """Write what another file holds."""
    with open(source, "rb") as original, writing(path) as file:
        shutil.copyfileobj(original, file, 1 << 20)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_image(path: Path, image: Image) -> None:
    """Write a PNG."""
    with writing(path) as file:
        image.save(file, format="PNG")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, dict(metadata) if metadata else None))


def append_line(path: Path, value: Any) -> None:
    """Add one JSON object as a line; a torn last line is what a kill can leave, and readers skip it."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises VqcliError if there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as e:
        raise VqcliError(f"{path} does not exist", hint="check the path", reason="input-missing") from e
    except (OSError, ValueError, RecursionError) as e:
        raise VqcliError(
            f"{path} is no readable JSON file ({e})", hint="make it again", reason="damaged"
        ) from e


def read_lines(path: Path) -> Iterator[Any]:
    """The JSON objects of a file of lines; an unfinished last line is left out."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing_folder(path: Path, *, listed: bool = True) -> Iterator[Path]:
    """A folder that takes its name when the block ends well; an older one of that name is replaced only then.

    ``listed`` adds a ``manifest.json`` of sizes and hashes; folders that hold their own need none.
    """
    temporary = _beside(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if listed:
            write_json(temporary / "manifest.json", {"files": manifest(temporary)})
        if path.exists():
            discarded = _beside(path)
            path.rename(discarded)
            temporary.rename(path)
            shutil.rmtree(discarded)
        else:
            temporary.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below a folder, by relative name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    return {str(p.relative_to(folder)): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in files}


def verified(folder: Path) -> bool:
    """Whether a folder is just what its manifest says."""
    try:
        return json.loads((folder / "manifest.json").read_bytes())["files"] == manifest(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove_folder(path: Path) -> None:
    """Delete a folder so that a kill never leaves half of it under its name."""
    discarded = _beside(path)
    path.rename(discarded)
    shutil.rmtree(discarded)


def clean(folder: Path) -> None:
    """Remove what a killed writer left unfinished in a folder."""
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one process. Raises VqcliError if another holds it; the lock dies with its holder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "a")  # noqa: SIM115 (closed below, where its errors are the caller's)
    except OSError as e:
        raise _no_lock(folder, e) from e
    with file:
        _hold(folder, file)
        yield


def held(folder: Path) -> bool:
    """Whether a process holds a folder at this moment; False where nobody can tell."""
    import fcntl

    try:
        file = open(folder / ".lock")  # noqa: SIM115 (closed below, where its errors mean something else)
    except OSError:
        return False
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as e:
            return e.errno in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)
    return False


def _hold(folder: Path, file: IO[str]) -> None:
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, forked workers do not hold it
    except OSError as e:
        if e.errno not in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK):
            raise _no_lock(folder, e) from e
        raise VqcliError(
            f"{folder} is in use by another vqcli process",
            hint="wait for it, or choose another folder",
            reason="locked",
        ) from e


def _no_lock(folder: Path, e: OSError) -> VqcliError:
    hint = "check its rights, or choose a folder on a local disk"
    return VqcliError(f"cannot lock {folder}: {e.strerror or e}", hint=hint, reason="output")
