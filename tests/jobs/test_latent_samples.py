"""Latents are sampled while images are counted, and what they cannot tell is said, with every quantizer."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.models import make_model
from vqcli.checkpoint.tokenizer import load_tokenizer, save_tokenizer
from vqcli.cli.app import app
from vqcli.data.images.demo import DemoSource
from vqcli.jobs.encoder import Encoder, ImageOptions
from vqcli.jobs.latents import FEWEST, LATENTS, LatentSample
from vqcli.jobs.usage import count_images, measure_usage
from vqcli.metrics.usage.latents import measure_latents
from vqcli.parts import PARTS
from vqcli.quantizers.base import flatten
from vqcli.registry import resolve
from vqcli.tokenizers.conv import ConvTokenizer
from vqcli.types import silent


def asked(model, source="demo:20", **other):
    return ImageOptions(source, str(model), device="cpu", num_workers=0, batch_size=8, **other)


def made(folder, quantizer, codes=512):
    """A model whose latents are far fewer than its codes."""
    torch.manual_seed(0)
    config = ConvTokenizer.Config(
        network="tiny",
        multipliers=(1, 1),
        attention_levels=(),
        codebook={"name": "learned", "size": codes, "width": 4, "init": "normal"},
        quantizer={"name": quantizer} | resolve("quantizers", quantizer).TINY,
    )
    tokenizer = ConvTokenizer(config)
    tokenizer.image_size = (8, 8)
    folder.mkdir(parents=True)
    save_tokenizer(tokenizer, folder)
    return folder


WITH_CODES = [name for name in PARTS["quantizers"] if name != "none"]
"""What refuses the report instead is tested in cli/test_autoencoder_commands.py."""


@pytest.mark.parametrize("quantizer", WITH_CODES)
def test_no_report_names_a_cure_that_was_followed(tmp_path, quantizer):
    command = [
        "usage-report",
        str(made(tmp_path / "m", quantizer)),
        "--images",
        "demo:64",
        "--num-workers",
        "0",
    ]
    page = tmp_path / "p.html"
    done = CliRunner().invoke(app, [*command, "--device", "cpu", "-o", str(page)], prog_name="vqcli")
    assert done.exit_code == 0
    assert "likely cause: " in done.stdout  # usage is low, or this proves nothing
    for text in (done.stdout, page.read_text()):
        assert "name the model" not in text
        assert "--images" not in text.replace("name more --images", "")
    latents = next(line for line in done.stdout.splitlines() if line.startswith("latents"))
    assert "sampled" in latents or latents.split(None, 1)[1].startswith("not measured: ")
    if quantizer == "index_propagation":
        assert "codes are chosen by dot product" in done.stdout
    if quantizer == "gumbel":
        assert "not measured: a projection scores the codes" in latents
        assert "a projection scores the codes" in page.read_text()


def test_images_are_read_once_and_the_sample_is_that_of_a_second_pass(tmp_path, monkeypatch):
    model, read, original = make_model(tmp_path / "m", codes=40), [], DemoSource.__getitem__
    monkeypatch.setattr(DemoSource, "__getitem__", lambda self, i: read.append(i) or original(self, i))
    found = measure_usage(str(model), asked(model, "demo:300")).diagnosis.latents
    assert read == list(range(300))
    encoder = Encoder(
        asked(
            model,
            "demo:300",
        )
    )
    wanted = np.unique(np.linspace(0, 299, LATENTS // 16).astype(int))  # 16 tokens an image
    counts, _ = count_images(encoder, silent)
    vectors = []
    tokenizer = load_tokenizer(model)
    for batch, _ in encoder.batches(wanted):
        with torch.inference_mode():
            vectors.append(flatten(tokenizer.latents(batch.stacked() / 127.5 - 1)).numpy())
    codes_kd = tokenizer.quantizer.codes().detach().numpy()
    slow = measure_latents(np.concatenate(vectors), codes_kd, counts.counts_k)
    assert found.latents.codes == slow.latents.codes == LATENTS
    for name in ("norm_min", "norm_mean", "norm_max", "nearest_median", "effective_rank"):
        assert getattr(found.latents, name) == pytest.approx(getattr(slow.latents, name), rel=1e-4)
    assert found.code_distance == pytest.approx(slow.code_distance, rel=1e-4)
    for ours, theirs in ((found.used, slow.used), (found.unused, slow.unused)):
        assert ours.codes == theirs.codes
        assert ours.latent_distance == pytest.approx(theirs.latent_distance, rel=1e-4)


def test_a_sample_stays_small_whatever_images_bring(tmp_path):
    """The first image tells how many images are looked at; later ones may be larger by far."""
    quantizer = load_tokenizer(make_model(tmp_path / "m")).quantizer
    sample, rng = LatentSample(quantizer, 5000), np.random.default_rng(1)
    sample.watch(np.array([0]), torch.zeros(1, 4, 1, 1))
    assert len(sample.chosen) == LATENTS
    held = []
    for i in range(1, 40):
        noise = torch.from_numpy(rng.normal(i, 0.1, (1, 4, 40, 40))).float()
        sample.watch(np.array([i]), noise)
        held.append(sum(map(len, sample.found)))
    assert max(held) <= 4 * LATENTS
    counts_k = np.ones(16, np.int64)
    assert sample.measure(counts_k).latents.codes == LATENTS
    seen = 39 * 1600
    for low, high in ((1, 13), (13, 26), (26, 40)):  # early images are as likely kept as late ones
        share = ((sample.found[0][:, 0] > low - 0.5) & (sample.found[0][:, 0] < high - 0.5)).mean()
        assert share == pytest.approx((high - low) * 1600 / seen, abs=0.03)


def test_few_large_images_and_images_that_cannot_be_used(tmp_path):
    quantizer = load_tokenizer(make_model(tmp_path / "m")).quantizer
    sample = LatentSample(quantizer, 100)
    sample.watch(np.array([0]), torch.zeros(1, 4, 50, 50))
    assert len(sample.chosen) == FEWEST
    none = LatentSample(quantizer, 100)
    assert none.measure(np.ones(16, np.int64)) is None
    assert "could not be used" in none.missing


def test_codes_that_follow_from_a_rule_are_not_measured(tmp_path):
    rules = [name for name in PARTS["codebooks"] if resolve("codebooks", name).IMPLICIT and name != "none"]
    for book in rules:
        codebook = resolve("codebooks", book)
        quantizer = resolve("quantizers", "nearest")
        built = quantizer(quantizer.Config(), codebook(codebook.Config(**codebook.TINY)))
        sample = LatentSample(built, 4)
        sample.watch(np.arange(2), torch.zeros(2, built.width, 2, 2))
        assert sample.measure(np.ones(built.size, np.int64)) is None
        assert sample.missing == f"codes of a codebook '{book}' follow from a rule"
