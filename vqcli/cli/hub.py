"""``vqcli pull`` and ``vqcli push``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcli.cli.options import MODEL, complete_model, forcing, option
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
            help="A short name (vqcli list models), owner/name[@revision], or hf://owner/name/file.",
            autocompletion=complete_model,
        ),
    ],
    out_dir: Annotated[
        Path | None, option("--out", "-o", metavar="DIR", help="Also copy the model folder there.")
    ] = None,
    force: Annotated[bool, forcing("Replace what is at -o.")] = False,
) -> None:
    """Download a published model, for work without a network. Prints its folder.

    Example: vqcli pull llamagen-vq16 -o models/llamagen-vq16
    """
    from vqcli.jobs.pull import pull as run

    result = run(model, out_dir, force=force, progress=out.progress())
    out.result(result, f"{result.folder}  {result.bytes / 1e6:,.1f} MB", essential=result.folder)


def push(
    out: Out,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{MODEL}.", autocompletion=complete_model)],
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="owner/name on the Hub; made if there is none.")
    ],
    private: Annotated[bool, option("--private", help="Show it to no one else, if it is made now.")] = False,
    licence: Annotated[
        Any,
        option(
            "--license",
            parser=parse_licence,
            metavar="ID",
            help="Licence of the weights, as the Hub names it: mit, cc-by-4.0.",
            default="the card's",
        ),
    ] = None,
    yes: Annotated[bool, option("--yes", "-y", help="Upload without asking first.")] = False,
) -> None:
    """Upload a model folder to the Hugging Face Hub, with a card that tells what it is and how to use it.

    Example: vqcli push runs/demo owner/my-tokenizer --private
    """
    from vqcli.jobs.push import pack
    from vqcli.jobs.push import push as run

    parcel = pack(model, repository, out.progress(), licence=licence)
    if not yes:
        out.say(f"{parcel.folder}: {', '.join(parcel.files)}, {parcel.bytes / 1e6:,.1f} MB")
        if not (sys.stdin and sys.stdin.isatty()):
            raise typer.BadParameter("nobody can be asked here: give --yes")
        typer.confirm(f"Upload to {repository}?", abort=True, err=True)
    result = run(parcel, private=private, progress=out.progress())
    text = f"{result.repository}  {len(result.files)} files, commit {result.commit[:12]}"
    out.result(result, f"{text}\nNext: {parcel.next}", result.repository)
