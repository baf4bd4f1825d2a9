"""What is measured of held-out images while a tokenizer trains, and where it is told."""

import json

import pytest
import torch

from tests.models import make_model
from tests.perceptual import drawn_images, drawn_lpips
from tests.training.tiny import metrics, start
from vqcli.checkpoint.tokenizer import load_tokenizer, save_tokenizer
from vqcli.jobs.info import describe_model
from vqcli.jobs.usage import measure_usage
from vqcli.metrics.psnr import Psnr
from vqcli.metrics.ssim import Ssim
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.record import COUNTED, UsageRecord
from vqcli.pixels import normalize, to_uint8
from vqcli.training.scores import score, usage_record
from vqcli.training.usage import DeviceCounts


def tokenizer(folder, side):
    return load_tokenizer(make_model(folder / "model", side=side))


@torch.no_grad()
def scored(model, batches, network=None):
    return score(model, batches, DeviceCounts(model.spec.codebook_size, 1, torch.device("cpu")), network)


@torch.no_grad()
def test_eight_bit_images_are_compared(tmp_path):
    model, images, network = tokenizer(tmp_path, 32), drawn_images(32, batch=5), drawn_lpips("vgg").train()
    batches = [images[:4], images[4:]]  # the mean over images is not that over batches
    made = torch.cat([normalize(to_uint8(model.decode(model.encode(batch)))) for batch in batches])
    rounded = normalize(to_uint8(images))
    found = scored(model, batches, network)
    assert found["psnr"] == pytest.approx(Psnr(Psnr.Config()).measure(rounded, made).mean().item())
    assert found["ssim"] == pytest.approx(Ssim(Ssim.Config()).measure(rounded, made).mean().item())
    distances = drawn_lpips("vgg")(rounded, made)
    assert found["lpips_vgg"] == pytest.approx(distances.mean().item(), rel=1e-5)  # without dropout
    assert network.training
    assert network.lin0.model[0].training
    assert (found["images"], found["tokens"]) == (5, 5 * 16 * 16)
    assert "lpips_vgg" not in scored(model, [images])


def test_what_is_too_small_for_a_window_has_no_ssim(tmp_path):
    small, large = tokenizer(tmp_path / "a", 10), tokenizer(tmp_path / "b", 12)
    assert "ssim" not in scored(small, [drawn_images(10)])
    assert 0 < scored(large, [drawn_images(12)])["ssim"] < 1
    assert scored(large, []) == {}


def test_a_run_tells_what_it_measured_and_how(tmp_path):
    result = start(tmp_path / "run", "training.steps=2", "data.size=16")
    usage = json.loads((tmp_path / "run" / "model" / "usage.json").read_text())
    last = metrics(tmp_path / "run")[-1]
    assert set(usage) == {"images", *COUNTED, "psnr", "ssim", "protocol"}
    assert usage["protocol"] == "plain"
    for name in ("psnr", "ssim", "utilization"):
        assert usage[name] == last[f"validation/{name}"] == result.measured[name]
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("Reconstructions of "))
    numbers = f"PSNR {usage['psnr']:.2f} dB, SSIM {usage['ssim']:.4f}"
    assert f"of {usage['images']}: {numbers}. Protocol `plain`: 8-bit" in line
    assert "(AlexNet)" not in line
    assert describe_model(str(tmp_path / "run")).usage.to_json() == usage
    assert measure_usage(str(tmp_path / "run")).stored.to_json() == usage


def test_cards_say_what_is_known(tmp_path):
    """``usage.json`` of older models, and of pruned ones, holds less."""
    model = tokenizer(tmp_path, 8)
    counted = UsageCounts(16)
    counted.add(torch.arange(4)[None].numpy())
    whole = {"psnr": 21.5, "lpips_alex": 0.25, "usage": counted.report()}
    record = usage_record(whole, "photos").to_json()
    assert record["images"] == "1 held-out images of photos"
    older = {name: value for name, value in record.items() if name != "protocol"}
    for usage, told in (
        (older, "PSNR 21.50 dB, LPIPS 0.2500 (AlexNet). Protocol `plain`"),
        (record, "PSNR 21.50"),
        (None, ""),
    ):
        folder = tmp_path / str(len(usage or ()))
        folder.mkdir()
        save_tokenizer(model, folder, usage=UsageRecord.from_json(usage) if usage else None)
        card = (folder / "README.md").read_text()
        assert told in card
        assert ("Reconstructions of" in card) == bool(told)
    counts = {name: older[name] for name in ("images", *COUNTED)}
    (tmp_path / "counts").mkdir()
    save_tokenizer(model, tmp_path / "counts", usage=UsageRecord.from_json(counts))
    card = (tmp_path / "counts" / "README.md").read_text()
    assert "Utilization: 25.00%" in card
    assert "Reconstructions of" not in card
    assert describe_model(str(tmp_path / "counts")).usage.to_json() == counts
    assert usage_record({}, "photos") is None
