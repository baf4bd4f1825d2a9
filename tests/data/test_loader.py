import itertools
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images import save
from vqcli.data.config import DataConfig, eval_transform, train_transform
from vqcli.data.images.base import Source
from vqcli.data.images.demo import DemoSource
from vqcli.data.images.folder import FolderSource
from vqcli.data.loader import Batch, TrainPlan, batches_per_epoch, data_order, eval_batches, train_batches
from vqcli.data.location import Disk
from vqcli.errors import VqcliError
from vqcli.pixels import CenterCrop, Flip, NativeCrop, RandomCrop, Transform
from vqcli.types import Sample

CROP = RandomCrop((8, 8), flip=True)


def demo(count: int = 23) -> DemoSource:
    return DemoSource(count, (12, 10))


def take(count: int, plan: TrainPlan, start: int = 0, n: int = 23) -> list[Batch]:
    return list(itertools.islice(train_batches(demo(n), np.arange(n), CROP, plan, start), count))


def same(a: Batch, b: Batch) -> bool:
    told = (a.keys, a.indices, a.all_indices, a.labels.tolist()) == (
        b.keys,
        b.indices,
        b.all_indices,
        b.labels.tolist(),
    )
    return told and torch.equal(a.stacked(), b.stacked())


def test_order_is_a_pure_function() -> None:
    orders = {tuple(data_order(seed, epoch, 50)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert data_order(7, 1, 8).tolist() == [1, 6, 5, 0, 7, 3, 2, 4]


def test_an_epoch_is_shared_by_all_processes() -> None:
    """World 3, batch 2: the first 18 of the order, each once; the rest is left for another epoch."""
    plans = [TrainPlan(5, 2, rank, 3) for rank in range(3)]
    assert batches_per_epoch(23, plans[0]) == 3
    seen = [i for plan in plans for batch in take(3, plan) for i in batch.indices]
    assert sorted(seen) == sorted(data_order(5, 0, 23)[:18])
    following = [i for plan in plans for batch in take(6, plan)[3:] for i in batch.indices]
    assert sorted(following) == sorted(data_order(5, 1, 23)[:18])


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13])
def test_resuming_gives_the_tail(start: int) -> None:
    plan = TrainPlan(3, 4)
    whole, tail = take(16, plan), take(16 - start, plan, start)
    assert all(same(a, b) for a, b in zip(whole[start:], tail, strict=True))


@pytest.mark.parametrize("crop", [CROP, CenterCrop((8, 8)), CenterCrop((12, 10)), Flip((6, 8))])
def test_batches_are_those_of_the_plain_way(crop: Transform) -> None:
    batches = itertools.islice(train_batches(demo(), np.arange(23), crop, TrainPlan(5, 4)), 10)
    for number, batch in enumerate(batches):
        for i, image in zip(batch.indices, batch.images):
            made = crop(demo()[i].image, lambda: np.random.default_rng([1, 5, number // 5, i]))  # noqa: B023
            assert torch.equal(image, torch.from_numpy(np.array(made)).permute(2, 0, 1))


def test_workers_change_nothing() -> None:
    alone = take(8, TrainPlan(1, 4))
    for num_workers in (1, 3):
        others = take(8, TrainPlan(1, 4, num_workers=num_workers))
        assert all(same(a, b) for a, b in zip(alone, others, strict=True))


def test_augmentation_changes_with_the_epoch_only() -> None:
    def pixels(batches: list[Batch]) -> dict[int, torch.Tensor]:
        return {i: image for batch in batches for i, image in zip(batch.indices, batch.images)}

    small, large = pixels(take(5, TrainPlan(1, 4))), pixels(take(2, TrainPlan(1, 10)))
    assert all(torch.equal(small[i], large[i]) for i in small.keys() & large.keys())
    second = pixels(take(10, TrainPlan(1, 4))[5:])
    assert sum(torch.equal(small[i], second[i]) for i in small.keys() & second.keys()) < 6


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_random_state_is_left_alone(num_workers: int) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    take(4, TrainPlan(1, 4, num_workers=num_workers))
    list(eval_batches(demo(), np.arange(9), CROP, 4, num_workers))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_sees_every_image_once_in_order(num_workers: int) -> None:
    indices = np.array([2, 3, 5, 7, 11, 13, 17])
    batches = list(eval_batches(demo(), indices, CenterCrop((8, 8)), 3, num_workers))
    assert [batch.indices for batch in batches] == [[2, 3, 5], [7, 11, 13], [17]]
    assert [batch.labels.tolist() for batch in batches] == [[2, 3, 5], [7, 1, 3], [7]]
    assert batches[0].stacked().shape == (3, 3, 8, 8)
    assert batches[2].keys == ["demo/train/000017"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_images_are_left_out_and_listed(num_workers: int, tmp_path: Path) -> None:
    for i in range(7):
        side = 4 if i == 5 else 20 + i
        (tmp_path / f"{i}.png").write_bytes(save(Image.new("RGB", (side, 20), (i, 0, 0)), "PNG"))
    (tmp_path / "1.png").write_bytes(b"text")
    (tmp_path / "4.png").write_bytes((tmp_path / "3.png").read_bytes()[:50])
    (tmp_path / "2.png").unlink()
    source = FolderSource(Disk(tmp_path))
    batches = list(eval_batches(source, np.arange(len(source)), NativeCrop(8), 4, num_workers))
    assert [batch.keys for batch in batches] == [["0.png", "3.png"], ["6.png"]]
    assert [batch.all_indices for batch in batches] == [[0, 1, 2, 3], [4, 5]]
    assert [[(bad.key, bad.reason) for bad in batch.rejected] for batch in batches] == [
        [("1.png", "not-an-image"), ("4.png", "truncated")],
        [("5.png", "too-small")],
    ]
    assert batches[0].images[1].shape == (3, 16, 16)


class Failing(Source):
    """Image 5 ends it all, in one of three ways."""

    classes: list[str] = []

    def __init__(self, way: str) -> None:
        self.way = way

    def __len__(self) -> int:
        return 8

    def key(self, i: int) -> str:
        return str(i)

    def label(self, i: int) -> None:
        return None

    def __getitem__(self, i: int) -> Sample:
        if i == 5 and self.way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if i == 5 and self.way == "bug":
            raise RuntimeError("a bug")
        if i == 5:
            raise VqcliError("the shard is damaged", hint="copy it again", reason="damaged")
        return Sample(Image.new("RGB", (8, 8)), None, self.key(i))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_shard_ends_the_job_with_its_own_words(num_workers: int) -> None:
    batches = eval_batches(Failing("damage"), np.arange(8), CenterCrop((8, 8)), 2, num_workers)
    assert next(batches).labels.tolist() == [-1, -1]
    with pytest.raises(VqcliError) as caught:
        list(batches)
    assert (str(caught.value), caught.value.hint, caught.value.reason) == (
        "the shard is damaged",
        "copy it again",
        "damaged",
    )


def test_a_dead_worker_is_an_error_where_batches_are_asked_for() -> None:
    batches = eval_batches(Failing("kill"), np.arange(8), CenterCrop((8, 8)), 2, 1)
    next(batches)
    time.sleep(0.3)  # it dies now, while the main process is busy
    with pytest.raises(VqcliError, match="died") as caught:
        list(batches)
    assert caught.value.reason == "worker-died"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bug_stays_a_bug(num_workers: int) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        list(eval_batches(Failing("bug"), np.arange(8), CenterCrop((8, 8)), 2, num_workers))


def test_too_few_images_for_a_batch() -> None:
    with pytest.raises(ValueError, match="3 images do not fill"):
        train_batches(demo(), np.arange(3), CROP, TrainPlan(0, 2, 0, 2))


def test_config() -> None:
    square, wide = DataConfig(size=32, augment="crop"), DataConfig(size=(16, 32))
    assert (square.height_width, wide.height_width) == ((32, 32), (16, 32))
    assert train_transform(square) == RandomCrop((32, 32), flip=False, largest=1)
    assert train_transform(wide) == RandomCrop((16, 32), flip=True)
    assert train_transform(DataConfig(size=8, augment="flip")) == Flip((8, 8))
    assert (
        train_transform(DataConfig(size=8, augment="none"))
        == eval_transform(DataConfig(size=8))
        == CenterCrop((8, 8))
    )
    with pytest.raises(ValueError, match="size"):
        DataConfig(size=0)
