"""A tiny generator and its tokenizer; evaluations that take a moment."""

import pytest

from tests.models import make_generator, make_model
from tests.tiny_inception import TinyInception
from vqcli.jobs.evaluation import measuring, parts, work


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


@pytest.fixture(scope="module")
def generator(tmp_path_factory, tokenizer):
    return make_generator(tmp_path_factory.mktemp("models") / "generator", tokenizer)


@pytest.fixture
def small_evaluations(monkeypatch, tmp_path):
    """Blocks of four images, each saved when it is done, and features that cost nothing."""
    monkeypatch.setattr(work, "BLOCK", 4)
    monkeypatch.setattr(parts, "PATIENCE", 0)
    monkeypatch.setattr(measuring, "FidInception", TinyInception)
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
