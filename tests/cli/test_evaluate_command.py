"""``vqcli evaluate`` as it is typed: what it prints and writes, and how it ends."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.models import make_generator, make_model
from tests.tiny_inception import TinyInception
from vqcli.cli.app import app
from vqcli.jobs.evaluation import measuring

QUICK = ("--device", "cpu", "--num-workers", 0)


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", side=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))


def test_a_table_tells_numbers_and_protocol(tmp_path, model):
    command = ("evaluate", model, "--images", "demo:5", "--metrics", "psnr,ssim, usage", *QUICK)
    done = vqcli(*command, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"tokenizer {model}\nprotocol")
    assert "plain: 8-bit images" in done.stdout
    assert "5 (reconstruct) of demo:5" in done.stdout
    assert "resize (bicubic) and centre crop, 16x16" in done.stdout
    assert f"wrote {tmp_path / 'out'}" in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {"reconstructions.png", "best.png", "worst.png"}
    assert names == {"results.json", "images.csv", "index.html", *pictures}
    quiet = vqcli(*command, "-q").stdout.splitlines()
    assert [line.split()[0] for line in quiet][:3] == ["psnr", "ssim", "utilization"]


def test_json_is_one_value_with_all_that_counts(model):
    done = vqcli(
        "evaluate", model, "--images", "demo:5", "--metrics", "psnr", "--protocol", "fvq", "--json", *QUICK
    )
    value = json.loads(done.stdout)
    assert value["protocol"] == "fvq"
    assert value["metrics"] == {"psnr": {"name": "psnr", "channel": "y"}}
    assert value["titles"].keys() == value["results"].keys() == {"psnr"}
    assert value["counts"] == {"reconstruct": 5}
    assert not value["random_networks"]


def test_random_networks_are_told_everywhere(tmp_path, model):
    command = ("evaluate", model, "--images", "demo:2", "--metrics", "inception-score", *QUICK)
    done = vqcli(*command, "--random-networks", "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert "fid-inception, random weights" in done.stdout
    assert "had random weights: what they measured means nothing" in done.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["random_networks"]
    assert "random weights" in (tmp_path / "out" / "index.html").read_text()


def test_bad_images_end_in_exit_code_3(tmp_path, model):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "good.png")
    done = vqcli("evaluate", model, "--images", tmp_path, "--metrics", "psnr", *QUICK)
    assert done.exit_code == 3
    assert "rejected (1):\n  bad.png: not-an-image" in done.stdout
    assert "1 input was rejected" in done.stderr


def test_what_is_wrong_is_one_sentence(tmp_path, model):
    assert refused(vqcli("evaluate", model), "needs images", "--images")
    assert refused(vqcli("evaluate", tmp_path / "none", "--images", "demo"), "no model at", "give a model")
    assert refused(vqcli("evaluate", model, "--images", "demo:2", "--protocol", "x"), "no protocol", "plain")
    assert vqcli("evaluate", model, "--sampling", "cfg").exit_code == 2


def test_protocols_are_listed():
    listed = vqcli("list", "protocols").stdout
    assert "llamagen" in listed
    assert "torch-fidelity" in listed


def test_two_folders_image_by_image(tmp_path):
    for folder, count in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            suffix = {"a": "png", "b": "bmp"}[folder]
            Image.effect_noise((16, 16), 40 + i).convert("RGB").save(tmp_path / folder / f"{i}.{suffix}")
    paired = ("--paired", "--metrics", "psnr,ssim", *QUICK)
    done = vqcli("evaluate", tmp_path / "a", "--images", tmp_path / "b", *paired)
    assert done.exit_code == 0, done.stderr
    assert "3 (compare)" in done.stdout
    assert "left out: 0 measured, 1 of --images" in done.stderr
    back = vqcli("evaluate", tmp_path / "b", "--images", tmp_path / "a", *paired, "--json")
    assert back.exit_code == 3
    value = json.loads(back.stdout)
    assert value["unmatched"][str(tmp_path / "b")] == ["3.bmp"]
    assert [set(each) for each in value["worst"]] == [{"key", "psnr", "ssim"}] * 3


def test_other_classes_than_the_generators_are_a_warning(tmp_path, model, monkeypatch):
    monkeypatch.setattr(measuring, "FidInception", TinyInception)
    generator = make_generator(tmp_path / "generator", model, names=("ring", "owl", "disc", "cat"))
    command = ("evaluate", generator, "--images", "demo:4", "-n", 4, "--metrics", "fid", "--force", *QUICK)
    done = vqcli(*command, "--random-networks")
    told = "4 of the generator, 10 of demo:4, 2 in common"
    assert f"warning: classes differ: {told}" in done.stderr
    assert f"{told}: the numbers compare different classes" in done.stdout
