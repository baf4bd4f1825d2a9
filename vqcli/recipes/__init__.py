"""Recipes that come with the package: YAML files beside this module, kept with their comments."""

from __future__ import annotations

from pathlib import Path

from vqcli.errors import VqcliError, suggestion

_FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def recipe_text(name: str) -> str:
    """A shipped recipe's YAML with its comments. Raises VqcliError with the nearest known name."""
    names = recipe_names()
    if name not in names:
        raise VqcliError(
            f"no recipe is called '{name}'",
            hint=suggestion(name, names, "vqcli list recipes"),
            reason="config",
        )
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def first_comment(text: str) -> str:
    """What a recipe is, by its first line."""
    comments = (line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#"))
    return next(filter(None, comments), "")
