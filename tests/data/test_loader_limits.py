"""What the machine does not give to processes that load images: a sentence soon, never an endless wait."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_loader import CROP, Failing, demo
from vqcli.data import workers
from vqcli.data.images.base import Source
from vqcli.data.loader import Batch, TrainPlan, eval_batches, train_batches
from vqcli.data.workers import MOST_WORKERS
from vqcli.errors import VqcliError
from vqcli.pixels import CenterCrop
from vqcli.types import Sample

LOADING = """
import resource, sys
import numpy as np
from vqcli.data.images.demo import DemoSource
from vqcli.data.loader import eval_batches
from vqcli.errors import VqcliError
from vqcli.pixels import CenterCrop
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
try:
    batches = eval_batches(DemoSource(400, (64, 64)), np.arange(400), CenterCrop((64, 64)), 50, 2)
    print(sum(map(len, batches)))
except VqcliError as e:
    print(e.reason, e, sep=": ")
"""


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [("RLIMIT_FSIZE", 512, "File too large"), ("RLIMIT_NOFILE", 14, "Too many open")],
)
def test_limits_of_the_shell(limit: str, value: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADING, limit, str(value)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("os: ")
    assert said in done.stdout


def test_more_processes_than_are_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of the hand is told; more than there are batches are not started."""
    plan = TrainPlan(0, 4, num_workers=MOST_WORKERS + 1)
    with pytest.raises(VqcliError, match="more than") as caught:
        next(train_batches(demo(), np.arange(23), CROP, plan))
    assert caught.value.reason == "option"
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda a, b, n, m: started.append(n) or start(a, b, n, m))  # type: ignore[func-returns-value]
    assert len(list(eval_batches(demo(), np.arange(4), CenterCrop((8, 8)), 2, 999))) == 2
    assert started == [2]


def test_no_more_processes_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refused)
    with pytest.raises(
        VqcliError, match="cannot start 2 processes that load images: Resource temp"
    ) as caught:
        next(eval_batches(demo(), np.arange(9), CenterCrop((8, 8)), 2, 2))
    assert caught.value.reason == "os"


class Killed(Failing):
    """Image 5 kills the process that loads it, the first time."""

    def __init__(self, mark: Path) -> None:
        super().__init__("")
        self.mark = mark

    def __getitem__(self, i: int) -> Sample:
        if i == 5 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Sample(Image.new("RGB", (8, 8), (i, 0, 0)), None, self.key(i))


def test_work_goes_on_where_a_process_was_killed(tmp_path: Path) -> None:
    def loaded(source: Source, workers: int) -> list[Batch]:
        return list(eval_batches(source, np.arange(8), CenterCrop((8, 8)), 2, workers))

    killed, never = loaded(Killed(tmp_path / "mark"), 1), loaded(Killed(tmp_path), 0)
    assert (tmp_path / "mark").exists()
    assert [batch.keys for batch in killed] == [batch.keys for batch in never]
    assert all(torch.equal(a.stacked(), b.stacked()) for a, b in zip(killed, never))


class Refused(Failing):
    """Image 5 cannot be loaded."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__("")
        self.error, self.times = error, times

    def __getitem__(self, i: int) -> Sample:
        if i == 5 and self.times:
            self.times -= 1
            raise self.error
        return Sample(Image.new("RGB", (8, 8)), None, self.key(i))


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_sources_from_outside(workers: int) -> None:
    error = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    assert len(list(eval_batches(Refused(error, 2), np.arange(8), CenterCrop((8, 8)), 2, workers))) == 4
    for failed, reason, said in (
        (error, "os", "cannot read 5: Stale"),
        (MemoryError(), "memory", "to load 5"),
    ):
        with pytest.raises(VqcliError, match=said) as caught:
            list(eval_batches(Refused(failed, 9), np.arange(8), CenterCrop((8, 8)), 2, workers))
        assert caught.value.reason == reason
