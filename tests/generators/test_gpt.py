"""LlamaGen's GPT and GPT-LC: sizes, rotary positions, what training does."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.generators.test_contract_generators import images, make, spec
from vqcli.errors import VqcliError
from vqcli.generators.gpt import Gpt, GptConfig
from vqcli.generators.gpt_lc import GptLc, GptLcConfig
from vqcli.nn.drop_path import DropPath
from vqcli.nn.llama import RmsNorm
from vqcli.nn.rotary import rotary_table, rotate
from vqcli.registry import _parse
from vqcli.types import TokenizerSpec

LLAMAGEN = TokenizerSpec(16_384, 8, 16, (256, 256), "", ((16, 16),))
PARAMETERS = {
    "B": 110_888_448,
    "L": 342_910_976,
    "XL": 774_699_520,
    "XXL": 1_410_972_672,
    "3B": 3_096_659_200,
}
HIDDEN = {"B": 2048, "L": 2816, "XL": 3584, "XXL": 4096, "XXXL": 6912, "1B": 5632, "3B": 8704, "7B": 11_008}


@pytest.mark.parametrize("size", PARAMETERS)
def test_parameters_as_published(size):
    with torch.device("meta"):
        gpt = Gpt(GptConfig(size=size), LLAMAGEN)
    assert sum(p.numel() for p in gpt.parameters()) == PARAMETERS[size]
    assert len(gpt.state_dict()) == 7 * gpt.config.layers + 4


@pytest.mark.parametrize("size", HIDDEN)
def test_hidden_units_as_published(size):
    assert GptConfig(size=size).hidden == HIDDEN[size]


def test_parameters_of_gpt_lc():
    with torch.device("meta"):
        gpt = GptLc(GptLcConfig(), TokenizerSpec(100_000, 8, 16, (256, 256), "", ((16, 16),)))
    assert sum(p.numel() for p in gpt.parameters()) == 509_422_592


def test_a_size_that_is_not_there_names_a_near_one():
    with pytest.raises(VqcliError, match=r"unknown size 'XLL'.*XL"):
        _parse("generators", {"name": "gpt", "size": "XLL"})
    with pytest.raises(VqcliError, match="multiple of 4 x heads = 16"):
        _parse("generators", {"name": "gpt", "heads": 4, "width": 24})


@pytest.mark.parametrize("width", [64, 100, 8])
def test_rotary_angles(width):
    """Row 0 vanishes, the first half of the pairs turns with the row, the other with the column."""
    table = rotary_table(((3, 4),), width, 10_000.0, torch.device("cpu"))
    assert table.shape == (13, width // 2, 2)
    assert not table[0].any()
    half = width // 2
    for cell, (row, column) in enumerate((r, c) for r in range(3) for c in range(4)):
        angles = [p * 10_000 ** (-2 * m / half) for p in (row, column) for m in range(half // 2)]
        wanted = torch.tensor([[math.cos(a), math.sin(a)] for a in angles])
        torch.testing.assert_close(table[1 + cell], wanted, atol=2e-6, rtol=0)


def test_rotation_is_a_complex_product():
    table = rotary_table(((2, 2),), 8, 100.0, torch.device("cpu"))
    x = torch.randn(2, 5, 3, 8, dtype=torch.float32)
    product = torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.view_as_complex(table)[:, None]
    torch.testing.assert_close(rotate(x, table), torch.view_as_real(product).flatten(-2))
    assert rotate(x.bfloat16(), table).dtype == torch.bfloat16


def test_a_compiler_sees_the_same_rotation(monkeypatch):
    table, x = rotary_table(((2, 2),), 8, 100.0, torch.device("cpu")), torch.randn(2, 5, 3, 8)
    turned = rotate(x, table)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotate(x, table), turned)


def test_coarse_scales_are_stretched_over_the_last():
    table = rotary_table(((1, 1), (2, 2), (4, 4)), 8, 100.0, torch.device("cpu"))
    assert torch.equal(table[1], table[6])  # the only token of scale 0 lies where the first of the last does
    assert torch.equal(table[5], table[6 + 2 * 4 + 2])  # (1, 1) of 2x2 is (2, 2) of 4x4


def test_rms_norm_scales_after_the_cast():
    norm = RmsNorm(16)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(4, 16)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (16,), norm.weight, eps=1e-5))
    halved = norm.bfloat16()(x.bfloat16())
    unit = x.bfloat16().float()
    unit = (unit * (unit.square().mean(-1, keepdim=True) + 1e-5).rsqrt()).bfloat16()
    assert torch.equal(halved, unit * norm.weight)


def test_drop_path_leaves_out_whole_samples():
    torch.manual_seed(0)
    path, x = DropPath(0.25), torch.ones(4000, 2, 3)
    out = path(x)
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (out.amax((1, 2)) == out.amin((1, 2))).all()
    assert out.mean().item() == pytest.approx(1, abs=0.03)
    assert path.eval()(x) is x


def test_a_fresh_network_knows_nothing():
    """The head starts at zero, so every code is as likely: the first loss is ln K."""
    gpt = Gpt(GptConfig(**Gpt.TINY), spec())
    losses = gpt(*images(gpt))
    assert losses["cross_entropy"].item() == pytest.approx(math.log(12), abs=1e-6)


def test_angles_stay_float32_in_half_precision():
    gpt = make("gpt").bfloat16()
    assert gpt.table(torch.device("cpu")).dtype == torch.float32
    assert gpt.logits(torch.tensor([0]), torch.zeros(1, 3, dtype=torch.int64)).dtype == torch.float32


def test_who_always_sees_the_class_cannot_be_guided():
    assert make("gpt", class_dropout=0.0).null_class is None
    with pytest.raises(VqcliError, match="needs a class_dropout above 0"):
        _parse("generators", {"name": "gpt", "class_dropout": 0, "sampling": {"cfg": 2}})


def test_training_hides_classes():
    """With every class hidden, what is learned is what the null class says."""
    gpt = make("gpt", class_dropout=1.0, token_dropout=0, residual_dropout=0, ffn_dropout=0, drop_path=0)
    made, labels = images(gpt)
    hidden = gpt.train()(made, labels)["cross_entropy"]
    null = gpt.eval()(made, torch.full_like(labels, gpt.null_class))["cross_entropy"]
    torch.testing.assert_close(hidden, null)
    assert gpt(made, labels)["cross_entropy"] != null


def test_gpt_lc_corrupts_its_input_but_not_its_targets():
    gpt = make("gpt_lc", keep=0.0)
    made, labels = images(gpt, 64)
    torch.manual_seed(0)
    seen = gpt.train().word_embedding.register_forward_hook(lambda module, args, out: looked.append(args[0]))
    looked: list[torch.Tensor] = []
    gpt(made, labels)
    seen.remove()
    words, tokens = looked
    assert torch.equal(words[:, 0], labels + 12)
    assert tokens.shape == (64, 8)
    assert tokens.max() >= 12  # classes are drawn too
    assert (tokens == made.ids[:, :-1]).float().mean() < 0.2


def test_gpt_lc_is_scored_over_codes_and_classes():
    gpt = make("gpt_lc")
    made, labels = images(gpt)
    assert gpt.logits(labels, made.ids).shape[-1] == 12
    x = torch.cat([gpt.embed_labels(labels), gpt.embed_tokens(made.ids[:, :-1], 1)], dim=1)
    words = gpt.run_words(x)
    assert words.shape[-1] == 16
    loss = -words.log_softmax(-1).gather(-1, made.ids[..., None]).mean()
    torch.testing.assert_close(gpt(made, labels)["cross_entropy"], loss)
