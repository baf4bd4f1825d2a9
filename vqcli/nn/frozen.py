"""Networks that others trained: built without weights, then filled with the published ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vqcli.errors import VqcliError
from vqcli.nn.meta import allocate


def settle(network: nn.Module, home: torch.device) -> None:
    """Bring a network that was built on the meta device to ``home``: frozen, every weight NaN."""
    allocate(network, home).requires_grad_(False)
    for parameter in network.parameters():
        parameter.fill_(torch.nan)


def checked(
    name: str, state: Mapping[str, Tensor], like: Mapping[str, Tensor], hint: str
) -> dict[str, Tensor]:
    """The tensors of ``state`` that the network ``name`` needs: those with the keys and shapes of ``like``.

    Raises VqcliError with ``hint`` that names the first key that lacks, does not fit or is not finite.
    """
    for key, tensor in like.items():
        if key not in state:
            raise VqcliError(f"the weights of {name} lack '{key}'", hint=hint, reason="layout")
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, {name} has {tuple(tensor.shape)}"
            raise VqcliError(f"the weights' '{key}' has the shape {shapes}", hint=hint, reason="layout")
        if not (state[key].is_floating_point() and state[key].isfinite().all()):
            message = f"the weights' '{key}' holds values that are no finite numbers"
            raise VqcliError(message, hint=hint, reason="layout")
    return {key: state[key] for key in like}
