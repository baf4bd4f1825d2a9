"""The command line: which commands there are, and what becomes of their errors.

A command is a plain function ``name(out: Out, ...)`` in a module beside this one and a line of ``COMMANDS``.
Every command gets ``--json``, ``--quiet`` and ``--verbose``; they become its ``out``. Every one takes
``--plugin`` too, before the command or after it.
"""

from __future__ import annotations

import functools
import inspect
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer

from vqcli import __version__, launcher, signals
from vqcli.cli import (
    build_codebook,
    cache,
    catalog,
    classify,
    doctor,
    evaluate,
    generate,
    hub,
    importing,
    models,
    prune,
    reconstruct,
    runs,
    tokens,
    train,
    usage,
    verify,
)
from vqcli.cli.groups import KEYWORD, expanded
from vqcli.cli.help import Command, Group
from vqcli.cli.options import JsonOpt, PluginOpt, QuietOpt, VerboseOpt, VerifyOpt
from vqcli.cli.output import UNCLEAN, Out, leads
from vqcli.cli.streams import settle_streams
from vqcli.cli.surroundings import settle_surroundings
from vqcli.cli.verdict import verdict
from vqcli.cores import settle_threads
from vqcli.errors import Interrupted, VqcliError

COMMANDS: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("Train", "train", train.train),
    ("Train", "runs", runs.runs),
    ("Train", "build-codebook", build_codebook.build_codebook),
    ("Images and tokens", "encode", tokens.encode),
    ("Images and tokens", "decode", tokens.decode),
    ("Images and tokens", "reconstruct", reconstruct.reconstruct),
    ("Images and tokens", "classify", classify.classify),
    ("Generate", "generate", generate.generate),
    ("Measure", "usage-report", usage.usage_report),
    ("Measure", "evaluate", evaluate.evaluate),
    ("Measure", "prune", prune.prune),
    ("Measure", "info", models.info),
    ("Models", "import", importing.import_file),
    ("Models", "pull", hub.pull),
    ("Models", "push", hub.push),
    ("Models", "cache", cache.cache),
    ("Models", "verify", verify.verify),
    ("Recipes and parts", "list", catalog.list_parts),
    ("Recipes and parts", "new", catalog.new),
    ("Recipes and parts", "check", models.check),
    ("Help", "doctor", doctor.doctor),
)
"""Panel of the help, name, function; in the order of the help."""

ALIASES = {"usage": "usage-report", "utilization-report": "usage-report"}
"""Further names of commands, left out of the help."""


SHARED = ("train", "encode", "reconstruct", "classify", "generate", "evaluate", "build_codebook")
"""Functions of commands that the processes of a launcher share; others work alone."""
HASHED = (*SHARED, "decode", "usage_report", "prune", "info", "pull", "push")
"""Functions of commands that read models, tokens or runs: they take ``--verify``."""
_SAME = "the same command goes on with what is finished"
GO_ON = {
    "train": "give the same command again, with --resume where the run's folder is there already",
    **dict.fromkeys(
        ("encode", "decode", "reconstruct", "classify", "generate", "evaluate", "build_codebook", "pull"),
        _SAME,
    ),
}
"""What is said of a command that was stopped; a run that has taken steps says more itself."""


class _Command(Command):
    """Says in our words which values a flag takes, and what stands for a flag that there is not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as e:
            if type(e.__cause__).__name__ == "ValidationError":
                from vqcli.refusals import flag_refusal

                e.message = flag_refusal(e.__cause__)
            raise
        except typer.TyperException as e:
            flag = getattr(e, "option_name", "")
            if self.name == "train" and flag.startswith("--") and hasattr(e, "possibilities"):
                from vqcli.cli.train_flags import unknown_flag

                e.message, e.possibilities = unknown_flag(flag, given), None
            raise


def _dashes(token: str) -> str:
    return token.replace("_", "-")


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _dashes,
        "max_content_width": 110,
    },
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vqcli {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    plugin: PluginOpt = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, run and measure vector-quantized image tokenizers.

    Example: vqcli train

    Example: vqcli list recipes

    Example: vqcli help encode
    """
    context.obj = plugin or []


def speaking(function: Callable[..., None]) -> Callable[..., None]:
    """The command with the flags of its groups, of plugins, and those of ``Out`` for its first parameter."""
    own, groups = expanded(function)

    @functools.wraps(function)
    def run(
        context: typer.Context, plugin: list[str], json: bool, quiet: bool, verbose: bool, **arguments: Any
    ) -> None:
        if arguments.pop("verify", False):
            os.environ["VQCLI_VERIFY"] = "1"  # for workers, too
        out = Out(json, quiet, verbose)
        out.plugins = [*(context.obj or ()), *(plugin or ())]
        out.detail(f"vqcli {__version__}: {function.__name__} {arguments}")
        with _explained(out, GO_ON.get(function.__name__, "")):
            for sentence in settle_surroundings():
                out.say(sentence)
            from vqcli.plugins import allow, named_in_environment  # not for --help

            _settle_launcher(shared=function.__name__ in SHARED)
            allow(*named_in_environment(), *out.plugins)
            built = {name: group.build(arguments) for name, group in groups.items()}
            function(out, **built, **arguments)

    flags = (("json", JsonOpt), ("quiet", QuietOpt), ("verbose", VerboseOpt))
    added = [inspect.Parameter(name, KEYWORD, default=False, annotation=kind) for name, kind in flags]
    added.append(inspect.Parameter("plugin", KEYWORD, default=None, annotation=PluginOpt))
    if function.__name__ in HASHED:
        added.append(inspect.Parameter("verify", KEYWORD, default=False, annotation=VerifyOpt))
    added.append(inspect.Parameter("context", KEYWORD, annotation=typer.Context))
    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    return run


def _settle_launcher(*, shared: bool) -> None:
    """Find this process's place among those of a launcher, or work alone; an error is every process's own."""
    try:
        place = launcher.settle() if shared else launcher.ALONE
    except VqcliError:
        launcher.work_alone()
        raise
    if not shared:
        launcher.work_alone()
    settle_threads(processes=place.local_processes)


@contextmanager
def _explained(out: Out, go_on: str) -> Iterator[None]:
    """Turn what a command raises into a sentence, a hint and an exit code; ``go_on`` is said of a stop."""
    try:
        yield
        _flush()
    except typer.Exit as e:
        if e.exit_code == UNCLEAN and not leads():
            return  # the first process tells; a launcher would end it as soon as another fails
        raise
    except (typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError:  # the reader left, as `| head` does
        with suppress(OSError):
            _flush()
        raise typer.Exit(141) from None
    except (Exception, KeyboardInterrupt, Interrupted) as e:
        if os.environ.get("VQCLI_DEBUG") == "1":
            out.close()
            traceback.print_exc()
        code, message, hint, reason = verdict(e, go_on)
        out.error(message, hint, reason)
        with suppress(OSError):
            _flush()
        raise typer.Exit(code) from None
    finally:
        out.close()


def _flush() -> None:
    """Write out what stdout holds. What it refuses is dropped: Python would try again at exit."""
    if sys.stdout:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise


for _panel, _name, _function in COMMANDS:
    app.command(_name, cls=_Command, rich_help_panel=_panel)(speaking(_function))
for _alias, _name in ALIASES.items():
    app.command(_alias, cls=_Command, hidden=True)(
        speaking(next(f for _, name, f in COMMANDS if name == _name))
    )


def main() -> None:
    """What the ``vqcli`` command does."""
    signals.stop_at_once()
    settle_streams()
    try:
        app(prog_name="vqcli")
    except SystemExit:  # all is said: what libraries fail to tidy up at exit would be a traceback below it
        if os.environ.get("VQCLI_DEBUG") != "1":
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            sys.stderr = io.StringIO()
        raise
    except Interrupted as e:  # outside of commands
        Out(json="--json" in sys.argv).error(str(e), reason="interrupted")
        sys.exit(128 + e.signal)
    except OSError as e:  # outside of commands: a help text that cannot be written
        with suppress(OSError):
            _flush()
        sys.exit(f"error: {e.strerror or e}")
    finally:
        signals.end_quietly()
