"""What is asked for first is checked first: what is not there never makes the Hub send a model."""

import numpy as np
import pytest
from PIL import Image

from tests.hub.commands import vqcli
from tests.models import make_generator, make_model

HUB = "owner/name"
AWAY = {
    "encode": ["encode", "away", "-m", HUB],
    "encode, empty glob": ["encode", "photos/*.tif", "-m", HUB],
    "encode, empty folder": ["encode", "empty", "-m", HUB],
    "encode, no such split": ["encode", "photos", "--split", "test", "-m", HUB],
    "encode, place taken": ["encode", "photos", "-o", "taken.npy", "-m", HUB],
    "decode": ["decode", "away.npy", "-o", "out", "-m", HUB],
    "decode, place taken": ["decode", "tokens.npy", "-o", "photos", "-m", HUB],
    "decode, place is a file": ["decode", "tokens.npy", "-o", "taken.npy", "-m", HUB],
    "reconstruct": ["reconstruct", "away", "-o", "out", "-m", HUB],
    "reconstruct, place taken": ["reconstruct", "photos", "-o", "taken", "-m", HUB],
    "usage-report": ["usage-report", HUB, "--images", "away"],
    "usage-report, page of nothing": ["usage-report", HUB, "-o", "usage.html"],
    "usage-report, place is a folder": ["usage-report", HUB, "--images", "photos", "-o", "photos"],
    "evaluate": ["evaluate", HUB, "--images", "away"],
    "evaluate, no such metric": ["evaluate", HUB, "--images", "photos", "--metrics", "pnsr"],
    "evaluate, no such weights": ["evaluate", HUB, "--images", "photos", "--lpips-weights", "away"],
    "evaluate, no such tokenizer": ["evaluate", HUB, "--images", "photos", "--tokenizer", "away"],
    "evaluate, place taken": ["evaluate", HUB, "--images", "photos", "-o", "taken"],
    "evaluate, statistics taken": ["evaluate", HUB, "--images", "photos", "--statistics", "taken.npz"],
    "evaluate, no such split": ["evaluate", HUB, "--images", "photos", "--split", "test"],
    "evaluate, no such protocol": ["evaluate", HUB, "--images", "photos", "--protocol", "plane"],
    "generate, no such tokenizer": ["generate", "--prompt-class", "0", "-m", HUB, "--tokenizer", "away"],
    "generate, place taken": ["generate", "--prompt-class", "0", "-m", HUB, "-o", "taken.npy"],
    "prune": ["prune", HUB, "-o", "out", "--images", "away"],
    "prune, no such tokens": ["prune", HUB, "-o", "out", "--tokens", "away.npy"],
    "build-codebook": ["build-codebook", "away", "--features", HUB],
    "import": ["import", "away.pt", "-o", "out", "--tokenizer", HUB],
    "import, folder without weights": ["import", "photos", "-o", "out", "--tokenizer", HUB],
    "import, place taken": ["import", "weights.pt", "-o", "photos", "--tokenizer", HUB],
    "train, images": ["train", "gpt-demo", "--data", "away", "--tokenizer", HUB],
    "train, tokens": ["train", "gpt-demo", "--data", "away.npy", "--tokenizer", HUB],
    "train, start and no images": ["train", "demo", "--data", "away", "--init", HUB],
    "train, place taken": ["train", "gpt-demo", "--data", "photos", "--tokenizer", HUB, "--out", "photos"],
    "train, no such start": ["train", "gpt-demo", "--data", "photos", "--tokenizer", HUB, "--init", "away"],
}
"""Commands that name a model of the Hub, and something else that is not there or in the way."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "empty", "taken"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    np.save(tmp_path / "tokens.npy", np.zeros((2, 4, 4), np.uint8))
    np.save(tmp_path / "taken.npy", np.zeros(3))
    np.savez(tmp_path / "taken.npz", arr_0=np.zeros(3))
    (tmp_path / "taken" / "results.json").write_text("{}")
    (tmp_path / "weights.pt").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize("case", AWAY)
def test_nothing_is_asked_of_the_hub(hub, here, case):
    hub.commit(HUB, {"config.json": b"{}"})
    done = vqcli(*AWAY[case], "-q")
    assert done.exit_code == 1, done.output
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "internal error" not in done.stderr
    assert hub.log == []


def test_the_same_commands_ask_where_all_is_there(hub, here):
    """Or the table above would show nothing."""
    hub.commit(HUB, {"config.json": b"{}"})
    for arguments in (
        ["encode", "photos", "-o", "new.npy", "-m", HUB],
        ["decode", "tokens.npy", "-o", "out", "-m", HUB],
        ["usage-report", HUB, "--images", "photos"],
        ["evaluate", HUB, "--images", "photos", "--metrics", "psnr"],
        ["generate", "--prompt-class", "0", "-m", HUB, "-o", "out"],
        ["train", "gpt-demo", "--data", "photos", "--tokenizer", HUB, "-o", "run"],
    ):
        hub.log.clear()
        assert vqcli(*arguments, "-q").exit_code == 1
        assert hub.log, arguments


def test_a_local_generator_with_images_that_are_not_there(hub, here, tmp_path):
    generator = make_generator(tmp_path / "generator", make_model(tmp_path / "tokenizer"), copied=False)
    done = vqcli("evaluate", generator, "--images", "away", "--tokenizer", HUB, "-n", "2", "-q")
    assert done.exit_code == 1
    assert "error: away does not exist" in done.stderr
    assert hub.log == []
