"""Models of the Hub become model folders: ours are fetched whole, others are imported once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vqcli import files
from vqcli.aliases import Published
from vqcli.data.remap import check_free
from vqcli.downloads.fetch import HEAVY, Fetched, Listing, fetch, listing
from vqcli.downloads.problems import title
from vqcli.errors import VqcliError
from vqcli.jobs.cache import KIND, cache_folder, imported, model_folder
from vqcli.types import Progress, silent

CARD, MANIFEST = "README.md", "manifest.json"
PART = r"(?:config|usage|manifest|classes|import)\.json|README\.md|[\w.-]+\.safetensors"
OURS = re.compile(rf"(?:tokenizer/)?(?:{PART})")
"""What a model folder on the Hub may hold; nothing else is fetched or sent."""
DIFFUSERS = "diffusion_pytorch_model."
"""How names of its files of weights begin."""
HALVES = re.compile(r"\.(?:fp16|bf16|non_ema)\.")
"""Further forms of weights that lie beside."""


@dataclass(frozen=True)
class PullResult:
    """A model on this machine."""

    model: str
    """As it was named."""
    folder: Path
    bytes: int


def pull(
    reference: str, out: Path | None = None, *, force: bool = False, progress: Progress = silent
) -> PullResult:
    """Have a model on this machine, for work without network; ``out`` also gets a copy of its folder.

    Raises VqcliError where there is no such model, it is not what it should be, or ``out`` is taken.
    """
    if out:
        check_free(out, ours=(out / "config.json").is_file(), force=force)
    folder = model_folder(reference, progress)
    if out:
        names = model_files(folder)
        check_whole(folder)
        with files.writing_folder(out, listed=MANIFEST not in names) as copy:
            for name in names:
                files.write_copy(copy / name, folder / name)
        folder = out
    return PullResult(reference, folder, sum((folder / name).stat().st_size for name in model_files(folder)))


def check_whole(folder: Path) -> None:
    """Raises VqcliError if a file is not what the folder's manifest says; the card may have been edited."""
    path = folder / MANIFEST
    told = files.read_json(path) if path.is_file() else {"files": {}}
    listed = told.get("files") if isinstance(told, dict) else None
    if not isinstance(listed, dict):
        hint = "export, import or pull the model again"
        raise VqcliError(f"{path} is no list of files", hint=hint, reason="damaged")
    for name, facts in listed.items():
        there, digest = folder / name, facts.get("sha256") if isinstance(facts, dict) else None
        if OURS.fullmatch(name) and name != CARD and not (there.is_file() and files.sha256(there) == digest):
            message = f"{there} is missing or is not what {MANIFEST} says"
            raise VqcliError(message, hint="export, import or pull the model again", reason="damaged")


def model_files(folder: Path) -> list[str]:
    """Names in a model folder that belong to it, below it too."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if OURS.fullmatch(name))


def published_folder(source: Published, progress: Progress = silent) -> Path:
    """The model folder of what was named on the Hub; nothing is asked for where a file of known hash is here.

    A file is read with the ``config.json`` beside it if it has diffusers' own name; under other names its
    layout is taken to have the usual settings.
    Raises VqcliError where ``fetch`` and ``import_model`` do, and if what is meant is not clear.
    """
    known = cache_folder() / KIND / source.sha256
    if source.sha256 and files.verified(known):
        return known
    named = source.file.endswith(HEAVY)
    if named and not PurePosixPath(source.file).name.startswith(DIFFUSERS):
        return imported(fetch(source, memory(), progress).path, progress)
    found = listing(source, progress)
    if not source.file and "config.json" in found.names:
        config = fetch(replace(source, file="config.json"), memory(), progress)
        if is_ours(config.path):
            return _whole(replace(source, revision=config.folder.name), found, config, progress)
    name = source.file if named else only_candidate(source, found)
    beside = PurePosixPath(name).with_name("config.json").as_posix()
    if beside in found.names:  # diffusers' tells what shapes do not
        fetch(replace(source, file=beside), memory(), progress)
    return imported(fetch(replace(source, file=name), memory(), progress).path, progress)


def memory() -> Path:
    """The file that remembers which downloads were verified."""
    return cache_folder() / "verified.json"


def is_ours(config: Path) -> bool:
    """Whether a ``config.json`` is of a model folder; others' need not even be JSON."""
    try:
        found = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"kind", "format", "fingerprint"} <= found.keys()


def only_candidate(source: Published, found: Listing) -> str:
    """The one file of weights that can be meant. Raises VqcliError that lists them if there are several."""
    below = f"{source.file}/" if source.file else ""
    names = [name for name in found.names if name.startswith(below) and name.endswith(HEAVY)]
    safe = {PurePosixPath(name).with_suffix("") for name in names if name.endswith(".safetensors")}
    usable = [
        name
        for name in names
        if not HALVES.search(name)
        and (name.endswith(".safetensors") or PurePosixPath(name).with_suffix("") not in safe)
    ]
    if len(usable) == 1:
        return usable[0]
    first = f"hf://{source.repository}/{usable[0] if usable else 'FILE'}"
    what = ", ".join(usable[:8]) + (f" and {len(usable) - 8:,} more" if len(usable) > 8 else "")
    raise VqcliError(
        f"{title(source)} holds several models: {what}" if usable else f"{title(source)} holds no weights",
        hint=f"name one: {first}" if usable else "is it a tokenizer? name its file: " + first,
        reason="ambiguous" if usable else "layout",
    )


def _whole(source: Published, found: Listing, config: Fetched, progress: Progress) -> Path:
    """All files of a model folder, at one commit, as its manifest says."""
    hashes = {"config.json": config.sha256}
    for name in found.names:
        if OURS.fullmatch(name) and name not in hashes:
            hashes[name] = fetch(replace(source, file=name), memory(), progress).sha256
    if "manifest.json" in hashes:
        told = files.read_json(config.folder / "manifest.json")
        listed = told.get("files") if isinstance(told, dict) else None
        for name, facts in listed.items() if isinstance(listed, dict) else ():
            right = not OURS.fullmatch(name) or (
                isinstance(facts, dict) and hashes.get(name) == facts.get("sha256")
            )
            if not right:
                message = f"{title(source)}: {name} is missing or is not what manifest.json says"
                raise VqcliError(message, hint="its owner should push it again", reason="damaged")
    return config.folder
