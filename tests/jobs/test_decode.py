"""Decoding: the images, their names, what is refused before anything is written, and continuing."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.locks import held_elsewhere
from tests.models import make_model
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.jobs import decode as job
from vqcli.jobs import devices
from vqcli.jobs.decode import DecodeOptions, decode
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.file_names import file_names, same_name
from vqcli.types import Tokens

IDS = np.random.default_rng(0).integers(0, 16, (7, 4, 4)).astype(np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


def options(model, **other):
    return DecodeOptions(**{"batch_size": 3, "device": "cpu"} | other, model=str(model))


def write_tokens(path, ids=IDS, **side):
    np.save(path, ids)
    if side:
        path.with_suffix(".json").write_text(json.dumps(side))
    return path


def written(out):
    """Pixels of every image in a folder, by relative name."""
    return {str(path.relative_to(out)): np.array(Image.open(path)) for path in out.rglob("*.png")}


def expected(model, ids=IDS):
    with torch.inference_mode():
        tokens = Tokens(torch.from_numpy(ids.reshape(len(ids), -1).astype(np.int64)), ((4, 4),))
        images = load_tokenizer(model).decode(tokens)
    return ((images + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()


def test_images_are_the_decoded_tokens_and_the_tree_is_restored(tmp_path, model):
    keys = ["cat/1.jpg", "cat/2.jpeg", "dog/deep/1.PNG", "v1.5", "plain", "dog/1.webp", "x.tar.tif"]
    result = decode(write_tokens(tmp_path / "t.npy", keys=keys), tmp_path / "out", options(model))
    images = written(tmp_path / "out")
    names = ["cat/1.png", "cat/2.png", "dog/deep/1.png", "v1.5.png", "plain.png", "dog/1.png", "x.tar.png"]
    assert set(images) == set(names)
    for name, pixels in zip(names, expected(model)):
        assert images[name].shape == (8, 8, 3)
        assert np.abs(images[name] - pixels).max() <= 0.51
    assert (result.images, result.kept) == (7, 0)
    result = decode(tmp_path / "t.npy", tmp_path / "few", options(model, limit=4))
    assert set(written(tmp_path / "few")) == set(names[:4])


def test_both_forms_of_what_encode_writes(tmp_path, model):
    images = ImageOptions("demo:5", str(model), device="cpu", num_workers=0)
    for form in ("t.npy", "t"):
        encode(images, tmp_path / form)
        decode(tmp_path / form, tmp_path / f"out-{form}", options(model))
    one, two = written(tmp_path / "out-t.npy"), written(tmp_path / "out-t")
    assert set(one) == set(two) == {f"demo/train/{i:06d}.png" for i in range(5)}
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_few_large_images_are_decoded_together(tmp_path, model, monkeypatch):
    tokens = write_tokens(tmp_path / "t.npy")
    decode(tokens, tmp_path / "whole", options(model))
    monkeypatch.setattr(devices, "PIXELS", 3 * 8 * 8)
    decode(tokens, tmp_path / "few", options(model))
    whole, few = written(tmp_path / "whole"), written(tmp_path / "few")
    assert whole.keys() == few.keys()
    assert all(np.abs(whole[name].astype(int) - few[name]).max() <= 1 for name in whole)


def test_native_sizes(tmp_path, model):
    (tmp_path / "in").mkdir()
    for name, size in (("a.png", (8, 8)), ("b.png", (12, 6)), ("c.png", (4, 4))):
        Image.new("RGB", size).save(tmp_path / "in" / name)
    native = ImageOptions(str(tmp_path / "in"), str(model), "native", device="cpu", num_workers=0)
    encode(native, tmp_path / "t")
    decode(tmp_path / "t", tmp_path / "out", options(model))
    assert {name: image.shape for name, image in written(tmp_path / "out").items()} == {
        "a.png": (8, 8, 3), "b.png": (6, 12, 3), "c.png": (4, 4, 3)
    }  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        ["a.jpg", "a.png", "a", "a.jpg.png", "A.JPG", "a.JPG", "a.png.png"],
        ["d/a.jpg", "d//a.jpg", "./d/a.jpg", "d/./a.jpg", "D/a.jpg", "d/A.jpg", "/d/a.jpg"],
        ["a.png/b.jpg", "a.jpg", "a.PNG/b", "a", "b/a.png", "b.png", "b"],
        ["../x.jpg", "../../x.jpg", "/etc/x.jpg", "..", "", "/", "a/../../x.jpg"],
        ["a\nb.jpg", "a\x00.jpg", "\udcff.jpg", "图.jpg", "a\\..\\b.jpg", ".hidden.jpg", ".lock"],
        ["é.jpg", "e\u0301.jpg", "x" * 300, "x" * 299 + "y.jpg", "x/" * 2000, "y/" * 2000 + "a.jpg",
         "\u202ea.jpg"],
        ["k.jpg", "k.jpg", "k.jpg", "k", "k", "k.1", "k.jpg.2"],
    ],
)  # fmt: skip
def test_names_are_data(tmp_path, model, keys):
    """Whatever the keys: an image each, in the folder, no two the same where case does not count."""
    result = decode(write_tokens(tmp_path / "t.npy", keys=keys), tmp_path / "in" / "out", options(model))
    images = written(tmp_path / "in" / "out")
    assert len({same_name(name) for name in images}) == len(images) == result.images == 7
    assert result.kept == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in", "t.npy", "t.json"}
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["out"]
    for name in images:
        assert name.isprintable()
        assert all(len(part.encode()) <= 255 and part[0] != "." for part in name.split("/"))


def test_names_stay_readable():
    assert next(file_names("n02 (1)/img_001.JPEG")) == "n02 (1)/img_001.png"
    assert next(file_names("été/图.jpg")) == "été/图.png"
    assert next(file_names("../a%.b/c.jpg")) == "%2E./a%25.b/c.png"
    assert next(file_names("a.png/b")) == "a%2Epng/b.png"


def test_continues_and_keeps_what_is_there(tmp_path, model, monkeypatch):
    tokens, out = write_tokens(tmp_path / "t.npy"), tmp_path / "out"
    decode(tokens, tmp_path / "whole", options(model))
    calls, rows = [], job.decode_rows

    def failing(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return rows(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(job, "decode_rows", failing)
        with pytest.raises(KeyboardInterrupt):
            decode(tokens, out, options(model))
    assert len(written(out)) == 3
    (out / ".tmp-0-000004.png").write_bytes(b"left by a kill")
    before = (out / "000000.png").stat().st_mtime_ns
    result = decode(tokens, out, options(model))
    assert (result.images, result.kept) == (4, 3)
    assert (out / "000000.png").stat().st_mtime_ns == before
    one, two = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (out, tmp_path / "whole"))
    assert one == two
    assert decode(tokens, out, options(model)).kept == 7


def test_images_of_two_jobs_never_mix(tmp_path, model):
    out = tmp_path / "out"
    decode(write_tokens(tmp_path / "a.npy"), out, options(model))
    other = write_tokens(tmp_path / "b.npy", IDS[::-1].copy())
    with pytest.raises(VqcliError, match="holds images of other tokens or another model") as refused:
        decode(other, out, options(model))
    assert refused.value.reason == "exists"
    result = decode(other, out, options(model, force=True))
    assert (result.images, result.kept) == (7, 0)
    assert np.abs(written(out)["000006.png"] - expected(model)[0]).max() <= 0.51
    assert decode(other, out, options(model)).kept == 7
    # a fingerprint says nothing of the decoder
    weights = load_file(model / "model.safetensors")
    weights["decoder.head.bias"] += 0.5
    finer = make_model(tmp_path / "finer")
    save_file(weights, finer / "model.safetensors")
    with pytest.raises(VqcliError, match="another model"):
        decode(other, out, options(finer))


def test_what_is_not_ours_stays(tmp_path, model):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000001.png").write_text("mine")
    with pytest.raises(VqcliError, match="holds other files"):
        decode(write_tokens(tmp_path / "t.npy"), tmp_path / "out", options(model))
    assert (tmp_path / "out" / "000001.png").read_text() == "mine"
    with held_elsewhere(tmp_path / "held"), pytest.raises(VqcliError, match="in use by another"):
        decode(tmp_path / "t.npy", tmp_path / "held", options(model))


def test_tokens_of_another_tokenizer(tmp_path, model):
    encode(ImageOptions("demo:2", str(model), device="cpu", num_workers=0), tmp_path / "t.npy")
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(VqcliError, match=r"is of tokenizer \w{8}, the model is \w{8}") as refused:
        decode(tmp_path / "t.npy", tmp_path / "out", options(other))
    assert refused.value.reason == "fingerprint"
    assert not (tmp_path / "out").exists()
    assert decode(tmp_path / "t.npy", tmp_path / "out", options(other, force=True)).images == 2


@pytest.mark.parametrize(("value", "told"), [(16, "16"), (255, "255"), (-1, "-1"), (2**31, "2147483648")])
def test_token_out_of_range_is_named_before_anything_is_written(tmp_path, model, value, told):
    ids = IDS.astype(np.int64)
    ids[5, 1, 2] = value
    message = rf"token {told} \(image 5, position 6\), the codebook ends at 15"
    with pytest.raises(VqcliError, match=message):
        decode(write_tokens(tmp_path / "t.npy", ids), tmp_path / "out", options(model, force=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(1, 7, 16), (7, 1, 16), (2, 3, 16)])
def test_rows_of_whole_images_are_no_picture(tmp_path, model, shape):
    """LlamaGen's (1, crops, tokens): refused with what makes it (crops, h, w), which is right."""
    ids = np.resize(IDS, shape)
    with pytest.raises(VqcliError, match=r"trained with 4x4 \(16\), and nothing beside") as refused:
        decode(write_tokens(tmp_path / "t.npy", ids), tmp_path / "out", options(model))
    assert refused.value.reason == "grid"
    command = refused.value.hint.partition("a picture: ")[2].partition("; --force")[0]
    here = {"np": SimpleNamespace(load=lambda name: ids, save=lambda name, x: np.save(tmp_path / name, x))}
    eval(command, here)
    assert decode(tmp_path / "tokens.npy", tmp_path / "out", options(model)).images == len(
        ids.reshape(-1, 16)
    )


def test_another_grid_has_to_be_told_or_forced(tmp_path, model):
    ids = np.resize(IDS, (2, 2, 6))
    with pytest.raises(VqcliError, match=r"t.npy is \(2, 2, 6\), as of pictures of 2x6 tokens") as refused:
        decode(write_tokens(tmp_path / "t.npy", ids), tmp_path / "out", options(model))
    assert 'write {"grid": [[2, 6]]} to t.json' in refused.value.hint
    assert not (tmp_path / "out").exists()
    decode(tmp_path / "t.npy", tmp_path / "forced", options(model, force=True))
    (tmp_path / "t.json").write_text('{"grid": [[2, 6]]}')
    decode(tmp_path / "t.npy", tmp_path / "told", options(model))
    for out in ("forced", "told"):
        assert written(tmp_path / out)["000000.png"].shape == (4, 12, 3)


def test_tokens_of_another_size_do_not_go_to_the_usual_model(tmp_path, model, monkeypatch):
    """Before anything is fetched."""
    monkeypatch.delenv("VQCLI_MODEL", raising=False)
    monkeypatch.setattr(job, "open_tokenizer", lambda *_: pytest.fail("a model was opened"))
    encode(ImageOptions("demo:2", str(model), device="cpu", num_workers=0), tmp_path / "t.npy")
    unnamed = DecodeOptions(batch_size=3, device="cpu", model=None)
    with pytest.raises(VqcliError, match=r"tokenizer \w{8} with 16 codes; .* has 16,384") as refused:
        decode(tmp_path / "t.npy", tmp_path / "out", unnamed)
    assert refused.value.hint.endswith("-m")


def test_what_the_array_may_be(tmp_path, model):
    for i, ids in enumerate(
        [IDS, IDS.astype(">i8"), np.asfortranarray(IDS.astype(np.int16)), IDS.reshape(7, 16)]
    ):
        decode(write_tokens(tmp_path / f"{i}.npy", ids), tmp_path / f"out{i}", options(model))
        assert np.abs(written(tmp_path / f"out{i}")["000006.png"] - expected(model)[6]).max() <= 0.51
    with pytest.raises(VqcliError, match="does not tell how its 15 tokens an image lie") as refused:
        decode(write_tokens(tmp_path / "f.npy", IDS.reshape(7, 16)[:, :15]), tmp_path / "f", options(model))
    assert "f.json" in refused.value.hint
    wide = write_tokens(tmp_path / "g.npy", IDS.reshape(7, 16)[:, :10], grid=[[2, 5]])
    decode(wide, tmp_path / "g", options(model))
    assert written(tmp_path / "g")["000000.png"].shape == (4, 10, 3)
    scales = write_tokens(tmp_path / "s.npy", IDS.reshape(7, 16)[:, :5], grid=[[1, 1], [2, 2]])
    with pytest.raises(VqcliError, match=r"holds 1x1 \+ 2x2 tokens an image, which this model cannot"):
        decode(scales, tmp_path / "s", options(model))
    assert not (tmp_path / "f").exists()
    assert not (tmp_path / "s").exists()
