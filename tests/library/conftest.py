"""A site of published weights, small ones, and a published file."""

from pathlib import Path

import pytest
import torch

from tests.importers.foreign import CASES
from tests.weights_site import NAME, serving, small_files


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return small_files(tmp_path_factory.mktemp("published"))


@pytest.fixture
def site(published, tmp_path, monkeypatch):
    with serving(published, tmp_path, monkeypatch) as site:
        yield site


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "cache" / "networks-1" / NAME


@pytest.fixture
def state():
    """LlamaGen's weights, small ones, as published."""
    case = CASES["llamagen"]
    return case.state(case.model())


@pytest.fixture
def file(tmp_path, state) -> Path:
    torch.save({"model": state}, tmp_path / "vq.pt")
    return tmp_path / "vq.pt"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
