"""What may be written for a model, and the table of short names."""

import re

import pytest

from vqcli.errors import VqcliError
from vqcli.library.aliases import ALIASES, DEFAULT, GENERATOR
from vqcli.library.references import is_plain, locate, published
from vqcli.parts import PARTS
from vqcli.recipes import recipe_names


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("owner/name", ("owner/name", "", "main")),
        ("owner/name@v1.0", ("owner/name", "", "v1.0")),
        ("hf://owner/name", ("owner/name", "", "main")),
        ("hf://owner/name/a/b=1.ckpt", ("owner/name", "a/b=1.ckpt", "main")),
        (f"hf://owner/name@{'a' * 40}/f.pt", ("owner/name", "f.pt", "a" * 40)),
    ],
)
def test_forms(text, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = published(text)
    assert (found.repository, found.file, found.revision) == place


@pytest.mark.parametrize(
    "text", ["runs/demo", "nowhere", "/a/b", "../a/b", "./a/b", "a/b/c", "a b/c", "https://a/b"]
)
def test_what_is_local(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert published(text) is None
    with pytest.raises(VqcliError, match="there is no model at"):
        locate(text)


def test_what_is_here_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (DEFAULT, "owner/name"):
        assert published(name)
        (tmp_path / name).mkdir(parents=True)
        assert published(name) is None
    assert published("owner/other") is None  # a folder of that name: a typing error, not a repository


@pytest.mark.parametrize(
    "text",
    [
        "",
        "owner",
        "owner/",
        "a--b/c",
        "a/..",
        "a/b.git",
        "a/b@",
        "a/b@../x",
        "a/b@-x",
        "a/b/../c",
        "a/b//c",
        "a/b/c\\d",
    ],
)
def test_what_nothing_can_be_called(text):
    with pytest.raises(VqcliError) as refused:
        published(f"hf://{text}")
    assert "hf://owner/name" in refused.value.hint


@pytest.mark.parametrize("name", ["a", "a/b.c", "a-b=1.ckpt"])
def test_plain_names(name):
    assert is_plain(name)


@pytest.mark.parametrize(
    "name", ["/a", "../a", "a/../b", "a//b", "a\\b", "C:a", "a\nb", "a\x1b[1m", "x" * 501, "./a"]
)
def test_other_names(name):
    assert not is_plain(name)


def test_near_names_are_offered():
    with pytest.raises(VqcliError) as refused:
        locate("llamagen-vq-16")
    assert refused.value.hint == "did you mean 'llamagen-vq16'?"


@pytest.mark.parametrize("name", ALIASES)
def test_aliases(name):
    known = ALIASES[name]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    assert published(f"hf://{known.repository}@{known.revision}/{known.file}".rstrip("/"))
    assert known.importer in PARTS["importers"]
    assert re.fullmatch(r"([0-9a-f]{64})?", known.sha256)
    assert known.codes > 1 or known.importer.endswith("_kl")
    assert known.size % known.downsample == 0
    if known.tokenizer:
        made_for = ALIASES[known.tokenizer]
        ours, theirs = ((x.codes, x.width, x.downsample) for x in (known, made_for))
        assert ours == theirs
        assert not made_for.tokenizer
        assert f"{known.size}x{known.size}" in known.what
    assert known.what
    assert known.licence


def test_no_two_aliases_are_one_file():
    places = [(each.repository, each.file, each.scales) for each in ALIASES.values()]
    assert len(set(places)) == len(places)
    assert not ALIASES[DEFAULT].tokenizer
    assert ALIASES[GENERATOR].tokenizer == DEFAULT
    assert recipe_names()
