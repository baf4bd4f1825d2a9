"""What else is otherwise in published files: further keys, averages, shapes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

State = dict[str, Tensor]


def also(**shapes: tuple[int, ...]) -> Callable[[State], State]:
    """Further keys; ``__`` stands for a dot."""
    return lambda state: state | {k.replace("__", "."): torch.ones(shape) for k, shape in shapes.items()}


def averaged(frozen: str = "") -> Callable[[State], State]:
    """Lightning's file: these weights as running averages, others beside them."""

    def change(state: State) -> State:
        raw = {key: x if key == frozen else torch.randn_like(x) for key, x in state.items()}
        raw["loss.discriminator.main.0.weight"] = torch.ones(2)
        shadows = {f"model_ema.{key.replace('.', '')}": x for key, x in state.items() if key != frozen}
        shadows["model_ema.lossdiscriminatormain0weight"] = torch.ones(2)
        return raw | shadows | {"model_ema.decay": torch.ones(()), "model_ema.num_updates": torch.ones(())}

    return change


def one_pixel(state: State) -> State:
    """The Gumbel projection as a convolution."""
    return state | {"quantize.proj.weight": state["quantize.proj.weight"][:, :, None, None]}


def linear_attention(state: State) -> State:
    """diffusers' attention: matrices, not convolutions."""
    names = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")
    return {key: x[:, :, 0, 0] if key.endswith(names) else x for key, x in state.items()}


SPELLED = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def names_of_2022(state: State) -> State:
    """As old files of diffusers spell attention."""
    out = {}
    for key, x in linear_attention(state).items():
        for new, old in SPELLED.items():
            key = key.replace(new, old)
        out[key] = x
    return out


def condition_rows(rows: int) -> Callable[[State], State]:
    """A table of conditions whose last row is that of no class, and the fixed positions."""

    def change(state: State) -> State:
        key = "quantize.qbridge.y_embedder.embedding_table.weight"
        table = torch.cat([torch.ones(rows - 1, len(state[key])), state[key][None]])
        return state | {key: table, "quantize.qbridge.pos_embed": torch.ones(1, 6, 16)}

    return change
