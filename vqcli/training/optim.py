"""Optimizers and the running average of the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vqcli.training.recipe import OptimizerConfig


def make_optimizer(module: nn.Module, config: OptimizerConfig, batch_size: int) -> torch.optim.Optimizer:
    """Adam or AdamW over a part's parameters that train; vectors are not decayed."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    lr = config.lr * (batch_size / config.lr_batch if config.lr_batch else 1)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    optimizer = kind([g for g in groups if g["params"]], lr=lr, betas=config.betas, eps=config.eps)
    for group in optimizer.param_groups:
        group["initial_lr"] = lr
    return optimizer


class RunningAverage(AveragedModel):
    """Average of a model's weights and buffers, with decay min(decay, (1 + n) / (10 + n)) after n updates."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        @torch.no_grad()
        def update(averages: Sequence[Tensor], values: Sequence[Tensor], n: Tensor | int) -> None:
            weight = 1 - min(decay, (1 + int(n)) / (10 + int(n)))
            for average, value in zip(averages, values):
                average.lerp_(value, weight) if average.is_floating_point() else average.copy_(value)

        super().__init__(model, multi_avg_fn=update, use_buffers=True)
