"""Run folders and checkpoints: what is kept, what is used, what is refused."""

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from tests.training.tiny import (
    ENVIRONMENT,
    Recorded,
    assert_same,
    damage,
    metrics,
    resume,
    start,
    write_recipe,
)
from vqcli import files
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs import train as job
from vqcli.jobs.train import TrainOptions, train
from vqcli.library.references import checkpoints, newest_checkpoint

SHORT = ("training.steps=4", "training.checkpoint_every=1", "training.validate_every=9")


def steps(run):
    return [int(folder.name.removeprefix("step-")) for folder in checkpoints(run)]


def interrupted(run, *settings, at=3):
    with pytest.raises(Interrupted):
        start(run, *settings, progress=Recorded(at))


def test_only_the_newest_are_kept(tmp_path):
    start(tmp_path / "two", *SHORT)
    start(tmp_path / "one", *SHORT, "training.keep=1")
    assert (steps(tmp_path / "two"), steps(tmp_path / "one")) == ([3, 4], [4])


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, name):
    run = tmp_path / "run"
    start(tmp_path / "whole", *SHORT, "training.steps=5")
    interrupted(run, *SHORT, "training.steps=5")
    damage(checkpoints(run)[-1] / name)
    assert newest_checkpoint(run).name == "step-00000002"
    progress = Recorded()
    resume(run, progress=progress)
    assert any(text.startswith(f"resuming {run} at step 2 of 5") for text in progress.said)
    assert_same(run, tmp_path / "whole")


def test_where_no_checkpoint_is_whole_nothing_is_touched(tmp_path):
    run = tmp_path / "run"
    interrupted(run, *SHORT, "training.keep=2", at=3)
    damage(checkpoints(run)[-1] / "model.safetensors")
    damage(checkpoints(run)[-2] / "model.safetensors")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(VqcliError, match=r"no whole checkpoint; step 3 is damaged: .*; step 2 is damaged"):
        resume(run, "training.keep=1")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_failed_write_keeps_the_old_checkpoints(tmp_path, monkeypatch):
    run = tmp_path / "run"
    write = files.write_tensors

    def full(path, tensors, metadata=None):
        if "step-00000003" in str(path):
            raise VqcliError(f"cannot write {path}: No space left on device", reason="output")
        write(path, tensors, metadata)

    monkeypatch.setattr(files, "write_tensors", full)
    with pytest.raises(VqcliError, match="No space left"):
        start(run, *SHORT, "training.keep=1")
    assert steps(run) == [2]
    assert newest_checkpoint(run).name == "step-00000002"
    monkeypatch.undo()
    resume(run)
    start(tmp_path / "whole", *SHORT, "training.keep=1")
    assert_same(run, tmp_path / "whole")


def test_a_signal_after_a_checkpoint_does_not_write_it_again(tmp_path, monkeypatch):
    """With one checkpoint kept, replacing it would leave a moment without any."""
    from vqcli.training.run import Run

    written = []
    checkpoint = Run.checkpoint
    monkeypatch.setattr(
        Run, "checkpoint", lambda run, step, keep: written.append(step) or checkpoint(run, step, keep)
    )
    interrupted(tmp_path / "run", *SHORT)
    assert written == [1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        (["seed=1"], r"the recipe changed since the checkpoint: seed 0 -> 1$"),
        (["training.batch_size=8"], r"the recipe .*: training\.batch_size 16 -> 8$"),
        (
            ["optimizer.lr=0.5", "data.size=16"],
            r"the recipe .*: data\.size 8 -> 16, optimizer\.lr 0\.001 -> 0\.5$",
        ),
        (["data.source=demo:80"], r"the recipe .*: data\.source demo:64 -> demo:80$"),
    ],
)
def test_what_must_not_change_is_listed(tmp_path, settings, difference):
    run = tmp_path / "run"
    interrupted(run)
    before = (run / "recipe.yaml").read_text(), metrics(run)
    with pytest.raises(VqcliError, match=difference) as raised:
        resume(run, *settings)
    assert raised.value.reason == "changed"
    assert "--accept-changes" in raised.value.hint
    assert ((run / "recipe.yaml").read_text(), metrics(run)) == before


def test_an_edited_recipe_is_noticed(tmp_path):
    run = tmp_path / "run"
    interrupted(run)
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("lr: 0.001", "lr: 0.002"))
    with pytest.raises(VqcliError, match=r"optimizer\.lr 0\.001 -> 0\.002"):
        resume(run)


def test_other_images_are_noticed(tmp_path):
    folder, run = tmp_path / "images", tmp_path / "run"
    folder.mkdir()
    for i in range(20):
        Image.new("RGB", (8, 8), (i, 2 * i, 90)).save(folder / f"{i:02}.png")
    settings = (f"data.source={folder}", "data.holdout=0", "training.batch_size=4")
    interrupted(run, *settings)
    (folder / "03.png").rename(folder / "30.png")
    with pytest.raises(VqcliError, match="the training images changed since the checkpoint: keys"):
        resume(run)


def test_other_threads_are_noticed_and_accepted(tmp_path):
    run = tmp_path / "run"
    interrupted(run)
    torch.set_num_threads(2)
    try:
        with pytest.raises(VqcliError, match="the environment changed since the checkpoint: threads 1 -> 2"):
            resume(run)
        assert resume(run, "optimizer.lr=0.01", accept_changes=True).steps == 8
    finally:
        torch.set_num_threads(1)
    assert "lr: 0.01" in (run / "recipe.yaml").read_text()


def test_steps_logging_and_workers_may_change(tmp_path):
    run = tmp_path / "run"
    start(run)
    free = ("training.log_every=1", "training.keep=3", "data.num_workers=1", "training.sample_every=9")
    assert resume(run, "training.steps=10", *free).steps == 10
    assert [line["step"] for line in metrics(run) if "l2" in line] == [2, 4, 6, 8, 9, 10]


def test_an_existing_run_is_not_overwritten(tmp_path):
    run = tmp_path / "run"
    interrupted(run)
    before = sorted(path for path in run.rglob("*"))
    with pytest.raises(VqcliError, match="already holds a run") as raised:
        start(run)
    assert f"--resume {run}" in raised.value.hint
    assert sorted(path for path in run.rglob("*")) == before


def test_of_two_that_start_at_once_the_second_leaves_the_first_alone(tmp_path, monkeypatch):
    """The folder is free when the second looks, and holds a finished run when it comes to train."""
    build, steps = job.make_trainer, "training.steps=2"

    def slow(*arguments):
        monkeypatch.setattr(job, "make_trainer", build)
        first.append(launched(tmp_path / "run"))
        return build(*arguments)

    def launched(run):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "vqcli",
                "train",
                str(tmp_path / "tiny.yaml"),
                "--out",
                str(run),
                "--set",
                steps,
            ],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (run / "metrics.jsonl").read_bytes()

    first = []
    monkeypatch.setattr(job, "make_trainer", slow)
    with pytest.raises(VqcliError, match="already holds a run"):
        start(tmp_path / "run", steps)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == first[0]


def test_what_cannot_start_leaves_no_folder(tmp_path):
    with pytest.raises(VqcliError, match=r"data\.source"):
        start(tmp_path / "run", f"data.source={tmp_path / 'away'}")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.jsonl").write_text("mine")
    with pytest.raises(VqcliError, match="is not empty and holds no run"):
        start(tmp_path / "mine")
    assert (tmp_path / "mine" / "metrics.jsonl").read_text() == "mine"


def test_a_run_is_in_use_by_one_process(tmp_path):
    run = tmp_path / "run"
    interrupted(run)
    script = "import sys; from vqcli import files; from pathlib import Path\n"
    script += f"with files.locked(Path({str(run)!r})): print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", script], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(VqcliError, match="in use by another vqcli process"):
        resume(run)
    other.communicate()
    assert resume(run).steps == 8


def test_which_run_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = str(write_recipe(tmp_path))

    def asked(name=None, **options):
        return TrainOptions(name, device="cpu", **options)

    with pytest.raises(VqcliError, match="no unfinished run under runs/"):
        train(asked(resume=True))
    with pytest.raises(VqcliError, match="nothing holds no run to resume"):
        train(asked("nothing", resume=True))
    for name in ("done", "old", "new"):
        progress = Recorded(None if name == "done" else 3)
        options = asked(recipe, out=tmp_path / "runs" / name)
        if name == "done":
            train(options, progress)
        else:
            with pytest.raises(Interrupted):
                train(options, progress)
    for age, name in enumerate(("done", "new", "old")):
        os.utime(tmp_path / "runs" / name / "recipe.yaml", (2e9 - age, 2e9 - age))
    assert train(asked(resume=True)).run.name == "new"
    assert train(asked("old", resume=True)).run.name == "old"
    assert train(asked("runs/done", resume=True)).run.name == "done"
    with pytest.raises(VqcliError, match="no unfinished run"):
        train(asked(resume=True))


def test_the_default_folder_is_named_after_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = train(
        TrainOptions(str(write_recipe(tmp_path, "mine")), settings=["training.steps=1"], device="cpu")
    )
    assert result.run == result.model.parent
    assert str(result.run) == "runs/mine"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.stepz=3"], "unknown key 'training.stepz'"),
        (["training.steps=0"], "less than one step"),
        (["training.steps=-3"], "not negative"),
        (["training.steps=0.01 epochs"], "less than one step"),
        (["data.size=10"], "data.size: image sides must be multiples of 4, not 10 x 10"),
        (["data.source=demo:12"], "training images do not fill one batch of 16"),
        (["training.accumulate=3"], "training.batch_size must be a multiple of training.accumulate"),
        (["data.source=/nowhere/at/all"], "/nowhere/at/all"),
        (["tokenizer.codebook.size=17"], "a multiple of 4; 16 works"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(tmp_path, settings, message):
    with pytest.raises(VqcliError) as raised:
        start(tmp_path / "run", *settings)
    assert message in str(raised.value)
    assert raised.value.hint
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_wrong_key_is_found_before_any_data_is_read(tmp_path):
    with pytest.raises(VqcliError, match="stepz") as raised:
        start(tmp_path / "run", "training.stepz=3", "data.source=/nowhere")
    assert raised.value.hint == "did you mean 'steps'?"
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there(tmp_path):
    options = TrainOptions(str(write_recipe(tmp_path)), tmp_path / "run", device="cuda")
    with pytest.raises(VqcliError, match="device 'cuda' cannot be used"):
        train(options)


def test_all_sittings_are_counted(tmp_path):
    run = tmp_path / "run"
    interrupted(run)
    with pytest.raises(Interrupted, match=f"to go on: vqcli train --resume {run}"):
        resume(run, progress=Recorded(5))
    state = json.loads((newest_checkpoint(run) / "state.json").read_text())
    assert (state["sittings"], state["seconds"] > 0) == (2, True)
    result = resume(run)
    assert result.sittings == 3
    assert result.total_seconds > result.seconds


def test_time_that_was_not_kept_is_not_made_up(tmp_path):
    """A checkpoint of before, which does not tell."""
    run = tmp_path / "run"
    interrupted(run)
    path = newest_checkpoint(run) / "state.json"
    state = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("seconds", "sittings")}
    path.write_text(json.dumps(state))
    (path.parent / "manifest.json").write_text(json.dumps({"files": files.manifest(path.parent)}))
    result = resume(run)
    assert (result.sittings, result.total_seconds) == (2, None)
    assert resume(run).total_seconds is None


def test_a_finished_run_is_not_measured_again(tmp_path):
    run = tmp_path / "run"
    first = start(run, *SHORT)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    progress = Recorded()
    again = resume(run, progress=progress)
    assert progress.said == [f"{run} is finished: 4 steps; --steps trains it further"]
    assert (again.measured, again.summary) == (first.measured, first.summary)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_utilization_is_counted_over_enough_images(tmp_path):
    """Seven held-out images of four tokens do not tell of 16 codes: 72 tokens do."""
    few = ("data.source=demo:40", "training.validation_images=7")
    result = start(tmp_path / "run", *few, "training.steps=3")
    assert {k: result.measured[k] for k in ("images", "training_images", "tokens")} == {
        "images": 7, "training_images": 11, "tokens": 72,
    }  # fmt: skip
    assert "over 72 tokens of 7 held-out and 11 training images" in result.summary[0]
    assert "dB of those held out" in result.summary[0]
    alone = start(tmp_path / "alone", "training.validation_images=18", "training.steps=1")
    assert "training_images" not in alone.measured
    assert "over 72 tokens of 18 held-out images (uniform use: 99.04%), PSNR" in alone.summary[0]
    short = ("data.holdout=0", "training.steps=1")
    nothing = start(tmp_path / "no", f"data.source={blank(tmp_path, 20)}", *short)
    assert "of 18 training images (" in nothing.summary[0]
    assert "PSNR" not in nothing.summary[0]
    fewer = start(tmp_path / "few", f"data.source={blank(tmp_path, 17)}", *short)
    assert "of 17 training images (uniform use: 98.76%; too few images to tell)" in fewer.summary[0]


def blank(folder, count):
    """A folder of so many images of one colour each."""
    made = folder / f"blank-{count}"
    made.mkdir()
    for i in range(count):
        Image.new("RGB", (8, 8), (9 * i, 90, 255 - 9 * i)).save(made / f"{i:02}.png")
    return made


def test_the_result_tells_what_was_measured(tmp_path):
    result = start(tmp_path / "run", *SHORT)
    usage = json.loads((tmp_path / "run" / "model" / "usage.json").read_text())
    last = metrics(tmp_path / "run")[-1]
    assert result.measured["utilization"] == usage["utilization"] == last["validation/utilization"]
    assert result.measured["psnr"] == last["validation/psnr"]
    assert (tmp_path / "run" / "samples" / "step-00000004.png").is_file()
