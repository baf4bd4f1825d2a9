"""A repository's names, and a file of it: downloaded once, then checked by its hash whenever it is used."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqcli import bounds, files
from vqcli.errors import VqcliError
from vqcli.library.alias import Published
from vqcli.library.downloads import listings, partials
from vqcli.library.downloads.client import COMMIT, bar, client, endpoint, token
from vqcli.library.downloads.problems import Away, explained, is_passing, title
from vqcli.library.references import is_plain
from vqcli.library.weight_files import HEAVY
from vqcli.types import Progress, silent

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

WAITS = (1, 3)
"""Seconds before each further try to ask about a file."""


@dataclass(frozen=True)
class Fetched:
    """A file of the Hub on this machine, checked."""

    path: Path
    sha256: str

    @property
    def folder(self) -> Path:
        """The client's folder of all that it has of this commit."""
        return next(parent for parent in self.path.parents if parent.parent.name == "snapshots")


@dataclass(frozen=True)
class Listing:
    """What a repository holds at a commit, or what of it is on this machine."""

    commit: str
    names: list[str]


def fetch(source: Published, memory: Path, progress: Progress = silent) -> Fetched:
    """The file that ``source`` names, downloaded if it is not here; ``memory`` keeps what was verified.

    A commit's file that is here needs no request; a branch is asked for its newest, unless the Hub is away.
    Raises VqcliError where it cannot be had, or is not what it should be; then it is removed.
    """
    with explained(source), client(progress):
        path = cached(source) if COMMIT.fullmatch(source.revision) else None
        path, told = (path, "") if path else _newest(source, progress)
    found = Fetched(path, check(path, source, memory, told))
    partials.clean(found.folder.parent.parent)
    return found


def _newest(source: Published, progress: Progress) -> tuple[Path, str]:
    """The file, and the hash that the Hub told of it; empty where it could not be asked."""
    from huggingface_hub import hf_hub_download

    try:
        with explained(source):
            found = _ask(source, progress)
    except Away as away:
        path = cached(source)
        if path is None:
            raise
        _tell(away, source, progress)
        return path, ""
    commit, told = found.commit_hash or "", found.etag or ""
    if here := cached(replace(source, revision=commit)):
        return here, told
    _check_room(source, found.size or 0)
    path = Path(
        hf_hub_download(
            source.repository,
            source.file,
            revision=source.revision,
            endpoint=endpoint(),
            token=token(),
            tqdm_class=bar(progress, Path(source.file).name, found.size or 0),
        )
    )
    if Fetched(path, "").folder.name != commit:  # the client asks once more on its own
        message = f"{title(source)} became another commit's while it was downloaded"
        raise VqcliError(message, hint="give the same command again", reason="protocol")
    return path, told


def listing(source: Published, progress: Progress = silent) -> Listing:
    """Names in a repository that can be used; what is on this machine where the Hub is away.

    Raises VqcliError if there is no such repository or revision, or what answers is no Hub.
    """
    from huggingface_hub import HfApi

    with explained(source), client(progress):
        try:
            with explained(source):
                api = HfApi(endpoint=endpoint(), token=token())
                found = api.model_info(source.repository, revision=source.revision, timeout=10)
                told = [entry.rfilename for entry in found.siblings or ()]
                names = sorted({name for name in told if is_plain(name)})
                listed = COMMIT.fullmatch(found.sha or "")
        except Away as away:
            return _known(source, away, progress)
    if not listed or len(told) > bounds.NAMES:
        hint = "is HF_ENDPOINT right? nothing was downloaded"
        message = f"what the Hub says of {title(source)} is no list of a commit's files"
        raise VqcliError(message, hint=hint, reason="protocol")
    _hold(source, listed[0])
    listings.remember(source.repository, listed[0], names)
    return Listing(listed[0], names)


def _hold(source: Published, commit: str) -> None:
    """Raises VqcliError if a commit was asked for, and the answer is of another."""
    if COMMIT.fullmatch(source.revision) and commit != source.revision:
        message = (
            f"the Hub was asked for commit {source.revision[:8]} of {title(source)}, and sent {commit[:8]}"
        )
        hint = "is HF_ENDPOINT right? nothing was downloaded"
        raise VqcliError(message, hint=hint, reason="protocol")


def cached(source: Published) -> Path | None:
    """Where the client keeps a file that was downloaded before. Asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repository, source.file, revision=source.revision)
    return Path(found) if isinstance(found, str) else None


def _ask(source: Published, progress: Progress) -> HfFileMetadata:
    """Commit, ETag and size of a file, tried three times. Raises VqcliError if it cannot be ours."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import FileMetadataError

    url = hf_hub_url(source.repository, source.file, revision=source.revision, endpoint=endpoint())
    waits = list(WAITS)
    while True:
        try:
            found = get_hf_file_metadata(
                url, token=token(), timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=endpoint()
            )
            break
        except Exception as e:
            if not waits or not is_passing(e):
                raise
            progress.say(f"the Hub does not answer: trying again in {waits[0]} s")
            time.sleep(waits.pop(0))
    if not found.commit_hash or not found.etag:
        raise FileMetadataError("no commit, or no ETag")
    _hold(source, found.commit_hash)
    if source.sha256 and len(found.etag) == 64 and found.etag != source.sha256:
        raise wrong(source, found.etag)
    if (found.size or 0) > bounds.LIGHT and not source.file.endswith(HEAVY):
        message = f"{title(source)} has {found.size:,} bytes, too many for what it should be"
        raise VqcliError(message, hint="is it the right repository?", reason="protocol")
    return found


def _tell(away: Away, source: Published, progress: Progress) -> None:
    if away.reason != "offline":
        progress.say(f"the Hub cannot be asked; {title(source)} as it was downloaded before is used")


def _known(source: Published, away: Away, progress: Progress) -> Listing:
    """What is known of a repository: its names as they were told, or a model folder that is here whole.

    Raises VqcliError for some files of a repository: which one of all is meant cannot be seen from them.
    """
    from huggingface_hub import snapshot_download

    try:
        place = snapshot_download(source.repository, revision=source.revision, local_files_only=True)
    except Exception:
        raise away from None
    folder = Path(place)
    names = [path.relative_to(folder).as_posix() for path in files.below(folder)]
    told = listings.recall(source.repository, folder.name)
    if told is None and not {"config.json", "manifest.json"} <= set(names):
        heavy = next((name for name in names if name.endswith(HEAVY)), "FILE")
        raise VqcliError(
            f"only some files of {source.repository} are on this machine, and the Hub cannot be asked",
            hint=f"name the one you mean: hf://{source.repository}/{heavy}",
            reason=away.reason,
        )
    _tell(away, source, progress)
    return Listing(folder.name, names if told is None else told)


def _check_room(source: Published, size: int) -> None:
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    while not files.exists(place):
        place = place.parent
    free = shutil.disk_usage(place).free
    if size > free:
        raise VqcliError(
            f"{title(source)} has {size / 1e6:,.0f} MB, and {place} has room for {free / 1e6:,.0f} MB",
            hint="make room, or set HF_HOME to a folder on another disk",
            reason="output",
        )


def check(path: Path, source: Published, memory: Path, told: str = "") -> str:
    """SHA-256 of a file of the client's cache, which names what it holds by hash where links can be made.

    ``told`` is the hash that came with a download, which ``memory`` keeps. Raises VqcliError, and removes the
    file, where it is not what that, its name or ``source`` says.
    """
    linked = path.is_symlink()
    digest, before = remembered(path, memory, told) if files.is_file(path) else ("", "")
    name = path.readlink().name if linked else told or before
    if not digest or (len(name) == 64 and name != digest) or (len(name) == 40 and name != git_hash(path)):
        problem = damaged(source)
    elif source.sha256 and digest != source.sha256:
        problem = wrong(source, digest)
    else:
        return digest
    for place in (path.parent / path.readlink() if linked else path, path):  # where they lead is another's
        if files.is_folder(place) and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    raise problem


def remembered(path: Path, memory: Path, told: str = "") -> tuple[str, str]:
    """SHA-256 of a file, and the hash that was told of it, now or before.

    The first is computed again only if the file's inode, size or time of change is another.
    """
    facts = path.stat()
    state = [facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    kept: dict[str, Any] = {}
    with files.passing_over():
        kept = files.read_sealed(memory, files.LISTS)
    key = str(path.resolve())
    entry: Any = kept.get(key)
    whole = isinstance(entry, list) and len(entry) == len(state) + 2
    told = told or (str(entry[-1]) if whole else "")
    if whole and entry[:-2] == state:
        digest = str(entry[-2])
    else:
        digest = files.sha256(path)
    if entry != [*state, digest, told]:
        here = {name: value for name, value in kept.items() if files.exists(Path(name))}
        files.write_sealed(memory, here | {key: [*state, digest, told]})
    return digest, told


def git_hash(path: Path) -> str:
    """What git calls a file of these bytes; the Hub names small files so."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def damaged(source: Published) -> VqcliError:
    """The error of a file whose bytes are not those that were announced."""
    message = f"{title(source)} arrived or was kept with wrong bytes, and was removed"
    return VqcliError(message, hint="give the same command again to download it anew", reason="hash")


def wrong(source: Published, digest: str) -> VqcliError:
    """The error of a file that is not the one whose hash is known."""
    place = f"hf://{source.repository}/{source.file}"
    message = f"{title(source)} has SHA-256 {digest[:16]}..., not the known {source.sha256[:16]}..."
    hint = f"its authors may have replaced it, or it is not theirs; {place} takes it as it is"
    return VqcliError(message, hint=hint, reason="hash")
