"""Model folders sent to a Hub and fetched from it: the same bytes, and nothing else."""

import json
from dataclasses import replace

import pytest
import yaml
from safetensors.torch import save

from tests.hub.commands import refused, vqcli
from tests.hub.server import Fault
from tests.importers.foreign import CASES
from tests.models import make_model
from vqcli import files
from vqcli.jobs.push import pack
from vqcli.library.alias import Published
from vqcli.library.aliases import ALIASES


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


def imported(tmp_path):
    case = CASES["taming"]
    (tmp_path / "file.safetensors").write_bytes(save(case.state(case.model())))
    assert vqcli("import", tmp_path / "file.safetensors", "-o", tmp_path / "model").exit_code == 0
    return tmp_path / "model"


def front(model, **given):
    """What the card that would be sent tells machines, and its text."""
    _, told, text = pack(str(model), "me/copy", **given).card.split("---\n", 2)
    return yaml.safe_load(told), text


def test_the_licence_is_that_of_weights(hub, tmp_path, monkeypatch):
    """The code's is not theirs: only the table and the user tell one."""
    model = imported(tmp_path)
    assert "license" not in front(model)[0]
    known = Published("them/vq", "vq.pt", sha256=files.sha256(tmp_path / "file.safetensors"))
    monkeypatch.setitem(ALIASES, "tiny", known)
    assert "license" not in front(model)[0]
    monkeypatch.setitem(ALIASES, "tiny", replace(known, licence="CC-BY-4.0"))
    assert front(model)[0] == {
        "license": "cc-by-4.0",
        "library_name": "vqcli",
        "tags": ["image-tokenizer", "vector-quantization"],
    }
    assert front(model, licence="mit")[0]["license"] == "mit"
    assert vqcli("push", model, "me/copy", "--yes", "--license", "apache-2.0").exit_code == 0
    (sent,) = hub.repositories["me/copy"]
    assert sent["README.md"].decode().startswith("---\nlicense: apache-2.0\n")
    assert "import.json" in sent
    assert vqcli("push", model, "me/copy", "--yes", "--license", "a: b").exit_code == 2


def test_cards_of_users(tmp_path):
    model = make_model(tmp_path / "model")
    card = model / "README.md"
    card.write_text("# mine\n\nlicense: of the text\n\n---\nmore\n")
    told, text = front(model, licence="mit")
    assert told == {"license": "mit", "library_name": "vqcli"}
    assert text.startswith("# mine\n\nlicense: of the text\n\n---\nmore\n")
    card.write_text("---\nlicense: other\ntags: [a]\n---\n# mine\n")
    assert front(model)[0] == {"license": "other", "tags": ["a"]}
    assert front(model, licence="mit")[0] == {"license": "mit", "tags": ["a"]}


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


def test_damage_is_one_sentence(hub, tmp_path):
    model = make_model(tmp_path / "model")
    for told in ('{"files": [1]}', '{"files": {"config.json": 3}}', "[]", "{"):
        (model / "manifest.json").write_text(told)
        done = vqcli("push", model, "me/mine", "--yes")
        assert (done.exit_code, done.stdout) == (1, "")
        assert "manifest.json" in done.stderr
        assert "internal" not in done.stderr
    (model / "manifest.json").unlink()
    (model / "README.md").write_bytes(b"\xff\xfe")
    assert "README.md is no UTF-8 text\nhint: " in vqcli("push", model, "me/mine", "--yes").stderr
    assert hub.log == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", ["/commit/", "/api/repos/create"])
def test_no_right_to_write(hub, tmp_path, status, path):
    hub.faults = [Fault("POST", path, status=status)]
    done = vqcli("push", make_model(tmp_path / "model"), "me/mine", "--yes")
    assert done.exit_code == 1
    assert "error: no right to write to me/mine\nhint: log in with a token that may write" in done.stderr


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


LINKS = ("usage.json", "README.md", "extra.safetensors", "tokenizer/usage.json", "tokenizer")
"""What a stranger's folder may have as links; the last one to a folder."""


def listing_all(model):
    files.write_json(model / "manifest.json", {"files": files.manifest(model)})


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("name", LINKS)
def test_what_a_link_leads_to_stays_here(hub, tmp_path, name, listed):
    """It is left out where the manifest does not list it, and else nothing is sent or copied at all."""
    model, secret = make_model(tmp_path / "model"), tmp_path / "private"
    secret.mkdir()
    (secret / "usage.json").write_text("PRIVATE")
    listing_all(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(secret if name == "tokenizer" else secret / "usage.json")
    if listed:
        told = json.loads((model / "manifest.json").read_text())
        inside = "tokenizer/usage.json" if name == "tokenizer" else name
        told["files"][inside] = {"bytes": 7, "sha256": files.sha256(secret / "usage.json")}
        files.write_json(model / "manifest.json", told)
    sent, copied = vqcli("push", model, "me/mine", "--yes"), vqcli("pull", model, "-o", tmp_path / "copy")
    if listed or name == "README.md":
        for done in (sent, copied):
            assert done.exit_code == 1
            assert f"{name} is a link" in done.stderr or f"{inside} is a link" in done.stderr
        assert not (tmp_path / "copy").exists()
    else:
        assert sent.exit_code == copied.exit_code == 0
        assert not any((tmp_path / "copy" / name).is_file() for name in LINKS if name != "README.md")
    told = [data for each in hub.repositories.get("me/mine", []) for data in each.values()]
    assert not any(b"PRIVATE" in data for data in told)


def test_a_linked_recipe_is_not_told(hub, tmp_path):
    model, secret = make_model(tmp_path / "run" / "model"), tmp_path / "hosts.yml"
    secret.write_text("host: {oauth_token: PRIVATE}\n")
    (tmp_path / "run" / "recipe.yaml").symlink_to(secret)
    assert "recipe.yaml is a link" in vqcli("push", model, "me/mine", "--yes").stderr
    (tmp_path / "run" / "recipe.yaml").unlink()
    (tmp_path / "run" / "recipe.yaml").write_text('task: "a\\n```\\n# Injected\\n"\n')
    card = pack(str(model), "me/mine").card
    assert "````yaml\n" in card
    (tmp_path / "run" / "recipe.yaml").write_text("[a]\n")
    assert "it holds no keys" in vqcli("push", model, "me/mine", "--yes").stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.yaml").write_text("task: tokenizer\n")
    (tmp_path / "other" / "model").symlink_to(model)
    assert "is a link, and so is not sent" in vqcli("push", tmp_path / "other", "me/mine", "--yes").stderr
    assert hub.repositories.get("me/mine") is None
