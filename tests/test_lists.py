"""Long lists in JSON files: read part by part as they would be when parsed as a whole."""

import hashlib
import json
import os
from contextlib import ExitStack

import pytest

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.files import lists

VALUES = {
    "keys": ['a"', "b],", "\n]", "c\\", '",\n"', "é日\udcff", "", ",", "[\n", "d"],
    "labels": [0, None, -1, 7, 2147483647, 3, None, 5, 6, 8],
    "extras": [{}, {"b": "\n]", "a": [1, [2]]}, {"x": None}, *({"i": i} for i in range(7))],
}
FITS = {
    "keys": lambda value: isinstance(value, str),
    "labels": lambda value: value is None or isinstance(value, int),
    "extras": lambda value: isinstance(value, dict),
}
HEAD = {"format": 1, "keys of others": ["x"], "grid": [[1, 2]], "none": [], "é": {"labels": [1]}}


@pytest.fixture(params=[1, 2, 3, 7, 64, 1 << 17])
def step(request, monkeypatch):
    monkeypatch.setattr(lists, "STEP", request.param)


def write(path, values=VALUES, head=HEAD, at_once=3):
    with ExitStack() as opened, files.writing(path) as file:
        made = {name: opened.enter_context(files.LongList(path.parent)) for name in values}
        for name, long in made.items():
            for i in range(0, len(values[name]), at_once):
                long.add(values[name][i : i + at_once])
        return files.write_lists(file, head, made)


def test_lists_are_read_as_they_were_written_and_as_json(tmp_path, step):
    seal = write(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {**HEAD, **VALUES, "seal": seal}
    assert files.read_sealed(tmp_path / "a.json") == {**HEAD, **VALUES}
    assert seal == files.seal_of({**HEAD, **VALUES})
    found = files.read_sealed_lists(tmp_path / "a.json", FITS)
    assert files.seal_of(found) == seal
    for name, values in VALUES.items():
        assert isinstance(found[name], files.Lines)
        assert (len(found[name]), list(found[name]), list(found[name])) == (10, values, values)
    assert {name: found[name] for name in HEAD} == HEAD


def test_every_length_of_list_is_read(tmp_path, step):
    for n in range(1, 6):
        values = {name: each[:n] for name, each in VALUES.items()}
        write(tmp_path / "a.json", values)
        found = files.read_sealed_lists(tmp_path / "a.json", FITS)
        assert {name: list(found[name]) for name in values} == values
        assert {len(found[name]) for name in values} == {n}
    write(tmp_path / "a.json", {"keys": [], "labels": [1]})
    assert {**files.read_sealed_lists(tmp_path / "a.json", FITS)}["keys"] == []


def test_any_other_bit_is_found(tmp_path):
    write(tmp_path / "a.json")
    whole = (tmp_path / "a.json").read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            (tmp_path / "b.json").write_bytes(data)
            try:
                found = files.read_sealed_lists(tmp_path / "b.json", FITS)
            except VqcliError as e:
                raise AssertionError(f"{at}.{bit} is to be told by read_sealed") from e
            if found is not None:
                assert {name: list(found[name]) if name in VALUES else found[name] for name in found} == {
                    **HEAD,
                    **VALUES,
                }


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", b"[]", b'{\n "keys": [\n', b'{\n "keys": [\n"a"\n', b'{\n "keys": [\n"a"\n]',
        b'{\n "keys": [\n]',
        b'{\n "keys": [\n"a"\n]\n}\n', b'{\n "keys": [\n"a"\n],\n "keys": [\n"a"\n],\n "seal": "x"\n}\n',
        b'{\n "keys": [\n"a"\n],\n "seal": "x"\n}\n', b'{"keys": ["a"]}',
        b'{\n "keys": ["a"],\n "keys": [\n"a"\n],\n "x": 1}',
        b'{"a": 1}\n "keys": [\n"a"\n],\n', b"\xff" * 3_000_000,
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_left_to_others(tmp_path, text, step):
    (tmp_path / "a.json").write_bytes(text)
    assert files.read_sealed_lists(tmp_path / "a.json", FITS) is None


@pytest.mark.parametrize("line", [b'"a","b"', b"3", b"nan", b'"a', b"[\n1\n]", b"\xff"])
def test_values_that_are_not_as_they_should_be(tmp_path, line):
    def text(told):
        return b'{\n "keys": [\n"a",\n%s,\n"c"\n],\n "seal": "%s"\n}\n' % (line, told)

    canonical = b'{"keys":["a",%s,"c"]}' % line.replace(b"\n", b"")
    (tmp_path / "a.json").write_bytes(text(hashlib.sha256(canonical).hexdigest().encode()))
    found = files.read_sealed_lists(tmp_path / "a.json", FITS)
    if found is not None:
        with pytest.raises(VqcliError, match=r"a\.json is (damaged|no readable JSON)"):
            list(found["keys"])


def test_a_list_that_is_cut_while_it_is_used(tmp_path):
    write(tmp_path / "a.json")
    found = files.read_sealed_lists(tmp_path / "a.json", FITS)
    os.truncate(tmp_path / "a.json", (tmp_path / "a.json").stat().st_size - 150)
    with pytest.raises(VqcliError, match=r"is damaged|no readable JSON"):
        list(found["extras"])
