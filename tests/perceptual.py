"""LPIPS networks with weights that are drawn, and images for them."""

import torch
from torch import Tensor

from vqcli.nn.lpips import Lpips


def drawn_weights(net: str, seed: int = 0) -> dict[str, Tensor]:
    """By torchvision's keys and those of version 0.1's heads; features neither vanish nor grow with depth."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for key, like in Lpips(net).state_dict().items():
        values = torch.empty_like(like)
        if key.startswith("lin"):
            state[key] = values.uniform_(0, 0.5, generator=generator)
        elif key.endswith("bias"):
            state[key] = values.normal_(0, 0.1, generator=generator)
        else:
            state[key] = values.normal_(0, (2 / like[0].numel()) ** 0.5, generator=generator)
    return state


def drawn_lpips(net: str, **options) -> Lpips:
    """In evaluation mode."""
    network = Lpips(net, **options)
    network.load(drawn_weights(net))
    return network.eval()


def drawn_images(side: int, seed: int = 1, batch: int = 2) -> Tensor:
    """(B, 3, side, side) in [-1, 1]."""
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1
