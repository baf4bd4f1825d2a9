"""Parts from outside the package: modules that a user names, and packages that a user installed.

Nothing that was downloaded chooses what Python imports. A recipe or a model may name a plugin and its parts;
what imports it is ``--plugin``, ``$VQCLI_PLUGINS``, ``allow``, or an installed package's entry point.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from vqcli.errors import VqcliError
from vqcli.parts import BASES, PARTS, attribute, plugin_of, singular

GROUP = "vqcli.parts"
"""Entry points of installed plugins; the value of each is a module."""
ENVIRONMENT = "VQCLI_PLUGINS"
BROKEN: dict[str, str] = {}
"""Installed plugins that could not be taken, and why."""
NAMELESS = ("sources", "importers")
"""Kinds without options: the class's own name tells what they are called."""


def allow(*names: str) -> None:
    """Import plugins and add their parts to ``PARTS``.

    A name is that of a module, in the current folder or installed, or the path of a Python file. Raises
    VqcliError where there is none, it cannot be imported, has no part, or has one whose name is taken.
    """
    for name in names:
        _add(_import(name))


def loaded() -> set[str]:
    """Modules of plugins whose parts are there."""
    return {plugin for kind in PARTS for name in PARTS[kind] if (plugin := plugin_of(kind, name))}


def named_in_environment() -> list[str]:
    """The plugins of ``$VQCLI_PLUGINS``, divided by colons or commas."""
    return [name.strip() for name in re.split("[:,]", os.environ.get(ENVIRONMENT, "")) if name.strip()]


@cache
def installed() -> dict[str, str]:
    """Installed plugins, entry point -> module, with their parts added; what fails goes to ``BROKEN``."""
    found = {entry.name: entry.module for entry in importlib.metadata.entry_points(group=GROUP)}
    for module in found.values():
        try:
            _add(_imported(module))
        except VqcliError as e:
            BROKEN[module] = str(e)
    return found


def require(told: Any, what: object) -> None:
    """Raises VqcliError where ``what`` tells a plugin, ``{module: parts}`` or a list, that is not allowed."""
    names = list(told) if isinstance(told, dict | list | tuple) else [None]
    if not all(isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*", name) for name in names):
        raise VqcliError(f"{what}: plugins are names of modules", hint="plugins: [mymodule]", reason="config")
    if not loaded().issuperset(names):
        installed()
    for name in map(str, names):
        if name not in loaded():
            parts = f" ({_listed(told[name])})" if isinstance(told, dict) and told[name] else ""
            hint = f"if you have that module and trust it, let it run: --plugin {name}"
            raise VqcliError(
                f"{what} needs the plugin {name}{parts}", hint=BROKEN.get(name, hint), reason="plugin"
            )


def needed(config: BaseModel, *parts: type | None) -> dict[str, dict[str, list[str]]]:
    """What a file tells of the plugins that a configuration has parts of; empty where it has none."""
    plugins = uses(config, *parts)
    return {"plugins": plugins} if plugins else {}


def sentence(config: BaseModel) -> str:
    """What a model's card says of its plugins; empty where it has none."""
    told = [f"`{name}` ({_listed(parts)})" for name, parts in uses(config).items()]
    return f"It needs {' and '.join(told)}, no part of vqcli: name it with `--plugin`." if told else ""


def uses(config: BaseModel, *parts: type | None) -> dict[str, list[str]]:
    """The plugins that a configuration has parts of: module -> parts, such as ``quantizer dithered``.

    ``parts`` are classes in use that no configuration tells.
    """
    theirs: dict[type | None, tuple[str, str]] = {}
    for kind, targets in PARTS.items():
        for name, target in targets.items():
            if plugin := plugin_of(kind, name):
                part = attribute(target)
                theirs[getattr(part, "Config", part)] = plugin, f"{singular(kind)} {name}"
    found: dict[str, list[str]] = {}
    for used in dict.fromkeys([*map(type, _sections(config)), *parts]):
        if used in theirs:
            plugin, what = theirs[used]
            found.setdefault(plugin, []).append(what)
    return dict(sorted(found.items()))


def _listed(parts: Any) -> str:
    return ", ".join(map(str, parts)) if isinstance(parts, list) else str(parts)


def _sections(value: Any) -> Iterator[BaseModel]:
    """A configuration and all those inside it."""
    if isinstance(value, BaseModel):
        yield value
        value = [each for _, each in value]
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _sections(each)


def _import(name: str) -> ModuleType:
    """The module of a name or a path; one in the current folder, or at a path, shadows nothing."""
    is_path = name.endswith(".py") or os.sep in name
    folder = (Path(name).parent if is_path else Path()).resolve()
    module = Path(name).stem if is_path else name
    if not module or not any(map(os.path.isfile, _files(folder, module))):
        if is_path:
            raise VqcliError(f"there is no plugin at {name}", hint="--plugin ./mymodule.py", reason="plugin")
        return _imported(module)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, and there for processes that load images
    top = module.partition(".")[0]
    if not _is_in(folder, top):
        raise VqcliError(
            f"the plugin {name} cannot be imported: Python has another module {top}",
            hint="give it a name of its own",
            reason="plugin",
        )
    return _imported(module)


def _files(folder: Path, module: str) -> list[Path]:
    """Where a module would lie in a folder: a file, or a package."""
    place = folder.joinpath(*module.split("."))
    return [place.with_suffix(".py"), place / "__init__.py"]


def _is_in(folder: Path, module: str) -> bool:
    """Whether this folder is where Python would import a module from, or did."""
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # one without a specification, as the one that runs
        return False
    places = [spec.origin or "", *(spec.submodule_search_locations or [])] if spec else []
    own = [*_files(folder, module), folder / module]
    return any(a.exists() and os.path.exists(b) and a.samefile(b) for a in own for b in places)  # noqa: PTH110


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as e:  # whatever their code raises
        if isinstance(e, ModuleNotFoundError) and e.name and f"{module}.".startswith(f"{e.name}."):
            raise VqcliError(
                f"there is no plugin {module}: no such module here or installed",
                hint=f"--plugin FOLDER/{module.replace('.', '/')}.py names a file elsewhere",
                reason="plugin",
            ) from e
        raise VqcliError(
            f"the plugin {module} cannot be imported: {type(e).__name__}: {e}",
            hint="VQCLI_DEBUG=1 shows where",
            reason="plugin",
        ) from e


def _add(module: ModuleType) -> None:
    """Put the parts of a module into the table: all of them or none."""
    if module.__name__ in loaded():
        return
    found = list(_parts(module))
    if not found:
        raise _empty(module)
    owners: dict[tuple[str, str], str] = {}
    for kind, name, short in found:
        ours = plugin_of(kind, name) or "vqcli" if name in PARTS[kind] else ""
        if owner := owners.get((kind, name), ours):
            raise VqcliError(
                f"{module.__name__}:{short} cannot be the {singular(kind)} '{name}', which {owner} has",
                hint="give it another name: in its Config, name: Literal['mine'] = 'mine'",
                reason="plugin",
            )
        owners[kind, name] = short
    for kind, name, short in found:
        PARTS[kind][name] = f"{module.__name__}:{short}"


def _empty(module: ModuleType) -> VqcliError:
    """No part in a module: which class lacks what, or what a part would be."""
    for short, each, _ in _candidates(module):
        missing = ", ".join(sorted(getattr(each, "__abstractmethods__", ())))
        return VqcliError(
            f"the plugin {module.__name__} has no parts: {short} lacks {missing}",
            hint=f"a part defines all that its base class leaves open: write {missing}",
            reason="plugin",
        )
    bases = ", ".join(sorted(base.split(":")[1] for base in BASES.values()))
    return VqcliError(
        f"the plugin {module.__name__} has no parts",
        hint=f"a part is a class of one of these: {bases}",
        reason="plugin",
    )


def _parts(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Of every class of a module, or package, that is a part and not abstract: kind, name, own name."""
    for short, each, kind in _candidates(module):
        if not inspect.isabstract(each):
            yield kind, _name(kind, each), short


def _candidates(module: ModuleType) -> Iterator[tuple[str, type, str]]:
    """A module's own classes on a base of parts, abstract ones too: own name, class, kind."""
    for short, each in vars(module).items():
        if short.startswith("_") or not inspect.isclass(each):
            continue
        own = f"{each.__module__}.".startswith(f"{module.__name__}.")
        above = {f"{base.__module__}:{base.__qualname__}" for base in each.__mro__}
        for kind, base in BASES.items():
            if own and base in above:
                yield short, each, kind


def _name(kind: str, part: type) -> str:
    """What a part is called in recipes."""
    if kind in NAMELESS:
        short = part.__name__.removesuffix(singular(kind).title())
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", short).lower()
    field = "task" if kind == "tasks" else "name"
    told = getattr(getattr(part, "Config", None), "model_fields", {}).get(field)
    if told is None or not isinstance(told.default, str):
        raise VqcliError(
            f"{part.__module__}:{part.__qualname__} has no name",
            hint=f"in its Config: {field}: Literal['mine'] = 'mine'; a class that is no part begins with _",
            reason="plugin",
        )
    return told.default
