"""A site of published weights, small ones."""

from pathlib import Path

import pytest

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
