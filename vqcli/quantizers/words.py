"""What quantizers say: of codebooks and tokens that do not fit them, and of models they start from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.errors import VqcliError


def no_codes() -> VqcliError:
    """The error of tokens that are asked of a model without a codebook."""
    return VqcliError(
        "this model has no codebook: it makes latents, not tokens",
        hint="encode --latents keeps those; for tokens name another tokenizer: vqcli list models",
        reason="wrong-kind",
    )


def no_token(number: int, size: int) -> VqcliError:
    """The error of a number that is given as a token of ``size`` codes."""
    hint = f"its tokens are 0 to {size - 1}; were these made by another tokenizer?"
    return VqcliError(f"{number} is no token of a codebook of {size}", hint=hint, reason="token-range")


def unpaired(quantizer: str, codebook: Codebook) -> VqcliError:
    """The error of a quantizer that needs codes without any, or of none that is given some."""
    if codebook.size:
        message = (
            f"the quantizer '{quantizer}' leaves latents as they are; a codebook '{codebook.name}' has codes"
        )
        hint = f"give it the codebook {{name: none, width: {codebook.width}}}, or choose another quantizer"
    else:
        message = f"the {quantizer} quantizer needs codes; a codebook '{codebook.name}' has none"
        hint = "choose another codebook, or quantizer none for an autoencoder that makes latents"
    return VqcliError(message, hint=hint, reason="config")


def untrained(quantizer: str, codebook: Codebook) -> VqcliError:
    """The error of a quantizer that trains codes, given some that cannot be trained so."""
    return VqcliError(
        f"the {quantizer} quantizer trains codes by gradient; a codebook '{codebook.name}' has none",
        hint="use a learned, projected or bridged codebook, or the nearest quantizer",
        reason="config",
    )


def first_misfit(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> str:
    """The first tensor with another name or shape, as ``name (3, 4) -> (3, 5)``; empty if all are equal."""
    for name in ours | theirs:
        shapes = [tuple(each[name].shape) if name in each else "none" for each in (theirs, ours)]
        if shapes[0] != shapes[1]:
            return f"{name} {shapes[0]} -> {shapes[1]}"
    return ""


def changes(what: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """How deciding fields of two parts differ, in words; empty if they do not."""
    if old["name"] != new["name"]:
        old, new = ({"name": each["name"]} for each in (old, new))
    changed = [f"{key} {old.get(key)} -> {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    return f"{what} not the model's: {', '.join(changed)}" if changed else ""
