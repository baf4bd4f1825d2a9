"""Gradients through a choice. Shape letters: N vectors, D width."""

import torch
import torch.nn.functional as F

from vqcli.nn.estimators import rotation_trick, straight_through


def test_straight_through() -> None:
    z, code = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    out, gradient = straight_through(z, code), torch.randn(5, 3)
    assert torch.equal(out, code)
    out.backward(gradient)
    torch.testing.assert_close(z.grad, gradient)
    assert code.grad is None


def test_rotation_turns_the_gradient_as_the_code_is_turned() -> None:
    """The slow way: the rotation matrix in the plane of z and its code, one vector at a time."""
    torch.manual_seed(0)
    z, code, gradient = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4), torch.randn(6, 4)
    out = rotation_trick(z, code)
    assert torch.equal(out, code)
    out.backward(gradient)
    for z_d, code_d, gradient_d, got_d in zip(z.detach(), code, gradient, z.grad):
        u, q = F.normalize(z_d, dim=0), F.normalize(code_d, dim=0)
        w = F.normalize(u + q, dim=0)
        matrix = torch.eye(4) - 2 * torch.outer(w, w) + 2 * torch.outer(q, u)
        scaled = matrix * code_d.norm() / z_d.norm()
        torch.testing.assert_close(scaled @ z_d, code_d)  # it takes z to its code
        torch.testing.assert_close(got_d, scaled.T @ gradient_d)


def test_rotation_on_maps_is_rotation_on_vectors() -> None:
    z, code = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    flat = [x.movedim(1, -1).reshape(-1, 3).requires_grad_() for x in (z, code)]
    z.requires_grad_()
    rotation_trick(z, code).pow(3).sum().backward()
    rotation_trick(*flat).pow(3).sum().backward()
    torch.testing.assert_close(z.grad.movedim(1, -1).reshape(-1, 3), flat[0].grad)


def test_rotation_of_zeros_is_finite() -> None:
    z, code = torch.zeros(2, 3, requires_grad=True), torch.tensor([[0.0, 0, 0], [1, 2, 3]])
    rotation_trick(z, code).sum().backward()
    assert z.grad.isfinite().all()
    assert not z.grad[0].any()
