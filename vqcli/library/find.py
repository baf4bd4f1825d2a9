"""From what a user names to a model folder: what lies here, what is imported once, what the Hub has."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vqcli import files
from vqcli.checkpoint.contents import OURS, replaceable
from vqcli.checkpoint.kinds import KINDS
from vqcli.errors import VqcliError
from vqcli.importers import shards
from vqcli.importers.options import ImportOptions
from vqcli.library.aliases import ALIASES, Published
from vqcli.library.cache import KIND, cache_folder, kept, kept_folder, variant
from vqcli.library.downloads.fetch import HEAVY, Fetched, Listing, fetch, listing
from vqcli.library.downloads.problems import title
from vqcli.library.references import ENVIRONMENT, locate, published
from vqcli.library.weight_files import holds_weights, only, usable, weights_file
from vqcli.types import Progress, silent

if TYPE_CHECKING:
    from vqcli.library.importing import ImportResult

CODES = "codebook.safetensors"
"""Nobody else calls a file so: whatever became of the rest, its folder is ours."""
DIFFUSERS = "diffusion_pytorch_model."
"""How names of its files of weights begin."""


def model_folder(reference: str | None, progress: Progress = silent) -> Path:
    """The folder of the model a user named; a published file is imported into the cache when it is first met.

    Raises VqcliError where there is no model, and where ``import_model`` and ``downloads`` do.
    """
    named = reference or os.environ.get(ENVIRONMENT)
    if named and (files.is_file(Path(named)) or is_foreign(Path(named))):
        return imported(weights_file(Path(named)), progress)
    source = published(named) if named else None
    if source is None:
        return locate(reference)
    return published_folder(source, progress)


def imported(path: Path, progress: Progress = silent, size: int = 0, tokenizer: Path | None = None) -> Path:
    """The model folder of a published file, by the hash of its bytes; made again where it is damaged.

    Of a generator it also depends on what no file tells: the ``size`` of its images in pixels a side, and the
    folder of the tokenizer whose tokens it makes. Raises VqcliError if it is no published file.
    """
    digest = shards.digest(path)
    folder = kept_folder(path, digest + variant(size, tokenizer))
    return kept(folder, lambda: _import(path, folder, digest, size, tokenizer, progress), progress)


def _import(
    path: Path, folder: Path, digest: str, size: int, tokenizer: Path | None, progress: Progress
) -> None:
    from vqcli.library.importing import import_model  # torch is imported here

    options = ImportOptions()
    if tokenizer:
        options = ImportOptions(size=(size, size), tokenizer=tokenizer, bring=False)
    made = import_model(path, folder, options, expected=digest)
    for option, what in made.assumptions().items():
        progress.say(f"{path.name} is imported with {what}; the file does not tell: vqcli import --{option}")


def import_file(
    path: Path,
    out: Path,
    options: ImportOptions | None = None,
    *,
    tokenizer: str | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> ImportResult:
    """``import_model``, with a generator's tokenizer as a user names it. Raises VqcliError as that does."""
    from vqcli.library.importing import import_model  # torch is imported here

    if not files.exists(path):
        hint = "give a .pt, .pth, .ckpt, .bin or .safetensors file"
        raise VqcliError(f"{path} does not exist", hint=hint, reason="input-missing")
    weights_file(path)  # before a tokenizer is fetched for a folder without weights
    with files.claimed(out):
        files.check_free(out, ours=replaceable(out), force=force)
    if tokenizer:
        options = replace(options or ImportOptions(), tokenizer=model_folder(tokenizer, progress))
    return import_model(path, out, options, force=force, progress=progress)


def published_folder(source: Published, progress: Progress = silent) -> Path:
    """The model folder of what was named on the Hub; nothing is asked for where a file of known hash is here.

    A file is read with the ``config.json`` beside it if it has diffusers' own name; under other names its
    layout is taken to have the usual settings.
    A generator comes with its tokenizer, whose folder is another one in the cache.
    Raises VqcliError where ``fetch`` and ``import_model`` do, and if what is meant is not clear.
    """
    tokenizer = published_folder(ALIASES[source.tokenizer], progress) if source.tokenizer else None
    known = cache_folder() / KIND / f"{source.sha256}{variant(source.size, tokenizer)}"
    if source.sha256 and files.verified(known):
        return known
    named = source.file.endswith((*HEAVY, shards.INDEX))
    alone = source.file.endswith(HEAVY) and not PurePosixPath(source.file).name.startswith(DIFFUSERS)
    if alone:
        return imported(fetch(source, memory(), progress).path, progress, source.size, tokenizer)
    found = listing(source, progress)
    if not source.file and "config.json" in found.names:
        config = fetch(replace(source, file="config.json"), memory(), progress)
        if is_ours(config.path):
            return _whole(replace(source, revision=config.folder.name), found, config, progress)
    name = source.file if named else only_candidate(source, found)
    beside = PurePosixPath(name).with_name("config.json").as_posix()
    if beside in found.names:  # diffusers' tells what shapes do not
        fetch(replace(source, file=beside), memory(), progress)
    got = fetch(replace(source, file=name), memory(), progress)
    if shards.is_index(got.path):
        for part in shards.read_index(got.path):
            there = PurePosixPath(name).with_name(part).as_posix()
            fetch(replace(source, file=there, revision=got.folder.name), memory(), progress)
    return imported(got.path, progress, source.size, tokenizer)


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds weights of others, and none of ours: a model's, even damaged, or a run's."""
    if not holds_weights(folder) or any(files.is_file(folder / name) for name in ("recipe.yaml", CODES)):
        return False
    config = folder / "config.json"
    return not (files.is_file(config) and is_ours(config))


def memory() -> Path:
    """The file that remembers which downloads were verified."""
    return cache_folder() / "verified.json"


def is_ours(config: Path) -> bool:
    """Whether a ``config.json`` is of a model folder; others' need not even be JSON."""
    found = None
    with files.passing_over():
        found = files.read_json(config)
    return isinstance(found, dict) and found.get("kind") in KINDS and "format" in found


def only_candidate(source: Published, found: Listing) -> str:
    """The one file of weights that can be meant. Raises VqcliError that lists them if there are several."""
    below = f"{source.file}/" if source.file else ""
    names = [name for name in found.names if name.startswith(below)]
    return only(usable(names), title(source), f"hf://{source.repository}/")


def _whole(source: Published, found: Listing, config: Fetched, progress: Progress) -> Path:
    """All files of a model folder, at one commit, as its manifest says."""
    hashes = {"config.json": config.sha256}
    for name in found.names:
        if OURS.fullmatch(name) and name not in hashes:
            hashes[name] = fetch(replace(source, file=name), memory(), progress).sha256
    if "manifest.json" in hashes:
        listed = files.read_sealed(config.folder / "manifest.json").get("files")
        for name, facts in listed.items() if isinstance(listed, dict) else ():
            right = not OURS.fullmatch(name) or (
                isinstance(facts, dict) and hashes.get(name) == facts.get("sha256")
            )
            if not right:
                message = f"{title(source)}: {name} is missing or is not what manifest.json says"
                raise VqcliError(message, hint="its owner should push it again", reason="damaged")
    return config.folder
