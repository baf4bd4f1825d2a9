"""A linear map of a few rows, compiled by numba: weights pass by once, and by all rows.

Shape letters: N rows, O outputs, I inputs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqcli.nn.compiled import Kernel, machine_code


def linear(x_ni: Tensor, weight_oi: Tensor) -> Tensor:
    """x W^T (N, O), float32, in this thread."""
    out_no = torch.empty(len(x_ni), len(weight_oi))
    _map()(x_ni.contiguous().numpy(), weight_oi.detach().numpy(), out_no.numpy())
    return out_no


@cache
def _map() -> Kernel:
    """Two rows by four outputs at once: eight sums, which with what they are made of fill the registers."""

    def kernel(x: Any, weight: Any, out: Any) -> None:
        count, outputs, depth = len(x), len(weight), x.shape[1]
        zero = np.float32(0)
        for o in range(0, outputs - outputs % 4, 4):
            w0, w1, w2, w3 = weight[o], weight[o + 1], weight[o + 2], weight[o + 3]
            for n in range(0, count - count % 2, 2):
                x0, x1 = x[n], x[n + 1]
                a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
                for i in range(depth):
                    a0 += x0[i] * w0[i]
                    a1 += x0[i] * w1[i]
                    a2 += x0[i] * w2[i]
                    a3 += x0[i] * w3[i]
                    b0 += x1[i] * w0[i]
                    b1 += x1[i] * w1[i]
                    b2 += x1[i] * w2[i]
                    b3 += x1[i] * w3[i]
                out[n, o], out[n, o + 1], out[n, o + 2], out[n, o + 3] = a0, a1, a2, a3
                out[n + 1, o], out[n + 1, o + 1], out[n + 1, o + 2], out[n + 1, o + 3] = b0, b1, b2, b3
            for n in range(count - count % 2, count):
                x0 = x[n]
                a0, a1, a2, a3 = zero, zero, zero, zero
                for i in range(depth):
                    a0 += x0[i] * w0[i]
                    a1 += x0[i] * w1[i]
                    a2 += x0[i] * w2[i]
                    a3 += x0[i] * w3[i]
                out[n, o], out[n, o + 1], out[n, o + 2], out[n, o + 3] = a0, a1, a2, a3
        for o in range(outputs - outputs % 4, outputs):
            w0 = weight[o]
            for n in range(count):
                x0, a0 = x[n], zero
                for i in range(depth):
                    a0 += x0[i] * w0[i]
                out[n, o] = a0

    return machine_code(kernel, anyhow=True)
