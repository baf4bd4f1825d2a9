"""Model folders: what is written is what is read, and what does not fit is refused."""

import copy
import json
import shutil

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from tests.training.tiny import Recorded, damage, resume, start
from vqcli import files
from vqcli.checkpoint.tokenizer import (
    describe_tokenizer,
    fingerprint,
    load_tokenizer,
    read_tokenizer,
    save_tokenizer,
)
from vqcli.errors import Interrupted, VqcliError
from vqcli.library.references import locate, newest_checkpoint
from vqcli.parts import PARTS
from vqcli.registry import TokenizerConfig, build, resolve

CODEBOOKS = {
    "learned": {"name": "learned", "size": 16, "width": 8},
    "bridged": {"name": "bridged", "size": 16, "width": 8, "hidden": 16, "patch": 2, "depth": 1},
}


def tokenizer(codebook="bridged", metric="l2"):
    """A tokenizer with noise in every parameter: a bridge that starts at zero shows nothing."""
    torch.manual_seed(0)
    config = {"name": "conv", "network": "tiny", "codebook": CODEBOOKS[codebook]}
    config["quantizer"] = {"name": "nearest", "metric": metric}
    made = build("tokenizers", TypeAdapter(TokenizerConfig).validate_python(config)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    made.image_size = (8, 8)
    return made


def saved(made, folder):
    with files.writing_folder(folder) as unfinished:
        save_tokenizer(made, unfinished)
    return folder


def images(n=6):
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def work(made):
    """Tokens and reconstructions of some images."""
    tokens = made.encode(images())
    return tokens.ids, made.decode(tokens)


@pytest.mark.parametrize(
    ("codebook", "metric"), [("learned", "l2"), ("learned", "cosine"), ("bridged", "l2")]
)
def test_what_is_saved_is_loaded(tmp_path, codebook, metric):
    made = tokenizer(codebook, metric)
    before = {name: x.clone() for name, x in made.state_dict().items()}
    loaded = load_tokenizer(saved(made, tmp_path / "model"))
    (tokens, images), (tokens_before, images_before) = work(loaded), work(made)
    assert torch.equal(tokens, tokens_before)
    torch.testing.assert_close(images, images_before, rtol=1e-3, atol=1e-4)  # unit codes are scaled again
    assert metric == "cosine" or torch.equal(images, images_before)
    assert len(set(work(made)[0].flatten().tolist())) > 1
    assert loaded.fingerprint == fingerprint(made)
    assert (loaded.image_size, loaded.training) == ((8, 8), False)
    after = made.state_dict()  # saving bakes a copy
    assert all(torch.equal(after[name], x) for name, x in before.items())


def test_codes_are_stored_baked_and_once(tmp_path):
    made = tokenizer("bridged")
    folder = saved(made, tmp_path / "model")
    codes = load_file(folder / "codebook.safetensors")
    assert list(codes) == ["codes"]
    assert torch.equal(codes["codes"], made.quantizer.codes())
    assert not [name for name in load_file(folder / "model.safetensors") if "quantizer" in name]
    assert files.verified(folder)


def test_fingerprint_is_that_of_the_way_to_tokens():
    made = tokenizer()
    whole, parts = fingerprint(made), {}
    for name, parameter in made.named_parameters():
        value = parameter.detach().clone()
        flat = parameter.detach().view(-1)
        flat[-1] = torch.nextafter(flat[-1], torch.tensor(torch.inf))  # the smallest change there is
        parts.setdefault(name.partition(".")[0], set()).add(fingerprint(made) != whole)
        parameter.data.copy_(value)
    assert parts == {
        "quantizer": {True},
        "encoder": {True},
        "quant_conv": {True},
        "decoder": {False},
        "post_quant_conv": {False},
    }
    weights = made.config.quantizer.model_copy(update={"commitment_weight": 9.0, "codebook_weight": 9.0})
    other = build("tokenizers", made.config.model_copy(update={"quantizer": weights}))
    other.load_state_dict(made.state_dict())
    assert fingerprint(other) == whole
    assert fingerprint(tokenizer("learned")) != fingerprint(tokenizer("learned", "cosine"))


def test_fingerprint_survives_baking_and_copies(tmp_path):
    made = tokenizer("bridged")
    once = load_tokenizer(saved(made, tmp_path / "once"))
    twice = load_tokenizer(saved(once, tmp_path / "twice"))
    assert fingerprint(made) == once.fingerprint == twice.fingerprint
    assert fingerprint(once) != once.fingerprint  # stored, never recomputed
    baked = copy.deepcopy(made)
    baked.fingerprint = fingerprint(made)
    baked.bake()
    assert load_tokenizer(saved(baked, tmp_path / "baked")).fingerprint == fingerprint(made)


@pytest.mark.parametrize("settings", [(), ("training.average=0.9",)])
def test_a_checkpoint_gives_the_tokens_of_the_export(tmp_path, settings):
    run = tmp_path / "run"
    start(run, *settings)
    exported, checkpoint = load_tokenizer(run / "model"), load_tokenizer(newest_checkpoint(run))
    for ours, theirs in zip(work(checkpoint), work(exported)):
        assert torch.equal(ours, theirs)
    assert checkpoint.fingerprint == exported.fingerprint
    if settings:
        trained = load_file(newest_checkpoint(run) / "model.safetensors")["encoder.stem.weight"]
        assert not torch.equal(trained, exported.encoder.stem.weight)


def test_a_run_stands_for_its_export_else_its_newest_checkpoint(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(3))
    assert locate(str(run)) == run / "checkpoints" / "step-00000003"
    assert locate(str(newest_checkpoint(run))) == newest_checkpoint(run)
    resume(run)
    assert locate(str(run)) == run / "model"
    assert locate(str(run), unbaked=True) == newest_checkpoint(run)
    assert locate(str(run / "model"), unbaked=True) == run / "model"
    shutil.rmtree(run / "model")
    for checkpoint in (run / "checkpoints").iterdir():
        damage(checkpoint / "model.safetensors")
    for unbaked in (False, True):
        with pytest.raises(VqcliError, match=r"model\.safetensors is damaged or missing: .* is not whole"):
            locate(str(run), unbaked=unbaked)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(VqcliError, match="a run without a finished checkpoint"):
        locate(str(run))


@pytest.fixture
def marked_memory():
    """Memory that nothing was written to holds NaN, and the largest integers."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)


KINDS = [("conv", book, quantizer) for book in PARTS["codebooks"] for quantizer in PARTS["quantizers"]]
KINDS += [(name, "learned", "nearest") for name in PARTS["tokenizers"] if name != "conv"]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_files_hold_all_that_a_part_is(tmp_path, marked_memory, kind):
    """Nothing made at construction survives loading, such as a buffer that is not stored."""
    names = dict(zip(("tokenizers", "codebooks", "quantizers"), kind))
    tiny = {part: {"name": name, **resolve(part, name).TINY} for part, name in names.items()}
    config = tiny["tokenizers"] | {"codebook": tiny["codebooks"], "quantizer": tiny["quantizers"]}
    torch.manual_seed(0)
    try:
        made = build("tokenizers", TypeAdapter(TokenizerConfig).validate_python(config)).eval()
    except VqcliError as e:
        pytest.skip(f"refused: {e}")
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    with files.writing_folder(tmp_path / "model") as folder:  # as a training checkpoint: not baked
        files.write_json(folder / "config.json", describe_tokenizer(made))
        files.write_tensors(folder / "model.safetensors", made.state_dict())
    side = 4 * made.downsample
    images = torch.rand(2, 3, side, side) * 2 - 1
    for loaded in (read_tokenizer(tmp_path / "model").eval(), load_tokenizer(tmp_path / "model")):
        if made.quantizer.size:
            tokens = made.encode(images)
            assert torch.equal(loaded.encode(images).ids, tokens.ids)
            assert torch.equal(loaded.decode(tokens), made.decode(tokens))
        latents = made.latents(images)
        assert torch.equal(loaded.latents(images), latents)
        assert torch.equal(loaded.decode_latents(latents, False), made.decode_latents(latents, False))
        assert torch.equal(loaded.quantizer.codes(), made.quantizer.codes())


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    write_config(folder, json.dumps(config | changes))


def write_config(folder, text):
    (folder / "config.json").write_text(text)
    (folder / "manifest.json").unlink()


def rewrite(folder, name, change, metadata=None):
    """Store changed tensors, as a tool without manifests would."""
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name, metadata)
    (folder / "manifest.json").unlink()


def cast(tensors, kind):
    tensors.update({name: tensor.to(kind) for name, tensor in tensors.items()})


def poison(tensors):
    next(iter(tensors.values())).view(-1)[0] = torch.nan


HARM = {
    "no config": (lambda f: (f / "config.json").unlink(), "input-missing", "config.json does not exist"),
    "torn config": (lambda f: write_config(f, '{"ki'), "damaged", "no readable JSON"),
    "a list": (lambda f: write_config(f, "[]"), "wrong-kind", "holds no tokenizer"),
    "generator": (lambda f: edit(f, kind="generator"), "wrong-kind", "holds a generator"),
    "newer": (lambda f: edit(f, format=99), "format", "has format 99, this vqcli reads 1"),
    "no part": (lambda f: edit(f, tokenizer=None), "damaged", "config.json is damaged"),
    "odd part": (lambda f: edit(f, tokenizer={"name": "os"}), "damaged", "unknown tokenizer 'os'"),
    "odd size": (lambda f: edit(f, image_size=3), "damaged", "config.json is damaged"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "input-missing", "model.* does not exist"),
    "edited config": (lambda f: (f / "config.json").write_text("{}"), "damaged", "config.json is not what"),
    "no codes": (lambda f: (f / "codebook.safetensors").unlink(), "input-missing", "codebook.* does not"),
    "one bit": (lambda f: damage(f / "model.safetensors"), "damaged", "is not what manifest.json says"),
    "one bit of codes": (lambda f: damage(f / "codebook.safetensors"), "damaged", "codebook.* is not what"),
    "half": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:999]),
             "damaged", "cannot be read"),
    "empty": (lambda f: (f / "codebook.safetensors").write_bytes(b""), "damaged", "cannot be read"),
    "torn manifest": (lambda f: (f / "manifest.json").write_text("[1]"), "damaged", "manifest.json"),
    "missing tensor": (lambda f: rewrite(f, "model.safetensors", lambda t: t.pop("encoder.stem.bias")),
                       "damaged", "do not fit: .*encoder.stem.bias"),
    "extra tensor": (lambda f: rewrite(f, "model.safetensors", lambda t: t.update(more=torch.zeros(1))),
                     "damaged", "do not fit: .*more"),
    "other shape": (lambda f: rewrite(f, "codebook.safetensors", lambda t: t.update(codes=torch.zeros(4, 8))),
                    "damaged", "do not fit: .*quantizer.codebook.weight"),
    "other name": (lambda f: rewrite(f, "codebook.safetensors", lambda t: t.update(table=t.pop("codes"))),
                   "damaged", "do not fit"),
    "complex": (lambda f: rewrite(f, "model.safetensors", lambda t: cast(t, torch.complex64)),
                "damaged", "do not fit: .* is complex64, not float32"),
    "integers": (lambda f: rewrite(f, "codebook.safetensors", lambda t: cast(t, torch.int32)),
                 "damaged", "do not fit: .* is int32, not float32"),
    "8 bits": (lambda f: rewrite(f, "model.safetensors", lambda t: cast(t, torch.float8_e4m3fn)),
               "damaged", "do not fit: .* is float8_e4m3fn, not float32"),
    "nan": (lambda f: rewrite(f, "model.safetensors", poison), "not-finite", "holds NaN or Inf"),
    "nan codes": (lambda f: rewrite(f, "codebook.safetensors", poison), "not-finite", "holds NaN or Inf"),
    "another's": (lambda f: rewrite(f, "codebook.safetensors", lambda t: None, {"fingerprint": "0" * 64}),
                  "damaged", "codebook.safetensors belongs to another model"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_folder_is_one_sentence(tmp_path, harm):
    folder = saved(tokenizer("learned"), tmp_path / "model")
    change, reason, message = HARM[harm]
    change(folder)
    with pytest.raises(VqcliError, match=message) as raised:
        load_tokenizer(folder)
    assert raised.value.reason == reason
    assert raised.value.hint
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_manifest_is_a_model_too(tmp_path):
    folder = saved(tokenizer(), tmp_path / "model")
    (folder / "manifest.json").unlink()
    (folder / "README.md").write_text("edited")
    load_tokenizer(folder)


def test_a_reference_that_is_no_model(tmp_path, monkeypatch):
    monkeypatch.delenv("VQCLI_MODEL", raising=False)
    with pytest.raises(VqcliError, match="no model was given"):
        locate(None)
    with pytest.raises(VqcliError, match="there is no model at nowhere"):
        locate("nowhere")
    with pytest.raises(VqcliError, match="it has no config"):
        locate(str(tmp_path))
    monkeypatch.setenv("VQCLI_MODEL", str(saved(tokenizer(), tmp_path / "model")))
    assert locate(None) == tmp_path / "model"
