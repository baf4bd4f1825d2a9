"""A model folder goes to the Hub, with a card that says what it is and how to use it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vqcli import files
from vqcli.aliases import ABOUT, ALIASES, Published
from vqcli.checkpoint import read_config
from vqcli.downloads.client import client, endpoint, token
from vqcli.downloads.problems import explained
from vqcli.errors import VqcliError
from vqcli.hub import check_repository
from vqcli.jobs.cache import model_folder
from vqcli.jobs.pull import model_files
from vqcli.types import Progress, silent

CARD, MANIFEST = "README.md", "manifest.json"
USE = """## Use

    vqcli encode IMAGES -o tokens.npy -m {repository}
    vqcli decode tokens.npy -o images/ -m {repository}

```python
from vqcli.checkpoint import load_tokenizer
from vqcli.jobs.cache import model_folder

tokenizer = load_tokenizer(model_folder("{repository}"))
```
"""


@dataclass(frozen=True)
class Parcel:
    """What would be sent: a model folder's files, and its card and manifest as they will be there."""

    folder: Path
    repository: str
    files: list[str]
    """Names, of the card and the manifest too."""
    bytes: int
    card: str


@dataclass(frozen=True)
class PushResult:
    """A model on the Hub."""

    repository: str
    commit: str
    files: list[str]
    bytes: int


def pack(reference: str, repository: str, progress: Progress = silent) -> Parcel:
    """See what ``push`` would send; nothing is sent.

    Raises VqcliError if ``repository`` cannot be a name, or the model is a checkpoint or damaged.
    """
    check_repository(repository)
    folder = model_folder(reference, progress)
    config = read_config(folder)
    if (folder / "state.json").exists():
        raise VqcliError(
            f"{folder} is a training checkpoint", hint="push the run's exported model", reason="wrong-kind"
        )
    names = [name for name in model_files(folder) if name not in (CARD, MANIFEST)]
    _check_whole(folder)
    size = sum((folder / name).stat().st_size for name in names)
    return Parcel(
        folder,
        repository,
        [*names, CARD, MANIFEST],
        size,
        model_card(folder, repository, config["tokenizer"]),
    )


def push(parcel: Parcel, *, private: bool = False, progress: Progress = silent) -> PushResult:
    """Send what was packed, in one commit; the repository is made if there is none.

    Raises VqcliError if the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    card = parcel.card.encode()
    local = [name for name in parcel.files if name not in (CARD, MANIFEST)]
    facts = {name: _facts((parcel.folder / name).stat().st_size, parcel.folder / name) for name in local}
    facts[CARD] = {"bytes": len(card), "sha256": hashlib.sha256(card).hexdigest()}
    listed = json.dumps({"files": dict(sorted(facts.items()))}, indent=2) + "\n"
    made: dict[str, Any] = {CARD: card, MANIFEST: listed.encode()}
    operations = [
        CommitOperationAdd(name, made.get(name) or str((parcel.folder / name).resolve()))
        for name in parcel.files
    ]
    progress.start(f"upload to {parcel.repository}", None, "files")
    with explained(Published(parcel.repository)), client(progress):
        api = HfApi(endpoint=endpoint(), token=token())
        api.create_repo(parcel.repository, private=private, exist_ok=True)
        done = api.create_commit(
            parcel.repository, operations, commit_message="Upload a model with vqcli", revision="main"
        )
    progress.advance(len(operations))
    return PushResult(parcel.repository, done.oid, parcel.files, parcel.bytes)


def _facts(size: int, path: Path) -> dict[str, Any]:
    return {"bytes": size, "sha256": files.sha256(path)}


def _check_whole(folder: Path) -> None:
    """Raises VqcliError if a file is not what the folder's manifest says; the card may have been edited."""
    path = folder / MANIFEST
    told = files.read_json(path) if path.is_file() else {}
    listed = told.get("files") if isinstance(told, dict) else None
    for name, facts in (listed or {}).items():
        there = folder / name
        if name != CARD and not (there.is_file() and files.sha256(there) == facts.get("sha256")):
            message = f"{there} is missing or is not what manifest.json says"
            raise VqcliError(message, hint="export or import the model again", reason="damaged")


def model_card(folder: Path, repository: str, tokenizer: dict[str, Any]) -> str:
    """The folder's card with how to use it from there, its recipe, and the licence it came under."""
    path = folder / CARD
    text = (
        path.read_text(encoding="utf-8")
        if path.is_file()
        else "---\nlibrary_name: vqcli\n---\n# A tokenizer\n"
    )
    licence = _licence(folder)
    if licence and not re.search(r"^license:", text, re.MULTILINE):
        text = text.replace("---\n", f"---\nlicense: {licence.lower()}\n", 1)
    text = re.sub(r"\n+ +vqcli encode .*THIS_FOLDER\n", "\n", text).rstrip("\n") + "\n"
    if "## Use" not in text:
        text += "\n" + USE.format(repository=repository)
    if "## Recipe" not in text:
        text += f"\n## Recipe\n\n```yaml\n{yaml.safe_dump(_recipe(folder, tokenizer), sort_keys=False)}```\n"
    return text


def _licence(folder: Path) -> str:
    """Of a published file that was imported; empty otherwise."""
    path = folder / "import.json"
    found = files.read_json(path) if path.is_file() else {}
    record = found if isinstance(found, dict) else {}
    known = {each.sha256: each.licence for each in ALIASES.values() if each.sha256 and each.licence != ABOUT}
    return str(known.get(record.get("sha256", ""), record.get("licence") or ""))


def _recipe(folder: Path, tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The run's recipe without the places of this machine; of a model without a run its tokenizer."""
    path = folder.parent / "recipe.yaml"
    if folder.name != "model" or not path.is_file():
        return {"tokenizer": tokenizer}
    recipe: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    data = recipe.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str):
        data["source"] = Path(data["source"]).name
    if isinstance(recipe.get("init"), str):
        recipe["init"] = Path(recipe["init"]).name
    return recipe
