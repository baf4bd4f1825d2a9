"""From a name on the Hub to a model folder: what is fetched, and what of it is imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from vqcli import files
from vqcli.checkpoint.contents import OURS
from vqcli.errors import VqcliError
from vqcli.importers import shards
from vqcli.library.alias import Published
from vqcli.library.aliases import ALIASES
from vqcli.library.cache import KIND, cache_folder, variant
from vqcli.library.downloads.fetch import Fetched, Listing, fetch, listing
from vqcli.library.downloads.problems import title
from vqcli.library.imports import imported, is_ours
from vqcli.library.weight_files import HEAVY, only, usable
from vqcli.types import Progress, silent

DIFFUSERS = "diffusion_pytorch_model."
"""How names of its files of weights begin."""


def published_folder(source: Published, progress: Progress = silent) -> Path:
    """The model folder of what was named on the Hub; nothing is asked for where a file of known hash is here.

    A file is read with the ``config.json`` beside it if it has diffusers' own name; under other names its
    layout is taken to have the usual settings.
    A generator comes with its tokenizer, whose folder is another one in the cache.
    Raises VqcliError where ``fetch`` and ``import_model`` do, and if what is meant is not clear.
    """
    tokenizer = published_folder(ALIASES[source.tokenizer], progress) if source.tokenizer else None
    known = cache_folder() / KIND / f"{source.sha256}{variant(source.size, tokenizer, source.scales)}"
    if source.sha256 and files.verified(known):
        return known
    named = source.file.endswith((*HEAVY, shards.INDEX))
    alone = source.file.endswith(HEAVY) and not PurePosixPath(source.file).name.startswith(DIFFUSERS)
    if alone:
        return imported(
            fetch(source, memory(), progress).path, progress, source.size, tokenizer, source.scales
        )
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
    return imported(got.path, progress, source.size, tokenizer, source.scales)


def memory() -> Path:
    """The file that remembers which downloads were verified."""
    return cache_folder() / "verified.json"


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
