"""Published generators become model folders, with the tokenizer whose tokens they make."""

import json

import pytest
import torch

from tests.importers.foreign import CASES
from tests.importers.foreign_generators import LC, gpt, gpt_lc, gpt_state, lc_state, whole_lc_state
from tests.models import make_model
from tests.seals import put
from vqcli import files
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import fingerprint, load_tokenizer
from vqcli.data.classes import imagenet
from vqcli.errors import VqcliError
from vqcli.generators.sampling import SamplingConfig
from vqcli.importers.options import ImportOptions
from vqcli.jobs.info import describe_model
from vqcli.library.find import import_file
from vqcli.library.importing import import_model
from vqcli.library.imports import imported
from vqcli.library.open import generator_tokenizer, open_generator
from vqcli.types import silent

VQ = CASES["llamagen"]
"""48 codes, a token for 8x8 pixels."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VQCLI_MODEL", raising=False)


@pytest.fixture
def file(tmp_path):
    torch.save({"model": gpt_state(gpt()), "steps": 7}, tmp_path / "gpt.pt")
    return tmp_path / "gpt.pt"


@pytest.fixture
def tokenizer(tmp_path):
    torch.save({"model": VQ.state(VQ.model())}, tmp_path / "vq.pt")
    return import_model(tmp_path / "vq.pt", tmp_path / "vq", ImportOptions(size=(32, 32))).out


@pytest.mark.parametrize("container", ["", "model", "module"])
def test_what_is_written(tmp_path, container):
    path, state = tmp_path / "gpt.pt", gpt_state(gpt())
    torch.save({container: state, "steps": 7} if container else state, path)
    result = import_model(path, tmp_path / "out", ImportOptions(size=(64, 64)))
    names = ["README.md", "config.json", "import.json", "manifest.json", "model.safetensors"]
    assert sorted(path.name for path in result.out.iterdir()) == names
    assert files.verified(result.out)
    assert json.loads((result.out / "import.json").read_text()) == result.record
    assert result.record == {
        "format": 1,
        "file": "gpt.pt",
        "sha256": files.sha256(path),
        "layout": "llamagen_gpt",
        "container": container,
        "averaged": False,
        "licence": "",
        "assumed": ["heads"],
    }
    model = gpt()
    told = (result.kind, result.parameters, result.classes, result.codebook_size, result.grid)
    assert told == ("generator", sum(p.numel() for p in model.parameters()), 5, 48, ((4, 4),))
    assert (result.image_size, result.fingerprint, result.tokenizer) == ((64, 64), "", None)
    found = load_generator(result.out)
    spec = found.spec
    assert (spec.codebook_size, spec.width, spec.downsample, spec.grid) == (48, 0, 16, ((4, 4),))
    labels, ids = torch.tensor([1, 3]), torch.randint(48, (2, 15))
    with torch.inference_mode():
        assert torch.equal(found.logits(labels, ids), model.logits(labels, ids))
    card = (result.out / "README.md").read_text()
    assert f"Imported from `gpt.pt` (SHA-256 {files.sha256(path)}), layout llamagen_gpt." in card
    assert "as the file does not tell: heads." in card
    assert read_classes(result.out) == []
    assert generator_tokenizer(result.out, str(result.out), None, silent) is None


def test_with_its_tokenizer(tmp_path, file, tokenizer):
    result = import_model(file, tmp_path / "out", ImportOptions(tokenizer=tokenizer, heads=2))
    model = VQ.model()
    assert result.fingerprint == fingerprint(model)
    assert (result.image_size, result.grid, result.assumed) == ((32, 32), ((4, 4),), ["size"])
    assert result.tokenizer == result.out / "tokenizer"
    kept = {path.name: path.read_bytes() for path in (result.out / "tokenizer").iterdir()}
    assert kept == {p.name: p.read_bytes() for p in tokenizer.iterdir() if p.name != "manifest.json"}
    assert files.verified(result.out)
    spec = load_generator(result.out).spec
    assert (spec.width, spec.downsample, spec.fingerprint) == (8, 8, fingerprint(model))
    images = torch.rand(1, 3, 16, 24) * 2 - 1
    found = load_tokenizer(generator_tokenizer(result.out, str(result.out), None, silent))
    assert torch.equal(found.encode(images).ids, model.encode(images).ids)
    wide = import_file(
        file, tmp_path / "wide", ImportOptions(size=(16, 64)), tokenizer=str(tmp_path / "vq.pt")
    )  # a file, imported into the cache
    assert (wide.grid, wide.fingerprint) == (((2, 8),), fingerprint(model))
    alone = import_model(file, tmp_path / "alone", ImportOptions(tokenizer=tokenizer, bring=False))
    assert (alone.fingerprint, alone.tokenizer) == (fingerprint(model), None)
    assert not (alone.out / "tokenizer").exists()
    assert generator_tokenizer(alone.out, None, str(tokenizer), silent) == tokenizer


def test_a_tokenizer_that_does_not_fit(tmp_path, file, tokenizer):
    refused(file, "makes tokens of 48 codes, its tokenizer has 16", tokenizer=make_model(tmp_path / "other"))
    with pytest.raises(VqcliError, match="there is no model at"):
        import_file(file, tmp_path / "out", ImportOptions(), tokenizer=str(tmp_path / "away"))
    refused(file, "image sides must be multiples of 8", tokenizer=tokenizer, size=(33, 33))
    generator = import_model(file, tmp_path / "made").out
    refused(file, "holds a generator, not a tokenizer", tokenizer=generator)
    (tokenizer / "state.json").touch()
    refused(file, "is a training checkpoint", tokenizer=tokenizer)
    refused(tmp_path / "vq.pt", "its layout leaves no --tokenizer open", tokenizer=tokenizer)


def refused(file, said, **options):
    """Refused with this sentence and a hint, leaving nothing behind."""
    with pytest.raises(VqcliError, match=said) as error:
        import_model(file, file.parent / "out", ImportOptions(**options))
    assert str(file) in str(error.value)
    assert error.value.hint
    assert not (file.parent / "out").exists()


def test_gpt_lc_brings_its_tokenizer(tmp_path):
    torch.save(whole_lc_state(gpt_lc()), tmp_path / "lc.pth")
    result = import_model(tmp_path / "lc.pth", tmp_path / "out", ImportOptions(heads=2))
    assert (result.classes, result.codebook_size, result.image_size) == (5, 20, (32, 32))
    assert (result.assumed, result.fingerprint) == ([], fingerprint(LC.model()))
    assert result.tokenizer == tmp_path / "out" / "tokenizer"
    found, model = load_tokenizer(result.tokenizer), LC.model()
    assert (found.fingerprint, found.image_size) == (result.fingerprint, (32, 32))
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.equal(found.encode(images).ids, model.encode(images).ids)


def test_gpt_lc_with_a_tokenizer(tmp_path):
    """How many classes its vocabulary has follows from the codes."""
    torch.save(LC.state(LC.model()), tmp_path / "vqgan.pth")
    torch.save(lc_state(gpt_lc(classes=7)), tmp_path / "lc.pth")
    named = str(tmp_path / "vqgan.pth")
    result = import_file(tmp_path / "lc.pth", tmp_path / "out", ImportOptions(), tokenizer=named)
    assert (result.classes, result.codebook_size, result.assumed) == (7, 20, ["heads"])


def test_names_of_classes(tmp_path):
    torch.save(gpt_state(gpt(classes=1000)), tmp_path / "gpt.pt")
    result = import_model(tmp_path / "gpt.pt", tmp_path / "out")
    assert read_classes(result.out) == [each.name for each in imagenet()]
    assert describe_model(str(result.out)).named


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    state = gpt_state(gpt())
    state["norm.weight"][3] = value
    torch.save(state, tmp_path / "gpt.pt")
    refused(tmp_path / "gpt.pt", "'norm.weight' holds NaN, Inf")


def test_what_is_told_of_it(tmp_path, file, tokenizer):
    plain = import_model(file, tmp_path / "plain", ImportOptions(size=(64, 64))).out
    found = describe_model(str(plain))
    assert (found.kind, found.classes, found.named, found.tokenizer) == ("generator", 5, False, None)
    assert found.parameters == sum(p.numel() for p in gpt().parameters())
    assert found.bytes == (plain / "model.safetensors").stat().st_size
    assert (found.image_size, found.grid, found.fingerprint) == ((64, 64), ((4, 4),), "")
    assert found.generator["sampling"] == SamplingConfig().model_dump()
    whole = import_model(file, tmp_path / "whole", ImportOptions(tokenizer=tokenizer)).out
    found = describe_model(str(whole))
    assert (found.tokenizer, found.fingerprint) == (str(whole / "tokenizer"), fingerprint(VQ.model()))


def test_files_in_place_of_models(tmp_path, file, tokenizer, monkeypatch):
    """A file tells neither its image size nor its tokenizer: with others its import is another one."""
    told = []
    monkeypatch.setattr(type(silent), "say", lambda _, text: told.append(text))
    first = imported(file)
    assert imported(file) == first == open_generator(str(file), torch.device("cpu"))[1]
    assert told == [
        "gpt.pt is imported with images of 256x256 pixels; the file does not tell: vqcli import --size",
        "gpt.pt is imported with 2 heads; the file does not tell: vqcli import --heads",
    ]
    grids = {first: ((16, 16),)}
    for size, grid in ((32, ((4, 4),)), (48, ((6, 6),))):
        folder = imported(file, size=size, tokenizer=tokenizer)
        assert imported(file, size=size, tokenizer=tokenizer) == folder
        assert not (folder / "tokenizer").exists()
        grids[folder] = grid
    assert len(grids) == 3
    assert all(load_generator(folder).grid == grid for folder, grid in grids.items())
    assert load_generator(folder).spec.fingerprint == fingerprint(VQ.model())
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert imported(file, size=48, tokenizer=tokenizer) == folder
    assert load_generator(folder).grid == ((6, 6),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("generator"), "does not tell 'generator'"),
        (lambda c: c.pop("tokenizer"), "does not tell 'tokenizer'"),
        (lambda c: c["generator"].pop("classes"), "does not tell 'classes'"),
        (lambda c: c["tokenizer"].pop("codebook_size"), "does not describe a model"),
        (lambda c: c.update(tokenizer=3), "is damaged: tokenizer must be a section of keys"),
        (lambda c: c.update(generator=3), "is damaged: generator must be a section of keys"),
    ],
)
def test_damaged_descriptions(tmp_path, file, change, said):
    folder = import_model(file, tmp_path / "out").out
    config = json.loads((folder / "config.json").read_text())
    change(config)
    put(folder / "config.json", config)
    with pytest.raises(VqcliError, match=said) as error:
        describe_model(str(folder))
    assert error.value.hint
