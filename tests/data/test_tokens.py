"""Reading tokens: what is damaged, hostile or not tokens at all is refused with a sentence."""

import io
import json
import os
import shutil
import zipfile
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from tests.models import make_model
from tests.seals import put
from vqcli import files
from vqcli.data.tokens.files import LISTS, TokensFile, TokensFolder, open_tokens
from vqcli.data.tokens.remap import Renumbering, pruned_path, renumber
from vqcli.data.tokens.rows import open_token_rows
from vqcli.data.tokens.store import read_shard, token_type, write_shard
from vqcli.errors import VqcliError
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.types import silent

IDS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    options = ImageOptions("demo:3", str(make_model(folder / "model")), device="cpu", num_workers=0)
    for out in ("t.npy", "t"):
        encode(options, folder / out)
    return folder


def npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def saved(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", saved(IDS))
    return buffer.getvalue()


HOSTILE = {
    "empty": b"",
    "text": b"not an array\n",
    "npz": zipped(),
    "short": saved(IDS)[:-1],
    "more": saved(IDS) + b"x",
    "half a header": saved(IDS)[:40],
    "float": saved(IDS / 2),
    "bool": saved(IDS > 3),
    "object": saved(np.array([[{}]])),
    "struct": saved(np.zeros((2, 2), "i4,i4")),
    "nan": saved(np.full((2, 3, 4), np.nan)),
    "rank 0": saved(np.uint8(3)),
    "rank 1": saved(np.arange(4)),
    "rank 4": saved(np.zeros((2, 2, 2, 2), int)),
    "no images": saved(np.zeros((0, 3, 4), np.uint8)),
    "no tokens": saved(np.zeros((2, 0), np.uint8)),
    "huge": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 4)}\n"),
    "overflow": npy(b"{'descr': '<u8', 'fortran_order': False, 'shape': (9223372036854775807, 9)}\n"),
    "negative": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-2, 4)}\n", b"12345678"),
    "code": npy(b"__import__('os').abort()\n"),
    "deep": npy(b"(" * 5000),
    "long header": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4)}".ljust(20000) + b"\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_array_of_tokens_is_refused(tmp_path, name):
    path = tmp_path / "t.npy"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(VqcliError, match=r"t\.npy (is no readable array|holds)") as refused:
        open_tokens(path)
    assert refused.value.reason in ("damaged", "wrong-kind")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "side",
    [
        b"[1, 2]", b"3", b"{", b"\xff\xfe{}", b"[" * 100_000,
        b'{"format": 2}', b'{"keys": ["a"]}', b'{"keys": {"a": 1, "b": 2}}',
        b'{"labels": [1, 2, 3]}', b'{"labels": 3}',
        b'{"grid": 3}', b'{"grid": [3, 4]}', b'{"grid": [[3, "4"]]}', b'{"grid": [[3, -4]]}',
        b'{"grid": [[3, 4.0]]}',
        b'{"codebook_size": "16"}', b'{"codebook_size": 0}', b'{"codebook_size": true}',
        b'{"keys": ["a", 2]}', b'{"labels": ["cat", "dog"]}', b'{"labels": [1, 1.5]}',
        b'{"labels": [1, true]}',
        b'{"labels": [0, 99999999999999999999]}', b'{"views": 0}', b'{"views": "2"}', b'{"classes": "cat"}',
        b'{"classes": [1]}',
    ],
)  # fmt: skip
def test_what_stands_beside_must_fit(tmp_path, side):
    np.save(tmp_path / "t.npy", IDS)
    (tmp_path / "t.json").write_bytes(side)
    said = r"t\.json (does not describe|is no readable JSON|holds no JSON object)"
    with pytest.raises(VqcliError, match=said):
        TokensFile(tmp_path / "t.npy")


def test_a_bare_array(tmp_path):
    np.save(tmp_path / "t.npy", IDS)
    found = TokensFile(tmp_path / "t.npy")
    assert (found.info, found.grid, len(found)) == (None, ((3, 4),), 2)
    assert [(row.key, row.label, row.ids.tolist()) for row in found.rows()] == [
        ("000000", None, list(range(12))), ("000001", None, list(range(12, 24)))
    ]  # fmt: skip
    np.save(tmp_path / "t.npy", IDS.reshape(2, 12))
    found = TokensFile(tmp_path / "t.npy")
    assert found.grid is None
    with pytest.raises(VqcliError, match="does not tell how its 12 tokens an image lie"):
        found.rows()
    assert [row.grid for row in found.rows(((2, 6),))] == [((2, 6),)] * 2
    with pytest.raises(VqcliError, match="does not tell"):
        found.rows(((2, 5),))


def test_files_written_before_views_and_classes_are_read(encoded, tmp_path):
    shutil.copytree(encoded / "t", tmp_path / "t")
    shutil.copy(encoded / "t.npy", tmp_path)
    plan = json.loads((encoded / "t" / "plan.json").read_text())
    side = json.loads((encoded / "t.json").read_text())
    for name in ("views", "classes"):
        del plan["tokens"][name], side[name]
    put(tmp_path / "t" / "plan.json", plan)
    put(tmp_path / "t.json", side)
    now = TokensFile(encoded / "t.npy").info
    for form in ("t", "t.npy"):
        assert open_tokens(tmp_path / form).info == replace(now, views=1, classes=())


@pytest.mark.parametrize("form", ["t.npy", "t"])
def test_new_numbers_keep_views_and_classes(encoded, tmp_path, form):
    out = tmp_path / "t.npy" if form == "t.npy" else tmp_path / "t"
    encode(ImageOptions("demo:3", str(encoded / "model"), device="cpu", num_workers=0, augment="flip"), out)
    found = open_tokens(out)
    assert (found.info.views, len(found), len(found.info.classes)) == (2, 6, 10)
    new = Renumbering(np.arange(16, dtype=np.uint8)[::-1], 17, "other")
    with ExitStack() as pending:
        renumber(found, pruned_path(found), new, pending, silent)
    again = open_tokens(pruned_path(found))
    assert again.info == replace(found.info, codebook_size=17, fingerprint="other")
    assert [row.key for row in again.rows()] == [row.key for row in found.rows()]
    assert np.array_equal(15 - np.concatenate(list(again.blocks())), np.concatenate(list(found.blocks())))


def test_one_flipped_bit_is_found(encoded, tmp_path):
    data = bytearray((encoded / "t.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "t.npy").write_bytes(data)
    (tmp_path / "t.json").write_bytes((encoded / "t.json").read_bytes())
    with pytest.raises(VqcliError, match="its hash differs"):
        list(TokensFile(tmp_path / "t.npy").blocks())


@pytest.mark.parametrize("kind", ["<u1", ">u2", "<u4", "<i8", "<u8"])
def test_blocks_are_the_array_however_it_lies(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("vqcli.data.tokens.files.BLOCK", 100)
    ids = np.random.default_rng(0).integers(0, 100, (57, 3, 2)).astype(kind)
    for array in (ids, np.asfortranarray(ids)):
        np.save(tmp_path / "t.npy", array)
        blocks = list(TokensFile(tmp_path / "t.npy").blocks())
        assert len(blocks) > 3
        assert np.array_equal(np.concatenate(blocks), ids.reshape(57, 6))
        counts = UsageCounts.of(blocks, 100)
        assert np.array_equal(counts.counts_k, np.bincount(ids.ravel().astype(int), minlength=100))


def test_an_array_is_hashed_only_where_a_hash_is_told(tmp_path, monkeypatch):
    np.save(tmp_path / "t.npy", IDS)
    hashed = []

    class Digest:
        update = hashed.append

        def hexdigest(self):
            return "x"

    monkeypatch.setattr("vqcli.data.tokens.files.hashlib.sha256", Digest)
    assert np.array_equal(np.concatenate(list(TokensFile(tmp_path / "t.npy").blocks())), IDS.reshape(2, 12))
    assert not hashed
    (tmp_path / "t.json").write_text('{"sha256": "x"}')
    list(TokensFile(tmp_path / "t.npy").blocks())
    assert b"".join(hashed) == IDS.tobytes()


def test_an_array_that_is_cut_while_it_is_read(tmp_path):
    np.save(tmp_path / "t.npy", IDS)
    found = TokensFile(tmp_path / "t.npy")
    os.truncate(tmp_path / "t.npy", found.array.offset + 5)
    with pytest.raises(VqcliError, match="was cut while it was read"):
        list(found.blocks())


@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_lists_beside_an_array_are_the_same_however_they_are_written(encoded, tmp_path, form):
    now, told = TokensFile(encoded / "t.npy"), json.loads((encoded / "t.json").read_text())
    assert isinstance(now.side["keys"], files.Lines)
    shutil.copy(encoded / "t.npy", tmp_path)
    (tmp_path / "t.json").write_text(json.dumps(told, **form))
    old = TokensFile(tmp_path / "t.npy")
    assert isinstance(old.side["keys"], list)
    for name in LISTS:
        assert list(now.column(name)) == list(old.column(name))
    assert list(now.column("keys")) == told["keys"]
    assert (now.info, now.grid, len(now)) == (old.info, old.grid, len(old))
    (a, b) = (open_token_rows(found.path) for found in (now, old))
    assert ([*map(a.key, range(3))], a.labels.tolist()) == ([*map(b.key, range(3))], b.labels.tolist())
    assert a.digest == b.digest


def test_lists_of_another_length_do_not_fit(tmp_path):
    for name, label in (("keys", "x"), ("labels", 1)):
        np.save(tmp_path / "t.npy", IDS)
        told = {"keys": ["a", "b"], "labels": [0, 1]}
        told[name].append(label)
        with ExitStack() as opened, (tmp_path / "t.json").open("wb") as file:
            lists = {each: opened.enter_context(files.LongList(tmp_path)) for each in told}
            for each, long in lists.items():
                long.add(told[each])
            files.write_lists(file, {"format": 1}, lists)
        with pytest.raises(VqcliError, match="does not describe the 2 images"):
            TokensFile(tmp_path / "t.npy")


def test_both_forms_read_the_same(encoded):
    one, two = TokensFile(encoded / "t.npy"), TokensFolder(encoded / "t")
    assert one.info == two.info
    assert (one.info.views, one.info.classes[:2], len(one.info.classes)) == (1, ("disc", "ring"), 10)
    assert (one.grid, len(one)) == (two.grid, len(two)) == (((4, 4),), 3)
    assert np.array_equal(np.concatenate(list(one.blocks())), np.concatenate(list(two.blocks())))
    for a, b in zip(one.rows(), two.rows(), strict=True):
        assert (a.key, a.label, a.grid) == (b.key, b.label, b.grid)
        assert np.array_equal(a.ids, b.ids)


def test_folders_that_are_no_tokens(tmp_path, encoded):
    with pytest.raises(VqcliError, match=r"holds no tokens: it has no plan\.json"):
        open_tokens(tmp_path)
    (tmp_path / "plan.json").write_text((encoded / "t" / "plan.json").read_text())
    with pytest.raises(VqcliError, match="is not finished") as refused:
        open_tokens(tmp_path)
    assert "it continues" in refused.value.hint
    for text in ("[]", '{"format": 99}', "{}"):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(VqcliError, match=r"is not of a tokens folder of format 1|holds no JSON object"):
            open_tokens(tmp_path)
    with pytest.raises(VqcliError, match=r"t\.npy does not exist"):
        open_tokens(tmp_path / "t.npy")


def test_a_shard_is_sealed(tmp_path):
    line = {"key": "\udcff\n", "label": None, "grid": [[1, 2]], "status": "ok"}
    for shard in (0, 1):
        write_shard(tmp_path, shard, [line], [np.array([1, shard])], 300)
    lines, tokens = read_shard(tmp_path, 1)
    assert lines == [line]
    assert (tokens.tolist(), tokens.dtype) == ([[1, 1]], np.uint16)
    for kind in ("jsonl", "safetensors"):  # the neighbour's, whole
        (tmp_path / f"tokens-00000.{kind}").write_bytes((tmp_path / f"tokens-00001.{kind}").read_bytes())
    with pytest.raises(
        VqcliError, match=r"tokens-00000\.safetensors is missing or damaged: its hashes differ"
    ):
        read_shard(tmp_path, 0)


@pytest.mark.parametrize(
    ("size", "kind"), [(1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4"), (1 << 32, "u4")]
)
def test_smallest_type(size, kind):
    assert token_type(size) == np.dtype(kind)


def test_index_tells_what_was_rejected(encoded):
    index = json.loads((encoded / "t" / "index.json").read_text())
    assert index["rejected"] == []


@pytest.mark.parametrize("file", ["plan.json", "index.json"])
@pytest.mark.parametrize("told", ["{}", "[]", "null", '"x"', '{"format": 1, "tokens": {}, "shards": 1}'])
def test_a_folder_whose_files_do_not_tell_what_they_should(tmp_path, encoded, file, told):
    folder = shutil.copytree(encoded / "t", tmp_path / "t")
    assert len(open_tokens(folder)) == 3
    (folder / file).write_text(told)
    with pytest.raises(VqcliError, match=f"{file} (is|holds no JSON object)") as refused:
        open_tokens(folder)
    assert refused.value.reason in ("damaged", "format")


def test_tokens_of_others_are_told_as_what_they_are(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros((1, 10, 16), int))
    np.save(tmp_path / "1.npy", np.ones((1, 10, 16), int))
    with pytest.raises(VqcliError, match=r"no plan\.json, but 2 \.npy") as refused:
        open_tokens(tmp_path)
    joined = refused.value.hint.partition("keep: ")[2]
    arrays = eval(joined, {"np": np, "files": sorted(tmp_path.glob("*.npy"))})
    assert arrays.shape == (20, 16)
    np.savez(tmp_path / "a.npz", np.zeros((3, 16), int))
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    (tmp_path / "a.txt").write_text("1 2\n3 4\n")
    for name in ("a.npz", "a.csv", "a.txt"):
        with pytest.raises(VqcliError, match=r"is no \.npy, the form of tokens that is read") as refused:
            open_tokens(tmp_path / name)
        line = refused.value.hint.removeprefix("write one: ").replace("'tokens.npy'", "out")
        out = tmp_path / "out" / f"{name}.npy"
        out.parent.mkdir(exist_ok=True)
        exec(line, {"np": np, "out": out})
        assert open_tokens(out).array.ndim == 2
