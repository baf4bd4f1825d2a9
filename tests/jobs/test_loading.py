import os

import numpy as np
import pytest
import torch

from tests.images import save
from vqcli.data.images.demo import DemoSource
from vqcli.data.images.open import open_source
from vqcli.errors import BadImage
from vqcli.jobs.loading import load_batches, worker_count
from vqcli.jobs.options import ReadOptions
from vqcli.pixels import CenterCrop

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_gpu_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (worker_count(None, CPU), worker_count(0, CPU), worker_count(5, GPU)) == (2, 0, 5)
    for cores, gpus, expected in ((96, 8, 12), (64, 1, 16), (1, 1, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=cores: set(range(n)), raising=False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda n=gpus: n)
        assert worker_count(None, GPU) == expected


def test_strict_ends_at_the_first_bad_image(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(save(DemoSource(1, (8, 8))[0].image, "PNG"))
    (tmp_path / "b.png").write_bytes(b"no image")
    source = open_source(str(tmp_path))

    def load(**options: bool) -> list[int]:
        reading = ReadOptions(num_workers=0, **options)
        return [len(b) for b in load_batches(source, np.arange(2), CenterCrop((8, 8)), 1, reading, CPU)]

    assert load() == [1, 0]
    with pytest.raises(BadImage, match=r"b\.png"):
        load(strict=True)
