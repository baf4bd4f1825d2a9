"""Linear maps for a handful of rows, as token-by-token generation has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqcli.nn.fast import compiles

FEW, FEWEST = 32, 4
"""Rows up to which, on a CPU in float32, compiled code was measured to be faster than any matrix library's;
and those up to which, without it, W x^T is."""
LARGE, THREADS = 1 << 16, 4
"""Weights from which a map is worth it, and threads up to which it was measured."""


class Linear(nn.Linear):
    """``nn.Linear``; without gradients, in another way where that is faster. What is rounded differs."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        usual = torch.is_grad_enabled() or self.bias is not None or not x.is_cpu or not 1 < rows <= FEW
        if usual or torch.compiler.is_compiling():
            return super().forward(x)
        flat = x.reshape(rows, -1)
        simple = x.dtype == self.weight.dtype == torch.float32 and torch.get_num_threads() <= THREADS
        if simple and compiles(self.weight.numel() >= LARGE):
            from vqcli.nn.linear_compiled import linear

            made = linear(flat, self.weight)
        elif rows <= FEWEST:
            made = torch.mm(self.weight, flat.t()).t()
        else:
            return super().forward(x)
        return made.reshape(*x.shape[:-1], -1)
