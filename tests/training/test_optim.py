"""Rates, decay, clipping and averages as they reach the weights."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.training.test_flags import Counting
from tests.training.tiny import metrics, start
from vqcli.classifiers.vit import Vit, VitConfig
from vqcli.errors import VqcliError
from vqcli.generators.var import Var, VarConfig
from vqcli.library.references import checkpoints, newest_checkpoint
from vqcli.registry import build
from vqcli.training.optim import RunningAverage, make_optimizer
from vqcli.training.recipe import OptimizerConfig, read_recipe
from vqcli.training.state import load_optimizer, optimizer_tensors
from vqcli.types import TokenizerSpec


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 2))


def test_annealed_rate_reaches_the_optimizer(tmp_path):
    start(tmp_path / "run", "training.steps=11", "schedule.warmup=4", "training.log_every=1")
    rates = {x["step"]: x["learning_rate"] for x in metrics(tmp_path / "run") if "learning_rate" in x}
    # steps 0 to 3 warm up; 0.3 of the other 6 intervals hold, the last step is at 0.01
    shares = [0.005, 0.25375, 0.5025, 0.75125, 1, 1]
    shares += [0.01 + 0.99 * (1 - k / 6) / 0.7 for k in (2, 3, 4, 5, 6)]
    assert list(rates.values()) == pytest.approx([1e-3 * share for share in shares])


def test_rate_scales_with_the_batch():
    config = OptimizerConfig(lr=1e-4, lr_batch=128)
    assert make_optimizer(network(), config, 256).param_groups[0]["lr"] == pytest.approx(2e-4)
    assert make_optimizer(network(), OptimizerConfig(lr=1e-4), 256).param_groups[0]["lr"] == 1e-4


def test_decay_is_for_matrices_and_kernels():
    module = network()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = make_optimizer(module, OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.5), 1)
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in module.named_parameters():
        factor = 1 - 0.1 * 0.5 if p.dim() >= 2 else 1
        torch.testing.assert_close(p.detach(), before[name] * factor)


def test_frozen_weights_get_no_optimizer():
    module = network()
    module[0].requires_grad_(False)
    optimizer = make_optimizer(module, OptimizerConfig(), 1)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in module.parameters() if p.requires_grad}


def test_clip_bounds_the_norm(tmp_path):
    """Without momentum, Adam's first moment is the gradient it was given."""
    norms = {}
    for clip in (0, 1e-3):
        run = tmp_path / str(clip)
        start(run, "training.steps=1", f"optimizer.clip={clip}", "optimizer.betas=[0.0,0.0]")
        moments = load_file(newest_checkpoint(run) / "model.optimizer.safetensors")
        gradients = [x.flatten() for name, x in moments.items() if name.endswith(".exp_avg")]
        norms[clip] = torch.cat(gradients).norm().item()
        logged = metrics(run)[0]["gradient_norm"]  # before clipping
        assert logged > 1
    assert norms[0] == pytest.approx(logged, rel=1e-4)
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)


def test_running_average_is_ramped():
    torch.manual_seed(0)
    values = [torch.randn(3) for _ in range(60)]
    module = nn.BatchNorm1d(3)  # a weight, buffers and a counter
    average = RunningAverage(module, 0.8)
    expected = None
    for n, value in enumerate(values):
        module.weight.data.copy_(value)
        module.running_mean.copy_(-value)
        module.num_batches_tracked.fill_(n)
        average.update(module)
        decay = min(0.8, (1 + n) / (10 + n))
        expected = value.clone() if expected is None else decay * expected + (1 - decay) * value
        torch.testing.assert_close(average.module.weight.detach(), expected)
        torch.testing.assert_close(average.module.running_mean, -expected)
        assert average.module.num_batches_tracked == n


def test_the_average_is_that_of_a_loop_over_tensors():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = RunningAverage(module, 0.9)
    expected = [x.clone() for x in module.state_dict().values()]
    for n in range(5):
        for x in (*module.parameters(), module[1].running_var):
            x.data.normal_()
        average.update(module)
        for mean, value in zip(expected, module.state_dict().values(), strict=True):
            weight = 1 - min(0.9, (1 + n) / (10 + n)) if n else 1.0
            mean.lerp_(value, weight) if mean.is_floating_point() else mean.copy_(value)
    assert all(map(torch.equal, average.module.state_dict().values(), expected))


def test_a_step_that_is_to_be_skipped_changes_nothing():
    module = network()
    optimizer = make_optimizer(module, OptimizerConfig(name="adamw", weight_decay=0.1), 1)
    optimizer.found_inf = skip = torch.zeros(())
    for value, sound in ((1.0, True), (torch.nan, False), (1.0, False)):
        skip.fill_(0 if sound else 1)
        before = copy.deepcopy((module.state_dict(), optimizer_tensors(optimizer)))
        for p in module.parameters():
            p.grad = torch.full_like(p, value)
        optimizer.step()
        now = (module.state_dict(), optimizer_tensors(optimizer))
        if not sound:
            for ours, theirs in zip(now, before):
                assert all(torch.equal(x, theirs[name]) for name, x in ours.items())


def test_more_tensors_are_no_more_operators():
    """Of a step of Adam, and of the running average."""
    launched = []
    for layers in (2, 20):
        module = nn.Sequential(*(nn.Linear(3, 3) for _ in range(layers)))
        optimizer, average = make_optimizer(module, OptimizerConfig(), 1), RunningAverage(module, 0.9)
        for _ in range(2):
            for p in module.parameters():
                p.grad = torch.ones_like(p)
            with Counting() as counts:
                optimizer.step()
                average.update(module)
        launched.append(len(counts.computed))
    assert launched[0] == launched[1] < 10


def test_moments_of_another_form_of_adam_go_on():
    """Older checkpoints were written without the fused form."""
    first, second = network(), network()
    fused = make_optimizer(second, OptimizerConfig(lr=0.01), 1)
    order = [p for group in fused.param_groups for p in group["params"]]
    plain = torch.optim.Adam(
        [dict(zip(map(id, second.parameters()), first.parameters()))[id(p)] for p in order],
        lr=0.01, betas=OptimizerConfig().betas, eps=OptimizerConfig().eps,
    )  # fmt: skip
    for _ in range(3):
        for p in first.parameters():
            p.grad = torch.ones_like(p)
        plain.step()
    second.load_state_dict(first.state_dict())
    load_optimizer(fused, copy.deepcopy(optimizer_tensors(plain)))
    for optimizer, module in ((plain, first), (fused, second)):
        for p in module.parameters():
            p.grad = torch.full_like(p, 0.5)
        optimizer.step()
    for ours, theirs in zip(second.parameters(), first.parameters()):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_average_of_a_run_is_the_average_of_its_steps(tmp_path):
    """Every step is a checkpoint; the slow formula over them gives the stored average."""
    run = tmp_path / "run"
    start(run, "training.average=0.9", "training.checkpoint_every=1", "training.keep=99")
    expected = {}
    for n, folder in enumerate(checkpoints(run)):
        decay = min(0.9, (1 + n) / (10 + n))
        for name, x in load_file(folder / "model.safetensors").items():
            expected[name] = decay * expected[name] + (1 - decay) * x if n else x
    stored = load_file(checkpoints(run)[-1] / "average.safetensors")
    for name, x in expected.items():
        torch.testing.assert_close(stored[name], x)
    exported = load_file(run / "model" / "model.safetensors")
    assert all(torch.equal(x, stored[name]) for name, x in exported.items())
    assert "running average, decay 0.9" in (run / "model" / "README.md").read_text()


def test_codes_have_a_rate_of_their_own_and_checkpoints_count_in_one_order():
    """A run whose ``codebook_rate`` was changed takes its moments back."""
    recipe = read_recipe("vqgan-cifar10", ["tokenizer.codebook.size=16"])

    def optimizer(rate):
        torch.manual_seed(0)
        module = build("tokenizers", recipe.tokenizer)
        config = OptimizerConfig(lr=1e-3, codebook_rate=rate, weight_decay=0.1)
        return module, make_optimizer(module, config, 8)

    module, plain = optimizer(1.0)
    reconstruction, quantized = module(torch.randn(1, 3, 32, 32))
    (reconstruction.square().mean() + sum(quantized.losses.values())).backward()
    plain.step()
    other, scaled = optimizer(30.0)
    load_optimizer(scaled, optimizer_tensors(plain))
    for (_, a), (_, b) in zip(module.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(plain.state[a]["exp_avg"], scaled.state[b]["exp_avg"])
    codes = other.quantizer.codebook.weight
    rates = {p: group["lr"] for group in scaled.param_groups for p in group["params"]}
    assert rates[codes] == pytest.approx(3e-2)
    assert {rate for p, rate in rates.items() if p is not codes} == {1e-3}
    assert [group["lr"] / group["scale"] for group in scaled.param_groups] == pytest.approx([1e-3] * 3)
    wrong = {name: x[:1] if x.dim() else x for name, x in optimizer_tensors(plain).items()}
    with pytest.raises(ValueError, match="are not of weights"):
        load_optimizer(scaled, wrong)


def test_layers_have_rates_of_their_own():
    """As in MAE's code: decay ** (layers + 1 - layer), the embedding being layer 0 and the head the last."""
    spec = TokenizerSpec(12, 8, 4, (16, 16), "", ((4, 4),))
    module = Vit(VitConfig(classes=3, layers=3, heads=2, width=16, pool="token"), spec)
    config = OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.1, layer_decay=0.5)
    optimizer = make_optimizer(module, config, 8)
    groups = {p: group for group in optimizer.param_groups for p in group["params"]}
    layers = {
        "class_token": 0,
        "embedding": 0,
        "blocks.0": 1,
        "blocks.1": 2,
        "blocks.2": 3,
        "norm": 4,
        "head": 4,
    }
    for name, p in module.named_parameters():
        (layer,) = [number for start, number in layers.items() if name.startswith(start)]
        assert groups[p]["lr"] == groups[p]["initial_lr"] == pytest.approx(1e-3 * 0.5 ** (4 - layer))
        assert groups[p]["lr"] / groups[p]["scale"] == pytest.approx(1e-3)
        assert groups[p]["weight_decay"] == (0.1 if name.endswith("weight") and p.dim() == 2 else 0)
    plain = make_optimizer(module, config.model_copy(update={"layer_decay": 1.0}), 8)
    order = [[p for group in each.param_groups for p in group["params"]] for each in (plain, optimizer)]
    assert all(a is b for a, b in zip(*order, strict=True))  # checkpoints count in one order
    assert len(plain.param_groups) == 2


def test_layers_of_a_model_that_does_not_tell_them_have_no_rates():
    with pytest.raises(VqcliError, match="layer_decay: this model does not tell how deep") as refused:
        make_optimizer(network(), OptimizerConfig(layer_decay=0.5), 1)
    assert refused.value.hint


def test_matrices_that_a_part_calls_undecayed_are_not():
    """VAR's official groups: no decay of biases, positions, embeddings of scales, and attention's scales."""
    spec = TokenizerSpec(12, 8, 4, (16, 16), "", ((1, 1), (2, 2), (4, 4)))
    for adaln in ("separate", "shared"):
        module = Var(VarConfig(classes=3, layers=2, heads=2, width=16, adaln=adaln), spec)
        optimizer = make_optimizer(module, OptimizerConfig(lr=1e-3, weight_decay=0.1), 8)
        decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        free = {name for name, p in module.named_parameters() if not decay[p]}
        names = {name.rpartition(".")[2] for name in free}
        assert names == {"start", "positions", "weight", "bias", "q_bias", "v_bias", "scale"} | (
            {"own"} if adaln == "shared" else set()
        )
        assert {name for name in free if name.endswith("weight")} == {"scale_embedding.weight"}
        assert len(optimizer.param_groups) == 2
