"""Rates of learning and of decay from step to step. Learning annealing is FVQ's schedule, https://arxiv.org/abs/2509.10140."""

from __future__ import annotations

import math

from vqcli.training.recipe import OptimizerConfig, ScheduleConfig, steps_in


def rate_factor(config: ScheduleConfig, step: int, steps: int, per_epoch: int) -> float:
    """Factor of the learning rate at ``step`` (from 0) of ``steps``, with ``per_epoch`` of them an epoch.

    Linear from ``start`` to 1 in the warm-up; then, with u the share of the rest that is over: 1 while
    u < hold, and from there down to ``floor`` at the last step, linearly or along half a cosine. From each
    drop on: a tenth.
    """
    warmup = steps_in(config.warmup, per_epoch)
    if step < warmup:
        return config.start + (1 - config.start) * step / max(1, warmup)
    if config.decay == "drops":
        return 0.1 ** sum(step >= steps_in(drop, per_epoch) for drop in config.drops)
    over = (step - warmup) / max(1, steps - 1 - warmup)
    if config.decay == "constant" or over < config.hold:
        return 1.0
    if config.decay == "linear":
        shape = (1 - over) / (1 - config.hold)
    else:
        shape = 0.5 * (1 + math.cos(math.pi * (over - config.hold) / (1 - config.hold)))
    return config.floor + (1 - config.floor) * shape


def decay_at(config: OptimizerConfig, step: int, steps: int) -> float:
    """Weight decay at ``step`` (from 0) of ``steps``: constant, or along half a cosine, as VAR's is."""
    start, end = config.weight_decay, config.weight_decay_end
    if end is None:
        return start
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps - 1)))
