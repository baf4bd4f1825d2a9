"""Real images, where ``VQCLI_TEST_ASSETS`` tells where they are."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcli.data.holdout import holdout
from vqcli.data.images.open import open_source
from vqcli.data.loader import data_order, eval_batches
from vqcli.pixels import CenterCrop

ASSETS = Path(os.environ.get("VQCLI_TEST_ASSETS", ""), "data")
pytestmark = pytest.mark.skipif(
    not os.environ.get("VQCLI_TEST_ASSETS"), reason="VQCLI_TEST_ASSETS is not set"
)
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_cifar_parquet() -> None:
    source = open_source(str(ASSETS / "cifar10" / "*.parquet"))
    assert (len(source), source.classes, source.splits) == (50_000, CLASSES, ("train",))
    assert Counter(source.label(i) for i in range(len(source))) == dict.fromkeys(range(10), 5000)
    for i in data_order(0, 0, 50_000)[:50].tolist():
        sample = source[i]
        assert sample.image.size == (32, 32)
        assert sample.label is not None
        assert sample.key.split("/")[1] == CLASSES[sample.label]
    train, held = holdout(source, 0.02)
    assert len(train) + len(held) == 50_000
    assert 900 < len(held) < 1100


def test_cifar_tar() -> None:
    source = open_source(str(ASSETS / "cifar10" / "*.tar"))
    assert (len(source), source.splits) == (10_000, ("test",))
    assert Counter(source.label(i) for i in range(len(source))) == dict.fromkeys(range(10), 1000)
    assert len({source.key(i) for i in range(len(source))}) == 10_000
    batch = next(eval_batches(source, np.array([0, 4999, 9999]), CenterCrop((32, 32)), 3))
    assert batch.stacked().shape == (3, 3, 32, 32)
    assert not batch.rejected


def test_imagenet_sample() -> None:
    source = open_source(str(ASSETS / "imagenet-sample"))
    known = {entry["wnid"] for entry in json.loads((ASSETS / "imagenet-classes.json").read_text())}
    assert (len(source), len(source.classes), len(set(source.classes) & known)) == (500, 500, 500)
    sizes = []
    for i in range(500):
        with Image.open(ASSETS / "imagenet-sample" / source.key(i)) as image:
            sizes.append(image.size)
    assert sum(min(size) < 256 for size in sizes) == 50
    batch = next(eval_batches(source, np.arange(0, 500, 25), CenterCrop((256, 256)), 20))
    assert (len(batch.images), batch.rejected) == (20, [])


def test_pixels_of_photographs_are_those_of_the_plain_way() -> None:
    source, cut = open_source(str(ASSETS / "imagenet-sample")), CenterCrop((96, 64))
    for batch in eval_batches(source, np.arange(0, 500, 10), cut, 20):
        for i, image in zip(batch.indices, batch.images):
            plain = np.array(cut(source[i].image, np.random.default_rng))
            assert np.array_equal(image.permute(1, 2, 0).numpy(), plain)
