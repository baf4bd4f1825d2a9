"""ActNorm: set once, by the first batch of all processes, then trained."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from tests import processes
from vqcli.nn.actnorm import ActNorm


def batch(seed: int = 0) -> Tensor:
    """(4, 3, 5, 2) with a mean and a spread of their own in every channel."""
    spread_c11 = torch.tensor([0.5, 2.0, 7.0]).view(3, 1, 1)
    x = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(seed))
    return (x + 3) * spread_c11


def test_is_set_by_the_first_batch_and_trained_from_then_on() -> None:
    norm = ActNorm(3)
    assert torch.equal(norm.eval()(batch()), batch())  # nothing is set in evaluation
    y = norm.train()(batch())
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.transpose(0, 1).flatten(1).std(1), torch.ones(3))
    torch.testing.assert_close(norm.loc[0, :, 0, 0], -batch().mean((0, 2, 3)))
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.all() for p in norm.parameters())
    wanted = (batch(1) + norm.loc) * norm.scale
    assert torch.equal(norm(batch(1)), wanted)
    assert torch.equal(norm.eval()(batch(1)), wanted)


def test_resumed_does_not_start_again() -> None:
    norm, again = ActNorm(3), ActNorm(3)
    norm(batch())
    again.load_state_dict(norm.state_dict())
    assert torch.equal(again(batch(1)), norm(batch(1)))
    assert torch.equal(again.loc, norm.loc)
    fresh = ActNorm(3)
    fresh(batch(1))
    assert not torch.equal(fresh.loc, norm.loc)


def test_moments_are_float32_under_autocast() -> None:
    norm, wanted, x = ActNorm(3), ActNorm(3), (100 + batch()).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        norm(x)
    wanted(x.float())
    assert torch.equal(norm.loc, wanted.loc)
    assert torch.equal(norm.scale, wanted.scale)


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    norm = ActNorm(3)
    norm(batch()[:1] if rank else batch()[1:])
    torch.save(norm.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_starts_alike_on_two_processes(tmp_path: Path) -> None:
    processes.spread(process, str(tmp_path))
    norm = ActNorm(3)
    norm(batch())
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for key, x in norm.state_dict().items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], x)
