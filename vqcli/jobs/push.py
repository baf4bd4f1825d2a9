"""A model folder goes to the Hub, with a card that says what it is and how to use it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from vqcli import files
from vqcli.checkpoint.contents import CARD, MANIFEST, check_whole, model_files, open_file
from vqcli.checkpoint.folder import TOKENIZER, kind_of, read_config, row_of
from vqcli.checkpoint.kinds import KINDS
from vqcli.errors import VqcliError
from vqcli.escapes import fenced
from vqcli.library.alias import ABOUT, Published
from vqcli.library.aliases import ALIASES
from vqcli.library.downloads.client import client, endpoint, token
from vqcli.library.downloads.problems import explained, status_of
from vqcli.library.find import model_folder
from vqcli.library.references import check_repository
from vqcli.types import Progress, silent
from vqcli.yaml_text import parse_yaml

FRONT = re.compile(r"\A---\n(.*?)^---[ ]*$\n?", re.DOTALL | re.MULTILINE)
"""What a card tells machines, before its text."""
LONGEST = 1 << 20
"""Bytes of a card or recipe that are sent."""
LICENSE = re.compile(r"^license:.*\n(?:(?: |- ).*\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Parcel:
    """What would be sent: a model folder's files, and its card and manifest as they will be there."""

    folder: Path
    kind: str
    """A row of ``checkpoint.kinds``."""
    repository: str
    files: list[str]
    """Names, of the card and the manifest too."""
    bytes: int
    card: str

    @property
    def next(self) -> str:
        """What is typed first with it, once it is there."""
        return row_of(self.folder).line(self.repository)


@dataclass(frozen=True)
class PushResult:
    """A model on the Hub."""

    repository: str
    commit: str
    files: list[str]
    bytes: int


def pack(
    reference: str, repository: str, progress: Progress = silent, *, licence: str | None = None
) -> Parcel:
    """See what ``push`` would send; nothing is sent. ``licence`` is for the card, in the words of the Hub.

    Only files that the folder's manifest lists are sent, and no link is followed. Raises VqcliError if
    ``repository`` cannot be a name, or the model is a checkpoint, is damaged or holds links.
    """
    check_repository(repository)
    folder = model_folder(reference, progress)
    if folder.is_symlink() and folder != Path(reference):
        message, hint = f"{folder} is a link, and so is not sent", "name the folder that it leads to"
        raise VqcliError(message, hint=hint, reason="unsafe")
    kind = kind_of(folder)
    config = read_config(folder, kind)
    if files.exists(folder / "state.json"):
        raise VqcliError(
            f"{folder} is a training checkpoint", hint="push the run's exported model", reason="wrong-kind"
        )
    names = [name for name in model_files(folder) if name not in (CARD, MANIFEST)]
    check_whole(folder)
    size = 0
    for name in names:
        with open_file(folder, name) as file:
            size += os.fstat(file.fileno()).st_size
    section = KINDS[kind].section
    card = model_card(folder, repository, {section: config[section]}, licence)
    return Parcel(folder, kind, repository, [*names, CARD, MANIFEST], size, card)


def push(parcel: Parcel, *, private: bool = False, progress: Progress = silent) -> PushResult:
    """Send what was packed, in one commit; the repository is made if there is none.

    Raises VqcliError if the Hub refuses, or a file has become a link.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    card = parcel.card.encode()
    made: dict[str, Any] = {CARD: card}
    facts = {CARD: {"bytes": len(card), "sha256": hashlib.sha256(card).hexdigest()}}
    progress.start(f"upload to {parcel.repository}", None, "files")
    with ExitStack() as stack, _writing(parcel.repository), client(progress):
        for name in parcel.files:
            if name not in (CARD, MANIFEST):  # what is sent is what is hashed
                made[name] = stack.enter_context(open_file(parcel.folder, name))
                facts[name] = _facts(made[name])
        listed = json.dumps(files.sealed({"files": dict(sorted(facts.items()))}), indent=2) + "\n"
        made[MANIFEST] = listed.encode()
        operations = [CommitOperationAdd(name, made[name]) for name in parcel.files]
        api = HfApi(endpoint=endpoint(), token=token())
        api.create_repo(parcel.repository, private=private, exist_ok=True)
        done = api.create_commit(
            parcel.repository, operations, commit_message="Upload a model with vqcli", revision="main"
        )
    progress.advance(len(operations))
    return PushResult(parcel.repository, done.oid, parcel.files, parcel.bytes)


@contextmanager
def _writing(repository: str) -> Iterator[None]:
    """Explain what the Hub refuses. Raises VqcliError."""
    try:
        with explained(Published(repository)):
            yield
    except VqcliError as e:
        if status_of(e.__cause__ or e) not in (401, 403):
            raise
        hint = "log in with a token that may write: hf auth login (other hosts: $VQCLI_TOKEN_HOST)"
        raise VqcliError(f"no right to write to {repository}", hint=hint, reason="denied") from e


def _facts(file: BufferedReader) -> dict[str, Any]:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = file.tell()
    file.seek(0)
    return {"bytes": size, "sha256": digest}


def model_card(folder: Path, repository: str, model: dict[str, Any], licence: str | None) -> str:
    """The folder's card with how to use it from there, its recipe, and a licence.

    ``model`` is its section of ``config.json``. The licence is the one given, else the card's own, else
    that of a published file that is known. Raises VqcliError if the card is no UTF-8.
    """
    path, kind = folder / CARD, kind_of(folder)
    text = f"# A {kind}\n"
    if files.is_file(path):
        with open_file(folder, CARD) as file:
            text = _text(file, path)
    text = _licensed(text, licence, _known_licence(folder))
    text = re.sub(r"\n+ +vqcli \w+ .*THIS_FOLDER.*\n", "\n", text).rstrip("\n") + "\n"
    if "## Use" not in text:
        apart = "" if files.is_folder(folder / TOKENIZER) else " --tokenizer TOKENIZER"
        text += "\n" + row_of(folder).card.format(repository=repository, apart=apart)
    if "## Recipe" not in text:
        text += f"\n## Recipe\n\n{fenced(yaml.safe_dump(_recipe(folder, model), sort_keys=False), 'yaml')}"
    return text


def _text(file: BufferedReader, path: Path) -> str:
    """A text that is sent. Raises VqcliError if it is none."""
    try:
        return file.read(LONGEST).decode()
    except UnicodeDecodeError as e:
        raise VqcliError(
            f"{path} is no UTF-8 text", hint="write it anew, or remove it", reason="damaged"
        ) from e


def _licensed(text: str, given: str | None, known: str) -> str:
    """A card whose front matter tells a licence, where there is one; front matter is made if need be."""
    found = FRONT.match(text)
    front, rest = (found[1], text[found.end() :]) if found else ("library_name: vqcli\n", text)
    has = LICENSE.search(front)
    licence = given or ("" if has else known.lower())
    if licence:
        front = f"license: {licence}\n" + LICENSE.sub("", front)
    return f"---\n{front}---\n{rest}"


def _known_licence(folder: Path) -> str:
    """Of the weights of a published file whose hash is known; empty otherwise. That of code is not theirs."""
    path = folder / "import.json"
    found = files.read_json(path) if files.is_file(path) else {}
    digest = found.get("sha256") if isinstance(found, dict) else None
    known = (each.licence for each in ALIASES.values() if each.sha256 and each.sha256 == digest)
    return next((licence for licence in known if licence != ABOUT), "")


def _recipe(folder: Path, model: dict[str, Any]) -> dict[str, Any]:
    """The run's recipe without the places of this machine; of a model without a run its configuration."""
    path = folder.parent / "recipe.yaml"
    if folder.name != "model" or not files.is_file(path):
        return model
    with files.open_inside(folder.parent, path.name) as file:  # a link's would be told to everyone
        recipe = parse_yaml(_text(file, path), str(path))
    if not isinstance(recipe, dict):
        raise VqcliError(f"{path} is no recipe: it holds no keys", hint="remove it", reason="config")
    data = recipe.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str):
        data["source"] = Path(data["source"]).name
    if isinstance(recipe.get("init"), str):
        recipe["init"] = Path(recipe["init"]).name
    return recipe
