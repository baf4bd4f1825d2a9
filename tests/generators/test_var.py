"""VAR: what a position sees, guidance and top-p by the published rules, with a cache and without.

Shape letters: B images, L tokens of all scales, K codes.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from tests.generators.test_contract_generators import images, make, quantizer, streams
from vqcli.errors import VqcliError
from vqcli.generators.sampling import filtered
from vqcli.generators.var import Var, VarConfig, VarSampling
from vqcli.types import Latents, TokenizerSpec, Tokens

LABELS = torch.tensor([0, 3, 1])
NETWORKS = [{}, {"adaln": "shared"}, {"attention": "plain"}, {"heads": 4}]


@pytest.mark.parametrize("options", NETWORKS, ids=str)
@pytest.mark.parametrize("cfg", [0.0, 1.5])
@torch.inference_mode()
def test_a_cache_changes_nothing(options, cfg):
    """Every scale anew, with all before it and the mask; both halves of guidance apart."""
    generator = make("var", "scales", **options)
    sampling = VarSampling(cfg=cfg, top_k=5, temperature=0.8)
    made = generator.sample(LABELS, streams(LABELS), sampling)
    numbers = [stream.random(14, dtype="float32") for stream in streams(LABELS)]
    ids = torch.zeros(3, 0, dtype=torch.int64)
    for step, (h, w) in enumerate(generator.grid):
        unknown = torch.zeros(3, h * w, dtype=torch.int64)  # a scale's own tokens are not seen
        several = step > 0
        whole = torch.cat([ids, unknown], dim=1) if several else torch.zeros(3, 5, dtype=torch.int64)
        with_class, without = (
            generator.logits(labels, whole)[:, ids.shape[1] : ids.shape[1] + h * w]
            for labels in (LABELS, torch.full_like(LABELS, generator.null_class))
        )
        t = cfg * step / (len(generator.grid) - 1)
        logits = ((1 + t) * with_class - t * without) / 0.8
        least = logits.topk(5).values[..., -1:]
        shares = logits.masked_fill(logits < least, -torch.inf).softmax(-1).double().cumsum(-1)
        found = torch.empty(3, h * w, dtype=torch.int64)
        for image in range(3):
            for place in range(h * w):
                number = float(numbers[image][ids.shape[1] + place])
                found[image, place] = int((shares[image, place] <= number).sum())
        ids = torch.cat([ids, found], dim=1)
    assert torch.equal(made.ids, ids)


@torch.no_grad()
def test_a_position_sees_its_scale_and_the_coarser_ones():
    generator, (tokens, labels) = make("var", "scales"), images(make("var", "scales"))
    before = generator.logits(labels, tokens.ids)
    ends = generator.begins[1:]
    for place in range(tokens.ids.shape[1]):
        changed = tokens.ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 12
        moved = (generator.logits(labels, changed) - before).abs().amax((0, 2)) > 0
        end = next(end for end in ends if place < end)  # a token is seen from the next scale on
        assert moved.tolist() == [at >= end for at in range(tokens.ids.shape[1])]


@torch.no_grad()
def test_what_is_seen_is_the_sum_of_the_coarser_scales():
    generator, quant = make("var", "scales"), quantizer("scales")
    tokens, _ = images(generator)
    sums = list(quant.sums(tokens))[:-1]
    wanted = [F.interpolate(total, size, mode="area") for total, size in zip(sums, generator.grid[1:])]
    seen = torch.cat([x.flatten(2).mT for x in wanted], dim=1)
    torch.testing.assert_close(generator.teacher(tokens.ids), seen)


@torch.inference_mode()
def test_eight_images_at_once_are_the_same_as_one():
    generator, labels = make("var", "scales"), torch.arange(8) % 4
    greedy = VarSampling(top_k=1)
    whole = generator.sample(labels, streams(labels), greedy).ids
    for i in range(8):
        assert torch.equal(
            generator.sample(labels[i : i + 1], streams(labels)[i : i + 1], greedy).ids[0], whole[i]
        )


def test_guidance_is_learned_or_refused():
    with pytest.raises(ValueError, match="needs a class_dropout above 0"):
        VarConfig(class_dropout=0)
    generator = make("var", "scales", class_dropout=0, sampling={"cfg": 0})
    assert generator.null_class is None
    with pytest.raises(ValueError, match="takes no cfg above 0"):
        generator.sample(LABELS, streams(LABELS), VarSampling(cfg=0.5))


def test_hidden_classes_are_a_share_of_the_training_images():
    generator = make("var", "scales", class_dropout=0.5)
    seen = []
    generator.class_embedding.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    tokens, _ = images(generator, 400)
    generator.train()(tokens, torch.zeros(400, dtype=torch.int64))
    assert 150 < (seen[0] == 4).sum() < 250
    assert all(torch.equal(labels, seen[0]) for labels in seen)
    seen.clear()
    generator.eval()(tokens, torch.zeros(400, dtype=torch.int64))
    assert not torch.stack(seen).any()


def test_top_p_by_the_published_rule():
    """From the unlikeliest on, those go that together have at most 1 - p; LlamaGen keeps one more here."""
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    assert torch.isfinite(filtered(logits, VarSampling(top_p=0.5))).tolist() == [[True, False, False, False]]
    assert torch.isfinite(filtered(logits, VarSampling(top_p=0.51))).tolist() == [[True, True, False, False]]
    assert torch.isfinite(filtered(logits, VarSampling(top_p=1e-6))).sum() == 1
    assert torch.isfinite(filtered(logits, VarSampling())).all()
    rows = torch.randn(30, 50, generator=torch.Generator().manual_seed(0)) * 3
    for row, kept in zip(rows, torch.isfinite(filtered(rows, VarSampling(top_p=0.9)))):
        order = row.argsort()
        reached = row.softmax(0)[order].cumsum(0)
        assert torch.equal(kept[order[:-1]], reached[:-1] > 1 - 0.9)


@torch.inference_mode()
def test_more_smooth_mixes_codes():
    generator, sampling = make("var", "scales"), VarSampling(more_smooth=True)
    made = generator.sample(LABELS, streams(LABELS), sampling)
    assert isinstance(made, Latents)
    assert made.settled
    assert generator.made_as(sampling) == "latents"
    again = generator.sample(LABELS[1:2], streams(LABELS)[1:2], sampling)
    torch.testing.assert_close(again.values[0], made.values[1], atol=1e-4, rtol=1e-3)
    sharp = generator.sample(LABELS, streams(LABELS), VarSampling(more_smooth=True, top_k=1))
    greedy = generator.sample(LABELS, streams(LABELS), VarSampling(top_k=1))
    torch.testing.assert_close(sharp.values, quantizer("scales").lookup(greedy))


def test_finer_scales_come_in_one_after_the_other():
    generator = make("var", "scales", progressive=10).train()
    counts, expected = (
        generator.counts,
        {0: [1, 1], 5: [1, 1, 0.5], 9: [1, 1, 0.9], 10: [1, 1, 1], 99: [1, 1, 1]},
    )
    for step, weights in expected.items():
        generator.begin_step(step)
        want = [weight for weight, n in zip(weights, counts) for _ in range(n)]
        assert generator.weights(torch.device("cpu")).tolist() == pytest.approx(want)
        generator(*images(generator))["cross_entropy"].backward()
    generator.begin_step(0)
    assert len(generator.eval().weights(torch.device("cpu"))) == sum(counts)


def test_the_loss_is_the_mean_over_tokens():
    generator = make("var", "scales", class_dropout=0, sampling={"cfg": 0})
    tokens, labels = images(generator)
    wanted = F.cross_entropy(generator.logits(labels, tokens.ids).flatten(0, 1), tokens.ids.flatten())
    torch.testing.assert_close(generator(tokens, labels)["cross_entropy"], wanted)


@pytest.mark.parametrize("size", ["d16", "d30", "d36-s"])
def test_the_published_start(size):
    """Scales of the first weights, in a narrow network of the same depth."""
    config = VarConfig(**VarConfig(size=size).model_dump() | {"heads": 2, "width": 64, "classes": 50})
    spec = TokenizerSpec(300, 16, 4, (8, 8), "", ((1, 1), (2, 2)))
    torch.manual_seed(0)
    generator = Var(config, spec)
    std, state = (1 / (3 * 64)) ** 0.5, dict(generator.named_parameters())
    deep = (2 * config.layers) ** 0.5
    shares = {
        "attention.out.weight": 1 / deep,
        "ffn.down.weight": 1 / deep,
        "attention.qkv.weight": 1,
        "ffn.up.weight": 1,
    }
    for name, share in shares.items():
        assert state[f"blocks.1.{name}"].std().item() == pytest.approx(std * share, rel=0.05)
    assert generator.head.map.weight.std().item() == pytest.approx(std * 0.02, rel=0.05)
    assert generator.head.condition.weight.std().item() == pytest.approx(std * 0.5, rel=0.05)
    assert generator.class_embedding.weight.std().item() == pytest.approx(std, rel=0.05)
    block = generator.blocks[0]
    if config.adaln == "shared":
        gates, others = block.own[0, 0, :2], block.own[0, 0, 2:]
        assert others.std().item() == pytest.approx(0.5 * 64**-0.5, rel=0.2)
        assert gates.std().item() == pytest.approx(config.gate_start * 64**-0.5, rel=0.2)
    else:
        gates, others = block.condition.weight.split([128, 256])
        assert others.std().item() == pytest.approx(std * 0.5, rel=0.05)
        assert gates.std().item() == pytest.approx(std * config.gate_start, rel=0.05)
    torch.testing.assert_close(block.attention.scale.exp(), torch.full((1, 2, 1, 1), 4.0))
    assert not any(state[name].any() for name in state if name.endswith("bias"))


def test_attention_is_no_sharper_than_a_hundred():
    generator, (tokens, labels) = make("var", "scales"), images(make("var", "scales"))
    sharp = copy.deepcopy(generator)
    with torch.no_grad():
        for block in generator.blocks:
            block.attention.scale.fill_(100.0).log_()
        for block in sharp.blocks:
            block.attention.scale.fill_(50.0)
    assert torch.equal(generator.logits(labels, tokens.ids), sharp.logits(labels, tokens.ids))


@pytest.mark.parametrize("grid", [((4, 4),), ((2, 2),) * 3, ((1, 1), (4, 4), (2, 2)), ((1, 2), (2, 2))])
def test_other_layouts_are_refused(grid):
    spec = TokenizerSpec(12, 8, 4, (16, 16), "", grid)
    with pytest.raises(VqcliError, match="var makes tokens scale by scale") as refused:
        Var(VarConfig(), spec)
    assert "multi-scale" in refused.value.hint


def test_any_patch_sizes():
    grid = ((2, 2), (3, 5), (7, 8))
    spec = TokenizerSpec(12, 8, 4, (28, 32), "", grid)
    generator = Var(VarConfig(classes=2, layers=1, heads=2, width=16), spec)
    assert generator.first(torch.tensor([0])).shape == (1, 4, 16)
    assert isinstance(generator.blank(1), Tokens)
    assert generator.sees(torch.device("cpu")).sum() == 4 * 4 + 15 * 19 + 56 * 75
