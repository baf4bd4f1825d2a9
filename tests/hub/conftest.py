"""The real client, turned to a Hub on the loopback, with caches of its own."""

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from tests.hub.server import serving


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving() as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HF_TOKEN", "VQCLI_TOKEN_HOST", "VQCLI_MODEL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "ours"))
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        address = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        close_session()
        yield server
        close_session()
