"""Linear maps for a handful of rows, as token-by-token generation has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqcli.nn.fast import compiles

FEW, FEWEST = 64, 4
"""Rows up to which W x^T was measured to be faster than torch's own, float32: with two threads by 1.3 to 2.6
on one CPU; with one thread it is so on every CPU that was tried for the fewest alone."""
COMPILED, LARGE = {1: 32, 2: 8}, 1 << 16
"""For one and two threads, rows up to which compiled code in one thread was measured to be no slower than
either in a whole step of generation, and weights from which a map is worth it. Two threads get weights from
memory no sooner than one, and the second is woken for every map."""


class Linear(nn.Linear):
    """``nn.Linear``; on a CPU, without gradients, in another way for few rows. What is rounded differs."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        usual = torch.is_grad_enabled() or self.bias is not None or not x.is_cpu or not 1 < rows <= FEW
        if usual or torch.compiler.is_compiling():
            return super().forward(x)
        flat, threads = x.reshape(rows, -1), torch.get_num_threads()
        simple = x.dtype == self.weight.dtype == torch.float32 and rows <= COMPILED.get(threads, 0)
        if simple and compiles(self.weight.numel() >= LARGE):
            from vqcli.nn.linear_compiled import linear

            made = linear(flat, self.weight)
        elif rows <= FEWEST or threads > 1:
            made = torch.mm(self.weight, flat.t()).t()
        else:
            return super().forward(x)
        return made.reshape(*x.shape[:-1], -1)
