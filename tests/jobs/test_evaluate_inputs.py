"""Evaluation of inputs that are not as one would wish: mixed up, damaged, too few, in the way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.jobs.evaluations import Stopper, options
from tests.models import make_model
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.evaluation.outputs import usage_record
from vqcli.jobs.evaluation.parts import Part

pytestmark = pytest.mark.usefixtures("small_evaluations")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", side=16)


def images(folder, count, seed=0, bad=()):
    """A folder of PNGs of 16x16, of which some are none."""
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(256, size=(count, 2, 2, 3), dtype=np.uint8)
    for i in range(count):
        Image.fromarray(pixels[i]).resize((16, 16)).save(folder / f"{i:02d}.png")
    for i in bad:
        (folder / f"{i:02d}.png").write_bytes(b"no image")
    return folder


def to_array(path):
    with Image.open(path) as image:
        return np.asarray(image)


def interrupted(asked):
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked, progress=Stopper(9))


@pytest.mark.parametrize("form", ["folder", "npz"])
def test_images_of_the_same_names_are_not_taken_for_others(tmp_path, model, form):
    one, other = (images(tmp_path / name, 11, seed) for seed, name in enumerate(("one", "other")))
    if form == "npz":
        for folder in (one, other):
            np.savez(f"{folder}.npz", np.stack([to_array(path) for path in sorted(folder.iterdir())]))
        one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    for sides in (lambda x: (x, "demo:3", ("fid",)), lambda x: ("demo:11", x, ("fid",))):
        interrupted(options(*sides(one)))
        again = Stopper(100)
        evaluate(options(*sides(other)), progress=again)
        assert again.begun[0][2] == 0
    interrupted(options(model, one))
    again = Stopper(100)
    evaluate(options(model, other), progress=again)
    assert again.begun == [("reconstruct", 11, 0)]


def test_a_strict_command_passes_over_nothing_that_another_did(tmp_path, model):
    folder = images(tmp_path / "images", 11, bad=(1,))
    interrupted(options(model, folder))
    with pytest.raises(BadImage, match=r"01\.png"):
        evaluate(options(model, folder, strict=True))


@pytest.mark.parametrize("side", ["sample", "reference"])
def test_a_side_without_a_usable_image_is_an_error(tmp_path, side):
    good, bad = images(tmp_path / "good", 3), images(tmp_path / "bad", 3, bad=range(3))
    sides = (bad, good) if side == "sample" else (good, bad)
    with pytest.raises(VqcliError, match=rf"none of 3 images \({side}\)"):
        evaluate(options(*sides, ("fid",)), tmp_path / "out")


def test_shown_are_the_first_images_that_can_be(tmp_path):
    found = evaluate(
        options(images(tmp_path / "images", 40, bad=range(33)), metrics=("fid",)), tmp_path / "out"
    )
    assert len(found.rejected) == 33
    with Image.open(tmp_path / "out" / "samples.png") as picture:
        assert picture.width == 8 * 130 - 2


def test_an_image_that_two_sides_reject_is_counted_once(tmp_path, model):
    folder = images(tmp_path / "images", 6, bad=(2,))
    found = evaluate(options(model, folder, ("fid", "usage"), protocol="vqgan-lc"))
    assert [(bad["key"], bad["of"]) for bad in found.rejected] == [
        ("02.png", "reconstruct"),
        ("02.png", "reference"),
    ]
    assert usage_record(found).images.startswith("5 images")


def test_blocks_of_processes_that_wrote_elsewhere_are_missed(tmp_path, model, monkeypatch):
    interrupted(options(model))
    (folder,) = (tmp_path / "cache").glob("evaluations*/*")
    monkeypatch.setattr(Part, "save", lambda *_: [path.unlink() for path in folder.glob("part*")])
    with pytest.raises(VqcliError, match="11 images were measured") as refused:
        evaluate(options(model))
    assert "VQCLI_CACHE" in refused.value.hint


def test_files_in_the_way_are_not_replaced_unasked(tmp_path, model):
    out, statistics = tmp_path / "out", tmp_path / "s.npz"
    out.mkdir()
    (out / "index.html").write_text("mine")
    statistics.write_text("mine")
    with pytest.raises(VqcliError, match=r"holds index\.html"):
        evaluate(options(model), out)
    for path, message in ((statistics, r"s\.npz exists"), (tmp_path / "s", r"not named \.npz")):
        with pytest.raises(VqcliError, match=message):
            evaluate(options("demo:3", None, ("fid",), statistics=path))
    evaluate(options(model), out, force=True)
    assert (out / "best.png").exists()
    evaluate(options(model, metrics=("usage",)), out, force=True)
    assert {path.name for path in out.iterdir()} == {"index.html", "results.json"}


def test_stopped_between_statistics_and_results_it_goes_on(tmp_path, monkeypatch):
    asked, out = options("demo:60", None, ("fid",), statistics=tmp_path / "s.npz"), tmp_path / "out"

    def stopped(*places):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vqcli.jobs.evaluation.evaluate.together", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(asked, out)
    assert asked.statistics.exists()
    assert not out.exists()
    evaluate(asked, out)
    assert (out / "results.json").exists()
    with pytest.raises(VqcliError, match=r"s\.npz exists"):
        evaluate(asked, tmp_path / "other")


def test_one_image_has_no_statistics(tmp_path):
    with pytest.raises(VqcliError, match="one image"):
        evaluate(options("demo:1", None, ("fid",), statistics=tmp_path / "s.npz"))


def test_statistics_of_adm_are_of_its_resizing(tmp_path):
    """What vqcli did not write holds no word; ADM's alone has statistics of features with positions."""
    pooled = {"mu": np.zeros(8), "sigma": np.eye(8)}
    spatial = {"mu_s": np.zeros(12), "sigma_s": np.eye(12)}
    np.savez(tmp_path / "adm.npz", **pooled, **spatial)
    np.savez(tmp_path / "clean.npz", **pooled)
    asked = options("demo:3", tmp_path / "clean.npz", ("fid",), protocol="clean-fid")
    assert evaluate(asked).results["fid"] > 0
    assert evaluate(replace(asked, images=str(tmp_path / "adm.npz"), protocol="adm")).results["fid"] > 0
    with pytest.raises(VqcliError, match="resized in another way"):
        evaluate(replace(asked, images=str(tmp_path / "adm.npz")))


def test_a_checkpoint_takes_no_numbers_and_says_so_first(tmp_path):
    checkpoint = make_model(tmp_path / "step", side=16)
    (checkpoint / "state.json").write_text("{}")
    stopper = Stopper(100)
    with pytest.raises(VqcliError, match="training checkpoint"):
        evaluate(options(checkpoint, record=True, random_networks=False), progress=stopper)
    assert not stopper.begun


def test_a_decoder_that_overflows_is_an_error(tmp_path):
    model = make_model(tmp_path / "own", side=16)
    weights = load_file(model / "model.safetensors")
    for name in weights:
        if name.startswith("decoder"):
            weights[name] *= 1e30
    save_file(weights, model / "model.safetensors", {})
    for protocol in ("plain", "vqgan-lc"):
        with pytest.raises(VqcliError, match="NaN or Inf") as refused:
            evaluate(options(model, "demo:2", ("psnr",), protocol=protocol))
        assert refused.value.reason == "not-finite"


def test_statistics_of_another_network_are_refused(tmp_path):
    images(tmp_path / "a", 5)
    evaluate(options(tmp_path / "a", None, ("fid",), statistics=tmp_path / "s.npz"))
    assert evaluate(options(tmp_path / "a", tmp_path / "s.npz", ("fid",))).results["fid"] < 1e-6
    with np.load(tmp_path / "s.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "other.npz", **arrays | {"network": np.array("published weights, SHA-256 0")})
    with pytest.raises(VqcliError, match="made with published weights, SHA-256 0 of fid-inception"):
        evaluate(options(tmp_path / "a", tmp_path / "other.npz", ("fid",)))


def test_what_too_few_images_cannot_tell_is_told(tmp_path):
    images(tmp_path / "a", 3)
    found = evaluate(options(tmp_path / "a", tmp_path / "a", ("fid", "precision_recall")))
    assert found.unmeasured == {"precision_recall": "3 images a side, more are needed"}
    assert found.results.keys() == {"fid", "precision", "recall"}
    assert (found.results["precision"], found.results["recall"]) == (None, None)


@pytest.fixture
def no_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.delenv("VQCLI_WEIGHTS_DIR", raising=False)


def test_without_networks_all_else_is_measured_and_what_is_missing_is_told(model, no_networks):
    found = evaluate(options(model, "demo:5", (), random_networks=False))
    assert {"psnr", "ssim", "utilization"} <= found.results.keys()
    assert found.unmeasured.keys() == {"lpips", "fid", "inception_score"}
    assert "alexnet-owt-7be5be79.pth" in found.unmeasured["lpips"]
    assert "--inception-weights FOLDER" in found.unmeasured["fid"]  # how to get it
    assert found.unmeasured["inception_score"] == "it needs the same network as fid"
    rows = dict(found.rows())
    assert rows["lpips"].startswith("not measured: alex.pth and alexnet")
    assert found.metrics.keys() == {"psnr", "ssim", "usage"}
    assert found.networks == {}


def test_what_is_asked_for_by_name_is_an_error_without_its_network(tmp_path, model, no_networks):
    with pytest.raises(VqcliError, match="which lpips-alex needs, cannot be found") as refused:
        evaluate(options(model, "demo:5", ("psnr", "lpips"), random_networks=False))
    assert refused.value.reason == "offline"
    images(tmp_path / "a", 5)
    for asked in (
        options(tmp_path / "a", tmp_path / "a", (), random_networks=False),  # nothing would be left
        options(model, "demo:5", (), random_networks=False, statistics=tmp_path / "s.npz"),
        options(model, "demo:5", (), random_networks=False, lpips_weights=tmp_path / "away"),
    ):
        with pytest.raises(VqcliError):
            evaluate(asked)


def test_of_a_protocol_remains_what_statistics_suffice_for(tmp_path):
    images(tmp_path / "a", 5)
    evaluate(options(tmp_path / "a", None, ("fid", "sfid"), statistics=tmp_path / "s.npz"))
    found = evaluate(options(tmp_path / "a", tmp_path / "s.npz", (), protocol="adm"))
    assert {"fid", "sfid", "inception_score"} <= found.results.keys()
    assert "precision" not in found.results
