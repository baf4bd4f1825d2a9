"""Which weights of a file are a model's that an importer reads, and which importer that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqcli.errors import VqcliError
from vqcli.importers.base import Importer, State
from vqcli.importers.containers import AVERAGED, CONTAINERS, Checkpoint
from vqcli.registry import known_parts, resolve

DEEPEST = 3
"""Names of modules that may stand before a model's own: ``model.vqvae.`` has two."""


@dataclass(frozen=True)
class Recognised:
    """A model's weights in a file."""

    layout: str
    """Name of the importer."""
    importer: Importer
    state: State
    """By the model's own keys."""
    container: str
    """Where in the file they were; empty where they are all it holds."""
    inside: str
    """What stood before their keys, such as ``first_stage_model.``; mostly nothing."""
    left_out: dict[str, int]
    """Other tensors beside them: how many, by the first part of their names."""

    @property
    def averaged(self) -> bool:
        """Whether they are running averages."""
        named = bool(AVERAGED.search(self.container) or AVERAGED.search(self.inside))
        return named or self.importer.averaged(self.state)


def recognise(path: Path, found: Sequence[Checkpoint]) -> Recognised:
    """The weights of ``path`` that a known layout has: those of the first of ``found`` that has any.

    A model may be a part of a larger one, which puts a name before its keys. Raises VqcliError if there is
    none, or if several parts are models and none is more likely meant.
    """
    for one in found:
        if known := importer_of(one.state):
            return Recognised(*known, one.state, one.container, "", {})
    for one in found:
        if inner := _inside(path, one):
            return inner
    keys = sorted(found[0].state)
    some = ", ".join(f"'{key}'" for key in keys[:: max(1, len(keys) // 3)][:4])
    where = f" under '{found[0].container}'" if found[0].container else ""
    raise VqcliError(
        f"{path} has a layout that is not known: {len(keys):,} keys{where} such as {some}",
        hint=f"known: {', '.join(known_parts('importers'))}",
        reason="layout",
    )


def importer_of(keys: Iterable[str]) -> tuple[str, Importer] | None:
    """The one importer whose layout has these keys, after its name; None if there is none."""
    keys = list(keys)
    for name in known_parts("importers"):
        importer: Importer = resolve("importers", name)()
        if importer.matches(keys):
            return name, importer
    return None


def _inside(path: Path, one: Checkpoint) -> Recognised | None:
    """The model whose keys have more before them. Raises VqcliError if there are several."""
    models: dict[str, tuple[str, Importer, State]] = {}
    parts = by_prefix(one.state)
    for prefix in sorted(parts, key=lambda name: name.count(".")):
        if any(prefix.startswith(model) for model in models):
            continue  # a part of what is a model itself
        state = {key.removeprefix(prefix): one.state[key] for key in parts[prefix]}
        if known := importer_of(state):
            models[prefix] = (*known, state)
    if not models:
        return None
    first, *others = sorted(models, key=_rank)
    if others and _rank(first) == _rank(others[0]):
        names = ", ".join(f"'{name}'" for name in sorted(models))
        hint = "save the one that you mean alone: the tensors whose keys begin so, without that beginning"
        message = f"{path} holds several models, whose keys begin with {names}"
        raise VqcliError(message, hint=hint, reason="ambiguous")
    others_in = Counter(key.partition(".")[0] for key in one.state if not key.startswith(first))
    return Recognised(*models[first], one.container, first, dict(others_in))


def by_prefix(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys by all that stands before more than one dot in them: ``a.`` and ``a.b.`` of ``a.b.weight``."""
    found: dict[str, list[str]] = {}
    for key in keys:
        names = key.split(".")[:-1]
        for i in range(1, min(len(names), DEEPEST) + 1):
            found.setdefault(".".join(names[:i]) + ".", []).append(key)
    return found


def _rank(prefix: str) -> tuple[bool, int]:
    """Averages go first, then what is called as tokenizers usually are."""
    names = [name for name in prefix.lower().split(".") if name in CONTAINERS]
    return not AVERAGED.search(prefix), min(map(CONTAINERS.index, names), default=len(CONTAINERS))
