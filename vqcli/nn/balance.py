"""The adaptive weight of an adversarial loss, found inside the backward pass.

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841, equation 7. The published code
first runs both losses back to the last layer, through the perceptual network and the discriminator, then runs
them back again for the step. Here both run back to the images once; only the last layer is passed again.
Shape letters: B images, H, W sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqcli.nn.distributed import all_reduce_sum, rank_and_world

LIMIT = 1e4
"""The largest weight."""
EPS = 1e-4
"""Added to the norm of the adversarial gradient."""


def balanced(
    images: Tensor, last_layer: Tensor, factor: float, report: Callable[[Tensor], None]
) -> tuple[Tensor, Tensor, Tensor]:
    """Images for reconstruction losses, the same for the adversarial loss, and a probe: a scalar of value 0.

    Backward, the images receive the gradient of the reconstruction losses, and that of the adversarial loss
    times ``factor`` times w = min(|g_rec| / (|g_adv| + 1e-4), 1e4), where g are the gradients of
    ``last_layer``, averaged over processes (the published code leaves each process its own w). Add the
    adversarial loss as it is, and the probe, to the total: the probe's gradient tells how the total was
    scaled, so that w does not depend on it. ``report`` is given w, a float32 scalar without gradient; w is
    NaN where a gradient of the last layer overflows, and so are then all gradients: a loss scale goes down.

    Backward is a collective call. ``images`` (B, 3, H, W) come from ``last_layer``, a weight that may not
    change in between. Raises ValueError if it is frozen; backward, if one of the three is not in the total.
    """
    if not last_layer.requires_grad:
        raise ValueError("the adaptive weight needs the gradient of the last layer, which is frozen")
    return _Balance.apply(images, last_layer, factor, report)


class _Balance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, last_layer: Tensor, factor: float, report: Callable[[Tensor], None]
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(images, last_layer)
        ctx.factor, ctx.report = factor, report
        probe_dtype = torch.promote_types(images.dtype, torch.float32)  # scales of 2^16 are beyond float16
        return images.view_as(images), images.view_as(images), images.new_zeros((), dtype=probe_dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None, None]:
        rec, adv, scale = grads
        if rec is None or adv is None or scale is None:
            raise ValueError("a total has reconstruction losses, an adversarial loss and the probe in it")
        images, last_layer = ctx.saved_tensors
        both = torch.stack([_gradient(images, last_layer, x) for x in (rec, adv)])
        norm_rec, norm_adv = all_reduce_sum(both).flatten(1).norm(dim=1) / (scale * rank_and_world()[1])
        weight = (norm_rec / (norm_adv + EPS)).clamp(0, LIMIT)
        weight = weight + 0 * (norm_rec + norm_adv)  # NaN where a norm is infinite
        ctx.report(weight.float())
        return rec + ctx.factor * weight * adv, None, None, None


def _gradient(images: Tensor, last_layer: Tensor, grad: Tensor) -> Tensor:
    """The last layer's gradient for a gradient of the images; the graph stays for the pass around it."""
    return torch.autograd.grad(images, last_layer, grad, retain_graph=True)[0]
