"""Four failures that were prepared by training, as a user might, and models that nothing is wrong with.

Every run takes seconds: a network of two levels, images of 8x8 pixels, 16 tokens each.
"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.models import make_model
from tests.training.tiny import start
from vqcli import files
from vqcli.cli.app import app
from vqcli.codebooks.ema import EmaCodebook
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.usage import measure_usage
from vqcli.library.references import newest_checkpoint

QUICK = (
    "data.source=demo:256",
    "tokenizer.multipliers=[1, 1]",
    "tokenizer.attention_levels=[]",
    "optimizer.lr=3e-3",
    "schedule.warmup=0",
    "training.log_every=5",
    "training.validate_every=1000",
    "training.checkpoint_every=1000",
    "training.steps=60",
)


def trained(folder, codebook, *settings):
    run = folder / "run"
    start(run, *QUICK, f"tokenizer.codebook={{width: 8, {codebook}}}", *settings)
    return run


def report(run, images="demo:256", **other):
    return measure_usage(
        str(run), ImageOptions(images, str(run), device="cpu", num_workers=0, batch_size=64), **other
    )


def names(result):
    return [cause.name for cause in result.diagnosis.causes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """FVQ with 64 codes."""
    return trained(
        tmp_path_factory.mktemp("sound"), "name: bridged, size: 64, hidden: 32, patch: 2, depth: 1"
    )


def test_a_collapsed_vqgan(tmp_path):
    """Published start and weights: the codes near zero that are chosen first take all latents."""
    published = ("tokenizer.quantizer={name: nearest, codebook_weight: 0.25, commitment_weight: 1}",)
    run = trained(
        tmp_path, "name: learned, size: 512", *published, "schedule.decay=constant", "training.steps=40"
    )
    found = report(run, page=tmp_path / "p.html")
    cause = found.diagnosis.causes[0]
    assert found.utilization < 0.3
    assert cause.name == "codes left where they started"
    assert "--set tokenizer.codebook.init=normal" in cause.cure
    assert "name: bridged, size: 512, width: 8" in cause.cure
    page = (tmp_path / "p.html").read_text()
    assert "Likely cause: codes left where they started" in page
    assert "Latents against codes" in page
    assert names(report(run / "model"))[0] == cause.name
    alone = tmp_path / "alone"  # no run beside it tells how it was trained
    (run / "model").rename(alone)
    assert names(report(alone))[0] == cause.name


def test_ema_with_the_published_start(tmp_path, monkeypatch):
    """Cluster sizes from 0: the first update divides the codes that none chose by next to nothing."""
    original = EmaCodebook.__init__

    def from_zero(self, config):
        original(self, config)
        self.counts.zero_()

    monkeypatch.setattr(EmaCodebook, "__init__", from_zero)
    run = trained(tmp_path, "name: ema, size: 512")
    found = report(run)
    assert found.utilization < 0.3
    assert names(found)[0] == "EMA codes blown away"
    assert "revive_below=1" in found.diagnosis.causes[0].cure
    assert names(report(newest_checkpoint(run)))[0] == "EMA codes blown away"
    (run / "model").rename(tmp_path / "alone")
    assert names(report(tmp_path / "alone"))[0] == "EMA codes blown away"


def test_dead_codes_after_annealing_with_a_linear_map(tmp_path):
    """FVQ's ablation: a trained table behind one matrix, annealed to a hundredth of the rate."""
    run = trained(tmp_path, "name: projected, size: 512, base: uniform, base_width: 8, train_base: true")
    found = report(run)
    cause = found.diagnosis.causes[0]
    assert found.utilization < 0.3
    assert cause.name == "dead codes behind a linear map"
    assert "annealed to a rate of 3e-05, it hardly moves any more" in cause.evidence
    assert "name: bridged, size: 512, width: 8" in cause.cure
    fallen(run / "metrics.jsonl")
    assert names(report(run))[0] == "usage fell while the rate was annealed"
    lines = CliRunner().invoke(app, ["usage-report", str(run)]).stdout.splitlines()
    assert "likely cause: usage fell while the rate was annealed" in lines


def fallen(log):
    """Let a log say that all codes were used until the rate went down."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if line.get("learning_rate") == lines[0]["learning_rate"]:
            line["utilization"], line["utilization_tokens"] = 1.0, 10**6
        del line["crc32"]
    log.write_text("".join(map(files.line_of, lines)))


def test_too_few_images(sound):
    found = report(sound, "demo:8")
    assert found.utilization < 0.9
    assert names(found) == ["too few images"]
    assert "count at least 19 images (293 tokens)" in found.diagnosis.causes[0].cure
    assert names(report(sound, "demo:19")) == []


def test_a_sound_model_has_no_cause(sound):
    found = report(sound)
    assert found.utilization > 0.9
    assert names(found) == []
    assert found.diagnosis.latents.latents.codes == 4096
    assert names(report(newest_checkpoint(sound))) == []


def test_what_is_used_as_chance_would_have_it_has_no_cause(tmp_path):
    rng = np.random.default_rng(0)
    for tokens, expected in ((5000, []), (1000, ["too few images"])):
        np.save(tmp_path / "t.npy", rng.integers(0, 1000, (10, tokens // 10)))
        found = measure_usage(str(tmp_path / "t.npy"), codebook_size=1000)
        assert found.utilization == pytest.approx(found.usage.uniform_expectation, rel=0.02)
        assert names(found) == expected


def test_slots_that_sleep(tmp_path):
    run = trained(tmp_path, "name: bridged, size: 256, hidden: 32, patch: 8, depth: 1", "schedule.warmup=60")
    found = report(run)
    assert names(found)[0] == "sleeping slots of a VQBridge"
    assert " of 64 slots of a patch" in found.diagnosis.causes[0].evidence


def test_what_a_run_logged_and_a_model_stores_is_read_too(tmp_path):
    """Of a checkpoint nobody counted, the log tells; where nothing tells, nothing is said."""
    run = trained(tmp_path, "name: projected, size: 512, base_width: 8", "training.steps=5")
    checkpoint = newest_checkpoint(run)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    low = {"step": 6, "utilization": 0.1, "utilization_tokens": 10**5, "learning_rate": 3e-3}
    (run / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(low), ""]))
    assert names(measure_usage(str(checkpoint))) == ["dead codes behind a linear map"]
    assert measure_usage(str(make_model(tmp_path / "m"))).diagnosis.causes == ()
    stored = {"images": "8 images", "tokens": 99, "used": 2, "codebook_size": 16, "utilization": 0.125}
    told = make_model(tmp_path / "told", usage=stored | {"uniform_expectation": 0.99, "perplexity": 2})
    (cause,) = measure_usage(str(told)).diagnosis.causes
    assert (cause.name, cause.cure) == ("unknown", "name images with --images: latents may tell why")


@pytest.mark.parametrize(
    "quantizer",
    ["{name: residual, depth: 2}", "{name: nearest, metric: cosine}", "{name: index_propagation}"],
)
def test_latents_are_sampled_as_they_are_compared(tmp_path, quantizer):
    small = ("training.steps=2", f"tokenizer.quantizer={quantizer}")
    run = trained(tmp_path, "name: learned, size: 16, init: unit", *small)
    at = report(run, "demo:20").diagnosis.latents
    if "index" in quantizer:
        assert at.metric == "dot"
        assert at.latents.codes == 20 * 16
    elif "cosine" in quantizer:
        assert at.latents.norm_max == pytest.approx(1, abs=1e-5)
        assert at.latents.codes == 20 * 16
    else:
        assert at.latents.codes == 20 * 16 * 2
