"""Codebooks on two processes: one codebook, learned from what both have seen."""

from pathlib import Path

import torch
import torch.distributed as dist

from tests import processes
from vqcli.codebooks.bridged import BridgedCodebook, BridgedConfig
from vqcli.codebooks.ema import EmaCodebook

OPTIONS = {"plain": {}, "revived": {"revive_below": 1.0}, "clustered": {"kmeans": 3}}


def vectors() -> torch.Tensor:
    return torch.randn(4, 40, 3, generator=torch.Generator().manual_seed(7))


def train(name: str, rank: int, world: int) -> torch.Tensor:
    """Four steps on this process's share of the vectors."""
    torch.manual_seed(0)
    book = EmaCodebook(EmaCodebook.Config(size=12, width=3, **OPTIONS[name]))
    torch.manual_seed(rank)
    for batch_md in vectors():
        mine_md = batch_md[rank::world]
        book.observe(mine_md, book.assign(mine_md, book.codes()))
        book.update()
    return book.codes()


def revive(rank: int, world: int) -> torch.Tensor:
    """The last layer of a bridge of which the first process hits slots 0 and 1, the second 2 and 2 again."""
    torch.manual_seed(0)
    book = BridgedCodebook(
        BridgedConfig(size=16, width=3, hidden=8, patch=2, depth=1, revive_below=0.5, revive_every=2)
    )
    book.bridge.recover.weight.data.normal_()
    torch.manual_seed(rank)
    every = torch.arange(16)
    hits = torch.cat([every[book.slots(every) == slot] for slot in (0, 1, 2, 2)])
    for _ in range(2):
        book.observe(torch.zeros(0), hits.chunk(world)[rank])
        book.update()
    return book.bridge.recover.weight.detach()


def run(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    assert dist.get_world_size() == 2
    for name in OPTIONS:
        torch.save(train(name, rank, 2), f"{folder}/{name}-{rank}.pt")
    torch.save(revive(rank, 2), f"{folder}/bridge-{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_one_codebook(tmp_path: Path) -> None:
    processes.spread(run, str(tmp_path))
    for name in (*OPTIONS, "bridge"):
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1))
        assert torch.equal(first, second), name
    torch.testing.assert_close(torch.load(tmp_path / "plain-0.pt"), train("plain", 0, 1))
    plain, revived = (torch.load(tmp_path / f"{name}-0.pt") for name in ("plain", "revived"))
    assert (plain != revived).any()  # codes did revive
    bridge = torch.load(tmp_path / "bridge-0.pt")
    assert torch.equal(bridge, revive(0, 1))
    starved, busiest, apart = bridge[9:], bridge[6:9], bridge[:3]
    assert (starved - busiest).std() < 0.1 * busiest.std() < (starved - apart).std()
