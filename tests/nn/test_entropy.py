"""The entropy penalty against its formula. Shape letters: N vectors, D width, K codes."""

import pytest
import torch

from vqcli.nn.entropy import entropy_loss


def slow(affinity_nk: torch.Tensor, temperature: float) -> torch.Tensor:
    """As published: a small number inside the logarithms."""
    a = affinity_nk / temperature
    p, logp = a.softmax(1), (a + 1e-5).log_softmax(1)
    average = p.mean(0)
    return -(p * logp).sum(1).mean() + (average * (average + 1e-5).log()).sum()


def test_the_published_number() -> None:
    affinity = torch.tensor([[-0.01, -0.02, -0.05], [-0.03, -0.01, -0.04]])
    loss = entropy_loss(affinity, torch.eye(3), "dot", 0.01)
    assert loss.item() == pytest.approx(-0.206129, abs=1e-6)


@pytest.mark.parametrize("memory", [1 << 20, 1000, 1])
@pytest.mark.parametrize("metric", ["l2", "dot"])
def test_value_and_gradient_do_not_depend_on_blocks(metric: str, memory: int) -> None:
    torch.manual_seed(0)
    z, codes = torch.randn(30, 4, requires_grad=True), torch.randn(20, 4, requires_grad=True)
    loss = entropy_loss(z, codes, metric, 0.5, memory)
    loss.backward()
    ours = [z.grad, codes.grad]
    z.grad = codes.grad = None
    want = slow(-torch.cdist(z, codes).square() if metric == "l2" else z @ codes.T, 0.5)
    want.backward()
    torch.testing.assert_close(loss, want, rtol=1e-4, atol=1e-5)
    for got, expected in zip(ours, [z.grad, codes.grad]):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)


def test_the_best_is_sure_and_even() -> None:
    codes = torch.eye(8) * 10
    even = entropy_loss(codes, codes, "l2", 0.01)
    one = entropy_loss(codes[:1].repeat(8, 1), codes, "l2", 0.01)
    unsure = entropy_loss(torch.zeros(8, 8), codes, "l2", 0.01)
    assert even.item() == pytest.approx(-torch.tensor(8.0).log().item(), abs=1e-3)
    assert one.item() == pytest.approx(0, abs=1e-3)
    assert unsure.item() == pytest.approx(0, abs=1e-3)
