"""The learned codebook: starts and baking."""

import pytest
import torch

from vqcli.codebooks.base import initial_codes
from vqcli.codebooks.learned import LearnedCodebook


def test_starts() -> None:
    torch.manual_seed(0)
    assert initial_codes("uniform", 50, 8).abs().max() <= 1 / 50
    torch.testing.assert_close(initial_codes("unit", 50, 8).norm(dim=1), torch.ones(50))
    assert initial_codes("standard", 500, 64).std() == pytest.approx(1, abs=0.02)
    assert initial_codes("normal", 500, 64).norm(dim=1).mean() == pytest.approx(1, abs=0.05)


def test_from_codes_copies_and_stays_trainable() -> None:
    codes_kd = torch.randn(6, 3)
    book = LearnedCodebook.from_codes(codes_kd)
    assert (book.size, book.width, book.config.size, book.config.width) == (6, 3, 6, 3)
    assert torch.equal(book.codes(), codes_kd)
    assert book.weight.requires_grad
    assert book.weight.data_ptr() != codes_kd.data_ptr()
    again = LearnedCodebook(book.config)
    again.load_state_dict(book.state_dict())
    assert torch.equal(again.codes(), codes_kd)
