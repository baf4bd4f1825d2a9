"""Inputs that once broke a parser, found by fuzzing: what is wrong with them is told, as it should be."""

import base64
import json
from contextlib import suppress

import pytest

from tests.reliability.fuzz import wrong_with
from tests.reliability.targets import LINE, targets
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.importers.shards import read_index

PLAN = {"codebook_size": 16, "fingerprint": "a", "preprocessing": ""}
FOUND = {
    "a plan of no views": ("plan", json.dumps({"format": 1, "tokens": PLAN | {"views": 0}}).encode()),
    "a line of a shard is a text": ("shard", b'"status"\n'),
    "a line of a shard has no status": ("shard", b'{"key": "x"}\n'),
    "a line of a shard has no label": ("shard", b'{"status": "ok", "key": "x", "grid": [[2, 2]]}'),
    "a line of a shard has no grid": ("shard", json.dumps({"status": "ok", "key": "x", "label": 1}).encode()),
    "a side of a grid is no integer": ("shard", json.dumps(LINE | {"grid": [[2, 1e3]]}).encode()),
    "more tokens than there are": ("shard", json.dumps(LINE | {"grid": [[200, 200]]}).encode()),
    "more images than can be counted": (
        "index", json.dumps({"shards": 1, "encoded": 10**20, "grid": [[2, 2]]}).encode()
    ),
    "extras are a list": (
        "index", json.dumps({"shards": 1, "encoded": 1, "grid": [[2, 2]], "extras": [1]}).encode()
    ),
    "rejected is a number": ("tokens", b'{"rejected": 1}'),
    "seconds that are no ASCII digits": ("headers", "\n\n\n²".encode()),
    "seconds of thousands of digits": ("headers", b"\n\n\n" + b"9" * 5002),
    "a server ends before its last chunk": (
        "answer",
        base64.b64decode("SFRUUC8xLjEgMjAwIE9LDQpUcmFuc2Zlci1FbmNvZGluZzogY2h1bmtlZA0KDQphDQowMTIzNDU1Njc4OQ0KMA0KDQo="),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_found(tmp_path, name):
    kind, data = FOUND[name]
    target = next(target for target in targets() if target.name == kind)
    with suppress(*target.raises):
        assert wrong_with(target, data, tmp_path) is None


@pytest.mark.parametrize("read", [files.read_json, read_index])
def test_a_key_twice_among_very_many_is_found_at_once(tmp_path, read):
    path = tmp_path / "a.index.json"
    many = ", ".join(f'"{i}": "a.safetensors"' for i in range(300_000))
    path.write_text(f'{{"weight_map": {{{many}, "299999": "a.safetensors"}}}}')
    with pytest.raises(VqcliError, match="'299999'"):
        read(path)
