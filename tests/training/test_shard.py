"""A model spread over two processes: what it learns, holds, writes and resumes."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from tests.models import make_model
from tests.training import spread, tiny
from tests.training.test_generator_task import RECIPE, start
from tests.training.tiny import Recorded, assert_same, leftovers, metrics, resume, tensors
from vqcli.checkpoint.generator import load_generator
from vqcli.errors import VqcliError
from vqcli.training.shard import outline

SHARD = "training.shard=true"
EXACT = tuple(f"generator.{kind}_dropout=0" for kind in ("token", "residual", "ffn", "class"))
"""Nothing is random: processes need not draw what another number of them would."""
LC = 'generator={"name": "gpt_lc", "classes": 10, "layers": 2, "heads": 2, "width": 16, "keep": 1}'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


def launch(folder, tokenizer, *runs):
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"tokenizer": str(tokenizer)}))
    spread.launch(folder, *runs)


def told(run, rank):
    return json.loads(run.with_name(f"{run.name}-{rank}.json").read_text())


def assert_close(run, other, *, rtol=1e-4, atol=1e-6, moments=True):
    ours, theirs = ({k: x for k, x in tensors(r).items() if " rng." not in k} for r in (run, other))
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        if moments or ".optimizer." not in name:
            torch.testing.assert_close(
                x, theirs[name], rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
            )
    for ours_line, theirs_line in zip(metrics(run), metrics(other), strict=True):
        assert ours_line == pytest.approx(theirs_line, rel=max(rtol, 1e-4))


def test_a_spread_model_learns_the_same_and_each_process_holds_half(tokenizer, tmp_path):
    """Two passes a step, clipped, averaged; nine held-out images are two batches here and one there."""
    settings = [*EXACT, "training.accumulate=2", "optimizer.clip=0.05", "training.average=0.9"]
    settings += ["training.validation_images=9"]
    launch(tmp_path, tokenizer, ("whole", settings, {}), ("spread", [*settings, SHARD], {}))
    assert_close(tmp_path / "spread", tmp_path / "whole")
    names = [
        {p.relative_to(tmp_path / run) for p in (tmp_path / run).rglob("*")} for run in ("whole", "spread")
    ]
    assert names[0] == names[1]
    assert metrics(tmp_path / "spread")[-1]["validation/images"] == 9
    assert leftovers(tmp_path) == []
    total = sum(p.numel() for p in load_generator(tmp_path / "spread" / "model").parameters())
    for rank in (0, 1):
        assert set(told(tmp_path / "whole", rank)["held"].values()) == {total}
        halves = told(tmp_path / "spread", rank)["held"]
        assert halves == pytest.approx(dict.fromkeys(halves, total / 2), rel=0.01)


@pytest.mark.slow
def test_a_spread_run_is_stopped_and_resumed_in_every_way(tokenizer, tmp_path):
    """To the same bits, as it was; to the same numbers, where a run is spread or gathered on the way."""
    random = [SHARD, "training.average=0.9", "training.sample_every=5"]
    changed = {"resume": True, "accept_changes": True}
    launch(
        tmp_path,
        tokenizer,
        ("straight", random, {}),
        ("stopped", random, {"stop_at": 5}),
        ("stopped", [], {"resume": True}),  # draws first, then trains
        ("whole", EXACT, {}),
        ("gathered", [*EXACT, SHARD], {"stop_at": 4}),
        ("spread", EXACT, {"stop_at": 4}),
        ("spread", [SHARD], changed),
    )
    assert_same(tmp_path / "straight", tmp_path / "stopped")
    pictures = [(tmp_path / run / "samples").glob("*.png") for run in ("straight", "stopped")]
    assert len({tuple(p.read_bytes() for p in sorted(each)) for each in pictures}) == 1
    assert_close(tmp_path / "spread", tmp_path / "whole")
    with pytest.raises(VqcliError, match="processes 2 -> 1"):
        resume(tmp_path / "gathered")
    resume(tmp_path / "gathered", "training.shard=false", accept_changes=True)
    assert_close(tmp_path / "gathered", tmp_path / "whole")


@pytest.mark.slow
def test_other_networks_formats_and_compiled_ones(tokenizer, tmp_path):
    bf16 = [*EXACT, "training.precision=bf16", "training.average=0.9", "training.sample_every=4"]
    bf16 += ["optimizer.eps=1e-2"]  # gradients near zero get no say
    launch(
        tmp_path,
        tokenizer,
        ("lc", [LC], {}),
        ("spread-lc", [LC, SHARD], {}),
        ("bf16", bf16, {}),
        ("spread-bf16", [*bf16, SHARD], {}),
        ("compiled", [*bf16, SHARD, "training.compile=true"], {}),
    )
    assert_close(tmp_path / "spread-lc", tmp_path / "lc")
    rounded = {"rtol": 1e-2, "atol": 2e-3, "moments": False}
    for run in ("spread-bf16", "compiled"):
        assert_close(tmp_path / run, tmp_path / "bf16", **rounded)
    weights = tensors(tmp_path / "spread-bf16")
    blocks = [x for name, x in weights.items() if name.startswith("model.safetensors blocks.")]
    assert {x.dtype for x in blocks} == {torch.float32}
    copies = sum(2 * x.numel() for x in blocks)  # bytes in bfloat16
    saved = [told(tmp_path / run, 0)["saved"] for run in ("bf16", "spread-bf16")]
    assert saved[0] - saved[1] > 0.9 * copies


def test_one_process_has_nothing_to_spread(tokenizer, tmp_path):
    recorded = Recorded()
    start(tmp_path / "asked", tokenizer, SHARD, "training.steps=2", progress=recorded)
    start(tmp_path / "plain", tokenizer, "training.steps=2")
    assert recorded.said[0] == "training.shard has no effect on one process"
    assert_same(tmp_path / "asked", tmp_path / "plain")


def test_what_cannot_be_spread_is_refused(tokenizer, tmp_path):
    with pytest.raises(VqcliError, match=r"training\.shard does not spread a tokenizer"):
        tiny.start(tmp_path / "run", SHARD)
    with pytest.raises(VqcliError, match="shard does not go with precision: fp16"):
        start(tmp_path / "run", tokenizer, SHARD, "training.precision=fp16")
    assert not (tmp_path / "run").exists()


def test_an_outline_takes_no_room_and_is_the_same_network():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    module[1].requires_grad_(False)
    empty = outline(module)
    assert [(p.device.type, p.requires_grad) for p in empty.parameters()] == [
        ("meta", r) for r in (1, 1, 0, 0)
    ]
    empty.load_state_dict(module.state_dict(), assign=True)
    x = torch.ones(1, 3)
    assert torch.equal(empty(x), module(x))
