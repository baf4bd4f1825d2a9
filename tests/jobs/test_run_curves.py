"""``curves.svg`` in the run folder: whatever a run came to is drawn, and nothing is lost by drawing."""

import xml.etree.ElementTree as ElementTree

import pytest

from tests.training.tiny import Recorded, leftovers, metrics, resume, start
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs import train as job


def texts(run):
    root = ElementTree.fromstring((run / "curves.svg").read_bytes())
    return [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_finished_run_and_an_interrupted_one_are_drawn(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(4))
    assert {"run", "4 steps"} <= set(texts(run))
    resume(run)
    found = texts(run)
    assert "8 steps" in found
    last = metrics(run)[-1]
    assert f"validation/psnr {last['validation/psnr']:.4g}" in found
    assert any(text and text.startswith("l2 ") for text in found)
    assert leftovers(run) == []


def test_a_diverged_run_is_drawn(tmp_path):
    with pytest.raises(VqcliError, match="training diverged"):
        start(tmp_path / "run", "optimizer.lr=1e30", "training.log_every=1", "training.steps=50")
    assert any(text and text.startswith("gradient_norm ") for text in texts(tmp_path / "run"))


def test_what_cannot_be_drawn_is_said_and_hides_nothing(tmp_path, monkeypatch):
    def broken(lines, title):
        raise IndexError("no panel")

    monkeypatch.setattr(job, "curves", broken)
    progress = Recorded(4)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", progress=progress)
    assert progress.said[-1] == f"{tmp_path / 'run' / 'curves.svg'} was not drawn: no panel"
    assert start(tmp_path / "other").steps == 8
    assert not (tmp_path / "other" / "curves.svg").exists()
