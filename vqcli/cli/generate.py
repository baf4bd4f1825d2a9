"""``vqcli generate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli import files
from vqcli.cli.groups import COMPUTING, Before, Group
from vqcli.cli.options import MODEL, Precision, SamplingOpt, complete_model, forcing, option, parse_sampling
from vqcli.cli.output import Out
from vqcli.escapes import visible
from vqcli.jobs.options import GenerateOptions

if TYPE_CHECKING:
    from vqcli.jobs.generate import GenerateResult

NAMED = 5
"""Classes that the result names."""


THEIRS = "the generator's"
SAMPLING = {
    "cfg": Annotated[
        float | None,
        option(
            "--cfg", min=0, metavar="FLOAT", help="Guidance towards the class; 1 is none.", default=THEIRS
        ),
    ],
    "cfg_interval": Annotated[
        int | None,
        option(
            "--cfg-interval",
            min=-1,
            metavar="N",
            help="Guide the first token and N + 1 more; -1 guides all.",
            default=THEIRS,
        ),
    ],
    "top_k": Annotated[
        int | None,
        option(
            "--top-k",
            min=0,
            metavar="K",
            help="Draw from the K likeliest codes; 0 draws from all.",
            default=THEIRS,
        ),
    ],
    "top_p": Annotated[
        float | None,
        option(
            "--top-p",
            min=0,
            max=1,
            metavar="P",
            help="Draw from the likeliest codes that together reach this share, 0 to 1.",
            default=THEIRS,
        ),
    ],
    "temperature": Annotated[
        float | None,
        option(
            "--temperature",
            min=0,
            metavar="FLOAT",
            help="Below 1 likely codes become likelier; 0 takes the likeliest.",
            default=THEIRS,
        ),
    ],
}
"""Flags of what may differ from a generator's own sampling."""


def _asked(**given: Any) -> GenerateOptions:
    sampling = {name: given.pop(name) for name in SAMPLING if name in given}
    named = parse_sampling(given.pop("sampling", ()))
    if twice := sampling.keys() & named.keys():
        raise typer.BadParameter(f"{min(twice)} is given twice, once by --sampling")
    return GenerateOptions(sampling=sampling | named, **given)


ASKED = Group(
    GenerateOptions,
    {
        "classes": Annotated[
            list[str],
            option(
                "--prompt-class",
                metavar="CLASS",
                help="A number (207), a range (0-9), or a name or its beginning; may repeat.",
            ),
        ],
        "model": Annotated[
            str | None,
            option(
                "--model",
                "-m",
                metavar="GENERATOR",
                help=f"{MODEL}.",
                default="$VQCLI_MODEL, then llamagen-b-256",
                autocompletion=complete_model,
            ),
        ],
        "count": Annotated[int, option("--count", "-n", min=1, metavar="N", help="Images of each class.")],
        **SAMPLING,
        "sampling": SamplingOpt,
        "seed": Annotated[
            int,
            option(
                "--seed",
                min=0,
                metavar="N",
                help="Another number makes other images of the classes; a folder may hold several.",
            ),
        ],
        "tokenizer": Annotated[
            str | None,
            option(
                "--tokenizer",
                metavar="MODEL",
                help="Decodes what is made.",
                default="the generator's own",
                autocompletion=complete_model,
            ),
        ],
        **COMPUTING,
        "precision": Annotated[
            Precision, option("--precision", help="Number format of the generator and the computation.")
        ],
        "compile": Annotated[
            bool, option("--compile", help="Compile a step of sampling: slow to begin, then faster.")
        ],
        "quantize": Annotated[
            bool,
            option(
                "--quantize/--no-quantize",
                help="Move generated latents to their nearest codes before decoding.",
            ),
        ],
        "force": Annotated[
            bool, forcing("Replace what is there; use a tokenizer that does not fit the generator.")
        ],
    },
    _asked,
)
"""Which images of which generator."""


def generate(
    out: Out,
    options: Annotated[GenerateOptions, ASKED],
    out_file: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            metavar="PATH",
            help="Folder for the images; of tokens one file if the name ends in .npy.",
            default="generated, of tokens generated.npy",
        ),
        Before("cfg"),
    ] = None,
    npz: Annotated[
        Path | None,
        option("--npz", metavar="FILE", help="Also write all images as one array, arr_0."),
        Before("force"),
    ] = None,
    tokens_only: Annotated[
        bool,
        option("--tokens-only", help="Write tokens for vqcli decode, no images."),
        Before("force"),
    ] = False,
) -> None:
    """Make images of classes. The same command continues; a larger -n and further classes add to the folder.

    Sampling is as the generator's makers chose it, but for what is given.

    Example: vqcli generate --prompt-class 88 --prompt-class "golden retriever" -n 8 --cfg 2
    """
    if npz and tokens_only:
        raise typer.BadParameter("--npz is of images, --tokens-only makes none")
    from vqcli.jobs.generate import generate as run
    from vqcli.jobs.generate_tokens import generate_tokens

    if tokens_only:
        result = generate_tokens(options, out_file or Path("generated.npy"), out.progress())
    else:
        result = run(options, out_file or Path("generated"), npz=npz, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)


def _text(result: GenerateResult) -> str:
    named = [f"{name} ({label})" if name else f"class {label}" for label, name in result.classes.items()]
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    what = f"{result.images:,} image{'' if result.images == 1 else 's'} of {', '.join(named[:NAMED])}{more}"
    if result.tokenizer is None:
        what = f"tokens of {what}"
    if result.kept:
        what += f", {result.kept:,} more were there already"
    lines = [f"{result.out}  {what}, model {result.model}"]
    if result.tokenizer is None:
        own = result.model / "tokenizer"
        tokenizer = str(own) if files.is_folder(own) else "TOKENIZER"
        lines.append(f"Next: vqcli decode {result.out} -o images -m {tokenizer}")
    if result.sheet:
        lines.append(f"{result.sheet}  some of them on one sheet")
    if result.npz:
        lines.append(f"{result.npz}  all of them as one array")
    return "\n".join(map(visible, lines))
