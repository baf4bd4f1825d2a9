"""A slow AutoencoderKL: plain formulas over the keys of a file of diffusers, without a module of ours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def moments(state: State, images: Tensor) -> Tensor:
    """Mean and log-variance (B, 2D, h, w) of images."""
    x = conv(state, "encoder.conv_in", images)
    for i in range(levels(state, "encoder.down_blocks")):
        x = blocks(state, f"encoder.down_blocks.{i}", x)
        if f"encoder.down_blocks.{i}.downsamplers.0.conv.weight" in state:
            x = conv(state, f"encoder.down_blocks.{i}.downsamplers.0.conv", F.pad(x, (0, 1, 0, 1)), stride=2)
    x = middle(state, "encoder.mid_block", x)
    x = conv(state, "encoder.conv_out", swish(norm(state, "encoder.conv_norm_out", x)))
    return conv(state, "quant_conv", x)


def picture(state: State, latents: Tensor) -> Tensor:
    """Images of unscaled latents (B, D, h, w)."""
    x = conv(state, "decoder.conv_in", conv(state, "post_quant_conv", latents))
    x = middle(state, "decoder.mid_block", x)
    for i in range(levels(state, "decoder.up_blocks")):
        x = blocks(state, f"decoder.up_blocks.{i}", x)
        if f"decoder.up_blocks.{i}.upsamplers.0.conv.weight" in state:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = conv(state, f"decoder.up_blocks.{i}.upsamplers.0.conv", x)
    return conv(state, "decoder.conv_out", swish(norm(state, "decoder.conv_norm_out", x)))


def levels(state: State, prefix: str) -> int:
    return len({key.split(".")[2] for key in state if key.startswith(f"{prefix}.")})


def blocks(state: State, name: str, x: Tensor) -> Tensor:
    """Res blocks of a level, in their order, each with its attention if it has one."""
    for j in range(len({key.split(".")[4] for key in state if key.startswith(f"{name}.resnets.")})):
        x = res(state, f"{name}.resnets.{j}", x)
        if f"{name}.attentions.{j}.to_q.weight" in state:
            x = attention(state, f"{name}.attentions.{j}", x)
    return x


def middle(state: State, name: str, x: Tensor) -> Tensor:
    x = attention(state, f"{name}.attentions.0", res(state, f"{name}.resnets.0", x))
    return res(state, f"{name}.resnets.1", x)


def res(state: State, name: str, x: Tensor) -> Tensor:
    h = conv(state, f"{name}.conv1", swish(norm(state, f"{name}.norm1", x)))
    h = conv(state, f"{name}.conv2", swish(norm(state, f"{name}.norm2", h)))
    return h + (conv(state, f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in state else x)


def attention(state: State, name: str, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    rows = norm(state, f"{name}.group_norm", x).reshape(b, c, h * w).transpose(1, 2)
    q, k, v = (linear(state, f"{name}.to_{part}", rows) for part in "qkv")
    mixed = torch.softmax(q @ k.transpose(1, 2) / c**0.5, dim=2) @ v
    return x + linear(state, f"{name}.to_out.0", mixed).transpose(1, 2).reshape(b, c, h, w)


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """32 groups of channels."""
    b, c, h, w = x.shape
    groups = x.reshape(b, 32, -1)
    deviation = (groups.var(2, unbiased=False, keepdim=True) + 1e-6).sqrt()
    even = ((groups - groups.mean(2, keepdim=True)) / deviation).reshape(b, c, h, w)
    return even * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(
        x, weight, state[f"{name}.bias"], stride, padding=weight.shape[-1] // 2 if stride == 1 else 0
    )


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)
