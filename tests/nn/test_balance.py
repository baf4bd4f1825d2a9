"""The adaptive weight, found in one backward pass, is what the published order of computation gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests import processes
from vqcli.nn.balance import EPS, LIMIT, balanced

FACTOR = 0.75


class Decoder(nn.Module):
    """Latents to images, by a last convolution without anything behind it."""

    def __init__(self, checkpointing: bool = False) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 6, 3), nn.Tanh())
        self.last = nn.Conv2d(6, 3, 3, padding=1)
        self.checkpointing = checkpointing

    def forward(self, latents: Tensor) -> Tensor:
        if self.checkpointing:
            return self.last(checkpoint(self.blocks, latents, use_reentrant=False))
        return self.last(self.blocks(latents))


class World:
    """A decoder, and two networks its images go through; all float64."""

    def __init__(self, checkpointing: bool = False) -> None:
        torch.manual_seed(0)
        self.decoder = Decoder(checkpointing).double()
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 5, 3)).double()
        self.judge = nn.Sequential(
            nn.Conv2d(3, 5, 4, stride=2), nn.LeakyReLU(0.2), nn.Conv2d(5, 1, 3)
        ).double()
        for network in (self.features, self.judge):
            network.requires_grad_(False)
        self.reported: list[Tensor] = []

    def reconstruction_loss(self, made: Tensor, images: Tensor) -> Tensor:
        pixel = (made - images).abs().mean()
        return pixel + (self.features(made) - self.features(images)).square().mean()

    def adversarial_loss(self, made: Tensor) -> Tensor:
        """So small that the 1e-4 in the weight matters."""
        return -2e-3 * self.judge(made).mean()

    def gradients(self) -> list[Tensor]:
        found = [p.grad for p in self.decoder.parameters()]
        assert all(grad is not None for grad in found)
        return found  # type: ignore[return-value]

    def ours(
        self, images: Tensor, latents: Tensor, scale: float = 1.0, decoder: nn.Module | None = None
    ) -> None:
        """A backward pass of the total times ``scale``."""
        made = (decoder or self.decoder)(latents)
        last = self.decoder.last.weight
        for_rec, for_adv, probe = balanced(made, last, FACTOR, self.reported.append)
        total = self.reconstruction_loss(for_rec, images) + self.adversarial_loss(for_adv) + probe
        (total * scale).backward()

    def published(self, images: Tensor, latents: Tensor) -> Tensor:
        """The weight first, then a backward pass; returns the weight."""
        made, last = self.decoder(latents), self.decoder.last.weight
        rec, adv = self.reconstruction_loss(made, images), self.adversarial_loss(made)
        (g_rec,) = torch.autograd.grad(rec, last, retain_graph=True)
        (g_adv,) = torch.autograd.grad(adv, last, retain_graph=True)
        assert EPS / 10 < g_adv.norm() < EPS * 10
        weight = (g_rec.norm() / (g_adv.norm() + 1e-4)).clamp(0, 1e4).detach()
        (rec + FACTOR * weight * adv).backward()
        return weight


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (4, 3, 10, 10) and latents (4, 4, 12, 12)."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (4, 3, 10, 10), (4, 4, 12, 12)
    images, latents = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return images, latents


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.5, 65536.0])
def test_published_order_gives_the_same(scale: float, checkpointing: bool) -> None:
    one, other = World(checkpointing), World()
    one.ours(*data(), scale)
    weight = other.published(*data())
    torch.testing.assert_close(one.reported, [weight.float()])
    assert 0 < weight < LIMIT
    torch.testing.assert_close(
        [g / scale for g in one.gradients()], other.gradients(), rtol=1e-10, atol=1e-14
    )


def test_accumulated_passes_have_a_weight_each() -> None:
    one, other = World(), World()
    for seed in (0, 1):
        one.ours(*data(seed), scale=0.5)
    weights = [other.published(*data(seed)).float() for seed in (0, 1)]
    torch.testing.assert_close(one.reported, weights)
    assert weights[0] != weights[1]
    torch.testing.assert_close([2 * g for g in one.gradients()], other.gradients(), rtol=1e-10, atol=1e-14)


def backward_passes(world: World, run: Callable[[World], object]) -> list[int]:
    """How often feature network, judge and decoder blocks are run backwards, images' branches only."""
    counts = [0, 0, 0]
    for i, module in enumerate((world.features[0], world.judge[0], world.decoder.blocks[2])):

        def hook(*args: object, i: int = i) -> None:
            counts[i] += 1

        module.register_full_backward_hook(hook)  # not called for images that are no function of anything
    run(world)
    return counts


def test_every_network_is_run_backwards_once() -> None:
    assert backward_passes(World(), lambda world: world.ours(*data())) == [1, 1, 1]
    assert backward_passes(World(), lambda world: world.published(*data())) == [2, 2, 1]


def test_weight_is_bounded_and_without_gradient() -> None:
    world, (images, latents) = World(), data()
    for p in world.judge.parameters():
        p.zero_()
    world.ours(1e6 * images, latents)
    assert world.reported == [torch.tensor(LIMIT)]
    assert world.reported[0].dtype == torch.float32
    assert not world.reported[0].requires_grad


@pytest.mark.parametrize("branch", [0, 1])
def test_overflow_shows_in_the_gradients(branch: int) -> None:
    """Else an adversarial gradient that overflows at the last layer would weigh 0, and no scaler know."""
    world, (_, latents) = World(), data()
    made = world.decoder(latents)
    out = balanced(made, world.decoder.last.weight, FACTOR, world.reported.append)
    grads = [torch.ones_like(x) for x in out]
    grads[branch] *= 1e200  # finite, its norm is not
    torch.autograd.backward(out, grads)
    assert world.reported[0].isnan()
    assert all(g.isnan().any() for g in world.gradients())


def test_probe_holds_a_scale_that_half_precision_cannot() -> None:
    made, weight = torch.randn(1, 3, 4, 4).half(), torch.ones(3, 3, 1, 1, requires_grad=True)
    out = balanced(torch.conv2d(made.float(), weight).half(), weight, FACTOR, lambda _: None)
    assert [x.dtype for x in out] == [torch.float16, torch.float16, torch.float32]
    assert out[2] == 0


def test_wrong_use_is_refused() -> None:
    world, (images, latents) = World(), data()
    made, last = world.decoder(latents), world.decoder.last.weight
    for_rec, for_adv, _ = balanced(made, last, FACTOR, world.reported.append)
    with pytest.raises(ValueError, match="and the probe"):
        (world.reconstruction_loss(for_rec, images) + world.adversarial_loss(for_adv)).backward()
    last.requires_grad_(False)
    with pytest.raises(ValueError, match="is frozen"):
        balanced(made, last, FACTOR, world.reported.append)


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    world = World()
    spread = nn.parallel.DistributedDataParallel(world.decoder)
    images, latents = data()
    with spread.no_sync():
        world.ours(images[rank::2], latents[rank::2], 0.5, spread)
    world.ours(images[rank::2], latents[rank::2], 0.5, spread)
    torch.save((world.reported, world.gradients()), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_one_weight(tmp_path: Path) -> None:
    processes.spread(process, str(tmp_path))
    world = World()
    weight = world.published(*data()).float()
    for rank in (0, 1):
        reported, gradients = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(reported, [weight, weight])
        torch.testing.assert_close(gradients, world.gradients(), rtol=1e-10, atol=1e-14)
