"""The commands of the README, run as they stand; training is cut short, and fewer images are drawn."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LINES = "".join(BLOCKS).splitlines()
COMMANDS = [line.removeprefix("$ ") for line in LINES if line.startswith("$ vqcli")]
SHORT = ["training.steps=4", "training.batch_size=8", "training.validation_images=16", "data.num_workers=0"]
NOT_ALL_USED = 3
"""Exit code of a usage report that finds codes unused: four steps of training use few."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "photos").mkdir()
    for i in range(12):
        Image.effect_noise((40, 48), 50).convert("RGB").save(folder / "photos" / f"{i}.jpg")
    return folder


def test_the_readme_has_a_tour():
    shown = {command.split()[1] for command in COMMANDS}
    assert shown >= {"train", "encode", "decode", "usage-report", "info"}


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, folder):
    arguments = shlex.split(re.sub(r"\bdemo:(\d+)0\b", r"demo:\1", command), comments=True)[1:]
    if arguments[0] == "train":
        arguments += [word for setting in SHORT for word in ("--set", setting)]
    run = [sys.executable, "-m", "vqcli", *arguments]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    allowed = {0, NOT_ALL_USED} if "--fail-below" in arguments else {0}
    assert done.returncode in allowed, done.stderr
    assert done.stdout


def test_python_beside_a_clone_finds_the_package(tmp_path):
    """As installed: a folder called vqcli that is no package must not hide it."""
    (tmp_path / "vqcli").mkdir()
    code = "import vqcli; print(vqcli.__version__)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
