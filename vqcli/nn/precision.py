"""Number formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor

from vqcli.errors import VqcliError

DECODED = "what the decoder makes"


def autocast(
    precision: str, device: torch.device, *, training: bool = False
) -> AbstractContextManager[object]:
    """What runs the networks in ``precision`` (fp32, bf16, fp16).

    fp32 is exact, but in training, where convolutions of a GPU are what torch makes of them: TF32, unless its
    settings say otherwise.
    """
    if precision == "fp32" and device.type == "cuda" and not training:
        return exact_convolutions()
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    known = precision in kinds and torch.amp.is_autocast_available(device.type)  # not on the meta device
    return torch.autocast(device.type, kinds[precision]) if known else nullcontext()


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Inside, a GPU computes convolutions of float32 with all its bits, not with TF32's 10."""
    chosen = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = chosen


def float32(like: Tensor) -> AbstractContextManager[object]:
    """No autocast for what runs inside, on the device of ``like``, whatever stands around it."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def is_finite(x: Tensor) -> bool:
    """Whether no number is NaN or Inf.

    A sum tells it in one pass: it is finite only if all are. Where it is not, it may have grown too large.
    """
    return not x.is_floating_point() or bool(x.sum().isfinite()) or bool(x.isfinite().all())


UNASKED: ContextVar[list[Tensor] | None] = ContextVar("unasked", default=None)


@contextmanager
def asking_later(device: torch.device) -> Iterator[list[Tensor]]:
    """Inside, ``finite`` lets a GPU go on: its list gets sums that are finite only if all numbers are."""
    sums: list[Tensor] = []
    before = UNASKED.set(sums if device.type == "cuda" else None)
    try:
        yield sums
    finally:
        UNASKED.reset(before)


def finite(made: Tensor, what: str) -> Tensor:
    """What a network made. Raises VqcliError where it is NaN or Inf, which tokens and 8 bits would hide."""
    if (unasked := UNASKED.get()) is not None:
        unasked.append(made.sum(dtype=torch.float32))
    elif not made.is_meta and not is_finite(made):
        hint = "--precision fp32 or bf16: fp16 reaches to 65,504; else its weights are damaged"
        raise VqcliError(f"{what} holds NaN or Inf", hint=hint, reason="not-finite")
    return made
