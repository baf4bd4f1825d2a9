"""A Hub that answers as none should, and what is known of it while it cannot be asked."""

import json

import pytest
import torch
from huggingface_hub import constants, file_download

from tests.hub.commands import refused, vqcli
from tests.hub.server import Fault, serving
from tests.importers.foreign import CASES
from tests.models import make_model

PLACE = "hf://a/b/x.pt"


def weights(path, shift=0.0):
    case = CASES["llamagen"]
    state = case.state(case.model())
    state["encoder.conv_in.bias"] += shift
    torch.save({"model": state}, path)
    return path.read_bytes()


@pytest.fixture
def held(hub, tmp_path):
    """The commit of a repository of one file of weights."""
    return hub.commit("a/b", {"x.pt": weights(tmp_path / "x.pt")})


@pytest.mark.parametrize("header", ["X-Xet-Refresh-Route", "Link"])
def test_no_other_host_is_asked_for_xet(hub, held, monkeypatch, header):
    monkeypatch.setenv("VQCLI_TOKEN_HOST", hub.url.removeprefix("http://"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as other:
        route = f"{other.url}/xet"
        value = f'<{route}>; rel="xet-auth"' if header == "Link" else route
        hub.faults = [Fault("HEAD", "/resolve/", headers={"X-Xet-Hash": "a" * 64, header: value})]
        done = vqcli("pull", PLACE)
        assert other.log == []
    assert done.exit_code == 0, done.output
    assert hub.asked("GET", "/resolve/")
    assert not constants.HF_HUB_DISABLE_XET


COMMIT = "a" * 40
ODD = {
    "page": b"<html>log in</html>",
    "list": b"[]",
    "null": b"null",
    "text": b'{"id": "a/b", "sha": "%s", "siblings": ["x"]}' % COMMIT.encode(),
    "number": b'{"id": "a/b", "sha": "%s", "siblings": [{"rfilename": 5}]}' % COMMIT.encode(),
    "commit": b'{"id": "a/b", "sha": 5, "siblings": []}',
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_odd_lists(hub, body):
    hub.faults = [Fault("GET", "/api/models", status=200, body=body)]
    assert "internal" not in refused("a/b", "what answered for a/b is no Hub", "HF_ENDPOINT")


def test_a_list_of_no_commit(hub):
    hub.faults = [Fault("GET", "/api/models", status=200, body=b'{"id": "a/b"}')]
    refused("a/b", "is no list of a commit's files", "HF_ENDPOINT")


def test_odd_addresses(hub, held, monkeypatch):
    hub.faults = [Fault("HEAD", "/resolve/", status=302, headers={"Location": "http://[bad"})]
    refused(PLACE, "what answered for a/b, x.pt is no Hub", "HF_ENDPOINT")
    monkeypatch.setattr(constants, "ENDPOINT", "http://[bad")
    refused(PLACE, "what answered for a/b, x.pt is no Hub", "HF_ENDPOINT")
    refused("a/b", "what answered for a/b is no Hub", "HF_ENDPOINT")


def test_a_token_of_other_letters(hub, held, monkeypatch):
    monkeypatch.setenv("VQCLI_TOKEN_HOST", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_\u00e9x")
    for reference in (PLACE, "a/b"):
        refused(reference, "a request takes ASCII only", "HF_TOKEN")


def test_a_commit_is_held_to(hub, held):
    other = "f" * 40
    hub.faults = [Fault("", "/resolve/", headers={"X-Repo-Commit": other})]
    refused(f"hf://a/b@{held}/x.pt", f"asked for commit {held[:8]}", "HF_ENDPOINT")
    assert hub.asked("GET") == []
    body = json.dumps({"id": "a/b", "sha": other, "siblings": [{"rfilename": "x.pt"}]}).encode()
    hub.faults = [Fault("GET", "/api/models", status=200, body=body)]
    refused(f"a/b@{held}", f"and sent {other[:8]}", "HF_ENDPOINT")


def test_a_commit_that_changes_on_the_way(hub, held):
    hub.faults = [
        Fault("HEAD", "/resolve/", headers={"X-Repo-Commit": "e" * 40}, times=1),
        Fault("HEAD", "/resolve/", headers={"X-Repo-Commit": "f" * 40}),
    ]
    refused(PLACE, "another commit's while it was downloaded", "again")


def test_wrong_bytes_where_there_are_no_links(hub, held, tmp_path, monkeypatch):
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_, **__: False)
    (tmp_path / "other").mkdir()
    other = weights(tmp_path / "other" / "x.pt", 1.0)
    assert len(other) == (tmp_path / "x.pt").stat().st_size
    hub.faults = [Fault("GET", "/resolve/", body=other)]
    refused(PLACE, "wrong bytes", "download it anew")
    hub.faults = []
    assert vqcli("pull", PLACE).exit_code == 0
    (kept,) = (tmp_path / "hub").rglob("snapshots/*/x.pt")
    assert not kept.is_symlink()
    kept.write_bytes(other)
    refused(f"hf://a/b@{held}/x.pt", "wrong bytes", "download it anew")  # nobody is asked: it was remembered
    assert not kept.exists()


def test_offline_nothing_is_chosen_in_silence(hub, held, tmp_path, monkeypatch):
    hub.commit("a/b", {"y.pt": b"y"})
    assert vqcli("pull", PLACE).exit_code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("a/b", "only some files of a/b are on this machine", "hf://a/b/x.pt")
    assert vqcli("pull", PLACE).exit_code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    refused("a/b", "holds several models: x.pt, y.pt")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("a/b", "holds several models: x.pt, y.pt")  # as it was told


def test_offline_a_whole_model_needs_no_list(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    make_model(tmp_path / "model")
    assert vqcli("push", tmp_path / "model", "me/mine", "--yes").exit_code == 0
    assert vqcli("pull", "me/mine").exit_code == 0
    for path in (tmp_path / "assets").rglob("*.json"):
        path.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert vqcli("pull", "me/mine").exit_code == 0


def test_a_list_that_cannot_be_kept(hub, held, tmp_path, monkeypatch):
    (tmp_path / "assets").touch()
    assert vqcli("pull", "a/b").exit_code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("a/b", "only some files of a/b are on this machine", "hf://a/b/x.pt")
