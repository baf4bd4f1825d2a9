"""Models of the Hub, by the real client from a Hub on the loopback."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from tests.hub.commands import refused, vqcli
from tests.hub.server import Fault
from tests.importers.foreign import CASES
from vqcli import files
from vqcli.checkpoint.tokenizer import save_tokenizer
from vqcli.library import aliases
from vqcli.library.alias import Published

CASE = CASES["llamagen"]
REPOSITORY, FILE = "them/vq", "vq.pt"


@pytest.fixture(scope="module")
def weights():
    held = io.BytesIO()
    torch.save({"model": CASE.state(CASE.model())}, held)
    return held.getvalue()


@pytest.fixture
def alias(hub, weights, tmp_path, monkeypatch):
    """A short name of a published file."""
    hub.commit(REPOSITORY, {FILE: weights, "README.md": b"vq"})
    (tmp_path / "one").write_bytes(weights)
    known = Published(
        REPOSITORY, FILE, sha256=files.sha256(tmp_path / "one"), importer="llamagen", what="a test"
    )
    monkeypatch.setitem(aliases.ALIASES, "tiny-vq", known)
    return "tiny-vq"


def blobs():
    return [path for path in Path(constants.HF_HUB_CACHE).rglob("blobs/*") if path.is_file()]


def test_an_alias_encodes_as_its_authors_would(hub, alias, tmp_path):
    done = vqcli("encode", "demo:2", "-o", tmp_path / "t.npy", "-m", alias, "--size", 16, "--num-workers", 0)
    assert done.exit_code == 0, done.output
    assert "download vq.pt" in done.stderr
    (tmp_path / "theirs").mkdir()
    save_tokenizer(CASE.model(), tmp_path / "theirs")
    vqcli(
        "encode",
        "demo:2",
        "-o",
        tmp_path / "l.npy",
        "-m",
        tmp_path / "theirs",
        "--size",
        16,
        "--num-workers",
        0,
    )
    assert np.array_equal(np.load(tmp_path / "t.npy"), np.load(tmp_path / "l.npy"))
    hub.log.clear()
    again = vqcli("info", alias)
    assert again.exit_code == 0
    assert hub.log == []  # its hash is known, its import is here: nobody is asked
    (row,) = [row for row in json.loads(vqcli("list", "models", "--json").stdout) if row["name"] == alias]
    assert row["cached"] is True


def test_second_use_asks_for_no_bytes(hub, alias):
    place = f"hf://{REPOSITORY}/{FILE}"
    first = vqcli("pull", place, "-q")
    hub.log.clear()
    assert vqcli("pull", place, "-q").stdout == first.stdout
    assert [asked.method for asked in hub.log] == ["HEAD"]


@pytest.mark.parametrize("reference", [REPOSITORY, f"hf://{REPOSITORY}", f"hf://{REPOSITORY}@COMMIT/{FILE}"])
def test_references(hub, alias, reference):
    reference = reference.replace("COMMIT", hub.name_of(REPOSITORY, 0))
    assert vqcli("pull", reference).exit_code == 0


def test_continues_after_a_cut(hub, alias, weights, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    hub.faults = [Fault("GET", FILE, cut=len(weights) // 2, times=1)]
    done = vqcli("pull", alias)
    assert done.exit_code == 0, done.output
    assert "the connection was cut: going on where it was" in done.stderr
    first, second = hub.asked("GET", FILE)
    assert "Range" not in first.headers
    begin = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert len(weights) // 2 - (1 << 16) <= begin <= len(weights) // 2


def test_wrong_bytes_are_removed(hub, alias, weights):
    flipped = bytearray(weights)
    flipped[1000] ^= 1
    hub.faults = [Fault("GET", FILE, body=bytes(flipped), times=1)]
    refused(alias, "wrong bytes", "download it anew")
    assert blobs() == []
    assert vqcli("pull", alias).exit_code == 0


def test_another_file_than_known_is_not_downloaded(hub, alias):
    hub.commit(REPOSITORY, {FILE: b"other weights"})
    refused(alias, "not the known", f"hf://{REPOSITORY}/{FILE} takes it")
    assert hub.asked("GET", FILE) == []


def test_rot_in_the_cache(hub, alias):
    place = f"hf://{REPOSITORY}/{FILE}"
    assert vqcli("pull", place).exit_code == 0
    (blob,) = [path for path in blobs() if len(path.name) == 64]
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    refused(place, "wrong bytes")
    assert not blob.exists()
    assert vqcli("pull", place).exit_code == 0


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        (Fault("", FILE, 401), "has no them/vq, or does not show it", "hf auth login"),
        (Fault("", FILE, 403), "only to those its authors let in", "accept its terms"),
        (Fault("", FILE, 404, {"X-Error-Code": "GatedRepo"}), "only to those", "accept its terms"),
        (Fault("", FILE, 404, {"X-Error-Code": "RepoNotFound"}), "has no them/vq", "check the name"),
        (Fault("", FILE, 404, {"X-Error-Code": "RevisionNotFound"}), "has no revision 'main'", "@revision"),
        (Fault("", FILE, 404, {"X-Error-Code": "EntryNotFound"}), "has no file 'vq.pt'", "hf://them/vq"),
        (Fault("", FILE, 429, {"Retry-After": "3600"}), "left alone for 3,600 seconds", "log in"),
        (
            Fault("HEAD", FILE, headers={"ETag": '"../../../../evil"', "X-Linked-Etag": ""}),
            "as a ETag",
            "HF_ENDPOINT",
        ),
        (Fault("HEAD", FILE, headers={"X-Linked-Etag": "x" * 10_000}), "as a ETag", "nothing was"),
        (Fault("HEAD", FILE, headers={"X-Repo-Commit": "../../evil"}), "as a commit", "nothing was"),
        (Fault("HEAD", FILE, headers={"X-Repo-Commit": ""}), "is no Hub", "proxy"),
        (Fault("HEAD", FILE, headers={"X-Linked-Size": "9" * 15}), "has room for", "HF_HOME"),
        (
            Fault("GET", FILE, body=b"<html>log in</html>", headers={"Content-Length": "19"}),
            "another length",
            "again",
        ),
    ],
    ids=lambda value: None if isinstance(value, Fault) else str(value)[:24],
)
def test_what_can_go_wrong(hub, alias, tmp_path, fault, message, hint):
    hub.faults = [fault]
    talk = refused(f"hf://{REPOSITORY}/{FILE}", message, hint)
    assert "Traceback" not in talk
    assert blobs() == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
@pytest.mark.parametrize("status", [500, 503, 504, 408, 429])
def test_a_failing_hub(hub, alias, status):
    hub.faults = [Fault("", FILE, status)]
    refused(
        alias, "too many requests" if status == 429 else f"it answered {status}", "vqcli pull tiny-vq -o DIR"
    )
    assert len(hub.asked("HEAD")) == 3


def test_a_hub_that_recovers(hub, alias):
    hub.faults = [Fault("HEAD", FILE, 503, times=1)]
    done = vqcli("pull", alias)
    assert done.exit_code == 0
    assert "trying again in 1 s" in done.stderr


@pytest.mark.slow
def test_a_hub_that_stalls(hub, alias, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    hub.faults = [Fault("HEAD", FILE, stall=2)]
    refused(alias, "did not answer in time", "vqcli pull tiny-vq")


@pytest.mark.slow
def test_an_unreachable_hub(hub, alias, monkeypatch):
    address = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    talk = refused(
        alias, "tiny-vq (them/vq, vq.pt) is not on this machine, and the Hub cannot be reached", "vqcli train"
    )
    assert "http" not in talk


def test_offline(hub, alias, monkeypatch):
    place = f"hf://{REPOSITORY}/{FILE}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(
        alias,
        "is not on this machine, and HF_HUB_OFFLINE is set",
        "a local folder, or train one: vqcli train",
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert vqcli("pull", place).exit_code == vqcli("pull", REPOSITORY).exit_code == 0
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for reference in (place, REPOSITORY, alias):
        assert vqcli("pull", reference).exit_code == 0
    assert hub.log == []


@pytest.mark.slow
def test_what_was_downloaded_serves_while_the_hub_fails(hub, alias):
    place = f"hf://{REPOSITORY}/{FILE}"
    assert vqcli("pull", place).exit_code == 0
    hub.faults = [Fault("", FILE, 503)]
    done = vqcli("pull", place)
    assert done.exit_code == 0
    assert "as it was downloaded before is used" in done.stderr


def test_the_token_stays_here_unless_its_host_is_named(hub, alias, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.token = "hf_secret"
    talk = refused(alias, "does not show it", "VQCLI_TOKEN_HOST")
    assert "hf_secret" not in talk
    assert hub.log
    assert not any("Authorization" in asked.headers for asked in hub.log)
    monkeypatch.setenv("VQCLI_TOKEN_HOST", "127.0.0.1")
    assert vqcli("pull", alias).exit_code == 0


def test_the_token_goes_to_the_official_address(monkeypatch):
    from vqcli.library.downloads.client import token

    monkeypatch.delenv("VQCLI_TOKEN_HOST", raising=False)
    official = constants._HF_DEFAULT_ENDPOINT
    seen = {}
    for address in (
        official,
        official.replace("https", "http"),
        f"{official}.example",
        "https://hub.example",
    ):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        seen[address] = token()
    assert list(seen.values()) == [None, False, False, False]


def test_which_file_is_meant(hub, weights):
    hub.commit("them/two", {"a.pt": weights, "b/c.ckpt": weights})
    refused("them/two", "holds several models: a.pt, b/c.ckpt", "hf://them/two/a.pt")
    assert vqcli("pull", "hf://them/two/b").exit_code == 0  # a folder with one
    hub.commit("them/none", {"README.md": b"-"})
    refused("them/none", "holds no weights")


def test_diffusers_folder_with_its_settings(hub):
    case = CASES["diffusers"]
    both = {
        "vqvae/d.bin": b"-",
        "vqvae/d.fp16.safetensors": b"-",
        "vqvae/d.safetensors": save(case.state(case.model())),
    }
    hub.commit("them/pipeline", {**both, "unet/d.bin": b"-", "vqvae/config.json": b'{"norm_num_groups": 32}'})
    assert vqcli("pull", "hf://them/pipeline/vqvae").exit_code == 0
    hub.commit("them/pipeline", {"vqvae/config.json": b'{"norm_num_groups": 16}'})
    shutil.rmtree(Path(constants.HF_HUB_CACHE).parent / "ours")
    refused("hf://them/pipeline/vqvae", "norm_num_groups is 16")


def test_without_a_model_the_default_is_named(hub, alias, tmp_path, monkeypatch):
    from vqcli.library import open as models

    monkeypatch.setattr(models, "DEFAULT", alias)
    done = vqcli("encode", "demo:1", "-o", tmp_path / "t.npy", "--size", 16, "--num-workers", 0)
    assert done.exit_code == 0, done.output
    assert "no --model: tiny-vq" in done.stderr


def test_shards_with_an_index(hub):
    """All files that the index names come with it."""
    state = CASE.state(CASE.model())
    told = {key: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, key in enumerate(state)}
    shards = {
        name: save({key: state[key] for key in told if told[key] == name}) for name in set(told.values())
    }
    index = json.dumps({"weight_map": told}).encode()
    hub.commit("them/large", {**shards, "model.safetensors.index.json": index, "README.md": b"-"})
    assert vqcli("pull", "them/large").exit_code == 0
    assert vqcli("pull", "hf://them/large/model.safetensors.index.json").exit_code == 0
