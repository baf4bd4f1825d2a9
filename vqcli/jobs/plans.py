"""Plans: what decides a job's files, kept beside them, so that only the same job goes on with them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.errors import VqcliError

PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What decides a job's files: jobs with the same plan go on with each other's shards."""

    values: dict[str, Any]
    """As JSON values."""
    clear: Callable[[Path], object] = lambda folder: None
    """Deletes from a folder what a job with another plan has left."""
    holds: str = "another job"
    """What is in a folder with another plan, in words."""
    hint: str = "give another -o, or --force to start over"
    reason: str = "changed"
    unsaid: Collection[str] = ()
    """Values that tell people nothing."""
    otherwise: str = ""
    """What is said where only those differ."""
    file: str = PLAN


def begin(folder: Path, plan: Plan, *, force: bool = False) -> None:
    """Write a plan into a folder, or find it there. Raises VqcliError if another one is, unless ``force``."""
    files.clean(folder)
    path = folder / plan.file
    if files.is_file(path):
        found = _planned(path, plan, force=force)
        if found == plan.values:
            return
        if not force:
            message = f"{folder} holds {plan.holds}: {differences(found, plan) or plan.otherwise}"
            raise VqcliError(message, hint=plan.hint, reason=plan.reason)
        plan.clear(folder)
    files.write_sealed(path, plan.values)


def _planned(path: Path, plan: Plan, *, force: bool) -> Any:
    """The plan that lies there; none where it is damaged, and that does not matter: ``force``."""
    try:
        return files.read_sealed(path, files.LISTS)
    except VqcliError as e:
        if e.reason != "damaged" or not force:
            raise VqcliError(str(e), hint=e.hint if e.reason == "os" else plan.hint, reason=e.reason) from e
        return None


def differences(found: Any, plan: Plan) -> str:
    """``batch_size 16 -> 32, ...``, hashes cut short."""
    old, new = _flat(found), _flat(plan.values)
    changed = [name for name in new if old.get(name) != new[name] and name not in plan.unsaid]
    return ", ".join(f"{name} {_short(old.get(name))} -> {_short(new[name])}" for name in changed)


def _flat(values: Any) -> dict[str, Any]:
    """All values by name, those of sections too."""
    flat: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} names"
    return value[:8] if isinstance(value, str) and len(value) == 64 else str(value)
