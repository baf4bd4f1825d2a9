"""A tiny generator and its tokenizer."""

import pytest

from tests.models import make_generator, make_model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


@pytest.fixture(scope="module")
def generator(tmp_path_factory, tokenizer):
    return make_generator(tmp_path_factory.mktemp("models") / "generator", tokenizer)
