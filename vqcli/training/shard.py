"""A model spread over processes: each holds its share of every weight, of its gradient and of its moments.

FSDP: Zhao et al., https://arxiv.org/abs/2304.11277, in torch's second form, ``fully_shard``. Weights are
gathered block by block where they are needed. Files hold whole tensors, as without it.
"""

from __future__ import annotations

import copy

import torch
from accelerate import Accelerator
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def outline(module: nn.Module) -> nn.Module:
    """A copy of a module without storage, for ``fill`` to give whole weights to."""
    empty: dict[int, object] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in module.parameters()
    }
    return copy.deepcopy(module, empty)


def fill(empty: nn.Module, module: nn.Module, *, keep: bool) -> nn.Module:
    """Where ``keep`` is set, give an ``outline`` the weights of the spread module. A collective call."""
    tensors = whole(module.state_dict(), keep=keep)
    if keep:
        empty.load_state_dict(tensors, assign=True)
    return empty


def shard(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Spread a module over the processes, in place; returns what to call in training.

    Weights are gathered for ``forward`` and ``sample``: every entry of a list of modules by itself, the rest
    together. Autocast would keep a bfloat16 copy of each until the backward pass: entries come in that format
    instead. Gradients are spread after every pass, accumulated or not: none is kept whole.
    """
    from torch.distributed.device_mesh import init_device_mesh  # half a second, for those who need it
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    half = torch.bfloat16 if accelerator.mixed_precision == "bf16" else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    blocks = [block for each in module.modules() if isinstance(each, nn.ModuleList) for block in each]
    spread = [fully_shard(block, mesh=mesh, mp_policy=policy) for block in reversed(blocks)]
    spread.append(fully_shard(module, mesh=mesh, reshard_after_forward=True))
    for part in spread:  # room for gathered weights is made once: not by ``sample``, in inference mode
        part.unshard()
        part.reshard()
    if hasattr(module, "sample"):
        register_fsdp_forward_method(module, "sample")
        module.sample = accelerator.autocast()(module.sample)
    return accelerator.prepare_model(module, evaluation_mode=True)  # autocast, no DDP around it


def whole_tensor(x: Tensor) -> Tensor:
    """A spread tensor, put together; any other as it is. A collective call."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def whole(tensors: Tensors, *, keep: bool) -> Tensors:
    """Tensors put together one by one; off the device, and only where ``keep`` is set. A collective call."""
    found = {}
    for name, x in tensors.items():
        tensor = whole_tensor(x)
        if keep:
            found[name] = tensor.cpu()
    return found


def placed(x: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, as it has of ``like``; itself where that is not spread."""
    if x.shape != like.shape or not hasattr(like, "placements"):
        return x
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    share = distribute_tensor(x, like.device_mesh, like.placements, src_data_rank=None)
    return share.clone()  # it was a view into the whole
