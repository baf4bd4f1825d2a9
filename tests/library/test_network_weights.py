"""Weights of published networks: where they are looked for, and what is kept of them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from huggingface_hub import constants

from tests.locks import held_elsewhere
from tests.perceptual import drawn_weights
from tests.weights_site import NAME, Told, holds, names, put, refused
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.finder import Finder, Onlooker
from vqcli.library import weights
from vqcli.library.downloads import web
from vqcli.library.networks import NETWORKS, NetworkFile
from vqcli.library.weights import network_weights
from vqcli.losses.perceptual import PerceptualLoss
from vqcli.nn.inception import FidInception


def test_downloaded_once(site, kept, tmp_path, published):
    told = Told()
    holds(network_weights(NAME, progress=told), tmp_path, published)
    assert names(site) == ["heads.pth", "backbone.pth"]  # the small one first: little is lost with the other
    assert told.stretches == [("download heads.pth", 1, "MB"), ("download backbone.pth", 1, "MB")]
    assert told.done == 1
    assert sorted(path.name for path in kept.iterdir()) == ["manifest.json", "model.safetensors"]
    assert [path.name for path in sorted(kept.parent.iterdir())] == [".lock", NAME]
    holds(network_weights(NAME), tmp_path, published)
    assert len(site.asked) == 2


@pytest.mark.parametrize("harm", ["unlink", "flip"])
def test_a_damaged_entry_is_made_again(site, kept, harm, tmp_path, published):
    network_weights(NAME)
    model = kept / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[-3] ^= 64
    model.unlink() if harm == "unlink" else model.write_bytes(data)
    told = Told()
    holds(network_weights(NAME, progress=told), tmp_path, published)
    assert told.lines == [f"{kept} is damaged: it is made again"]
    assert len(site.asked) == 4


def test_torch_has_the_large_file(site, tmp_path, published):
    put(tmp_path / "torch" / "hub" / "checkpoints", published, "backbone.pth")
    holds(network_weights(NAME), tmp_path, published)
    assert names(site) == ["heads.pth"]


def test_a_file_of_that_name_but_other_bytes_is_passed_over(site, tmp_path, published):
    folder = put(tmp_path / "torch" / "hub" / "checkpoints", published, "backbone.pth")
    (folder / "backbone.pth").write_bytes(published["heads.pth"])
    told = Told()
    holds(network_weights(NAME, progress=told), tmp_path, published)
    assert told.lines == [
        f"{folder / 'backbone.pth'} has not the SHA-256 of the published file: it is passed over"
    ]
    assert names(site) == ["heads.pth", "backbone.pth"]


def test_the_named_folder(site, tmp_path, monkeypatch, published, kept):
    folder = put(tmp_path / "mine", published)
    monkeypatch.setenv("VQCLI_WEIGHTS_DIR", str(folder))
    holds(network_weights(NAME), tmp_path, published)
    assert site.asked == []
    assert kept.is_dir()
    other = {"features.0.bias": torch.ones(8), "lin0.model.1.weight": torch.ones(1, 4, 1, 1)}
    files.write_tensors(folder / f"{NAME}.safetensors", other)
    assert set(network_weights(NAME)) == set(other)  # before the cache
    monkeypatch.setenv("VQCLI_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    with refused("input-missing", r"\$VQCLI_WEIGHTS_DIR is .*nowhere, which is no folder"):
        network_weights(NAME)


def test_given_files_and_folders(site, tmp_path, published, kept, monkeypatch):
    monkeypatch.setenv("VQCLI_WEIGHTS_DIR", str(tmp_path / "nowhere"))  # not asked
    folder = put(tmp_path / "folder", published)
    (folder / "heads.pth").write_bytes((folder / "heads.pth").read_bytes() + b" ")  # of no known hash
    found = network_weights(NAME, given=str(folder))
    holds(found, tmp_path, published)
    for name, write in (("all.safetensors", files.write_tensors), ("all.pth", lambda p, s: torch.save(s, p))):
        write(tmp_path / name, found | {"other": torch.zeros(1)})
        holds(network_weights(NAME, given=str(tmp_path / name)), tmp_path, published)
    files.write_tensors(folder / f"{NAME}.safetensors", {key: 2 * x for key, x in found.items()})
    assert torch.equal(network_weights(NAME, str(folder))["features.0.bias"], 2 * found["features.0.bias"])
    assert site.asked == []
    assert not kept.exists()


def test_given_what_cannot_be_used(site, tmp_path, published):
    folder = put(tmp_path / "folder", published, "heads.pth")
    with refused("input-missing", r"folder holds neither lpips-vgg\.safetensors nor backbone\.pth"):
        network_weights(NAME, given=str(folder))
    with refused("layout", r"heads\.pth has none of the weights that backbone\.pth has"):
        network_weights(NAME, given=str(folder / "heads.pth"))
    with refused("input-missing", "which should hold the weights of lpips-vgg, does not exist"):
        network_weights(NAME, given=str(tmp_path / "away.pth"))
    (tmp_path / "page.pth").write_bytes(b"<html>")
    with refused("format", "is a web page"):
        network_weights(NAME, given=str(tmp_path / "page.pth"))
    assert site.asked == []


def test_one_process_brings_them_and_others_wait(site, kept, tmp_path, published):
    found, told = [], Told()
    thread = threading.Thread(target=lambda: found.append(network_weights(NAME, progress=told)))
    with held_elsewhere(kept.parent):
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert site.asked == []
    thread.join(30)
    holds(found[0], tmp_path, published)
    assert told.lines == [f"another process uses {kept.parent}: waiting for it"]


TWO = """
import sys
from vqcli.library import weights
from vqcli.library.networks import NETWORKS, Network, NetworkFile
NETWORKS["lpips-vgg"] = eval(sys.argv[1])
print(len(weights.network_weights("lpips-vgg")))
"""


def test_two_processes_at_once(site, kept):
    command = [sys.executable, "-c", TWO, repr(NETWORKS[NAME])]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == [b"7\n", b"7\n"]
    assert sorted(names(site)) == ["backbone.pth", "heads.pth"]
    assert files.verified(kept)


def test_what_a_killed_process_left_is_cleaned(site, kept):
    put(kept.parent / ".tmp-1234-lpips-vgg", {"backbone.pth": b"half"})
    network_weights(NAME)
    assert sorted(path.name for path in kept.parent.iterdir()) == [".lock", NAME]


def test_the_table():
    for name, network in NETWORKS.items():
        assert network.name == name
        for file in network.files:
            assert isinstance(file, NetworkFile)
            assert file.url.startswith("https://")
            assert len(file.sha256) in range(8, 65)
            assert file.bytes > 0
            assert file.licence
    vgg, alex = NETWORKS["lpips-vgg"], NETWORKS["lpips-alex"]
    assert [file.name for file in vgg.files + alex.files] == [
        "vgg16-397923af.pth",
        "vgg.pth",
        "alexnet-owt-7be5be79.pth",
        "alex.pth",
    ]
    (inception,) = NETWORKS["fid-inception"].files
    assert inception.names == (
        "weights-inception-2015-12-05-6726825d.pth",
        "pt_inception-2015-12-05-6726825d.pth",
    )
    for file in (vgg.files[0], alex.files[0], inception):
        assert all(file.sha256.startswith(name[-12:-4]) for name in file.names)  # torch's names end so
    options = {name: network.option for name, network in NETWORKS.items()}
    assert options == dict.fromkeys(("lpips-vgg", "lpips-alex"), "--lpips-weights") | {
        "fid-inception": "--inception-weights"
    }


def test_what_is_kept_of_the_inception_file_is_what_the_network_needs():
    (file,) = NETWORKS["fid-inception"].files
    needed = set(FidInception().published())
    others = {"AuxLogits.conv0.conv.weight", "AuxLogits.fc.weight", "fc.bias"}
    others |= {key.replace("running_var", "num_batches_tracked") for key in needed if "running_var" in key}
    assert {key for key in needed | others if re.match(file.keys, key)} == needed


@pytest.fixture
def inception(site, tmp_path, monkeypatch):
    """The bytes of a small file that stands for the FID network's, which the site has."""
    kept = {"fc.weight": torch.rand(4, 4), "Mixed_5b.branch1x1.bn.running_var": torch.rand(4)}
    torch.save(kept | {"fc.bias": torch.rand(4)}, tmp_path / "small.pth")
    data = (tmp_path / "small.pth").read_bytes()
    network = NETWORKS["fid-inception"]
    (real,) = network.files
    file = replace(
        real, url=site.url + real.name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()[:8]
    )
    monkeypatch.setitem(NETWORKS, "fid-inception", replace(network, files=(file,)))
    site.files[real.name] = data
    return data


@pytest.mark.parametrize("name", NETWORKS["fid-inception"].files[0].names)
@pytest.mark.parametrize("place", ["given", "named", "torch"])
def test_one_file_under_two_names(site, tmp_path, monkeypatch, inception, name, place):
    folder = tmp_path / ("torch/hub/checkpoints" if place == "torch" else place)
    put(folder, {name: inception})
    if place == "named":
        monkeypatch.setenv("VQCLI_WEIGHTS_DIR", str(folder))
    given = str(folder) if place == "given" else None
    assert weights.to_download("fid-inception", given) == []
    found = network_weights("fid-inception", given)
    assert set(found) == {"fc.weight", "Mixed_5b.branch1x1.bn.running_var"}
    assert site.asked == []


def test_the_name_with_the_right_hash_is_taken(site, tmp_path, inception):
    first, second = NETWORKS["fid-inception"].files[0].names
    put(tmp_path / "torch" / "hub" / "checkpoints", {first: b"half", second: inception})
    told = Told()
    assert len(network_weights("fid-inception", progress=told)) == 2
    assert [line.rpartition("/")[2].partition(" ")[0] for line in told.lines] == [first]
    assert site.asked == []


def test_the_inception_file_is_downloaded_or_named(site, tmp_path, monkeypatch, inception):
    (file,) = NETWORKS["fid-inception"].files
    empty = tmp_path / "empty"
    empty.mkdir()
    with refused(
        "input-missing", rf"empty holds neither fid-inception\.safetensors nor {' or '.join(file.names)}"
    ):
        network_weights("fid-inception", given=str(empty))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(VqcliError, match=rf"{file.name}, which fid-inception needs, cannot be found") as e:
        network_weights("fid-inception")
    for way in (file.url, "--inception-weights FOLDER", "$VQCLI_WEIGHTS_DIR"):
        assert way in e.value.hint
    assert e.value.reason == "offline"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert len(network_weights("fid-inception")) == 2
    assert names(site) == [file.name]


def test_the_finder_brings_them(site, tmp_path, published):
    holds(Finder().network(NAME, None), tmp_path, published)
    given = put(tmp_path / "given", published)
    holds(Finder().network(NAME, str(given)), tmp_path, published)


def test_the_onlooker_only_looks(site, tmp_path, monkeypatch, published):
    looker = Onlooker()
    assert looker.network(NAME, None) == {}
    small, large = (web.size(len(published[name])) for name in ("heads.pth", "backbone.pth"))
    what = f"backbone.pth ({large}) and heads.pth ({small})"
    assert looker.coming == [f"lpips-vgg needs {what}: downloaded once, when training starts"]
    assert not looker.missing
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    looker = Onlooker()
    looker.network(NAME, None)
    assert not looker.coming
    (line,) = looker.missing
    assert "HF_HUB_OFFLINE is set: bring http" in line
    with refused("input-missing", "does not exist"):
        looker.network(NAME, str(tmp_path / "away"))
    looker = Onlooker()
    looker.network(NAME, str(put(tmp_path / "given", published)))
    put(tmp_path / "torch" / "hub" / "checkpoints", published)
    looker.network(NAME, None)
    assert not looker.missing
    assert site.asked == []
    with torch.device("meta"):
        loss = PerceptualLoss(PerceptualLoss.Config(**PerceptualLoss.TINY))
    loss.load(looker.network(NAME, None))


def test_from_the_published_files_to_the_loss(site, tmp_path, monkeypatch):
    """At full width: what is kept of AlexNet's file fits the network."""
    state = drawn_weights("alex")
    features = {key: x for key, x in state.items() if key.startswith("features")}
    torch.save(features | {"classifier.1.weight": torch.zeros(4, 4)}, tmp_path / "a.pth")
    torch.save({key: x for key, x in state.items() if key not in features}, tmp_path / "b.pth")
    site.files = {name: (tmp_path / name).read_bytes() for name in ("a.pth", "b.pth")}
    real = NETWORKS["lpips-alex"]
    changed = [
        replace(file, url=site.url + name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for file, (name, data) in zip(real.files, site.files.items())
    ]
    monkeypatch.setitem(NETWORKS, "lpips-alex", replace(real, files=tuple(changed)))
    loss = PerceptualLoss(PerceptualLoss.Config(net="alex"))
    loss.load(network_weights(loss.network))
    assert all(torch.equal(loss.lpips.state_dict()[key], tensor) for key, tensor in state.items())
    assert weights.to_download(loss.network) == []
