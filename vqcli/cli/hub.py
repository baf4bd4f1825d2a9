"""``vqcli pull`` and ``vqcli push``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcli.cli.options import MODEL, ForceOpt, complete_model
from vqcli.cli.output import Out


def parse_licence(text: str) -> str:
    """A name such as ``cc-by-4.0``. Raises BadParameter."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,63}", text):
        raise typer.BadParameter(f"{text!r} is no name of a licence such as mit or cc-by-4.0")
    return text


def pull(
    out: Out,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An alias (vqcli list models), owner/name[@revision], or hf://owner/name/file.",
            autocompletion=complete_model,
        ),
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Also copy the model folder there.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Download a published model, for work without network. Prints its folder.

    Example: vqcli pull llamagen-vq16 -o models/llamagen-vq16
    """
    from vqcli.jobs.pull import pull as run

    result = run(model, out_dir, force=force, progress=out.progress())
    out.result(result, f"{result.folder}  {result.bytes / 1e6:,.1f} MB", essential=result.folder)


def push(
    out: Out,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{MODEL}.", autocompletion=complete_model)],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the Hub.")],
    private: Annotated[
        bool, typer.Option("--private", help="If it is made now, show it to no one else.")
    ] = False,
    licence: Annotated[
        Any,
        typer.Option(
            "--license",
            parser=parse_licence,
            metavar="ID",
            help="Of the weights, as the Hub names it: mit, cc-by-4.0; that of the card otherwise.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Upload a model folder with its card. That tells what it is, its recipe, licence, and how to use it.

    Example: vqcli push runs/demo owner/my-tokenizer --private
    """
    from vqcli.jobs.push import pack
    from vqcli.jobs.push import push as run

    parcel = pack(model, repository, out.progress(), licence=licence)
    if not yes:
        out.say(f"{parcel.folder}: {', '.join(parcel.files)}, {parcel.bytes / 1e6:,.1f} MB")
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: give --yes")
        typer.confirm(f"Upload to {repository}?", abort=True, err=True)
    result = run(parcel, private=private, progress=out.progress())
    text = f"{result.repository}  {len(result.files)} files, commit {result.commit[:12]}"
    out.result(result, f"{text}\nNext: vqcli {parcel.use} -m {result.repository}", result.repository)
