"""The ViT against slow, obvious formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from tests.classifiers.test_contract_classifiers import images, make
from vqcli.classifiers import vit
from vqcli.classifiers.mixing import mixed, mixed_cross_entropy, mixing_share
from vqcli.classifiers.vit import VitConfig
from vqcli.errors import VqcliError
from vqcli.nn.sincos import sincos_table
from vqcli.registry import _parse


def slow_position(row, column, width):
    """Sines of a row, its cosines, then those of a column: a quarter of the width each."""
    numbers = []
    for place in (row, column):
        waves = [10_000 ** (-k / (width // 4)) for k in range(width // 4)]
        numbers += [math.sin(place * wave) for wave in waves] + [math.cos(place * wave) for wave in waves]
    return torch.tensor(numbers)


def test_positions_are_sines_and_cosines_of_row_and_column():
    table = sincos_table(((2, 3),), 8)
    slow = torch.stack([slow_position(row, column, 8) for row in range(2) for column in range(3)])
    torch.testing.assert_close(table, slow)


def test_coarse_entries_stand_in_the_middle_of_their_cells():
    table = sincos_table(((1, 1), (2, 2), (4, 4)), 16)
    torch.testing.assert_close(table[0], slow_position(1.5, 1.5, 16))
    torch.testing.assert_close(table[2], slow_position(0.5, 2.5, 16))
    torch.testing.assert_close(table[5:], sincos_table(((4, 4),), 16))
    with pytest.raises(ValueError, match="multiple of 4"):
        sincos_table(((2, 2),), 6)


def slow_logits(model, tokens):
    """One image after the other, one head after the other."""
    config, rows = model.config, []
    for ids in tokens.ids:
        codes = model.code_steps.codes[ids] / model.code_steps.codes.square().mean().sqrt()
        x = model.embedding(codes) + torch.stack(
            [slow_position(i // 3, i % 3, config.width) for i in range(len(ids))]
        )
        if config.pool == "token":
            x = torch.cat([model.class_token[0], x])
        for block in model.blocks:
            q, k, v = block.attention.qkv(block.attention_norm(x)).chunk(3, dim=-1)
            d = config.width // config.heads
            heads = []
            for h in range(config.heads):
                own = slice(h * d, (h + 1) * d)
                heads.append((q[:, own] @ k[:, own].T / math.sqrt(d)).softmax(-1) @ v[:, own])
            x = x + block.attention.out(torch.cat(heads, dim=-1))
            x = x + block.down(F.gelu(block.up(block.ffn_norm(x))))
        pooled = x.mean(0) if config.pool == "mean" else x[0]
        rows.append(model.head(model.norm(pooled)))
    return torch.stack(rows)


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_logits_are_those_of_the_slow_formula(pool):
    model = make("vit", pool=pool)
    tokens, _ = images(model)
    torch.testing.assert_close(model.logits(tokens), slow_logits(model, tokens), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", ["residual", "scales"])
def test_codes_of_several_depths_are_summed_as_the_decoder_sees_them(grid):
    model = make("vit", grid)
    tokens, _ = images(model)
    torch.testing.assert_close(model.latents(tokens), model.code_steps.quantizer.lookup(tokens))
    assert model.embed(tokens).shape == (6, math.prod(model.grid[-1]), 16)
    learned = make("vit", grid, embedding="learned")
    assert learned.embed(tokens).shape == (6, tokens.ids.shape[1], 16)


def test_label_smoothing_and_mixup_are_cross_entropy_with_soft_targets():
    torch.manual_seed(0)
    logits, labels, share, smoothing = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 1]), 0.7, 0.1
    target = torch.zeros(5, 4)
    for i in range(5):
        for label, weight in ((labels[i], share), (labels[4 - i], 1 - share)):
            target[i] += weight * smoothing / 4
            target[i, label] += weight * (1 - smoothing)
    slow = -(target * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(mixed_cross_entropy(logits, labels, share, smoothing), slow)
    x = torch.randn(5, 3, 2)
    for i in range(5):
        torch.testing.assert_close(mixed(x, share)[i], share * x[i] + (1 - share) * x[4 - i])


def test_shares_are_drawn_from_a_beta_distribution():
    torch.manual_seed(0)
    drawn = torch.tensor([mixing_share(0.8) for _ in range(2000)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.1)


def test_a_batch_is_mixed_in_training_alone(monkeypatch):
    model = make("vit", mixup=0.8, label_smoothing=0.1, drop_path=0, dropout=0, attention_dropout=0)
    tokens, labels = images(model)
    monkeypatch.setattr(vit, "mixing_share", lambda alpha: 0.6)
    x = model.embed(tokens)
    soft = mixed_cross_entropy(model.run(0.6 * x + 0.4 * x.flip(0)), labels, 0.6, 0.1)
    torch.testing.assert_close(model.train()(tokens, labels)["cross_entropy"], soft)
    plain = F.cross_entropy(model.eval().logits(tokens), labels)
    torch.testing.assert_close(model(tokens, labels)["cross_entropy"], plain)


def test_sizes_are_those_of_the_paper():
    for size, (layers, heads, width) in {"S": (12, 6, 384), "B": (12, 12, 768), "L": (24, 16, 1024)}.items():
        config = _parse("classifiers", {"name": "vit", "size": size})
        assert (config.layers, config.heads, config.width) == (layers, heads, width)
    assert VitConfig(size="S", width=192).width == 192
    with pytest.raises(VqcliError, match="multiple of 4 and of heads"):
        _parse("classifiers", {"name": "vit", "width": 36, "heads": 8})
