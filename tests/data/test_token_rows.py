"""Tokens as generators read them: every image, one view at a time, in an order that is a pure function."""

import hashlib
import itertools
import json
import mmap
import shutil

import numpy as np
import pytest
import torch

from tests.models import make_model
from vqcli import files
from vqcli.data.holdout import holdout
from vqcli.data.images.demo import DemoSource
from vqcli.data.loader import TrainPlan, data_order
from vqcli.data.tokens.ending import write_index
from vqcli.data.tokens.rows import open_token_rows, row_batches, row_eval_batches, view_choice
from vqcli.data.tokens.store import TokensInfo, write_shard
from vqcli.errors import VqcliError
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions

INFO = TokensInfo(300, "f" * 64, "as they were", 2, ("cat", "dog"))
IDS = np.random.default_rng(0).integers(0, 300, (46, 3, 4)).astype(np.uint16)
"""23 images in 2 views."""


def told(**other):
    """What stands beside ``IDS``."""
    keys = [f"{i // 2:02d}.png#{i % 2}" for i in range(len(IDS))]
    labels = [None if i < 2 else i // 2 % 2 for i in range(len(IDS))]
    grid = {"grid": [[3, 4]], "sha256": hashlib.sha256(IDS.tobytes()).hexdigest()}
    return INFO.record() | grid | {"keys": keys, "labels": labels} | other


def write_file(folder, ids=IDS, side=None):
    np.save(folder / "t.npy", ids)
    files.write_json(folder / "t.json", told() if side is None else side)
    return folder / "t.npy"


def write_folder(folder, ids=IDS, cuts=(0, 20, 46), grids=((3, 4),), info=INFO):
    """A folder of shards; every shard ends with an image that could not be used."""
    files.write_json(folder / "plan.json", {"format": 1, "tokens": info.record()})
    side, shards = told(), len(cuts) - 1
    for k, (start, end) in enumerate(itertools.pairwise(cuts)):
        lines = [
            {
                "key": side["keys"][i],
                "label": side["labels"][i],
                "grid": [grids[i % len(grids)]],
                "status": "ok",
            }
            for i in range(start, end)
        ]
        lines.append({"key": f"bad-{k}.png", "label": 1, "status": "rejected", "reason": "damaged"})
        write_shard(folder, k, lines, [row.reshape(-1) for row in ids[start:end]], 1 << 32)
    grid = [grids[0]] if len(grids) == 1 else None
    write_index(folder, {"shards": shards, "encoded": len(ids), "rejected": [], "grid": grid})
    return folder


@pytest.fixture(scope="module", params=["file", "folder"])
def rows(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return open_token_rows(write_file(folder) if request.param == "file" else write_folder(folder / "t"))


def test_images_with_their_views(rows):
    assert (rows.info, rows.grid, rows.views, len(rows)) == (INFO, ((3, 4),), 2, 23)
    assert [rows.key(i) for i in (0, 1, 22)] == ["00.png", "01.png", "22.png"]
    assert (rows.labels.dtype, rows.labels.tolist()) == (np.int64, [-1] + [i % 2 for i in range(1, 23)])
    found = rows.tokens(np.array([22, 0, 22]), np.array([1, 0, 0]))
    assert (found.dtype, found.shape) == (np.int64, (3, 12))
    assert np.array_equal(found, IDS[[45, 0, 44]].reshape(3, 12))


def test_a_file_stays_on_the_disk_and_a_folder_takes_the_smallest_type(tmp_path):
    ids = open_token_rows(write_file(tmp_path))._ids
    while isinstance(ids, np.ndarray):
        ids = ids.base
    assert isinstance(ids, mmap.mmap)
    assert open_token_rows(write_folder(tmp_path / "t"))._ids.dtype == np.uint16


def test_arrays_of_other_makers(tmp_path):
    side = {name: value for name, value in told().items() if name in ("codebook_size", "fingerprint")}
    side |= {"preprocessing": "", "grid": [[1, 2], [2, 5]]}
    for kind in (">i8", "u4"):
        ids = np.asfortranarray(IDS.reshape(46, 12).astype(kind))
        rows = open_token_rows(write_file(tmp_path, ids, side))
        assert (len(rows), rows.views, rows.key(45), rows.grid) == (46, 1, "000045", ((1, 2), (2, 5)))
        assert rows.labels.tolist() == [-1] * 46
        assert np.array_equal(rows.tokens(np.arange(46), np.zeros(46, int)), ids)


def test_what_cannot_be_trained_on(tmp_path):
    def refused(path, match, reason):
        with pytest.raises(VqcliError, match=match) as error:
            open_token_rows(path)
        return (error.value.reason, bool(error.value.hint)) == (reason, True)

    far, negative = IDS.astype(np.int64), IDS.astype(np.int64)
    far[40, 1, 2], negative[1, 0, 0] = 300, -1
    assert refused(write_file(tmp_path, far, told(sha256="")), "t.npy holds token 300 .image 40, position 6.,"
                   " the codebook ends at 299", "token-range")  # fmt: skip
    assert refused(write_file(tmp_path, negative, told(sha256="")), "holds token -1", "token-range")
    assert refused(write_file(tmp_path, IDS ^ 1, told()), "its hash differs", "damaged")
    assert refused(write_file(tmp_path, side=told(views=3)), "46 rows, .* no whole images of 3", "damaged")
    assert refused(write_file(tmp_path, side={}), "t.npy does not say which tokenizer made it", "no-info")
    flat = write_file(tmp_path, IDS.reshape(46, 12), {k: v for k, v in told().items() if k != "grid"})
    assert refused(flat, "does not tell how its 12 tokens an image lie", "grid")
    mixed = write_folder(tmp_path / "mixed", grids=((3, 4), (4, 3)))
    assert refused(mixed, "mixed holds images of different grids", "grid")
    assert refused(write_folder(tmp_path / "far", far), "far holds token 300 .image 40", "token-range")
    assert refused(write_folder(tmp_path / "odd", cuts=(0, 19, 46)), "has 19 rows", "damaged")
    folder = write_folder(tmp_path / "t")
    shutil.copy(folder / "tokens-00000.jsonl", folder / "tokens-00001.jsonl")
    assert refused(folder, "tokens-00001.safetensors is missing or damaged", "damaged")
    (folder / "index.json").unlink()
    assert refused(folder, "is not finished", "unfinished")
    assert refused(tmp_path / "away.npy", "does not exist", "input-missing")


def take(rows, count, plan, start=0, indices=None):
    indices = np.arange(len(rows)) if indices is None else indices
    return list(itertools.islice(row_batches(rows, indices, plan, start), count))


def same(a, b):
    return a.keys == b.keys and torch.equal(a.ids, b.ids) and torch.equal(a.labels, b.labels)


def test_batches_have_the_order_of_images_and_a_view_of_each(rows):
    batches = take(rows, 10, TrainPlan(3, 4))
    assert (batches[0].ids.dtype, batches[0].labels.dtype) == (torch.int64, torch.int64)
    for epoch in (0, 1):
        order, choice = data_order(3, epoch, 23)[:20], view_choice(3, epoch, 23, 2)
        epochs = batches[5 * epoch : 5 * epoch + 5]
        assert [key for batch in epochs for key in batch.keys] == [f"{i:02d}.png" for i in order]
        assert torch.cat([batch.labels for batch in epochs]).tolist() == rows.labels[order].tolist()
        expected = IDS[order * 2 + choice[order]].reshape(20, 12)
        assert np.array_equal(torch.cat([batch.ids for batch in epochs]), expected)
        assert set(choice[order]) == {0, 1}


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13])
def test_resuming_gives_the_tail(rows, start):
    whole, tail = take(rows, 16, TrainPlan(3, 4)), take(rows, 16 - start, TrainPlan(3, 4), start)
    assert all(same(a, b) for a, b in zip(whole[start:], tail, strict=True))


def test_processes_share_an_epoch_and_draw_the_same_views(rows):
    alone = {}
    for batch in take(rows, 11, TrainPlan(5, 2)):
        alone |= dict(zip(batch.keys, batch.ids.tolist()))
    shared = {}
    for rank in range(3):
        for batch in take(rows, 3, TrainPlan(5, 2, rank, 3)):
            shared |= dict(zip(batch.keys, batch.ids.tolist()))
    assert sorted(shared) == sorted(f"{i:02d}.png" for i in data_order(5, 0, 23)[:18])
    assert shared.items() <= alone.items()


def test_some_of_the_images(rows):
    indices = np.array([3, 5, 8, 13, 21])
    assert {key for batch in take(rows, 5, TrainPlan(0, 2), 0, indices) for key in batch.keys} == {
        f"{i:02d}.png" for i in indices
    }
    batches = list(row_eval_batches(rows, indices, 2))
    assert [batch.keys for batch in batches] == [["03.png", "05.png"], ["08.png", "13.png"], ["21.png"]]
    assert np.array_equal(torch.cat([batch.ids for batch in batches]), IDS[indices * 2].reshape(5, 12))
    with pytest.raises(ValueError, match="5 images do not fill a batch of 3 x 2"):
        row_batches(rows, indices, TrainPlan(0, 3, 0, 2))


def test_the_choice_of_views_is_a_pure_function():
    assert view_choice(7, 1, 8, 10).tolist() == [5, 0, 3, 6, 3, 7, 2, 8]
    assert view_choice(7, 1, 5, 10).tolist() == [5, 0, 3, 6, 3]
    assert len({tuple(view_choice(seed, epoch, 50, 2)) for seed in range(4) for epoch in range(4)}) == 16
    assert not view_choice(0, 0, 50, 1).any()


def test_all_views_are_equally_likely():
    over_images = np.bincount(view_choice(0, 0, 50_000, 10))
    over_epochs = np.bincount([view_choice(0, epoch, 3, 10)[2] for epoch in range(5000)])
    for counts in (over_images, over_epochs):
        expected = counts.sum() / 10
        assert len(counts) == 10
        assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-squared, 9 degrees: 1 in 1000


def test_held_out_images_are_those_of_the_source(tmp_path):
    options = ImageOptions("demo:40", str(make_model(tmp_path / "model")), device="cpu", num_workers=0)
    for out, augment in (("t", "none"), ("t.npy", "flip")):
        encode(ImageOptions(**vars(options) | {"augment": augment}), tmp_path / out)
        rows = open_token_rows(tmp_path / out)
        train, held = holdout(rows, 0.2)
        expected = holdout(DemoSource(40), 0.2)
        assert (train.tolist(), held.tolist()) == tuple(part.tolist() for part in expected)
        assert 2 < len(held) < 20
        assert rows.labels.tolist() == [i % 10 for i in range(40)]
    side = json.loads((tmp_path / "t.json").read_text())
    assert side["keys"][:3] == ["demo/train/000000#0", "demo/train/000000#1", "demo/train/000001#0"]
