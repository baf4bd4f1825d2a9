"""Pruning: the same images from fewer codes, tokens that only change their numbers, all of it or nothing."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from tests.images import picture, save
from tests.models import make_model
from tests.training.tiny import Recorded, start
from vqcli import files
from vqcli.checkpoint.tokenizer import load_tokenizer, save_tokenizer
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs import encoder
from vqcli.jobs.decode import DecodeOptions, decode
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.prune import PruneOptions, prune
from vqcli.jobs.usage import measure_usage
from vqcli.library.references import newest_checkpoint
from vqcli.parts import PARTS
from vqcli.pixels import to_tensor
from vqcli.registry import TokenizerConfig, build, resolve
from vqcli.types import Tokens

PAIRS = [(book, quantizer, {}) for book in PARTS["codebooks"] for quantizer in PARTS["quantizers"]]
PAIRS.append(("learned", "nearest", {"metric": "cosine"}))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", codes=300)


def images(source="demo:9", model=None, **other):
    options = {"batch_size": 4, "num_workers": 0, "device": "cpu"} | other
    return ImageOptions(str(source), str(model) if model else None, **options)


def pruned(model, out, source="demo:9", tokens=(), **other):
    return prune(str(model), out, PruneOptions(images(source) if source else None, tuple(tokens), **other))


def kept_by(out):
    return np.array(json.loads((out / "prune.json").read_text())["kept"])


def contents(folder):
    """Bytes of every file but locks, by relative name."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def noisy_model(folder, book, quantizer, options):
    """A model folder of any parts, with noise in every parameter; more codes than its tokens can use."""
    kind = resolve("codebooks", book)
    size = {"size": 256} if "size" in kind.TINY else {}
    config = {
        "name": "conv", "network": "tiny", "multipliers": (1, 1), "attention_levels": (),
        "codebook": {"name": book} | kind.TINY | size,
        "quantizer": {"name": quantizer} | resolve("quantizers", quantizer).TINY | options,
    }  # fmt: skip
    made = build("tokenizers", TypeAdapter(TokenizerConfig).validate_python(config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    made.image_size = (8, 8)
    with files.writing_folder(folder) as unfinished:
        save_tokenizer(made, unfinished)
    return folder


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join([*pair[:2], *pair[2].values()]))
def test_tokens_change_their_numbers_alone_and_images_not_at_all(tmp_path, pair):
    out = tmp_path / "pruned"
    try:
        model = noisy_model(tmp_path / "model", *pair)
    except VqcliError as refused:
        pytest.skip(f"refused: {refused}")
    if pair[0] == "none":
        with pytest.raises(VqcliError, match="has no codebook"):
            pruned(model, out, "demo:4")
        assert not out.exists()
        return
    encode(images("demo:4", model), tmp_path / "t.npy")
    if not (model / "codebook.safetensors").exists():
        with pytest.raises(
            VqcliError, match=f"codes of a codebook '{pair[0]}' follow from a rule"
        ) as refused:
            pruned(model, out, "demo:4")
        assert refused.value.reason == "wrong-kind"
        return
    result = pruned(model, out, "demo:4", [tmp_path / "t.npy"])
    encode(images("demo:4", out), tmp_path / "fresh.npy")
    kept, old, new = kept_by(out), np.load(tmp_path / "t.npy"), np.load(tmp_path / "fresh.npy")
    assert 1 < len(kept) == result.kept < result.codes
    assert kept.tolist() == np.unique(old).tolist()
    assert np.array_equal(kept[new], old)
    for form in ("npy", "json"):
        written, fresh = (tmp_path / f"{name}.{form}" for name in ("t-pruned", "fresh"))
        assert written.read_bytes() == fresh.read_bytes()
    before, after = load_tokenizer(model), load_tokenizer(out)
    grid = before.grid(8, 8)
    with torch.inference_mode():
        ids = [torch.from_numpy(x.reshape(4, -1).astype(np.int64)) for x in (old, new)]
        assert torch.equal(before.decode(Tokens(ids[0], grid)), after.decode(Tokens(ids[1], grid)))
    assert torch.equal(after.quantizer.codes(), before.quantizer.codes()[torch.from_numpy(kept)])
    assert after.spec.codebook_size == len(kept)
    assert after.fingerprint not in ("", before.fingerprint)


def test_decoded_images_are_the_same_files(tmp_path, model):
    encode(images(model=model), tmp_path / "t")
    pruned(model, tmp_path / "pruned", None, [tmp_path / "t"])
    found = []
    for name, whose in (("t", model), ("t-pruned", tmp_path / "pruned")):
        decode(tmp_path / name, tmp_path / f"{name}-out", DecodeOptions(str(whose), device="cpu"))
        found.append(
            {name: data for name, data in contents(tmp_path / f"{name}-out").items() if name[0] != "."}
        )
    assert found[0] == found[1]
    assert len(found[0]) == 9
    with pytest.raises(VqcliError, match="is of tokenizer"):
        decode(tmp_path / "t-pruned", tmp_path / "no", DecodeOptions(str(model), device="cpu"))


def odd_folder(folder):
    """Images of three sizes in two classes, with two that cannot be used."""
    for i, (name, sides) in enumerate(
        {"a/1.png": (8, 8), "a/2.png": (12, 6), "b/3.png": (4, 10), "b/4.png": (8, 8)}.items()
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(Image.fromarray(np.roll(picture(*sides), i, axis=2)), "PNG"))
    (folder / "a" / "bad.png").touch()
    (folder / "b" / "worse.png").write_bytes(b"?" * 99)
    return folder


@pytest.mark.parametrize("size", ["native", None])
def test_a_folder_of_tokens_equals_a_fresh_one(tmp_path, model, monkeypatch, size):
    monkeypatch.setattr(encoder, "SHARD", 2)  # one shard has nothing but a bad image
    source = odd_folder(tmp_path / "in")
    encode(images(source, model, size=size, batch_size=1), tmp_path / "t")
    result = pruned(model, tmp_path / "pruned", None, [tmp_path / "t"])
    encode(images(source, tmp_path / "pruned", size=size, batch_size=1), tmp_path / "fresh")
    assert result.renumbered == [tmp_path / "t-pruned"]
    assert contents(tmp_path / "t-pruned") == contents(tmp_path / "fresh")
    index = json.loads((tmp_path / "t-pruned" / "index.json").read_text())
    assert [line["key"] for line in index["rejected"]] == ["a/bad.png", "b/worse.png"]
    if size is None:
        encode(images(source, model), tmp_path / "t.npy")
        pruned(model, tmp_path / "again", None, [tmp_path / "t.npy"])
        encode(images(source, tmp_path / "again"), tmp_path / "fresh.npy")
        told = json.loads((tmp_path / "t-pruned.json").read_text())
        assert told == json.loads((tmp_path / "fresh.json").read_text())
        assert (told["labels"], len(told["rejected"])) == ([0, 0, 1, 1], 2)
        assert [np.load(tmp_path / f"{name}.npy").dtype for name in ("t", "t-pruned")] == ["u2", "u1"]


def test_what_the_new_folder_tells(tmp_path, model):
    result = pruned(model, tmp_path / "pruned")
    counted = measure_usage(str(model), images(model=model)).usage
    afresh = measure_usage(str(tmp_path / "pruned"), images(model=tmp_path / "pruned")).usage
    stored = json.loads((tmp_path / "pruned" / "usage.json").read_text())
    what = "9 images of demo:9, colours to sRGB, resize (bicubic) and centre crop to 8x8"
    assert stored.pop("images") == what
    assert stored == {name: getattr(afresh, name) for name in stored}
    assert (stored["utilization"], stored["tokens"], stored["used"]) == (1.0, 144, counted.used)
    mapping = json.loads((tmp_path / "pruned" / "prune.json").read_text())
    assert mapping["from"] == {
        "folder": str(model), "fingerprint": load_tokenizer(model).fingerprint, "codebook_size": 300
    }  # fmt: skip
    assert mapping["fingerprint"] == load_tokenizer(tmp_path / "pruned").fingerprint == result.fingerprint
    assert dict(counted.most_used).items() <= dict(zip(mapping["kept"], mapping["counts"])).items()
    assert (mapping["min_count"], mapping["counted_on"], mapping["images"]) == (1, [what], 9)
    assert mapping["tokens"] == sum(mapping["counts"]) == result.tokens == 144
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert f"{counted.used} of 300 codes are kept, those used at least once in {what}." in card
    assert files.verified(tmp_path / "pruned")


def test_images_and_tokens_are_counted_together(tmp_path, model):
    encode(images("demo:20", model), tmp_path / "t.npy")
    ids = np.load(tmp_path / "t.npy")
    np.save(tmp_path / "bare.npy", ids[14:].reshape(6, 16))
    result = pruned(model, tmp_path / "pruned", "demo:5", [tmp_path / "bare.npy"])
    expected = np.unique(np.concatenate([ids[:5].ravel(), ids[14:].ravel()]))
    assert kept_by(tmp_path / "pruned").tolist() == expected.tolist()
    assert (result.tokens, len(result.counted_on)) == (16 * 11, 2)
    new = np.load(tmp_path / "bare-pruned.npy")
    assert np.array_equal(expected[new], np.load(tmp_path / "bare.npy"))
    side = json.loads((tmp_path / "bare-pruned.json").read_text())
    assert set(side) == {"format", "codebook_size", "sha256", "seal"}  # what nobody told is not made up
    assert not (tmp_path / "pruned" / "usage.json").exists()  # whose tokens they were is not known


def test_rare_codes_hand_their_latents_on(tmp_path, model):
    encode(images(model=model), tmp_path / "t.npy")
    old = np.load(tmp_path / "t.npy").ravel()
    result = pruned(model, tmp_path / "pruned", min_count=3)
    kept = kept_by(tmp_path / "pruned")
    assert kept.tolist() == np.flatnonzero(np.bincount(old, minlength=300) >= 3).tolist()
    assert 0 < result.kept < len(np.unique(old))
    assert not (tmp_path / "pruned" / "usage.json").exists()
    assert "used at least 3 times in" in (tmp_path / "pruned" / "README.md").read_text()
    encode(images(model=tmp_path / "pruned"), tmp_path / "new.npy")
    tokenizer, distances = load_tokenizer(model), []
    from vqcli.data.images.demo import DemoSource

    with torch.inference_mode():
        for i in range(9):
            image = to_tensor(DemoSource(9, (8, 8))[i].image)[None] / 127.5 - 1
            latents_nd = tokenizer.latents(image)[0].flatten(1).T
            distances.append(torch.cdist(latents_nd, tokenizer.quantizer.codes()[torch.from_numpy(kept)]))
    assert np.array_equal(np.load(tmp_path / "new.npy").ravel(), torch.cat(distances).argmin(1).numpy())


def test_a_pruned_model_and_a_checkpoint_can_be_pruned(tmp_path, model):
    once = pruned(model, tmp_path / "once", "demo:20")
    twice = pruned(tmp_path / "once", tmp_path / "twice", "demo:3")
    at_once = pruned(model, tmp_path / "at-once", "demo:3")
    assert twice.kept < once.kept
    assert twice.fingerprint == at_once.fingerprint  # the same map to tokens, however it was reached
    start(tmp_path / "run", "training.validation_images=2")
    checkpoint, export = newest_checkpoint(tmp_path / "run"), tmp_path / "run" / "model"
    results = [pruned(whose, tmp_path / whose.name, "demo:1") for whose in (checkpoint, export)]
    assert results[0].fingerprint == results[1].fingerprint


def test_nothing_to_drop_writes_nothing(tmp_path, model):
    pruned(model, tmp_path / "pruned")
    encode(images(model=tmp_path / "pruned"), tmp_path / "t.npy")
    before = contents(tmp_path)
    result = pruned(tmp_path / "pruned", tmp_path / "again", tokens=[tmp_path / "t.npy"])
    assert (result.out, result.renumbered, result.kept) == (None, [], result.codes)
    assert result.fingerprint == load_tokenizer(tmp_path / "pruned").fingerprint
    assert contents(tmp_path) == before


def test_bad_images_are_listed(tmp_path, model):
    source = odd_folder(tmp_path / "in")
    result = pruned(model, tmp_path / "pruned", source)
    assert [bad["key"] for bad in result.rejected] == ["a/bad.png", "b/worse.png"]
    assert result.counted_on[0].startswith("4 images of ")
    with pytest.raises(BadImage, match=r"a/bad\.png"):
        prune(str(model), tmp_path / "no", PruneOptions(images(source, strict=True)))
    assert not (tmp_path / "no").exists()


class Stopping(Recorded):
    """Interrupts when some work has advanced so many times."""

    def __init__(self, work, times):
        super().__init__()
        self.work, self.times, self.at = work, times, ""

    def start(self, what, total, unit, done=0):
        self.at = what

    def advance(self, n=1):
        self.times -= self.at == self.work
        if self.times == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("work", "times"), [("encode", 2), ("count", 1), ("renumber", 1), ("renumber", 3)])
def test_an_interruption_leaves_nothing(tmp_path, model, work, times):
    for form in ("t.npy", "t", "u.npy"):
        encode(images(model=model), tmp_path / form)
    tokens = tuple(tmp_path / form for form in ("t.npy", "t", "u.npy"))
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        prune(str(model), tmp_path / "pruned", PruneOptions(images(), tokens), Stopping(work, times))
    assert contents(tmp_path) == before
    pruned(model, tmp_path / "pruned", tokens=tokens)
    made = {name.partition("/")[0] for name in contents(tmp_path).keys() - before.keys()}
    assert made == {"pruned", "t-pruned", "t-pruned.npy", "t-pruned.json", "u-pruned.npy", "u-pruned.json"}


def refused(model, out, reason, match, source="demo:9", tokens=(), **other):
    """One sentence with a way out, and not a byte is changed."""
    before = contents(out.parent)
    with pytest.raises(VqcliError, match=match) as error:
        pruned(model, out, source, tokens, **other)
    assert (error.value.reason, "\n" in str(error.value)) == (reason, False)
    assert error.value.hint
    assert contents(out.parent) == before
    return True


def test_what_cannot_be(tmp_path, model):
    out, tokens = tmp_path / "pruned", tmp_path / "t.npy"
    encode(images(model=model), tokens)
    assert refused(model, out, "input-missing", "nothing tells which codes are used", None)
    assert refused(model, out, "option", "codes that the tokens use", None, [tokens], min_count=2)
    assert refused(model, out, "option", "no code is used 999 times, none would be left", min_count=999)
    assert refused(model, out, "exists", "two results would go to the same place", None, [tokens, tokens])
    encode(images(model=model), tmp_path / "t")
    assert refused(model, tmp_path / "t-pruned", "exists", "the same place", None, [tmp_path / "t"])
    ids = np.load(tokens).astype(np.int16)
    for value in (300, -1):
        ids[5, 1, 2] = value
        np.save(tmp_path / "far.npy", ids)
        message = "do not fit a codebook of 300"
        assert refused(model, out, "token-range", message, None, [tmp_path / "far.npy"], force=True)


def test_a_model_is_never_its_own_result(tmp_path, model):
    own = tmp_path / "model"
    shutil.copytree(model, own)
    assert refused(own, own, "exists", "is the model itself", force=True)


def test_tokens_of_another_tokenizer(tmp_path, model):
    other = make_model(tmp_path / "other", codes=300, seed=1)
    encode(images(model=other), tmp_path / "t.npy")
    out, tokens = tmp_path / "pruned", [tmp_path / "t.npy"]
    assert refused(model, out, "fingerprint", r"is of tokenizer \w{8}, the model is \w{8}", None, tokens)
    result = pruned(model, out, None, tokens, force=True)
    told = json.loads((tmp_path / "t-pruned.json").read_text())
    assert told["fingerprint"] == result.fingerprint
    assert not (out / "usage.json").exists()


def test_places_that_are_taken(tmp_path, model):
    out, forms = tmp_path / "pruned", [tmp_path / "t.npy", tmp_path / "t"]
    for form in forms:
        encode(images(model=model), form)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.txt").write_text("mine")
    assert refused(model, tmp_path / "photos", "exists", "photos exists already", force=True)
    (tmp_path / "photos" / "config.json").write_text("{}")  # of whatever
    assert refused(model, tmp_path / "photos", "exists", "photos exists already", force=True)
    assert (tmp_path / "photos" / "mine.txt").read_text() == "mine"
    (tmp_path / "t-pruned").mkdir()
    (tmp_path / "t-pruned" / "mine.txt").write_text("mine")
    assert refused(model, out, "exists", "t-pruned exists already", tokens=forms, force=True)
    (tmp_path / "t-pruned" / "mine.txt").unlink()  # an empty folder is no obstacle
    assert pruned(model, out, "demo:9", forms).out == out
    assert refused(model, out, "exists", "pruned exists already")
    same = {path: path.read_bytes() for path in (tmp_path / "t-pruned.json", tmp_path / "t-pruned.npy")}
    (tmp_path / "t-pruned.json").write_text('{"sha256": "of others"}')
    (tmp_path / "t-pruned" / "more").touch()
    assert refused(model, tmp_path / "b", "exists", r"t-pruned\.npy exists already", None, forms[:1])
    (tmp_path / "t-pruned.npy").unlink()
    assert refused(model, tmp_path / "b", "exists", r"t-pruned\.json exists already", None, forms[:1])
    assert refused(model, tmp_path / "b", "exists", "t-pruned exists already", None, forms[1:])
    (tmp_path / "t-pruned" / "more").unlink()
    for path, data in same.items():
        path.write_bytes(data)
    assert pruned(model, tmp_path / "b", None, forms).out  # as a command leaves them that was killed
    more = pruned(model, out, "demo:20", forms, force=True)
    for form in ("t-pruned.npy", "t-pruned"):
        usage = measure_usage(str(tmp_path / form)).usage
        assert (usage.codebook_size, usage.images) == (more.kept, 9)
    assert load_tokenizer(out).fingerprint == more.fingerprint
