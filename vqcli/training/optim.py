"""Optimizers and the running average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor, nn

from vqcli.codebooks.base import Restarted
from vqcli.errors import VqcliError
from vqcli.training.recipe import OptimizerConfig

CODEBOOK = "quantizer.codebook."
"""Where a tokenizer has its codebook."""
FUSED = ("cpu", "cuda")
"""Devices on which all of a step is one pass over the weights, and ``found_inf`` makes it do nothing."""


def make_optimizer(module: nn.Module, config: OptimizerConfig, batch_size: int) -> torch.optim.Optimizer:
    """Adam or AdamW over a part's parameters that train; vectors are not decayed, codes have their rate.

    Nor is what the part calls ``UNDECAYED``. A part's ``layer_of(name)`` tells how deep a parameter lies, for
    ``layer_decay``; raises VqcliError where that is asked of one without. Groups keep the order in which
    checkpoints count parameters: all that decays, then all that does not. A group's ``scale`` is its rate
    over that of the networks.
    """
    lr = config.lr * (batch_size / config.lr_batch if config.lr_batch else 1)
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    undecayed = tuple(getattr(module, "UNDECAYED", ()))
    named.sort(key=lambda x: not _decays(undecayed, *x))
    layers = _layer_scales(module, config, [name for name, _ in named])
    scales = {name: _scale(config, name) * layers.get(name, 1.0) for name, _ in named}
    groups = []
    for (scale, decays), some in groupby(named, lambda x: (scales[x[0]], _decays(undecayed, *x))):
        decay = config.weight_decay if decays else 0.0
        group = {"lr": lr * scale, "weight_decay": decay, "scale": scale, "decays": decays}
        groups.append({"params": [p for _, p in some]} | group)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    fused = all(p.device.type in FUSED for _, p in named)
    optimizer = kind(groups, lr=lr, betas=config.betas, eps=config.eps, fused=fused)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _scale(config: OptimizerConfig, name: str) -> float:
    return config.codebook_rate if name.startswith(CODEBOOK) else 1.0


def _layer_scales(module: nn.Module, config: OptimizerConfig, names: list[str]) -> dict[str, float]:
    """By the names of parameters, the rate of their layer over that of the last."""
    if config.layer_decay == 1:
        return {}
    layer_of = getattr(module, "layer_of", None)
    if layer_of is None:
        raise VqcliError(
            "optimizer.layer_decay: this model does not tell how deep its layers lie",
            hint="leave it out; classifiers tell it",
            reason="config",
        )
    depth = {name: layer_of(name) for name in names}
    last = max(depth.values(), default=0)
    return {name: config.layer_decay ** (last - layer) for name, layer in depth.items()}


def _decays(undecayed: tuple[str, ...], name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay is for this parameter: a matrix whose name does not end in one of these ways."""
    return parameter.dim() >= 2 and not (undecayed and name.endswith(undecayed))


@torch.no_grad()
def forget(optimizer: torch.optim.Optimizer, restarted: Iterable[Restarted]) -> None:
    """Set the moments of rows that begin anew to zero."""
    for parameter, rows in restarted:
        for moments in optimizer.state.get(parameter, {}).values():
            if moments.shape == parameter.shape:
                moments.masked_fill_(rows.view(-1, *[1] * (parameter.dim() - 1)), 0)


class RunningAverage:
    """Average of a model's weights and buffers, with decay min(decay, (1 + n) / (10 + n)) after n updates."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module, self.decay, self.updates = copy.deepcopy(model), decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Count the model as it is now."""
        n, self.updates = self.updates, self.updates + 1
        weight = 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0
        _lerp(zip(self.module.parameters(), model.parameters()), weight)
        buffers = list(zip(self.module.buffers(), model.buffers()))
        _lerp((pair for pair in buffers if pair[0].is_floating_point()), weight)
        for average, value in buffers:
            if not average.is_floating_point():
                average.copy_(value)


def _lerp(pairs: Iterable[tuple[Tensor, Tensor]], weight: float) -> None:
    if there := list(pairs):
        torch._foreach_lerp_([average for average, _ in there], [value for _, value in there], weight)
