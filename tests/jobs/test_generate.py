"""Generating: which images, of what they depend, continuing, and what is refused before anything is made."""

import json

import numpy as np
import pytest
import torch

from tests.jobs.drawn import contents, images, options
from tests.locks import held_elsewhere
from tests.models import make_generator, make_model
from tests.seals import put
from vqcli import files
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.generators.base import image_stream
from vqcli.generators.gpt import Gpt
from vqcli.generators.gpt_lc import GptLc
from vqcli.jobs.generate import generate


def expected(generator, tokenizer, label, index, seed=0, **sampling):
    """One image, made alone."""
    gpt = load_generator(generator)
    config = gpt.config.sampling.model_copy(update=sampling)
    tokens = gpt.sample(torch.tensor([label]), [image_stream(seed, label, index)], config)
    with torch.inference_mode():
        made = load_tokenizer(tokenizer).decode(tokens)[0]
    return ((made + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()


def test_every_image_is_its_own(tmp_path, generator, tokenizer):
    """Whatever is made together: an image is the one of its class, seed and index, as made alone."""
    result = generate(options(generator, seed=7, sampling={"cfg": 1.5, "top_k": 9}), tmp_path / "a")
    found = images(tmp_path / "a")
    names = ["0-tabby_cat-s7", "3-owl-s7"]
    assert sorted(found) == [f"{name}-{i:05d}.png" for name in names for i in range(3)]
    for name, pixels in found.items():
        label, index = int(name[0]), int(name[-9:-4])
        alone = expected(generator, tokenizer, label, index, 7, cfg=1.5, top_k=9)
        assert np.abs(pixels - alone).max() <= 0.51
    assert len({pixels.tobytes() for pixels in found.values()}) == 6
    assert (result.images, result.kept, result.grid) == (6, 0, [[4, 4]])
    assert (result.model, result.tokenizer) == (generator, generator / "tokenizer")
    assert list(result.classes.items()) == [(3, "owl"), (0, "tabby cat")]
    assert result.tokens_per_second > 0


@pytest.mark.parametrize("size", [1, 2, 32])
def test_images_do_not_depend_on_the_batch(tmp_path, generator, size):
    generate(options(generator), tmp_path / "a")
    generate(options(generator, batch_size=size), tmp_path / "b")
    records = [contents(tmp_path / name).pop("samples.json") for name in "ab"]
    rows = {image["batch_size"] for image in json.loads(records[1])["images"]}
    assert rows == {min(size, len(images(tmp_path / "b")))}
    ours, theirs = images(tmp_path / "a"), images(tmp_path / "b")
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours | theirs)


def test_samples_tell_how_to_make_each_again(tmp_path, generator):
    generate(options(generator, "owl", "0-1", seed=2, sampling={"temperature": 0.9}), tmp_path / "a")
    record = json.loads((tmp_path / "a" / "samples.json").read_text())
    named = {"0": "tabby cat", "1": "tiger cat", "3": "owl"}
    assert (record["format"], record["precision"]) == (1, "fp32")
    assert record["classes"] == named
    assert record["sampling"] == {
        "cfg": 1.0, "cfg_interval": -1, "temperature": 0.9, "top_k": 0, "top_p": 1.0
    }  # fmt: skip
    config = json.loads((generator / "config.json").read_text())
    assert record["fingerprint"] == config["tokenizer"]["fingerprint"]
    assert [(i["index"], i["class"]) for i in record["images"]] == [
        (i, c) for i in range(3) for c in (0, 1, 3)
    ]
    assert all(i["name"] == named[str(i["class"])] and i["seed"] == 2 for i in record["images"])
    last = record["images"][-1]
    again = options(
        record["model"],
        str(last["class"]),
        seed=last["seed"],
        count=last["index"] + 1,
        sampling=record["sampling"],
    )
    generate(again, tmp_path / "b")
    assert images(tmp_path / "b")[last["file"]].tobytes() == images(tmp_path / "a")[last["file"]].tobytes()


def test_continues_and_keeps_what_is_there(tmp_path, generator, monkeypatch):
    out = tmp_path / "out"
    generate(options(generator), tmp_path / "whole")
    written, write = [], files.ImageWriter.write

    def failing(writer, path, image):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        write(writer, path, image)

    with monkeypatch.context() as patch:
        patch.setattr(files.ImageWriter, "write", failing)
        with pytest.raises(KeyboardInterrupt):
            generate(options(generator), out)
    assert sorted(images(out)) == ["0-tabby_cat-s0-00000.png", "3-owl-s0-00000.png"]
    assert not (out / "samples.json").exists()
    (out / ".tmp-0-half.png").write_bytes(b"left by a kill")
    before = (out / "3-owl-s0-00000.png").stat().st_mtime_ns
    result = generate(options(generator), out)
    assert (result.images, result.kept) == (4, 2)
    assert (out / "3-owl-s0-00000.png").stat().st_mtime_ns == before
    assert contents(out) == contents(tmp_path / "whole")
    for name in ("0-tabby_cat-s0-00001.png", "3-owl-s0-00002.png"):
        (out / name).unlink()
    assert generate(options(generator), out).kept == 4
    assert contents(out) == contents(tmp_path / "whole")
    again = generate(options(generator), out)
    assert (again.images, again.kept, again.tokens_per_second) == (0, 6, None)


def test_batches_of_a_job_have_one_size(tmp_path, generator, monkeypatch):
    """No image depends on how many others were missing: shapes decide how sums are rounded."""
    sizes, sample = [], Gpt.sample
    monkeypatch.setattr(Gpt, "sample", lambda *a: sizes.append(len(a[1])) or sample(*a))
    generate(options(generator, count=7, batch_size=4), tmp_path / "a")
    (tmp_path / "a" / "3-owl-s0-00003.png").unlink()
    generate(options(generator, count=7, batch_size=4), tmp_path / "a")
    generate(options(generator, count=1, batch_size=4), tmp_path / "b")
    assert sizes == [4, 4, 4, 4, 4, 2]


def test_more_images_and_further_classes_join(tmp_path, generator):
    out = tmp_path / "out"
    generate(options(generator, "0"), out)
    more = generate(options(generator, "0", count=4), out)
    other = generate(options(generator, "1-2", count=1), out)
    assert (more.kept, other.kept, len(images(out))) == (3, 0, 6)
    record = json.loads((out / "samples.json").read_text())
    assert {i["file"] for i in record["images"]} == set(images(out))
    generate(options(generator, "0-2", count=4), tmp_path / "fresh")
    fresh = images(tmp_path / "fresh")
    assert all(np.array_equal(fresh[name], pixels) for name, pixels in images(out).items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"precision": "bf16"}, "precision fp32 -> bf16$"),
        ({"sampling": {"cfg": 2.0, "top_p": 0.5}}, r"top_p 1\.0 -> 0\.5, cfg 1\.0 -> 2\.0$"),
    ],
)
def test_images_of_two_settings_never_mix(tmp_path, generator, change, told):
    out = tmp_path / "out"
    generate(options(generator, "1-2"), out)
    with pytest.raises(VqcliError, match=f"{out} holds images of another job: {told}") as refused:
        generate(options(generator, **change), out)
    assert refused.value.reason == "exists"
    (out / "2-mine.png").write_bytes(b"mine")
    generate(options(generator, force=True, **change), out)
    generate(options(generator, **change), tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh") | {"2-mine.png": b"mine"}


def test_another_seed_adds_its_images(tmp_path, generator):
    both, alone = tmp_path / "both", tmp_path / "alone"
    for seed in (0, 1):
        generate(options(generator, seed=seed), both)
    generate(options(generator, seed=1), alone)
    assert len(images(both)) == 2 * len(images(alone))
    assert all(np.array_equal(images(both)[name], pixels) for name, pixels in images(alone).items())
    listed = files.read_json(both / "samples.json")["images"]
    assert {image["file"]: image["seed"] for image in listed} == {
        name: int(name.split("-s")[1][0]) for name in images(both)
    }


def test_other_models_and_other_files(tmp_path, generator, tokenizer):
    out = tmp_path / "out"
    generate(options(generator), out)
    finer = make_model(tmp_path / "finer", seed=1)
    generate(options(generator, tokenizer=str(finer), force=True), out)
    with pytest.raises(VqcliError, match=r"another job: tokenizer [0-9a-f]{8} -> [0-9a-f]{8}$"):
        generate(options(generator), out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "3-owl-s0-00000.png").write_bytes(b"mine")
    (tmp_path / "mine" / "3-owl-s9-00000.png").write_bytes(b"mine")
    with pytest.raises(VqcliError, match="holds other files"):
        generate(options(generator), tmp_path / "mine")
    assert generate(options(generator, force=True), tmp_path / "mine").kept == 0
    assert (tmp_path / "mine" / "3-owl-s9-00000.png").read_bytes() == b"mine"
    with held_elsewhere(tmp_path / "held"), pytest.raises(VqcliError, match="in use by another"):
        generate(options(generator), tmp_path / "held")
    (tmp_path / "file").touch()
    for name, told in (("cat.png", "no name of a folder"), ("t.npy", "no name"), ("file", "is no folder")):
        with pytest.raises(VqcliError, match=told):
            generate(options(generator), tmp_path / name)


def test_files_are_named_by_class(tmp_path, tokenizer):
    odd = ("../up", "a\nb/c", "x" * 99, "été 图")
    strange = make_generator(tmp_path / "strange", tokenizer, names=odd)
    generate(options(strange, "0-3", count=1), tmp_path / "a")
    names = ["up", "a_b_c", "x" * 40, "été_图"]
    assert sorted(images(tmp_path / "a")) == [f"{i}-{name}-s0-00000.png" for i, name in enumerate(names)]
    plain = make_generator(tmp_path / "plain", tokenizer, names=(), classes=101)
    result = generate(options(plain, "7", count=1), tmp_path / "b")
    assert list(images(tmp_path / "b")) == ["007-s0-00000.png"]
    assert result.classes == {7: ""}
    assert json.loads((tmp_path / "b" / "samples.json").read_text())["images"][0]["name"] is None


def test_sampling_is_the_generators_own_but_for_what_is_given(tmp_path, generator, tokenizer):
    own = make_generator(tmp_path / "own", tokenizer, sampling={"top_k": 1})
    for seed in (0, 1):
        generate(options(own, "2", count=1, seed=seed), tmp_path / f"own{seed}")
        generate(options(own, "2", count=1, seed=seed, sampling={"top_k": 0}), tmp_path / f"all{seed}")
    best, same, drawn, other = (
        next(iter(images(tmp_path / name).values())) for name in ("own0", "own1", "all0", "all1")
    )
    assert np.array_equal(best, same)
    assert not np.array_equal(drawn, other)
    with pytest.raises(VqcliError, match=r"^sampling of gpt: no steps$") as refused:
        generate(options(generator, sampling={"steps": 3}), tmp_path / "out")
    assert "top_k" in refused.value.hint
    for given, told in (
        ({"top_p": 0.0}, r"top_p must be greater than 0, not 0\.0"),
        ({"cfg": np.inf}, "no cfg inf"),
    ):
        with pytest.raises(VqcliError, match=told):
            generate(options(generator, sampling=given), tmp_path / "out")
    unguided = make_generator(tmp_path / "lc", tokenizer, kind=GptLc)
    with pytest.raises(VqcliError, match="gpt_lc knows no class that stands for none"):
        generate(options(unguided, sampling={"cfg": 1.5}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert generate(options(unguided, sampling={"cfg": 1.0}), tmp_path / "out").images == 6


def test_half_precision_and_compiled_steps(tmp_path, generator, monkeypatch):
    compiled = []
    monkeypatch.setattr(Gpt, "compile_step", lambda self: compiled.append(self.head.weight.dtype))
    generate(options(generator, precision="bf16", compile=True), tmp_path / "out")
    assert compiled == [torch.bfloat16]
    assert len(images(tmp_path / "out")) == 6


def test_what_does_not_fit_together(tmp_path, generator, tokenizer):
    out, bare = tmp_path / "out", make_generator(tmp_path / "bare", tokenizer, copied=False)
    with pytest.raises(VqcliError, match="bare comes without its tokenizer") as refused:
        generate(options(bare), out)
    assert "--tokens-only" in refused.value.hint
    with pytest.raises(VqcliError, match="holds a tokenizer, not a generator") as refused:
        generate(options(tokenizer), out)
    assert "vqcli encode" in refused.value.hint
    other, large = make_model(tmp_path / "other", seed=1), make_model(tmp_path / "large", codes=32)
    told = r"bare makes tokens of tokenizer [0-9a-f]{8}, .*other is [0-9a-f]{8}"
    with pytest.raises(VqcliError, match=told) as refused:
        generate(options(bare, tokenizer=str(other)), out)
    assert refused.value.reason == "fingerprint"
    with pytest.raises(VqcliError, match=r"bare makes tokens of 16 codes, .*large has 32"):
        generate(options(bare, tokenizer=str(large), force=True), out)
    with pytest.raises(VqcliError, match="holds a generator, not a tokenizer"):
        generate(options(bare, tokenizer=str(bare)), out)
    with pytest.raises(VqcliError, match="class 4 is out of range"):
        generate(options(generator, "4"), out)
    layers = make_generator(tmp_path / "layers", tokenizer, kind=GptLc)
    config = json.loads((layers / "config.json").read_text())
    config["tokenizer"]["grid"] = [[2, 4], [2, 4]]
    put(layers / "config.json", config)
    with pytest.raises(VqcliError, match=r"layers makes 2x4 \+ 2x4 tokens an image, which .* cannot decode"):
        generate(options(layers), out)
    assert not out.exists()
    assert generate(options(bare, tokenizer=str(other), force=True), out).tokenizer == other
    named = generate(options(bare, tokenizer=str(tokenizer)), tmp_path / "named")
    generate(options(generator), tmp_path / "copied")
    assert named.tokenizer == tokenizer
    assert np.array_equal(*(images(tmp_path / name)["3-owl-s0-00001.png"] for name in ("named", "copied")))
