"""Groups of flags: one parameter of a command, an object of a job's options, is many flags on the line.

A command's parameter ``options: Annotated[ImageOptions, GROUP]`` becomes the flags of ``GROUP``, and the
object is made of those that were given. A flag is written once: here, in ``options.py``, or beside its only
command.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args

import typer

from vqcli.cli.options import (
    BatchSizeOpt,
    DeviceOpt,
    ImageColumnOpt,
    LabelColumnOpt,
    LabelsOpt,
    LimitOpt,
    PrecisionOpt,
    ProfileOpt,
    SizeOpt,
    SplitOpt,
    StrictOpt,
    WorkersOpt,
    option,
)
from vqcli.jobs.options import ImageOptions

KEYWORD = inspect.Parameter.KEYWORD_ONLY
"""Of all parameters that Typer is shown: their order is free of their defaults."""


@dataclass(frozen=True)
class Group:
    """Flags that together make one object."""

    kind: type
    """Of the object. Flags have the names of its fields where it is an option class, and their defaults."""
    flags: Mapping[str, Any]
    """Name -> ``Annotated[type, typer.Option(...)]``, in the order of the help."""
    make: Callable[..., Any] | None = None
    """Makes the object of what was given, where ``kind(...)`` alone would not do. May raise BadParameter."""

    def parameters(self) -> list[inspect.Parameter]:
        """A parameter of Typer's for every flag."""
        return [
            inspect.Parameter(name, KEYWORD, default=self._default(name, flag), annotation=flag)
            for name, flag in self.flags.items()
        ]

    def build(self, arguments: dict[str, Any]) -> Any:
        """The object; its flags are taken out of ``arguments``. What is None was not given."""
        values = {name: arguments.pop(name) for name in self.flags}
        given = {name: value for name, value in values.items() if value is not None}
        return (self.make or self.kind)(**given)

    def _default(self, name: str, flag: Any) -> Any:
        """None if the flag may be left unsaid, else the field's; ``empty`` where it must be said."""
        kind = get_args(flag)[0]
        if NoneType in get_args(kind) or kind is Any:
            return None
        fields = dataclasses.fields(self.kind) if dataclasses.is_dataclass(self.kind) else ()
        default = {field.name: field.default for field in fields}.get(name, False)
        return inspect.Parameter.empty if default is dataclasses.MISSING else default


@dataclass(frozen=True)
class Before:
    """In a flag's annotation: the help shows it before the flag of this name."""

    name: str


def expanded(function: Callable[..., None]) -> tuple[list[inspect.Parameter], dict[str, Group]]:
    """Parameters of a command, but for its first, with flags in place of groups; and the groups by name."""
    parameters: list[inspect.Parameter] = []
    groups = {}
    for own in list(inspect.signature(function, eval_str=True).parameters.values())[1:]:
        group = next((each for each in get_args(own.annotation) if isinstance(each, Group)), None)
        if group:
            groups[own.name] = group
        parameters += group.parameters() if group else [own.replace(kind=KEYWORD)]
    return _placed(parameters), groups


def _placed(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """The same, those with ``Before`` where they belong."""
    placed = {each: _before(each) for each in parameters}
    result = [each for each, before in placed.items() if not before]
    for each, before in placed.items():
        if before:
            result.insert([other.name for other in result].index(before), each)
    return result


def _before(parameter: inspect.Parameter) -> str:
    return next((each.name for each in get_args(parameter.annotation) if isinstance(each, Before)), "")


CHOOSING = {"split": SplitOpt, "limit": LimitOpt}
"""Which of the images that were named."""
COMPUTING = {"batch_size": BatchSizeOpt, "device": DeviceOpt, "precision": PrecisionOpt}
"""How a model works on them."""
READING = {
    "image_column": ImageColumnOpt,
    "label_column": LabelColumnOpt,
    "labels": LabelsOpt,
    "keep_profile": ProfileOpt,
    "num_workers": WorkersOpt,
    "strict": StrictOpt,
}
"""How images are read."""


def _counted(images: str | None = None, **given: Any) -> ImageOptions | None:
    if images is None and any(map(given.get, ("size", "split", "limit"))):
        raise typer.BadParameter("--size, --split and --limit choose among --images, which are not given")
    return None if images is None else ImageOptions(images, **given)


COUNTED = Group(
    ImageOptions,
    {
        "images": Annotated[
            str | None, option("--images", metavar="IMAGES", help="Encode these and count their tokens.")
        ],
        "size": SizeOpt,
        **CHOOSING,
        **COMPUTING,
        **READING,
    },
    _counted,
)
"""Images whose tokens are counted; None where none are named."""
