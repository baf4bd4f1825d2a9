"""What can be named in a recipe or on the command line. Imports no torch and no part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError, suggestion
from vqcli.files import write_text
from vqcli.library.alias import Published
from vqcli.library.aliases import ALIASES
from vqcli.library.cache import KIND, cache_folder
from vqcli.library.weight_files import HEAVY
from vqcli.metrics.protocols import PROTOCOLS
from vqcli.parts import PARTS, describe, plugin_of
from vqcli.recipes import first_comment, recipe_names, recipe_text
from vqcli.registry import known_parts

PURPOSES = {
    "start": "Start here: minutes on a laptop's CPU",
    "study": "Compare systems on CIFAR-10: 32x32 images, a laptop's CPU",
    "study-gan": "The same, against a discriminator (GAN)",
    "generator": "Generators: learn the tokens of a tokenizer",
    "classifier": "Classifiers: tell the class of an image from its tokens",
    "published": "Sizes of the papers: large data sets, GPUs",
}
"""What recipes are for, in the order in which people are told."""
PAPER = "https://arxiv.org/abs/"


@dataclass(frozen=True)
class Entry:
    """One thing with a name."""

    name: str
    summary: str


@dataclass(frozen=True)
class PluginPart(Entry):
    """A part of a plugin."""

    plugin: str
    """The module that brings it."""


@dataclass(frozen=True)
class ShippedRecipe(Entry):
    """A recipe that comes with the package."""

    purpose: str
    """What it is for: a word of ``PURPOSES``."""


@dataclass(frozen=True)
class Model(Entry):
    """A published model with a short name."""

    kind: str
    """A row of ``checkpoint.kinds``."""
    system: str
    """Whose method it is."""
    codes: int
    """Of its codebook; of a generator, of the tokenizer whose tokens it makes."""
    repository: str
    file: str
    bytes: int | None
    """Of its file, as published or else as it lies here; None where neither is known."""
    licence: str
    cached: bool
    """Whether it can be used without network; of a generator, its tokenizer too."""
    tokenizer: str
    """Of a generator: the short name of the tokenizer whose tokens it makes."""


@dataclass(frozen=True)
class Recipe:
    """A shipped recipe's YAML."""

    name: str
    text: str


@dataclass(frozen=True)
class CopiedRecipe:
    """A shipped recipe that now lies in a file of the user's."""

    name: str
    path: Path


def kinds() -> list[str]:
    """What can be listed."""
    return ["recipes", "models", "protocols", *PARTS]


def catalog(kind: str | None = None) -> Mapping[str, Sequence[Entry]]:
    """Everything there is, or everything of one kind, by kind. Raises VqcliError on an unknown kind."""
    if kind is not None and kind not in kinds():
        raise VqcliError(f"there is no list of '{kind}'", hint=suggestion(kind, kinds()), reason="option")
    return {each: _entries(each) for each in ([kind] if kind else kinds())}


def read_recipe(name: str) -> Recipe:
    """A shipped recipe, comments included. Raises VqcliError on an unknown name."""
    return Recipe(name, recipe_text(name))


def copy_recipe(name: str, path: Path, force: bool = False) -> CopiedRecipe:
    """Write a shipped recipe to a file. Raises VqcliError on an unknown name, and if the file exists."""
    text = recipe_text(name)
    if files.exists(path) and not force:
        raise VqcliError(f"{path} exists", hint="another --out, or --force to replace it", reason="exists")
    write_text(path, text)
    return CopiedRecipe(name, path)


def _entries(kind: str) -> Sequence[Entry]:
    if kind == "models":
        return [_model(name, published) for name, published in ALIASES.items()]
    if kind == "recipes":
        return [_recipe(name, recipe_text(name)) for name in recipe_names()]
    if kind == "protocols":
        return [Entry(name, protocol.summary) for name, protocol in PROTOCOLS.items()]
    known_parts(kind)
    return [_part(kind, name, summary) for name, summary in sorted(describe(kind).items())]


def _recipe(name: str, text: str) -> ShippedRecipe:
    summary = first_comment(text)
    return ShippedRecipe(name, summary, _purpose(summary, text))


def _purpose(summary: str, text: str) -> str:
    """By what the file says: its task, the paper of published sizes, or CIFAR-10 as its data."""
    task = re.search(r"^task: (generator|classifier)$", text, re.MULTILINE)
    if task:
        return task[1]
    if PAPER in summary:
        return "published"
    if "cifar10/" not in text:
        return "start"
    return "study-gan" if re.search(r"^extends:", text, re.MULTILINE) else "study"


def _part(kind: str, name: str, summary: str) -> Entry:
    plugin = plugin_of(kind, name)
    return PluginPart(name, summary, plugin) if plugin else Entry(name, summary)


def _model(name: str, published: Published) -> Model:
    here = _weights(published)
    return Model(
        name,
        published.what,
        published.kind,
        published.system,
        published.codes,
        published.repository,
        published.file,
        published.bytes or sum(path.stat().st_size for path in here) or None,
        published.licence,
        _is_here(published) and (not published.tokenizer or _is_here(ALIASES[published.tokenizer])),
        published.tokenizer,
    )


def _is_here(published: Published) -> bool:
    known = published.sha256 and files.is_folder(cache_folder() / KIND / published.sha256)
    return bool(known or _weights(published))


def _weights(published: Published) -> list[Path]:
    """Its files of weights in the client's cache, of one commit; the client is not needed to look."""
    from huggingface_hub import constants

    kept = Path(constants.HF_HUB_CACHE) / f"models--{published.repository.replace('/', '--')}" / "snapshots"
    for commit in files.children(kept):
        place = commit / published.file
        found = [place] if files.is_file(place) else files.below(place)
        if heavy := [path for path in found if files.is_file(path) and path.name.endswith(HEAVY)]:
            return heavy
    return []
