"""Evaluation: numbers against slow ones, whatever was interrupted, however many processes there were."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.jobs.evaluations import CHEAP, Stopper, options
from tests.locks import held_elsewhere
from tests.models import make_model
from tests.processes import two_processes
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.open import open_source
from vqcli.data.loader import eval_batches
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.usage import measure_usage
from vqcli.metrics.protocols import PROTOCOLS
from vqcli.pixels import CenterCrop, normalize, to_uint8
from vqcli.types import Reading, Tokens

pytestmark = pytest.mark.usefixtures("small_evaluations")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", side=16)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of PNGs of 16x16."""
    folder = tmp_path_factory.mktemp("photographs")
    source = open_source("demo:9", Reading(size=(16, 16)))
    for i in range(9):
        source[i].image.save(folder / f"{i}.png")
    return folder


def reconstructed(model, source="demo:11"):
    """Images and reconstructions, uint8 (N, 3, H, W), and all tokens."""
    tokenizer = load_tokenizer(model)
    images = open_source(source, Reading(size=(16, 16)))
    (batch,) = eval_batches(images, np.arange(len(images)), CenterCrop((16, 16)), len(images))
    tokens = tokenizer.encode(normalize(batch.stacked()))
    return batch.stacked(), to_uint8(tokenizer.decode(tokens).detach()), tokens.ids


def test_a_tokenizer_against_slow_numbers(tmp_path, model):
    found = evaluate(options(model), tmp_path / "out")
    images, made, ids = reconstructed(model)
    errors = [((a.double() - b.double()) ** 2).mean() for a, b in zip(images, made)]
    psnr = [10 * np.log10(255**2 / float(error)) for error in errors]
    assert found.results["psnr"] == pytest.approx(np.mean(psnr), rel=1e-6)
    assert found.results["utilization"] == len(ids.unique()) / 16
    assert found.results["tokens"] == ids.numel()
    assert (found.kind, found.counts, found.rejected) == ("tokenizer", {"reconstruct": 11}, [])
    assert found.metrics["ssim"]["data_range"] == 1
    assert not found.random_networks
    lines = (tmp_path / "out" / "images.csv").read_text().splitlines()
    assert lines[0] == "key,psnr,ssim"
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(psnr, rel=1e-5)
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    assert told["results"] == found.results
    assert not list((tmp_path / "cache").glob("evaluations*/*/part*"))


def test_pictures_show_the_best_and_the_worst(tmp_path, model):
    evaluate(options(model, "demo:20", ("psnr",)), tmp_path / "out")
    images, made, _ = reconstructed(model, "demo:20")
    errors = ((images.double() - made.double()) ** 2).mean((1, 2, 3))
    for name, index in (("best", int(errors.argmin())), ("worst", int(errors.argmax()))):
        picture = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        assert picture.shape == (3 * 128 + 4, 8 * 128 + 14, 3)
        for row, shown in enumerate((images[index], made[index])):
            tile = picture[row * 130 :: 8, ::8][:16, :16]
            np.testing.assert_array_equal(tile, shown.permute(1, 2, 0))
    assert "best.png" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("metrics", [CHEAP, ("fid", "kid", "inception_score", "psnr")])
def test_an_interruption_changes_nothing(tmp_path, model, metrics):
    whole = evaluate(options(model, metrics=metrics))
    stopper = Stopper(9)
    with pytest.raises(KeyboardInterrupt):
        evaluate(options(model, metrics=metrics), progress=stopper)
    again = Stopper(100)
    continued = evaluate(options(model, metrics=metrics), progress=again)
    assert again.begun == [("reconstruct", 11, 8)]
    assert continued.results == pytest.approx(whole.results, rel=1e-9)
    assert continued.results["psnr"] == whole.results["psnr"]


def test_what_was_done_of_another_evaluation_is_not_taken_over(tmp_path, model):
    with pytest.raises(KeyboardInterrupt):
        evaluate(options(model), progress=Stopper(9))
    for other in ({"protocol": "llamagen"}, {"limit": 10}, {"metrics": ("psnr",)}):
        again = Stopper(100)
        evaluate(replace(options(model), **other), progress=again)
        assert again.begun[0][2] == 0


def test_numbers_do_not_depend_on_the_batch_size(model):
    names = ("fid", "sfid", "inception_score", "kid", "precision_recall", "psnr")
    one, other = (evaluate(options(model, metrics=names, batch_size=size)).results for size in (2, 5))
    assert one == pytest.approx(other, rel=1e-6)
    assert {"rfid", "rsfid", "precision", "recall", "kid"} <= one.keys()


SCRIPT = """
from tests.tiny_inception import TinyInception
from vqcli.cli.app import main
from vqcli.jobs.evaluation import measuring, parts, work

work.BLOCK, measuring.FidInception = 4, TinyInception
main()
"""


def test_two_processes_find_what_one_does(tmp_path, model):
    torch.set_num_threads(1)
    one = evaluate(options(model, metrics=("fid", "psnr", "usage")))
    arguments = ["evaluate", model, "--images", "demo:11", "--metrics", "fid,psnr,usage", "-b", 4, "--json"]
    flags = ["--num-workers", 0, "--device", "cpu", "--random-networks", "--force", "-o", tmp_path / "out"]
    found = json.loads(two_processes(SCRIPT, *arguments, *flags))
    assert found["results"] == pytest.approx(one.results, rel=1e-6)
    assert len((tmp_path / "out" / "images.csv").read_text().splitlines()) == 12


def test_images_against_themselves_and_against_their_statistics(tmp_path, photographs):
    names = ("fid", "sfid")
    same = evaluate(options(photographs, photographs, names), tmp_path / "out")
    assert all(abs(value) < 1e-6 for value in same.results.values())
    assert same.counts == {"sample": 9, "reference": 9}
    assert (tmp_path / "out" / "samples.png").exists()
    direct = evaluate(options("demo:7", photographs, names))
    made = evaluate(options(photographs, None, names, statistics=tmp_path / "s.npz"))
    assert made.results == {}
    stored = evaluate(options("demo:7", tmp_path / "s.npz", names))
    assert stored.results == pytest.approx(direct.results, rel=1e-9)
    assert stored.counts == {"sample": 7}
    assert direct.results["fid"] > 1
    with pytest.raises(VqcliError, match="holds no images") as refused:
        evaluate(options("demo:7", tmp_path / "s.npz", ("precision_recall",)))
    assert "precision_recall" in refused.value.hint
    with pytest.raises(VqcliError, match="resized"):
        evaluate(options("demo:7", tmp_path / "s.npz", names, protocol="clean-fid"))


def test_a_file_of_arrays_is_its_images(tmp_path, photographs):
    images = np.stack([np.asarray(Image.open(photographs / f"{i}.png")) for i in range(9)])
    np.savez(tmp_path / "all.npz", images)
    for target, reference in ((tmp_path / "all.npz", photographs), (photographs, tmp_path / "all.npz")):
        assert abs(evaluate(options(target, reference, ("fid",))).results["fid"]) < 1e-6


def test_bad_images_are_counted_and_the_rest_is_measured(tmp_path, model, photographs):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in photographs.iterdir():
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "3.png").write_bytes(b"no image")
    found = evaluate(options(model, mixed))
    assert [bad["key"] for bad in found.rejected] == ["3.png"]
    assert found.counts == {"reconstruct": 8}
    assert found.results["tokens"] == 8 * 64
    with pytest.raises(Exception, match=r"3\.png"):
        evaluate(options(model, mixed, strict=True))
    for path in mixed.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(VqcliError, match="none of 9 images") as refused:
        evaluate(options(model, mixed))
    assert refused.value.reason == "input-empty"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_runs(name, model):
    protocol = PROTOCOLS[name]
    cheap = [metric for metric in protocol.metrics if metric in CHEAP] or ["psnr"]
    found = evaluate(options(model, "demo:2", cheap, protocol=name))
    assert found.protocol == name
    assert found.metrics[cheap[0]].items() >= protocol.metric(cheap[0]).items()


def test_protocols_differ_where_they_should(model):
    found = {
        name: evaluate(options(model, metrics=("psnr", "ssim"), protocol=name)).results for name in PROTOCOLS
    }
    assert len({round(each["psnr"], 9) for each in found.values()}) == 3  # RGB, luma, luma of unrounded
    assert found["llamagen"]["ssim"] > found["plain"]["ssim"]


def test_images_are_measured_at_another_size_where_one_is_named(model):
    found = evaluate(options(model, metrics=("psnr", "usage"), eval_size=(12, 12)))
    images, _, ids = reconstructed(model)
    tokenizer = load_tokenizer(model)
    made = tokenizer.decode(Tokens(ids, tokenizer.grid(16, 16))).detach()
    a, b = (F.interpolate(each, (12, 12), mode="bicubic") for each in (normalize(images), made))
    errors = (a.clamp(-1, 1).double() - normalize(to_uint8(b)).double()).square().mean((1, 2, 3)) / 4
    assert found.results["psnr"] == pytest.approx(-10 * errors.log10().mean().item(), rel=1e-6)
    assert found.results["tokens"] == ids.numel()
    assert "measured at 12x12" in found.preparation


def test_whole_images_are_the_reference_where_the_protocol_says_so(model):
    found = evaluate(options(model, "demo:3", ("fid",), protocol="vqgan-lc"))
    assert found.counts == {"reconstruct": 3, "reference": 3}


def test_what_cannot_be_measured_is_said_before_any_work(tmp_path, model, photographs, monkeypatch):
    cases = [
        (options(model, None), "needs images", "--images"),
        (options(model, metrics=("pnsr",)), "no metric 'pnsr'", "psnr"),
        (options(model, protocol="lamagen"), "no protocol 'lamagen'", "llamagen"),
        (options(photographs, None, ("fid",)), "needs images to measure against", "--images"),
        (options(photographs, photographs, ("psnr",)), "psnr cannot be measured", "tokenizer"),
        (options(model, metrics=("lpips",)), "lpips cannot be measured", "--size"),
        (options("demo:2", "demo:2", ("fid",), eval_size=(8, 8)), "measured as they are", "leave it out"),
        (options(tmp_path / "nothing"), "no model at", ""),
    ]
    for given, message, hint in cases:
        with pytest.raises(VqcliError, match=message) as refused:
            evaluate(given)
        assert hint in refused.value.hint
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(VqcliError, match="fid-inception needs") as refused:
        evaluate(options(model, metrics=("fid",), random_networks=False))
    assert "--inception-weights" in refused.value.hint
    assert "--metrics" in refused.value.hint


def test_results_are_not_replaced_unasked(tmp_path, model):
    evaluate(options(model), tmp_path / "out")
    with pytest.raises(VqcliError, match=r"holds results\.json"):
        evaluate(options(model), tmp_path / "out")
    evaluate(options(model), tmp_path / "out", force=True)


def test_numbers_go_into_the_folder_and_its_card(tmp_path):
    model = make_model(tmp_path / "own", side=16)
    before = (model / "README.md").read_text()
    found = evaluate(options(model, record=True, random_networks=False))
    stored = json.loads((model / "usage.json").read_text())
    assert stored["images"] == "11 images of demo:11, resize (bicubic) and centre crop, 16x16"
    assert stored["protocol"] == "plain"
    assert {name: stored[name] for name in found.results} == found.results
    card = (model / "README.md").read_text()
    assert f"Reconstructions of {stored['images']}: PSNR {stored['psnr']:.2f} dB" in card
    evaluate(options(model, "demo:3", record=True, random_networks=False))
    again = (model / "README.md").read_text()
    assert "11 images" not in again
    assert len(again.splitlines()) == len(card.splitlines()) == len(before.splitlines()) + 2
    assert (
        measure_usage(str(model)).utilization == json.loads((model / "usage.json").read_text())["utilization"]
    )
    for other in ({"metrics": ("psnr",)}, {"random_networks": True}):
        with pytest.raises(VqcliError, match=r"--record|random"):
            evaluate(options(model, **{"record": True, "random_networks": False} | other))


def test_only_one_command_at_a_time_works_on_an_evaluation(tmp_path, model):
    with pytest.raises(KeyboardInterrupt):
        evaluate(options(model), progress=Stopper(5))
    (folder,) = (tmp_path / "cache").glob("evaluations*/*")
    with held_elsewhere(folder), pytest.raises(VqcliError, match="in use by another"):
        evaluate(options(model))
