"""Images that are mixed in training: each with another, and their classes with them.

Papers: Zhang et al., "mixup", https://arxiv.org/abs/1710.09412; Yun et al., "CutMix",
https://arxiv.org/abs/1905.04899. As in the code that MAE is fine-tuned with, a batch has one share, and its
images are paired with those of the batch in reverse.
Shape letters: B images, T positions, C width, L tokens an image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mixing_share(alpha: float) -> float:
    """How much of a batch's images is their own, from Beta(alpha, alpha): drawn on the CPU."""
    each = torch.tensor(alpha, device="cpu")
    return float(torch.distributions.Beta(each, each).sample())


def mixed(x: Tensor, share: float) -> Tensor:
    """``share`` of every image (B, ...), and for the rest of the image that it is paired with."""
    return x * share + x.flip(0) * (1 - share)


def mixed_cross_entropy(logits: Tensor, labels: Tensor, share: float, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, classes) with labels (B,), mixed as their images are.

    ``smoothing`` of the target is spread over all classes, https://arxiv.org/abs/1512.00567, section 7.
    """
    own = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    if share == 1:
        return own
    return share * own + (1 - share) * F.cross_entropy(logits, labels.flip(0), label_smoothing=smoothing)
