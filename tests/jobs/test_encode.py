"""Encoding: what is written, that every input is accounted for, and that interruptions leave no trace."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from tests.images import corpus, picture, save
from tests.jobs.encoded import Stop, contents, options, pictures
from tests.locks import held_elsewhere
from tests.models import make_model
from tests.processes import two_processes
from tests.streams import piped
from vqcli import files
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.demo import DemoSource
from vqcli.data.tokens import store
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs import devices, encoder
from vqcli.jobs import encode as encode_job
from vqcli.jobs.decode import decode
from vqcli.jobs.encode import encode
from vqcli.jobs.options import DecodeOptions
from vqcli.pixels import to_tensor
from vqcli.tokenizers.autoencoder import AutoencoderTokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(encoder, "SHARD", 4)


def test_tokens_do_not_depend_on_how_many_pass_the_network_together(tmp_path, model, monkeypatch):
    seen = []
    encode(options("demo:7", model), tmp_path / "whole.npy")
    monkeypatch.setattr(devices, "PIXELS", 3 * 8 * 8)
    latents = AutoencoderTokenizer.latents
    monkeypatch.setattr(
        AutoencoderTokenizer, "latents", lambda self, x: seen.append(len(x)) or latents(self, x)
    )
    encode(options("demo:7", model), tmp_path / "few.npy")
    assert seen == [3, 1, 3]
    assert np.array_equal(np.load(tmp_path / "few.npy"), np.load(tmp_path / "whole.npy"))


@pytest.mark.parametrize(("codes", "kind"), [(256, np.uint8), (257, np.uint16), (65537, np.uint32)])
def test_array_and_what_stands_beside_it(tmp_path, codes, kind):
    folder, out = make_model(tmp_path / "model", codes=codes), tmp_path / "t.npy"
    result = encode(options("demo:6", folder), out)
    array, side = np.load(out), files.read_sealed(out.with_suffix(".json"))
    assert (array.dtype, array.shape) == (kind, (6, 4, 4))
    tokenizer, drawn = load_tokenizer(folder), DemoSource(6, (8, 8))
    images = [to_tensor(drawn[i].image) / 127.5 - 1 for i in range(6)]
    with torch.inference_mode():
        expected = [tokenizer.encode(torch.stack(part)) for part in (images[:4], images[4:])]
    assert np.array_equal(array.reshape(6, 16), torch.cat([tokens.ids for tokens in expected]))
    assert side == {
        "format": 1,
        "codebook_size": codes,
        "fingerprint": json.loads((folder / "config.json").read_text())["fingerprint"],
        "preprocessing": "colours to sRGB, resize (bicubic) and centre crop to 8x8",
        "views": 1,
        "classes": drawn.classes,
        "grid": [[4, 4]],
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        "rejected": [],
        "keys": [f"demo/train/{i:06d}" for i in range(6)],
        "labels": list(range(6)),
    }
    assert (result.encoded, result.rejected, result.grid, result.codebook_size) == (6, [], [[4, 4]], codes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "t.json", "t.npy"]


def test_folder_of_shards(tmp_path, model, small_shards):
    encode(options("demo:10", model), tmp_path / "t.npy")
    encode(options("demo:10", model), tmp_path / "t")
    names = [f"tokens-{k:05d}.{kind}" for k in range(3) for kind in ("jsonl", "safetensors")]
    assert sorted(contents(tmp_path / "t")) == ["index.json", "plan.json", *names]
    arrays = [load_file(tmp_path / "t" / name)["tokens"] for name in names if name.endswith("s")]
    assert [len(array) for array in arrays] == [4, 4, 2]
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}
    assert np.array_equal(np.concatenate(arrays), np.load(tmp_path / "t.npy").reshape(10, 16))
    lines = [line for n in names if n.endswith("l") for line in files.read_lines(tmp_path / "t" / n)]
    assert lines[3] == {"key": "demo/train/000003", "label": 3, "grid": [[4, 4]], "status": "ok"}
    assert [line["key"] for line in lines] == [f"demo/train/{i:06d}" for i in range(10)]
    index = json.loads((tmp_path / "t" / "index.json").read_text())
    assert index["sha256"] == {name: files.sha256(tmp_path / "t" / name) for name in names}
    assert (index["encoded"], index["shards"], index["grid"]) == (10, 3, [[4, 4]])


def test_speed_is_of_what_was_done_now(tmp_path, model, small_shards, monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(encode_job.time, "monotonic", lambda: next(clock))
    whole = encode(options("demo:10", model, augment="flip"), tmp_path / "t")
    seconds = whole.seconds - 4  # the clock was asked twice before the work, and once after it
    assert whole.images_per_second == 10 / seconds
    for path in (tmp_path / "t").glob("tokens-00001.*"):
        path.unlink()
    rest = encode(options("demo:10", model, augment="flip"), tmp_path / "t")
    assert rest.images_per_second == 4 / (rest.seconds - 4)
    again = encode(options("demo:10", model, augment="flip"), tmp_path / "t")
    assert again.images_per_second is None


def test_sizes(tmp_path, model):
    encode(options("demo:2", model, size=(12, 8)), tmp_path / "t.npy")
    assert np.load(tmp_path / "t.npy").shape == (2, 6, 4)
    pictures(tmp_path / "in", ["a.png", "b.png"])
    (tmp_path / "in" / "c.png").write_bytes(save(Image.fromarray(picture(7, 11)), "PNG"))
    (tmp_path / "in" / "d.png").write_bytes(save(Image.fromarray(picture(1, 9)), "PNG"))
    result = encode(options(tmp_path / "in", model, size="native"), tmp_path / "t")
    lines = list(files.read_lines(tmp_path / "t" / "tokens-00000.jsonl"))
    assert [line.get("grid") for line in lines] == [[[4, 4]], [[4, 4]], [[3, 5]], None]
    assert load_file(tmp_path / "t" / "tokens-00000.safetensors")["tokens"].shape == (47,)
    small = {"key": "d.png", "reason": "too-small", "detail": "1x9 pixels, needs 2x2"}
    assert (result.grid, result.rejected) == (None, [small])
    with pytest.raises(VqcliError, match="one size only") as refused:
        encode(options("demo:2", model, size="native"), tmp_path / "n.npy")
    assert "-o tokens/" in refused.value.hint
    with pytest.raises(VqcliError, match="takes no 9x8 pixels: image sides must be multiples of 2"):
        encode(options("demo:2", model, size=(9, 8)), tmp_path / "n.npy")
    with pytest.raises(VqcliError, match="does not tell its image size"):
        encode(options("demo:2", make_model(tmp_path / "any", side=None)), tmp_path / "n.npy")


def test_native_tokens_keep_the_order_of_inputs(tmp_path, model):
    folder = tmp_path / "in"
    folder.mkdir()
    shapes = [(8, 8), (4, 6), (8, 8), (4, 6)]
    for i, shape in enumerate(shapes):
        (folder / f"{i}.png").write_bytes(save(Image.fromarray(picture(*shape)), "PNG"))
    encode(options(folder, model, size="native"), tmp_path / "t")
    flat, at = load_file(tmp_path / "t" / "tokens-00000.safetensors")["tokens"], 0
    tokenizer = load_tokenizer(model)
    for h, w in shapes:
        image = torch.from_numpy(picture(h, w)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.inference_mode():
            expected = tokenizer.encode(image).ids[0]
        assert np.array_equal(flat[at : at + len(expected)], expected)
        at += len(expected)
    assert at == len(flat)


def test_sources_limit_and_split(tmp_path, model, monkeypatch):

    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["cat/1.png", "dog/2.png", "dog/3.png"]
    folder = pictures(tmp_path / "in", names)
    (tmp_path / "in.txt").write_text("\n".join(f"in/{name}" for name in names))
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name in names:
            tar.add(folder / name, name)
    rows = [{"bytes": (folder / name).read_bytes(), "path": name} for name in names]
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 1]}), tmp_path / "in.parquet")
    monkeypatch.setattr(sys, "stdin", piped("\n".join(str(folder / name) for name in names)))
    arrays = {}
    for source in (folder, "-", *(tmp_path / f"in.{kind}" for kind in ("txt", "tar", "parquet"))):
        out = tmp_path / f"from-{Path(str(source)).suffix or len(arrays)}.npy"
        assert encode(options(source, model), out).encoded == 3
        side = json.loads(out.with_suffix(".json").read_text())
        assert [Path(key).name for key in side["keys"]] == ["1.png", "2.png", "3.png"]
        labelled = source == folder or str(source).endswith("parquet")
        assert side["labels"] == ([0, 1, 1] if labelled else [None] * 3)
        arrays[str(source)] = np.load(out)
    assert len({array.tobytes() for array in arrays.values()}) == 1
    encode(options("demo:9", model, limit=2, split="test"), tmp_path / "s.npy")
    keys = json.loads((tmp_path / "s.json").read_text())["keys"]
    assert keys == ["demo/test/000000", "demo/test/000001"]


def test_every_odd_image_is_accounted_for(tmp_path, model, small_shards):
    odd = corpus()
    (tmp_path / "in").mkdir()
    for name, image in odd.items():
        (tmp_path / "in" / name).write_bytes(image.data)
    result = encode(options(tmp_path / "in", model, batch_size=3), tmp_path / "t.npy")
    bad = [(name, odd[name].reason) for name in sorted(odd) if odd[name].reason]
    assert [(image["key"], image["reason"]) for image in result.rejected] == bad
    assert result.encoded == len(odd) - len(bad) == len(np.load(tmp_path / "t.npy"))
    side = json.loads((tmp_path / "t.json").read_text())
    assert side["rejected"] == result.rejected
    assert side["keys"] == sorted(name for name in odd if not odd[name].reason)
    # upright pictures of any file type come to the same tokens
    row = dict(zip(side["keys"], np.load(tmp_path / "t.npy")))
    assert all(
        np.array_equal(row[f"exif{i}.{k}"], row["exif1.png"])
        for i in range(1, 9)
        for k in ("png", "webp", "tif")
    )


def test_strict_and_nothing_usable(tmp_path, model, small_shards):
    folder = pictures(tmp_path / "in", [f"{i}.png" for i in range(5)])
    (folder / "3.png").write_bytes(b"")
    with pytest.raises(BadImage, match="empty-file") as first:
        encode(options(folder, model, strict=True), tmp_path / "t.npy")
    assert first.value.key == "3.png"
    assert not (tmp_path / "t.npy").exists()
    assert encode(options(folder, model), tmp_path / "t.npy").encoded == 4
    for i in range(5):
        (folder / f"{i}.png").write_bytes(b"x" * i)
    for out in (tmp_path / "n.npy", tmp_path / "n"):
        with pytest.raises(
            VqcliError, match=r"none of 5 images could be used \(empty-file, not-an-image\)"
        ) as none:
            encode(options(folder, model), out)
        assert none.value.reason == "input-empty"
        assert not (out / "index.json").exists()
        listing = Path(none.value.hint.partition(" lists ")[0]) / "tokens-00000.jsonl"
        assert json.loads(listing.read_text().splitlines()[0])["reason"] == "empty-file"
    assert not (tmp_path / "n.npy").exists()


@pytest.mark.parametrize("form", ["t.npy", "t"])
@pytest.mark.parametrize("done", [0, 1, 3])
def test_interrupted_job_ends_with_the_same_bytes(tmp_path, model, small_shards, monkeypatch, form, done):
    whole, cut = tmp_path / "whole" / form, tmp_path / "cut" / form
    encode(options("demo:14", model), whole)
    written, write = [], store.write_shard

    def failing(folder, shard, *rest):
        if len(written) == done:
            raise Stop
        written.append(shard)
        write(folder, shard, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_shard", failing)
        with pytest.raises(Stop):
            encode(options("demo:14", model), cut)
    assert not (cut.exists() if form == "t.npy" else (cut / "index.json").exists())
    written.clear()
    monkeypatch.setattr(store, "write_shard", lambda *a: written.append(a[1]) or write(*a))
    encode(options("demo:14", model), cut)
    assert written == list(range(done, 4))
    assert contents(cut) == contents(whole)


SLOW_START = "import vqcli.jobs.encoder as e; e.SHARD = 4; from vqcli.cli.app import main; main()"


def command(*arguments):
    return [sys.executable, "-c", SLOW_START, *map(str, arguments)]


def test_killed_job_ends_with_the_same_bytes(tmp_path, model, small_shards):
    out, count = tmp_path / "t.npy", 300
    arguments = [
        "encode",
        f"demo:{count}",
        "-m",
        model,
        "-o",
        out,
        "-b",
        4,
        "--num-workers",
        0,
        "--device",
        "cpu",
        "-q",
    ]
    process = subprocess.Popen(command(*arguments), env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not (tmp_path / "t.partial" / "tokens-00005.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 6 <= len(list((tmp_path / "t.partial").glob("*.safetensors"))) < count // 4
    (tmp_path / "t.partial" / ".tmp-0-half").write_bytes(b"left by the kill")
    (tmp_path / ".tmp-0123abcd-t.npy").write_bytes(b"left by the kill")
    torch.set_num_threads(1)
    encode(options(f"demo:{count}", model), out)
    encode(options(f"demo:{count}", model), tmp_path / "whole" / "t.npy")
    assert contents(out) == contents(tmp_path / "whole" / "t.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "t.npy", "whole"]


@pytest.mark.parametrize("victim", ["tokens-00001.safetensors", "tokens-00001.jsonl"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "swap"])
def test_damaged_shards_are_made_again(tmp_path, model, small_shards, victim, damage):
    out = tmp_path / "t"
    encode(options("demo:10", model), out)
    whole, path = contents(out), out / victim
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    if damage == "gone":
        path.unlink()
    elif damage == "swap":
        path.write_bytes(whole[victim.replace("1", "0")])
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    encode(options("demo:10", model), out)
    assert contents(out) == whole


def test_same_job_again_is_quick_and_changes_nothing(tmp_path, model, monkeypatch):
    out = tmp_path / "t"
    first = encode(options("demo:6", model), out)
    before = contents(out)
    monkeypatch.setattr(encoder, "encode_batch", None)  # nothing is encoded
    again = encode(options("demo:6", model), out)
    assert (again.encoded, again.grid, contents(out)) == (first.encoded, first.grid, before)
    with pytest.raises(VqcliError, match="exists already"):
        np.save(tmp_path / "t.npy", np.zeros(3)), encode(options("demo:6", model), tmp_path / "t.npy")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch_size": 2}, "batch_size 4 -> 2$"),
        ({"precision": "bf16"}, "precision fp32 -> bf16$"),
        ({"limit": 5}, "images 8 -> 5, keys [0-9a-f]{8} -> [0-9a-f]{8}$"),
        ({"size": (12, 8)}, "preprocessing .* -> .*resize .* 12x8$"),
        ({"images": "demo:9", "limit": 8}, "named demo:8 -> demo:9$"),
        ({"augment": "flip"}, "preprocessing .*resize .* 8x8 -> .*, also mirrored, views 1 -> 2$"),
        ({"augment": "ten-crop"}, "preprocessing .*, ten crops of 8x8, views 1 -> 10$"),
        ({"images": "FOLDER"}, "classes 10 names -> 2 names, named .*$"),
    ],
)
def test_another_job_in_the_same_place(tmp_path, model, small_shards, change, told):
    out = tmp_path / "t"
    encode(options("demo:8", model), out)
    other = {"images": "demo:8", "model": model} | change
    if other["images"] == "FOLDER":
        other["images"] = pictures(tmp_path / "in", ["cat/1.png", "dog/1.png"])
    with pytest.raises(VqcliError, match=f"{out} holds tokens of another job: {told}") as refused:
        encode(options(**other), out)
    assert "--force" in refused.value.hint
    (out / "notes.txt").write_text("mine")
    encode(options(**other), out, force=True)
    encode(options(**other), tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh") | {"notes.txt": b"mine"}


def test_another_model_in_the_same_place(tmp_path, model):
    encode(options("demo:8", model), tmp_path / "t")
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(VqcliError, match=r"fingerprint [0-9a-f]{8} -> [0-9a-f]{8}$"):
        encode(options("demo:8", other), tmp_path / "t")


def test_what_is_not_ours_stays(tmp_path, model):
    mine = tmp_path / "t.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / "s.json").write_text("mine")
    (tmp_path / "d.npy").mkdir()
    (tmp_path / "file").write_text("mine")
    for out in ("t.npy", "t.partial", "s.npy", "d.npy", "file"):
        with pytest.raises(VqcliError, match="exists"):
            encode(options("demo:2", model), tmp_path / out)
    for out in ("t.npy", "t.partial", "d.npy"):
        with pytest.raises(VqcliError, match="exists"):
            encode(options("demo:2", model), tmp_path / out, force=True)
    assert mine.read_text() == (tmp_path / "s.json").read_text() == (tmp_path / "file").read_text() == "mine"
    encode(options("demo:2", model), tmp_path / "s.npy", force=True)
    assert np.load(tmp_path / "s.npy").shape == (2, 4, 4)


def test_only_one_process_at_a_time(tmp_path, model):
    for out, held in ((tmp_path / "t", "t"), (tmp_path / "t.npy", "t.partial")):
        with held_elsewhere(tmp_path / held), pytest.raises(VqcliError, match="in use by another") as refused:
            encode(options("demo:2", model), out)
        assert refused.value.reason == "locked"
        assert encode(options("demo:2", model), out).encoded == 2


@pytest.mark.parametrize("form", [pytest.param("t.npy", marks=pytest.mark.slow), "t"])
def test_two_processes_write_what_one_does(tmp_path, model, small_shards, form):
    one, two = tmp_path / "one" / form, tmp_path / "two" / form
    torch.set_num_threads(1)
    encode(options("demo:23", model), one)
    arguments = ["encode", "demo:23", "-m", model, "-o", two, "-b", 4, "--num-workers", 0, "--device", "cpu"]
    assert two_processes(SLOW_START, *arguments).count("23 images") == 1
    assert contents(one) == contents(two)


def test_what_is_no_number_is_no_token(tmp_path):
    folder = make_model(tmp_path / "m")
    files.write_tensors(
        folder / "model.safetensors",
        {
            name: torch.full_like(x, 3e38)
            for name, x in files.load_tensors(folder / "model.safetensors").items()
        },
    )
    with pytest.raises(VqcliError, match="what the encoder makes holds NaN or Inf"):
        encode(options("demo:2", folder), tmp_path / "t.npy")
    np.save(tmp_path / "u.npy", np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(VqcliError, match="what the decoder makes holds NaN or Inf"):
        decode(tmp_path / "u.npy", tmp_path / "images", DecodeOptions(str(folder), device="cpu"))
    assert not list((tmp_path / "images").glob("*.png"))
