"""Adversarial losses and LeCam against numpy, step by step."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests import processes
from vqcli.losses.adversarial import LeCam, discriminator_loss, generator_loss


def logits(seed: int, images: int = 4) -> tuple[Tensor, Tensor]:
    """Of real and of generated images, (B, 1, 3, 2)."""
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, images, 1, 3, 2, generator=generator)
    return real + 0.5, fake - 0.3


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log(1 + np.exp(x))


def test_formulas() -> None:
    real, fake = logits(0)
    a, b = real.double().numpy(), fake.double().numpy()
    a_b, b_b = a.reshape(4, 6).mean(1), b.reshape(4, 6).mean(1)
    wanted = {
        "hinge": (np.maximum(1 - a, 0).mean() + np.maximum(1 + b, 0).mean()) / 2,
        "vanilla": (softplus(-a).mean() + softplus(b).mean()) / 2,
        "non_saturating": softplus(-a_b).mean() + softplus(b_b).mean(),
    }
    for kind, value in wanted.items():
        torch.testing.assert_close(discriminator_loss(kind, real, fake).item(), value, rtol=1e-5, atol=0)
    wanted = {"hinge": -b.mean(), "non_saturating": softplus(-b_b).mean()}
    for kind, value in wanted.items():
        torch.testing.assert_close(generator_loss(kind, fake).item(), value, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["hinge", "vanilla", "non_saturating"])
def test_a_discriminator_is_pulled_apart_and_a_generator_up(kind: str) -> None:
    real, fake = torch.zeros(2, 3, 1, 2, 2).requires_grad_()
    real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    discriminator_loss(kind, real, fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    if kind != "vanilla":
        fake.grad = None
        generator_loss(kind, fake).backward()
        assert (fake.grad < 0).all()


def test_half_precision_logits_are_compared_in_float32() -> None:
    halves = [x.half() for x in logits(0)]
    wholes = [x.float() for x in halves]
    for kind in ("hinge", "vanilla", "non_saturating"):
        assert torch.equal(discriminator_loss(kind, *halves), discriminator_loss(kind, *wholes))
    for kind in ("hinge", "non_saturating"):
        assert torch.equal(generator_loss(kind, halves[1]), generator_loss(kind, wholes[1]))
    penalty = LeCam()(*halves)
    assert penalty.dtype == torch.float32
    assert torch.equal(penalty, LeCam()(*wholes))


def test_lecam_step_by_step() -> None:
    lecam, average_real, average_fake = LeCam(decay=0.9), 0.0, 0.0
    for seed in range(6):
        real, fake = logits(seed)
        a, b = real.double().numpy(), fake.double().numpy()
        average_real = 0.9 * average_real + 0.1 * a.mean()
        average_fake = 0.9 * average_fake + 0.1 * b.mean()
        wanted = (np.maximum(a - average_fake, 0) ** 2).mean() + (np.maximum(average_real - b, 0) ** 2).mean()
        penalty = lecam(real, fake)
        lecam.update()
        torch.testing.assert_close(penalty.item(), wanted, rtol=1e-5, atol=0)
        averages = torch.tensor([average_real, average_fake], dtype=torch.float32)
        torch.testing.assert_close(lecam.averages, averages)
    assert LeCam().decay == 0.999


def test_lecam_averages_are_constants() -> None:
    real, fake = (x.requires_grad_() for x in logits(0))
    lecam = LeCam(decay=0.5)
    lecam(real, fake).backward()
    average_real, average_fake = 0.5 * real.mean().item(), 0.5 * fake.mean().item()
    torch.testing.assert_close(real.grad, (real - average_fake).clamp(min=0).detach() * 2 / real.numel())
    torch.testing.assert_close(fake.grad, -(average_real - fake).clamp(min=0).detach() * 2 / fake.numel())
    assert not lecam.averages.any()  # a pass is only noted
    lecam.update()
    assert not lecam.averages.requires_grad


def test_lecam_accumulated_passes_equal_one() -> None:
    whole, parts = LeCam(decay=0.9), LeCam(decay=0.9)
    for seed in range(3):
        real, fake = logits(seed)
        whole(real, fake)
        for half in (slice(0, 2), slice(2, 4)):
            parts(real[half], fake[half])
        for lecam in (whole, parts):
            lecam.update()
            lecam.update()  # nothing was seen since
        torch.testing.assert_close(parts.averages, whole.averages)


def test_lecam_state_at_the_end_of_a_step_is_all_there_is() -> None:
    lecam, again = LeCam(decay=0.9), LeCam(decay=0.9)
    for seed in range(3):
        lecam(*logits(seed))
    lecam.update()
    assert list(lecam.state_dict()) == ["averages"]
    again.load_state_dict(lecam.state_dict())
    assert torch.equal(lecam(*logits(7)), again(*logits(7)))
    for each in (lecam, again):
        each.update()
    assert torch.equal(lecam.averages, again.averages)


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    lecam = LeCam(decay=0.9)
    for seed in range(3):
        real, fake = logits(seed)
        penalty = lecam(real[rank::2], fake[rank::2])
        lecam.update()
    torch.save((penalty, lecam.averages), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_lecam_two_processes_have_one_average(tmp_path: Path) -> None:
    processes.spread(process, str(tmp_path))
    lecam = LeCam(decay=0.9)
    for seed in range(3):
        penalty = lecam(*logits(seed))
        lecam.update()
    penalties, averages = zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)))
    assert torch.equal(*averages)
    torch.testing.assert_close(averages[0], lecam.averages)
    torch.testing.assert_close(torch.stack(penalties).mean(), penalty)
