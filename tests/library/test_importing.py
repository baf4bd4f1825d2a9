"""Published files become model folders, whole or not at all."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.importers.foreign import CASES
from vqcli import files
from vqcli.checkpoint.tokenizer import fingerprint, load_tokenizer
from vqcli.errors import VqcliError
from vqcli.importers.options import ImportOptions
from vqcli.jobs.info import describe_model
from vqcli.library.alias import Published
from vqcli.library.aliases import ALIASES
from vqcli.library.importing import import_model

CASE = CASES["llamagen"]
pytestmark = pytest.mark.usefixtures("own_cache")


def test_what_is_written(tmp_path, file):
    result = import_model(file, tmp_path / "out")
    names = ["README.md", "codebook.safetensors", "config.json", "import.json", "manifest.json"]
    assert sorted(path.name for path in result.out.iterdir()) == [*names, "model.safetensors"]
    assert files.verified(result.out)
    sizes = (result.codebook_size, result.width, result.downsample, result.image_size)
    assert sizes == (48, 8, 8, (256, 256))
    record = json.loads((result.out / "import.json").read_text())
    assert record == result.record
    assert record == {
        "format": 1,
        "file": "vq.pt",
        "sha256": files.sha256(file),
        "layout": "llamagen",
        "container": "model",
        "averaged": False,
        "licence": "",
        "metric": "cosine",
        "metric_assumed": True,
    }
    assert f"Imported from `vq.pt` (SHA-256 {record['sha256']}), layout llamagen." in card(result.out)
    model, found = CASE.model(), load_tokenizer(result.out)
    images = torch.rand(1, 3, 16, 24) * 2 - 1
    assert torch.equal(found.encode(images).ids, model.encode(images).ids)
    assert found.fingerprint == result.fingerprint == fingerprint(model)


def card(folder):
    return (folder / "README.md").read_text()


def test_licence_and_averages_are_told(tmp_path):
    case = CASES["ibq"]
    torch.save({"state_dict": case.state(case.model())}, tmp_path / "a.ckpt")
    result = import_model(tmp_path / "a.ckpt", tmp_path / "out")
    assert (result.record["averaged"], result.record["licence"]) == (True, "Apache-2.0")
    assert "layout ibq with its running averages as weights." in card(result.out)
    assert "authors' code is under Apache-2.0; their weights may be under another." in card(result.out)


def test_the_codebook_is_baked_and_the_fingerprint_is_not(tmp_path):
    case = CASES["fvq, modulated"]
    model = case.model()
    torch.save({"ema": case.state(model), "model": {}}, tmp_path / "a.pt")
    result = import_model(tmp_path / "a.pt", tmp_path / "out")
    found = load_tokenizer(result.out)
    assert found.config.codebook.name == "learned"
    assert torch.equal(found.quantizer.codes(), model.quantizer.codes())
    assert result.fingerprint == fingerprint(model) != fingerprint(found)
    assert result.record["averaged"]


def test_the_fingerprint_is_of_tensors_and_fields(tmp_path, state):
    """Neither the container nor the names, nor an image size: what changes no token."""
    double = {key: x.double() for key, x in state.items()}
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"state_dict": double}, tmp_path / "double.ckpt")
    torch.save({"model": state}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "model.safetensors")
    names = ("bare.pth", "double.ckpt", "legacy.pt", "model.safetensors")
    prints = {import_model(tmp_path / name, tmp_path / f"{name}-out").fingerprint for name in names}
    prints.add(import_model(tmp_path / "bare.pth", tmp_path / "s", ImportOptions(size=(64, 32))).fingerprint)
    assert prints == {fingerprint(CASE.model())}
    other = import_model(tmp_path / "bare.pth", tmp_path / "l2", ImportOptions(metric="l2"))
    assert other.fingerprint not in prints


def test_options(tmp_path, file):
    result = import_model(file, tmp_path / "a", ImportOptions("l2", (64, 32)))
    config = json.loads((result.out / "config.json").read_text())
    assert (config["tokenizer"]["quantizer"]["metric"], config["image_size"]) == ("l2", [64, 32])
    result = import_model(file, tmp_path / "b", ImportOptions("dot"))
    assert describe_model(str(result.out)).tokenizer["quantizer"]["name"] == "index_propagation"
    case = CASES["var"]
    torch.save(case.state(case.model()), tmp_path / "var.pth")
    result = import_model(tmp_path / "var.pth", tmp_path / "c", ImportOptions(scales=(1, 3, 5)))
    assert result.image_size == (20, 20)
    assert import_model(tmp_path / "var.pth", tmp_path / "d").image_size == (64, 64)


def test_the_metric_is_told(tmp_path, file, monkeypatch):
    found = import_model(file, tmp_path / "a")
    assert (found.metric, found.metric_assumed) == ("cosine", True)
    assert "compared by cosine; the file does not tell: --metric." in card(found.out)
    found = import_model(file, tmp_path / "b", ImportOptions("dot"))
    assert (found.metric, found.metric_assumed) == ("dot", False)
    assert "compared by dot." in card(found.out)
    monkeypatch.setitem(ALIASES, "tiny", Published("them/vq", "vq.pt", sha256=files.sha256(file)))
    assert not import_model(file, tmp_path / "c").metric_assumed
    case = CASES["gumbel"]
    torch.save(case.state(case.model()), file)
    found = import_model(file, tmp_path / "d")
    assert (found.metric, found.metric_assumed) == (None, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ImportOptions(scales=(1, 2)), "leaves no --scales open"),
        (ImportOptions(size=(100, 64)), "multiples of 8"),
    ],
)
def test_options_that_do_not_fit(tmp_path, file, options, said):
    refused(file, said, options)


def refused(file, said, options=None, out="out"):
    """Refused with this sentence, the file's name and a hint, leaving nothing behind."""
    before = everything(file.parent)
    with pytest.raises(VqcliError, match=said) as error:
        import_model(file, file.parent / out, options)
    assert file.name in str(error.value)
    assert error.value.hint
    assert everything(file.parent) == before
    return error.value


def everything(folder):
    return sorted((path, path.is_file() and path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_scales_that_do_not_fit(tmp_path):
    case = CASES["var"]
    torch.save(case.state(case.model()), tmp_path / "var.pth")
    assert refused(tmp_path / "var.pth", "4 x 4, the last", ImportOptions(scales=(1, 2, 4), size=(32, 32)))
    assert refused(tmp_path / "var.pth", "scales must grow", ImportOptions(scales=(2, 1)))
    assert refused(tmp_path / "var.pth", "leaves no --metric open", ImportOptions(metric="l2"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {"other": torch.ones(2), "more": torch.ones(3)}, "layout that is not known: 2 keys"),
        (lambda s: s | {"quant_conv.bias": s["quant_conv.bias"] * torch.nan}, "'quant_conv.bias' holds NaN"),
        (lambda s: s | {"quant_conv.bias": torch.ones(8).long()}, "'quant_conv.bias' holds .* other things"),
        (lambda s: s | {"quant_conv.bias": torch.ones(8).to_sparse()}, "'quant_conv.bias' holds .* other"),
        (lambda s: s | {"quant_conv.bias": torch.ones(9)}, r"'quant_conv.bias' has shape \(9,\), .* \(8,\)"),
        (lambda s: s | {"quant_conv.weight": torch.ones(())}, r"'quant_conv.weight' has shape \(\)"),
        (lambda s: s | {"quant_conv.weight": torch.ones(8, 12, 2, 2)}, "quant_conv"),
        (lambda s: s | {"encoder.conv_in.weight": torch.ones(0, 3, 3, 3)}, "not multiples of the 0"),
        (
            lambda s: s | {"encoder.conv_in.weight": torch.ones(16, 3, 3, 3)},
            "channels must be at least 32, not 16",
        ),
        (
            lambda s: s | {"quantize.embedding.weight": torch.ones(0, 8)},
            "codebook 'learned': size must be at least 1",
        ),
        (
            lambda s: s | {"decoder.conv_blocks.9.res.0.x": torch.ones(1)},
            "no place for: 'decoder.conv_blocks.9",
        ),
        (lambda s: s | {f"decoder.conv_blocks.{'9' * 5000}.x": torch.ones(1)}, "does not know"),
        (lambda s: {k: x for k, x in s.items() if "decoder" not in k}, "it lacks 'decoder.conv_in.weight'"),
        (lambda s: {k: x for k, x in s.items() if "encoder" not in k}, "it lacks 'encoder.conv_in.weight'"),
    ],
)
def test_what_does_not_fit(tmp_path, state, change, said):
    torch.save(change(state), tmp_path / "vq.pt")
    refused(tmp_path / "vq.pt", said)


def test_files_that_cannot_be_read(tmp_path, file):
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    refused(file, "cannot be read")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 8
    file.write_bytes(flipped)
    refused(file, "another checksum")
    file.unlink()
    refused(file, "does not exist")
    file.mkdir()
    refused(file, "vq.pt holds no weights")


def test_a_place_that_is_taken(tmp_path, file):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    for force in (False, True):
        with pytest.raises(VqcliError, match="out exists already"):
            import_model(file, tmp_path / "out", force=force)
    import_model(file, tmp_path / "b")
    with pytest.raises(VqcliError, match="b exists already") as error:
        import_model(file, tmp_path / "b")
    assert "--force" in error.value.hint
    import_model(file, tmp_path / "b", ImportOptions("l2"), force=True)
    assert load_tokenizer(tmp_path / "b").config.quantizer.metric == "l2"


def test_settings_beside_a_file(tmp_path):
    """diffusers says in ``config.json`` what no shape tells."""
    case = CASES["diffusers"]
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(case.state(case.model()), path)
    (tmp_path / "config.json").write_text('{"norm_num_groups": 16}')
    refused(path, "norm_num_groups is 16; the network here has 32")
    (tmp_path / "config.json").write_text('{"norm_num_groups": 32, "sample_size": 8}')
    assert import_model(path, tmp_path / "out").codebook_size == 30


def test_settings_of_others_do_not_matter(tmp_path, file):
    (tmp_path / "config.json").write_text("not JSON")
    assert import_model(file, tmp_path / "out").layout == "llamagen"
    case = CASES["diffusers"]
    torch.save(case.state(case.model()), file)
    refused(file, "config.json is no readable JSON", out="other")
