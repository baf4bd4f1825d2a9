"""Model folders sent to a Hub and fetched from it: the same bytes, and nothing else."""

from safetensors.torch import save

from tests.hub.commands import refused, vqcli
from tests.importers.foreign import CASES
from tests.models import make_model
from vqcli import files


def test_push_then_pull(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("VQCLI_TOKEN_HOST", hub.url.removeprefix("http://"))
    hub.token = "hf_secret"
    model = make_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "recipe.yaml").write_text("task: tokenizer\ndata: {source: /home/me/photos}\n")
    for stray in ("notes.txt", "secrets.json", "code.py", "weights.pt"):
        (model / stray).write_text("not for others")
    assert "--yes" in vqcli("push", model, "me/mine").stderr
    assert hub.log == []
    done = vqcli("push", model, "me/mine", "--yes")
    assert done.exit_code == 0, done.output
    (sent,) = hub.repositories["me/mine"]
    assert set(sent) == {
        "config.json",
        "model.safetensors",
        "codebook.safetensors",
        "README.md",
        "manifest.json",
    }
    card = sent["README.md"].decode()
    assert "-m me/mine" in card
    assert "source: photos" in card
    assert "/home/me" not in card
    assert vqcli("pull", "me/mine", "-o", tmp_path / "back").exit_code == 0
    back = {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()}
    assert back == sent
    assert files.verified(tmp_path / "back")
    for name in ("config.json", "model.safetensors", "codebook.safetensors"):
        assert sent[name] == (model / name).read_bytes()
    assert vqcli("info", "me/mine").exit_code == 0


def test_the_licence_is_carried_over(hub, tmp_path):
    case = CASES["taming"]
    (tmp_path / "file.safetensors").write_bytes(save(case.state(case.model())))
    assert vqcli("import", tmp_path / "file.safetensors", "-o", tmp_path / "model").exit_code == 0
    assert vqcli("push", tmp_path / "model", "me/copy", "--yes").exit_code == 0
    (sent,) = hub.repositories["me/copy"]
    assert sent["README.md"].decode().startswith("---\nlicense: mit\n")
    assert "import.json" in sent


def test_what_cannot_be_pushed(hub, tmp_path):
    model = make_model(tmp_path / "model")
    bad = vqcli("push", model, "no owner", "--yes")
    assert "cannot be a repository's name" in bad.stderr
    files.write_json(model / "manifest.json", {"files": files.manifest(model)})
    (model / "model.safetensors").write_bytes(b"cut")
    assert "is not what manifest.json says" in vqcli("push", model, "me/mine", "--yes").stderr
    (model / "state.json").touch()
    assert "training checkpoint" in vqcli("push", model, "me/mine", "--yes").stderr
    assert hub.log == []


def test_a_hostile_repository(hub, tmp_path):
    """Only a model folder's own names are taken; what leads elsewhere is never asked for."""
    model = make_model(tmp_path / "model")
    names = [
        "../../evil.safetensors",
        "/etc/evil.json",
        "a\\..\\evil.safetensors",
        "x.py",
        "e\nvil.safetensors",
    ]
    own = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.commit(
        "them/bad",
        {**dict.fromkeys(names, b"evil"), **own, "weights.pt": b"evil", "deep/x.safetensors": b"x"},
    )
    done = vqcli("pull", "them/bad", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*own, "manifest.json"}
    assert not any("evil" in asked.path or "weights" in asked.path for asked in hub.log)
    assert list(tmp_path.rglob("*evil*")) == []


def test_a_manifest_that_does_not_fit(hub, tmp_path):
    model = make_model(tmp_path / "model")
    files.write_json(model / "manifest.json", {"files": files.manifest(model)})
    own = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.commit("them/bad", own | {"codebook.safetensors": own["model.safetensors"]})
    refused("them/bad", "codebook.safetensors is missing or is not what manifest.json says", "push it again")
    del own["codebook.safetensors"]
    hub.commit("them/less", own)
    refused("them/less", "codebook.safetensors is missing")
