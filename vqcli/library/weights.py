"""Weights of published networks: the user's, those that are here, or downloaded; brought to one form once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.importers.containers import read_checkpoint
from vqcli.library.cache import cache_folder, kept
from vqcli.library.downloads import web
from vqcli.library.networks import NETWORKS, Network, NetworkFile
from vqcli.types import Progress, silent

FOLDER = "VQCLI_WEIGHTS_DIR"
"""Names a folder of weights, as they are published or converted."""
KIND, MODEL = "networks-1", "model.safetensors"
"""The cache's folder of networks, and the file of one; the number changes with what is kept of them."""

Weights = dict[str, Tensor]


def network_weights(
    name: str, given: str | None = None, progress: Progress = silent, without: str = ""
) -> Weights:
    """The weights of a network of the table, by key as published.

    ``given`` is a file that holds all, or a folder with ``NAME.safetensors`` or the published files; what is
    in there is believed. Otherwise they come from $VQCLI_WEIGHTS_DIR, the cache, torch's own downloads or the
    published addresses; then published files must have their hash. Raises VqcliError where there are none,
    which tells how to do ``without``.
    """
    network = NETWORKS[name]
    if chosen := _chosen(network, given):
        return _needed(chosen)
    folder = cache_folder() / KIND / name
    return _read(kept(folder, lambda: _make(network, folder, progress, without), progress) / MODEL)


def is_published(name: str, given: str | None = None) -> bool:
    """Whether ``network_weights`` gives the published weights: each file it reads has the hash of the table.

    Raises VqcliError where what the user names is not there.
    """
    chosen = _chosen(NETWORKS[name], given)
    return all(files.sha256(path).startswith(file.sha256) for file, path in chosen.items())


def to_download(name: str, given: str | None = None) -> list[NetworkFile]:
    """What ``network_weights`` would download, by names: hashes of published files are not computed.

    Raises VqcliError where what the user names is not there.
    """
    network = NETWORKS[name]
    if _chosen(network, given) or files.verified(cache_folder() / KIND / name):
        return []
    return [file for file in network.files if not _copies(file, _places())]


def cannot_be_had(name: str, missing: Sequence[NetworkFile], why: VqcliError, without: str) -> VqcliError:
    """The error of a network without weights: what is missing, where it is, and where to put it."""
    network = NETWORKS[name]
    names = " and ".join(file.name for file in missing)
    addresses = " and ".join(file.url for file in missing)
    whole = len(missing) == len(network.files)  # a folder that is named with the flag holds all
    ways = f"{network.option} FOLDER, or ${FOLDER}" if whole else f"${FOLDER}"
    hint = f"bring {addresses} into a folder and name it: {ways}" + (
        without and f"; or go without: {without}"
    )
    return VqcliError(
        f"{names}, which {name} needs, cannot be found on this machine; {why}", hint=hint, reason=why.reason
    )


def _chosen(network: Network, given: str | None) -> dict[NetworkFile, Path]:
    """Where the user has what each file of a network holds, maybe all in one; nothing where none was named.

    Raises VqcliError where what is named is not there.
    """
    whole = f"{network.name}.safetensors"
    if not given:
        named = _named_folder()
        return dict.fromkeys(network.files, named / whole) if named and files.is_file(named / whole) else {}
    path = Path(given).expanduser()
    if not files.exists(path):
        message = f"{path}, which should hold the weights of {network.name}, does not exist"
        raise VqcliError(message, hint=f"check {network.option}", reason="input-missing")
    if files.is_file(path):
        return dict.fromkeys(network.files, path)
    if files.is_file(path / whole):
        return dict.fromkeys(network.files, path / whole)
    copies = {file: _copies(file, [path]) for file in network.files}
    if missing := [" or ".join(file.names) for file, found in copies.items() if not found]:
        message = f"{path} holds neither {whole} nor {' and '.join(missing)}"
        hint = f"{network.option} names a file that holds all, or a folder with the published files"
        raise VqcliError(message, hint=hint, reason="input-missing")
    return {file: found[0] for file, found in copies.items()}


def _named_folder() -> Path | None:
    if not (named := os.environ.get(FOLDER)):
        return None
    if not files.is_folder(Path(named)):
        raise VqcliError(
            f"${FOLDER} is {named}, which is no folder", hint="correct or unset it", reason="input-missing"
        )
    return Path(named)


def _copies(file: NetworkFile, folders: Sequence[Path]) -> list[Path]:
    """Files in ``folders`` that are called as the published one, under any of its names."""
    return [path for folder in folders for name in file.names if files.is_file(path := folder / name)]


def _places() -> list[Path]:
    """Folders that may hold published files: the user's, and torch's own."""
    named = _named_folder()
    return [*([named] if named else []), Path(torch.hub.get_dir()) / "checkpoints"]


def _read(path: Path) -> Weights:
    try:
        return read_checkpoint(path).state
    except OSError as e:
        raise files.unread(path, e) from e


def _needed(paths: dict[NetworkFile, Path]) -> Weights:
    """What is needed of published files, from files that hold at least that. Raises VqcliError."""
    states = {path: _read(path) for path in set(paths.values())}
    state: Weights = {}
    for file, path in paths.items():
        found = {key: x.detach() for key, x in states[path].items() if re.match(file.keys, key)}
        if not found:
            message = f"{path} has none of the weights that {file.name} has"
            hint = "name a file that holds all of the network, or a folder with the published files"
            raise VqcliError(message, hint=hint, reason="layout")
        state |= found
    return state


def _make(network: Network, folder: Path, progress: Progress, without: str) -> None:
    here = {file: path for file in network.files if (path := _found(file, progress))}
    missing = sorted(set(network.files) - set(here), key=lambda file: file.bytes)
    with files.writing_folder(folder) as made:
        for file in missing:
            try:
                web.download(file, made / file.name, progress)
            except VqcliError as e:
                if e.reason == "output":
                    raise
                raise cannot_be_had(network.name, missing, e, without) from e
        paths = {file: here.get(file, made / file.name) for file in network.files}
        files.write_tensors(made / MODEL, _needed(paths))
        for file in missing:
            (made / file.name).unlink()


def _found(file: NetworkFile, progress: Progress) -> Path | None:
    """A published file on this machine; those of its name with another hash are passed over."""
    for path in _copies(file, _places()):
        if files.sha256(path).startswith(file.sha256):
            return path
        progress.say(f"{path} has not the SHA-256 of the published file: it is passed over")
    return None
