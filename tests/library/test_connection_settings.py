"""Variables of proxies and certificates: what cannot work is told by its name, without its password."""

import pytest

from vqcli.errors import VqcliError
from vqcli.library.downloads import client
from vqcli.library.downloads.problems import Away
from vqcli.library.downloads.settings import ALL, SECURE, hub_trouble, proxy_of, trouble
from vqcli.library.downloads.web import download
from vqcli.library.networks import NetworkFile
from vqcli.types import silent


@pytest.mark.parametrize(
    "said",
    [
        {},
        {
            "HTTPS_PROXY": "http://proxy:3128",
            "https_proxy": "proxy:3128",
            "HTTP_PROXY": "https://u:p@[::1]:8",
        },
        {"HTTPS_PROXY": "", "SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "HF_ENDPOINT": ""},
        {"SSL_CERT_FILE": __file__, "SSL_CERT_DIR": "/nowhere:/"},
        {"HF_ENDPOINT": "http://hub.example"},
    ],
)
def test_what_can_work_is_left_alone(said):
    assert hub_trouble(said) == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY names a socks5 proxy, of no use"),
        ({"all_proxy": "socks://127.0.0.1:9"}, "all_proxy names a socks proxy: known are http://"),
        ({"HTTPS_PROXY": "ftp://proxy:1"}, "HTTPS_PROXY names a ftp proxy"),
        ({"HTTP_PROXY": "http://user:secret@proxy:port"}, "HTTP_PROXY names no proxy"),
        ({"https_proxy": "http://[::1"}, "https_proxy names no proxy"),
        ({"HTTPS_PROXY": "http://"}, "HTTPS_PROXY names no proxy"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE names /nowhere/ca.pem, which is no file"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR names /nowhere, which is no folder"),
    ],
)
def test_what_cannot_work_is_named(said, why):
    found = trouble(ALL, "of no use", said)
    assert found.startswith(why)
    assert "secret" not in found
    assert trouble(ALL, "", {"ALL_PROXY": "socks5h://127.0.0.1:9"}) == ""
    assert trouble(SECURE, "of no use", {"ALL_PROXY": "socks5://127.0.0.1:9"}) == ""
    assert hub_trouble({"HF_ENDPOINT": "hub"}).startswith("HF_ENDPOINT names no address")


def test_the_proxy_of_a_host(monkeypatch):
    assert proxy_of("host", {"HTTP_PROXY": "x"}) == ""
    assert proxy_of("host", {"ALL_PROXY": "x", "HTTPS_PROXY": "y"}) == "HTTPS_PROXY"
    monkeypatch.setenv("NO_PROXY", "host")
    assert proxy_of("host", {"HTTPS_PROXY": "x"}) == ""
    assert proxy_of("other", {"HTTPS_PROXY": "x"}) == "HTTPS_PROXY"


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "socks://127.0.0.1:9"), ("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_FILE", __file__)],
)
def test_the_client_says_it_before_anything_is_asked(monkeypatch, name, value):
    from huggingface_hub import get_session

    monkeypatch.setenv(name, value)
    with client.client(silent), pytest.raises(Away, match="the Hub cannot be asked: ") as refused:
        get_session()
    assert refused.value.reason == "unavailable"


def test_a_plain_download_says_it_too(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    file = NetworkFile("https://none.invalid/vgg.pth", 8, "0" * 64, "features", "none")
    with pytest.raises(VqcliError, match="cannot be downloaded: https_proxy names a socks5 proxy"):
        download(file, tmp_path / "file")
