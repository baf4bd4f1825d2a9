"""What a run starts from: the weights of another model, and parts that stand still.

Shape letters: K codes, D width.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from vqcli.checkpoint.tokenizer import read_tokenizer
from vqcli.errors import VqcliError, suggestion
from vqcli.library.references import locate
from vqcli.quantizers.words import first_misfit
from vqcli.tokenizers.base import Tokenizer

State = dict[str, Tensor]

AROUND_CODES = ("quant_conv", "post_quant_conv", "quantizer")
"""What may start anew; a model whose other parts do not fit is no start."""


def freeze(tokenizer: Tokenizer, names: tuple[str, ...]) -> None:
    """Let these parts stand still, averages too. Raises VqcliError if one is unknown, or nothing is left."""
    modules = {name: module for name, module in tokenizer.named_modules() if name}
    for name in names:
        if name not in modules:
            hint = suggestion(name, [known for known in modules if known.count(".") < 2])
            raise VqcliError(f"freeze: the tokenizer has no part '{name}'", hint=hint, reason="config")
        modules[name].requires_grad_(False)
        if "quantizer.codebook".startswith(name):
            tokenizer.quantizer.freeze_codebook()
    if not any(parameter.requires_grad for parameter in tokenizer.parameters()):
        raise VqcliError("freeze: nothing is left to train", hint="freeze less", reason="config")


def start_from(tokenizer: Tokenizer, reference: str) -> str:
    """Give a tokenizer the weights of a model, part by part; returns a sentence that says which.

    Raises VqcliError where there is no model, it is damaged, or its networks do not fit.
    """
    folder = locate(reference, unbaked=True)
    source = read_tokenizer(folder)
    kinds = [getattr(each.config, "name", "") for each in (source, tokenizer)]
    if kinds[0] != kinds[1]:
        raise no_start(folder, f"network '{kinds[0]}' -> '{kinds[1]}'")
    ours, theirs = pieces(tokenizer), pieces(source)
    widths = source.quantizer.width, tokenizer.quantizer.width
    notes = [tokenizer.quantizer.start_from(source.quantizer)]
    if tokenizer.quantizer.codebook.frozen and "codebook starts anew" in notes[0]:
        raise VqcliError(
            f"freeze: {notes[0]}, and would stand still as it starts",
            hint="take the quantizer out of freeze, or start from a model with this codebook",
            reason="config",
        )
    for piece in ours | theirs:
        misfit = first_misfit(theirs.get(piece, {}), ours.get(piece, {}))
        if not misfit:
            for name, tensor in ours[piece].items():
                tensor.copy_(theirs[piece][name])
        elif piece.partition(".")[0] not in AROUND_CODES:
            raise no_start(folder, misfit)
        elif piece not in ours:
            notes.append(f"{piece} is left out")
        else:
            reason = misfit if widths[0] == widths[1] else f"code width {widths[0]} -> {widths[1]}"
            notes.append(f"{piece} starts anew ({reason})")
    said = "; ".join(filter(None, notes))
    return f"starting from {folder}" + (f": {said}" if said else "")


def no_start(folder: Path, misfit: str) -> VqcliError:
    """The error of a model whose networks are not the recipe's."""
    return VqcliError(
        f"{folder} does not fit the recipe: {misfit}",
        hint=f"give the recipe the model's network: vqcli info {folder} --json",
        reason="config",
    )


def pieces(tokenizer: Tokenizer) -> dict[str, State]:
    """The tensors of each part; of the quantizer, of each of its parts but the codebook."""
    found: dict[str, State] = {}
    for name, tensor in tokenizer.state_dict().items():
        depth = 2 if name.startswith("quantizer.") else 1
        piece = ".".join(name.split(".")[:depth])
        if piece != "quantizer.codebook":
            found.setdefault(piece, {})[name] = tensor
    return found
