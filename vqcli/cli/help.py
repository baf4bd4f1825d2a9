"""How help looks, and what is said of a wrong line: plain text, so that both answer at once.

Help is a sentence, examples, arguments, then flags in groups: those of the command alone first, those that
every command has last. A default always stands in brackets behind the words.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from vqcli.cli.output import Out
from vqcli.errors import suggestion

FIRST, LAST = "Options", "Every command"
PANELS = {
    "Images": "split limit image_column label_column labels keep_profile num_workers strict "
    "augment crop_range patch pool",
    "Sampling": "cfg cfg_interval top_k top_p temperature sampling",
    "Computing": "batch_size device precision compile quantize verify",
    "Weights": "lpips_weights inception_weights",
    LAST: "json quiet verbose plugin help",
}
"""Groups of the help, in their order, behind the flags of none of them."""
COMMON = {"train": ("batch_size",)}
"""Flags of a group that stand among a command's own: everybody sets them."""
_PANEL = {name: panel for panel, names in PANELS.items() for name in names.split()}
WHOLE = str.maketrans("- ", "\u2011\xa0")
"""Letters at which no line is broken, for those at which one is."""
SHORT = 32
"""Letters of a default that stays in one piece."""
EXAMPLE = "Example: "
"""Begins a paragraph of a docstring that is a line to type."""


class Helped:
    """The parts of a command's help, in our form. For a command or a group of Typer's."""

    help: str | None
    name: str | None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.strip("{}") for piece in pieces]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(self.help or "").split("\n\n")]
        with formatter.indentation():
            for paragraph in paragraphs:
                if not paragraph.startswith(EXAMPLE):
                    formatter.write_paragraph()
                    formatter.write_text(paragraph)
        examples = [text.removeprefix(EXAMPLE) for text in paragraphs if text.startswith(EXAMPLE)]
        if examples:
            with formatter.section("Examples" if len(examples) > 1 else "Example"):
                for example in examples:
                    for line in broken(example, formatter.width - 2):
                        formatter.write(f"  {line}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        shown = [each for each in self.get_params(ctx) if not each.hidden]  # type: ignore[attr-defined]
        sections: dict[str, list[tuple[str, str]]] = {key: [] for key in ("Arguments", FIRST, *PANELS)}
        for each in shown:
            argument = each.param_type_name == "argument"
            panel = FIRST if each.name in COMMON.get(self.name or "", ()) else _PANEL.get(each.name, FIRST)
            sections["Arguments" if argument else panel].append((_names(each, ctx), _words(each)))
        write_sections(formatter, sections)


def write_sections(formatter: Any, sections: dict[str, list[tuple[str, str]]]) -> None:
    """Names and words, aligned over all sections; on a narrow terminal the words below the names."""
    widest = max(len(name) for rows in sections.values() for name, _ in rows)
    width = widest if widest <= formatter.width * 2 // 5 else 4
    for heading, rows in sections.items():
        if rows:
            with formatter.section(heading):
                lines = [
                    (name.ljust(width), words.replace("-", "-".translate(WHOLE))) for name, words in rows
                ]
                formatter.write_dl(lines, col_max=width)
    back = {new: old for old, new in WHOLE.items()}
    formatter.buffer[:] = [part.translate(back) for part in formatter.buffer]


def _names(parameter: Any, ctx: Any) -> str:
    """``-o, --out PATH``."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        return f"{names}, {', '.join(parameter.secondary_opts)}"
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar or parameter.display_type(ctx).strip('<>')}"


def _words(parameter: Any) -> str:
    """What a flag does, whether it must be given, and what holds where it is not."""
    if parameter.param_type_name == "option" and parameter.required:
        return f"{parameter.help} [required]"
    default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    if isinstance(default, bool):  # a flag that is not given is off, but for one that can be given as off
        off = parameter.param_type_name == "option" and parameter.secondary_opts
        default = (parameter.opts if default else off)[0] if off else None
    if default in (None, ""):
        return str(parameter.help)
    told = f"[default: {default}]"
    return f"{parameter.help} {told.translate(WHOLE) if len(told) <= SHORT else told}"


def broken(command: str, width: int) -> list[str]:
    """A command line in lines that a shell reads as one, each with the value of its last flag."""
    words = re.findall(r"(?:'[^']*'|\"[^\"]*\"|\S)+", command)
    pieces: list[str] = []
    for word in words:
        pair = pieces and pieces[-1].startswith("-") and " " not in pieces[-1] and not word.startswith("-")
        pieces[-1:] = [f"{pieces[-1]} {word}"] if pair else [*pieces[-1:], word]
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) + 3 <= width:  # with the backslash that may have to follow
            lines[-1] += f" {piece}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {piece}")
    return lines


@contextmanager
def _told(json: bool) -> Iterator[None]:
    """Turn what Typer raises of a wrong line into a sentence, a hint and exit code 2."""
    try:
        yield
    except typer.TyperException as e:
        if type(e).__name__ == "NoArgsIsHelpError":
            raise
        Out(json).error(*_sentences(e), reason="option")
        raise typer.Exit(e.exit_code) from None


def _sentences(e: Any) -> tuple[str, str]:
    """What is wrong with the line, and what to do, in our words where Typer's would not help."""
    known = getattr(e, "param", None) or getattr(e, "param_hint", None)
    message = e.format_message() if known else e.message.replace("No such option: ", "there is no flag ")
    near = [f"'{name}'" for name in getattr(e, "possibilities", None) or ()]
    hints = [f"did you mean {' or '.join(near)}?"] if near else []
    if extra := re.match(r"Got unexpected extra argument\S* \((\S+)", message):
        message = f"more arguments than it takes, from '{extra[1].rstrip(')')}' on"
        hints.append("quote a pattern, as in 'photos/*.png', or the shell makes many arguments of it;")
    where = e.ctx.command_path if getattr(e, "ctx", None) else "vqcli COMMAND"
    hints.append(f"{where} --help explains what can be given")
    return message[:1].lower() + message[1:].rstrip("."), " ".join(hints)


class Command(Helped, TyperCommand):
    """A command with our form of help."""


class Group(Helped, TyperGroup):
    """All commands, under their panels; ``help COMMAND`` is ``COMMAND --help``."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            if not command.hidden:
                row = (name, command.get_short_help_str(1000))
                panels.setdefault(getattr(command, "rich_help_panel", ""), []).append(row)
        write_sections(formatter, panels)
        super().format_options(ctx, formatter)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _told("--json" in args):
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["json"] = "--json" in args
        if args[:1] == ["help"]:
            args = [*(name for name in args[1:2] if name[:1] != "-" and name != "help"), "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0].replace("_", "-")
        if name not in self.commands and not ctx.resilient_parsing:
            near = suggestion(name, [*self.commands, "help"])
            hint = near if near.startswith("did") else "vqcli --help lists the commands"
            Out(ctx.meta["json"]).error(f"there is no command '{args[0]}'", hint, "option")
            raise typer.Exit(2)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _told(ctx.meta["json"]):
            return super().invoke(ctx)
