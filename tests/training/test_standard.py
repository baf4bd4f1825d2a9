"""Mean and deviation of latents, over batches and processes that need not have equally many."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests import processes
from vqcli.errors import VqcliError
from vqcli.training.standard import measure_standard
from vqcli.types import Latents, Standard, silent

WIDTH = 3


def latents() -> torch.Tensor:
    z = torch.randn(10, WIDTH, 2, 4, generator=torch.Generator().manual_seed(3))
    return z * torch.tensor([2.0, 0.5, 0.0])[:, None, None] + torch.tensor([5.0, -1.0, 7.1])[:, None, None]


def measure(*batches: torch.Tensor) -> Standard:
    return measure_standard(map(Latents, batches), WIDTH, torch.device("cpu"), silent)


def test_over_all_values_however_they_are_divided() -> None:
    found, z = measure(*latents().split([1, 6, 3])), latents().double()
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3), unbiased=False)
    torch.testing.assert_close(torch.tensor(found.mean).double(), mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.tensor(found.std[:2]).double(), std[:2], atol=1e-5, rtol=1e-5)
    assert found.std[2] == 1  # of a channel that never changes


def test_no_image_is_told() -> None:
    with pytest.raises(VqcliError, match="no image could be used"):
        measure()


def run(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    found = measure(*(latents().split(4) if rank else []))
    torch.save([found.mean, found.std], f"{folder}/{rank}.pt")
    with pytest.raises(VqcliError, match="no image could be used"):
        measure()
    dist.destroy_process_group()


def test_a_process_without_images_learns_what_the_others_measured(tmp_path: Path) -> None:
    processes.spread(run, str(tmp_path))
    alone = measure(latents())
    for rank in (0, 1):
        mean, std = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close((mean, std), (alone.mean, alone.std))
