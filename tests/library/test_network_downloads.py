"""Files of published networks by https: all that can go wrong on the way."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
import time

import pytest
from huggingface_hub import constants

from tests.weights_site import (
    NAME,
    Handler,
    Told,
    holds,
    names,
    nothing_kept,
    refused,
    table,
)
from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.library.downloads import web
from vqcli.library.networks import NETWORKS
from vqcli.library.weights import network_weights


def test_a_cut_download_goes_on(site, tmp_path, published):
    told = Told()
    site.faults = ["", "cut", "short"]
    holds(network_weights(NAME, progress=told), tmp_path, published)
    size = len(published["backbone.pth"])
    assert site.asked[1:] == [
        ("backbone.pth", ""),
        ("backbone.pth", f"bytes={size // 2}-"),
        ("backbone.pth", f"bytes={(size // 2 + size) // 2}-"),
    ]
    assert all(line.startswith("127.0.0.1 broke off: trying again in 0 s: going on") for line in told.lines)
    assert len(told.lines) == 2


def test_as_often_as_something_comes(site, tmp_path, published):
    site.faults = ["", *["cut"] * 6]
    holds(network_weights(NAME), tmp_path, published)
    assert len(site.asked) == 8


def test_a_server_that_only_begins_again(site, tmp_path, published):
    site.faults = ["", "cut", "whole"]
    told = Told()
    holds(network_weights(NAME, progress=told), tmp_path, published)
    assert told.done == 1


def test_passing_failures_are_tried_again_three_times(site, tmp_path, kept, published):
    site.faults = [503, 429]
    holds(network_weights(NAME), tmp_path, published)
    assert names(site) == ["heads.pth"] * 3 + ["backbone.pth"]
    shutil.rmtree(kept)
    site.asked, site.faults = [], [500] * 9
    with refused("unavailable", r"heads\.pth and backbone\.pth.*failed on heads\.pth: it answered 500"):
        network_weights(NAME)
    assert len(site.asked) == 3
    nothing_kept(kept)


@pytest.mark.parametrize("status", [401, 404, 410])
def test_refusals_are_not_tried_again(site, kept, status):
    site.faults = [status]
    with refused("denied", f"127.0.0.1 does not give heads.pth: it answered {status}"):
        network_weights(NAME)
    assert len(site.asked) == 1
    nothing_kept(kept)


def test_other_bytes_are_refused_and_removed(site, kept, published):
    data = bytearray(published["backbone.pth"])
    data[-100] ^= 1
    site.files["backbone.pth"] = bytes(data)
    with refused("hash", r"is not the published file: its SHA-256 is [0-9a-f]{64}$"):
        network_weights(NAME)
    nothing_kept(kept)
    site.files["backbone.pth"] = published["backbone.pth"]
    assert network_weights(NAME)


@pytest.mark.parametrize("fault", ["", "short"])
def test_pages_that_answer_for_files(site, kept, fault):
    site.files["heads.pth"] = b"<html>log in</html>" * (1 if not fault else 10_000)
    site.faults = [fault]
    with refused("protocol", "is not the published file: it has (19|more than [0-9,]+) bytes, not"):
        network_weights(NAME)
    nothing_kept(kept)


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        ("drip", "unavailable", "127.0.0.1 is too slow: it sent"),
        ("drip-head", "unavailable", "127.0.0.1 is too slow: it sent"),
        ("drip-redirect", "unavailable", "127.0.0.1 cannot be reached"),  # where that leads
    ],
)
def test_a_server_that_drips(site, kept, monkeypatch, fault, reason, said):
    monkeypatch.setattr(bounds, "GRACE", 0.3)
    site.faults = [fault] * 4
    began = time.monotonic()
    with refused(reason, said):
        network_weights(NAME)
    assert time.monotonic() - began < 20
    nothing_kept(kept)


def test_redirects(site, tmp_path, published):
    site.faults = [f"{site.url}heads.pth"]
    holds(network_weights(NAME), tmp_path, published)
    guard, secure = web._Guarded(), web.Request("https://a.b/c")
    assert guard.redirect_request(secure, None, 302, "", {}, "http://a.b/c") is None
    assert guard.redirect_request(secure, None, 302, "", {}, "https://d.e/c").full_url == "https://d.e/c"


SENTENCE = r"heads\.pth and backbone\.pth, which lpips-vgg needs, cannot be found on this machine; "


def test_offline_nobody_is_asked(site, kept, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        VqcliError, match=f"{SENTENCE}heads.pth is not downloaded: HF_HUB_OFFLINE is set"
    ) as e:
        network_weights(NAME, without="--set losses.perceptual=0")
    for way in (
        "--lpips-weights FOLDER",
        "$VQCLI_WEIGHTS_DIR",
        "--set losses.perceptual=0",
        f"{site.url}heads",
    ):
        assert way in e.value.hint
    assert e.value.reason == "offline"
    assert site.asked == []
    nothing_kept(kept)


def test_the_environment_says_so_too(tmp_path):
    code = (
        "from vqcli.library.downloads.web import check_online; from vqcli.library.networks import NETWORKS; "
        "check_online(NETWORKS['lpips-vgg'].files[0])"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], env={"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=60
    )
    assert "vgg16-397923af.pth is not downloaded: HF_HUB_OFFLINE is set" in asked.stderr


def test_a_server_that_is_not_there(site, kept, monkeypatch, published):
    monkeypatch.setitem(NETWORKS, NAME, table("http://127.0.0.1:9/", published))
    with refused("unavailable", SENTENCE + r"127\.0\.0\.1 cannot be reached \(Connection refused\)"):
        network_weights(NAME)
    nothing_kept(kept)


def test_a_server_that_says_nothing(site, kept, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 0.05)
    monkeypatch.setattr(Handler, "do_GET", lambda self: threading.Event().wait(0.3))
    with refused("unavailable", r"127\.0\.0\.1 (did not answer in time|cannot be reached)"):
        network_weights(NAME)


def test_a_full_disk(site, kept, monkeypatch):
    class Usage:
        free = 10

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    with refused("output", r"heads\.pth has [1-9] KB, and the disk has room for 0 KB"):
        network_weights(NAME)
    assert site.asked == []
    nothing_kept(kept)


def test_a_disk_that_fills_up(site, kept, monkeypatch):
    """Its error is not taken for the network's, and not tried again."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with refused("output", r"cannot write .*heads\.pth: No space left on device"):
        network_weights(NAME)
    assert len(site.asked) == 1
    nothing_kept(kept)
