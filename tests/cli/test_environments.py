"""A table of environments over all commands: each works, or says in one sentence why it does not."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from PIL import Image
from typer.testing import CliRunner

from tests.images import picture, save
from tests.models import make_classifier, make_generator, make_model
from tests.training.tiny import ENVIRONMENT, write_recipe
from vqcli.cli.app import COMMANDS, app
from vqcli.cli.app import SHARED as FUNCTIONS
from vqcli.library.downloads import fetch

LINES = {
    "train": "{top}/tiny.yaml -o run --set training.steps=1 --set training.validate_every=1 --device cpu",
    "build-codebook": "{top}/images -o codes.safetensors --size 8 -k 2 --device cpu --num-workers 0",
    "encode": "{top}/images -m {top}/model -o tokens.npy --device cpu --num-workers 0",
    "decode": "{top}/tokens.npy -m {top}/model -o decoded --device cpu",
    "generate": "-m {top}/generator --prompt-class 0 -n 1 -o drawn --device cpu",
    "classify": "{top}/classifier {top}/images -o classes.csv --device cpu --num-workers 0",
    "reconstruct": "{top}/images -m {top}/model -o reconstructed --device cpu --num-workers 0",
    "usage-report": "{top}/tokens.npy",
    "evaluate": "{top}/model --images {top}/images --metrics psnr --force --device cpu --num-workers 0",
    "prune": "{top}/model -o pruned --tokens {top}/tokens.npy --force",
    "info": "{top}/model",
    "import": "{top}/images/0.png -o imported",
    "pull": "owner/name -o pulled",
    "push": "{top}/nothing owner/name --yes",
    "list": "recipes",
    "new": "demo -o new.yaml",
    "runs": "{top}/runs",
    "verify": "{top}/tokens.npy",
    "cache": "ls",
    "check": "{top}/tiny.yaml",
    "doctor": "",
}
"""Of each command, a small piece of work that reads all it reads of an environment."""
NETWORK = {"pull"}
SHARED = {name.replace("_", "-") for name in FUNCTIONS}
CACHES = {"evaluate", "pull"}
NONE = set()
TABLE = {
    "plain": ({}, NONE),
    "a launcher's only process": ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, NONE),
    "empty variables of a launcher": ({"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": ""}, NONE),
    "one of a launcher that is not there": ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, SHARED),
    "MPI without an address": ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, SHARED),
    "no numbers": ({"PMI_SIZE": "some", "PMI_RANK": "any"}, SHARED),
    "a script of Slurm's": ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, NONE),
    "accelerate's own": ({"ACCELERATE_DEBUG_MODE": "perhaps"}, SHARED),
    "a desktop's proxy": ({"ALL_PROXY": "socks://127.0.0.1:9", "all_proxy": "socks://127.0.0.1:9"}, NETWORK),
    "a proxy without a name": ({"HTTPS_PROXY": "http://:port"}, NETWORK),
    "no certificates": ({"SSL_CERT_FILE": "/nowhere/ca.pem", "REQUESTS_CA_BUNDLE": "/nowhere"}, NETWORK),
    "caches that are files": ({"HF_HOME": "/dev/null/x", "VQCLI_CACHE": "/dev/null/x"}, CACHES),
    "odd terminals": ({"TERM": "", "COLUMNS": "few", "LINES": "-1", "NO_COLOR": "1"}, NONE),
    "a narrow terminal": ({"TERM": "dumb", "COLUMNS": "10"}, NONE),
    "no folder for what is temporary": ({"TMPDIR": "/nowhere", "XDG_CACHE_HOME": ""}, NONE),
}
"""Variables, and the commands that cannot work with them."""


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """What the commands work on."""
    top = tmp_path_factory.mktemp("environments")
    (top / "images").mkdir()
    for i in range(4):
        (top / "images" / f"{i}.png").write_bytes(save(Image.fromarray(picture(16, 16)), "PNG"))
    make_generator(top / "generator", make_model(top / "model"))
    make_classifier(top / "classifier", top / "model")
    (top / "runs" / "a").mkdir(parents=True)
    (top / "runs" / "a" / "recipe.yaml").write_bytes(write_recipe(top).read_bytes())
    made = run("encode", top / "images", "-m", top / "model", "-o", top / "tokens.npy", "--num-workers", "0")
    assert made.exit_code == 0, made.output
    return top


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder of the test's own, an environment that is put back, and a Hub that does not answer."""
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(fetch, "WAITS", ())
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = dict(os.environ)
    os.environ["VQCLI_CACHE"] = str(tmp_path / "cache")
    yield
    os.environ.clear()
    os.environ.update(before)


def line(name, top):
    return [name, *LINES[name].format(top=top).split()]


def works_or_explains(result):
    said = result.output + result.stderr
    assert not any(word in said for word in ("internal error", "Traceback")), said
    assert result.exit_code in (0, 1, 3), said
    if result.exit_code == 1:
        *_, message, hint = result.stderr.splitlines()
        assert message.startswith("error: ")
        assert hint.startswith("hint: ")
    return result.exit_code != 1


def test_the_table_has_every_command():
    assert {name for _, name, _ in COMMANDS} <= LINES.keys()


@pytest.mark.parametrize("environment", TABLE)
def test_every_command_works_or_explains(top, environment):
    variables, refused = TABLE[environment]
    never = {"import", "pull", "push"}  # an image is no model, nobody answers, nothing is there
    failed = set()
    for name in LINES:
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ.update(variables)
        if not works_or_explains(run(*line(name, top))):
            failed.add(name)
    assert failed == refused | never


def test_a_user_without_a_name(top, tmp_path, monkeypatch):
    def nobody(user):
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "LOGNAME", "USER", "VQCLI_CACHE", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ["TMPDIR"] = str(tmp_path)
    told = run(*line("evaluate", top))
    assert told.exit_code == 0, told.output
    assert "this user has no home folder: caches are kept in " in told.stderr
    assert works_or_explains(run(*line("train", top)))
    home = Path(os.environ["HOME"])
    assert home.parent == tmp_path
    assert home.stat().st_mode & 0o777 == 0o700
    assert run(*line("list", top)).stderr == ""


def test_a_folder_that_is_gone(top, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said = run(*line("list", top)).stderr
    monkeypatch.chdir(tmp_path)
    assert said == "error: the current folder is not there any more\nhint: go to another one: cd\n"


def test_an_odd_number_for_the_hub_is_dropped_and_told(top):
    os.environ["HF_HUB_ETAG_TIMEOUT"] = "soon"
    assert "HF_HUB_ETAG_TIMEOUT is 'soon' and should be" in run(*line("list", top)).stderr
    assert "HF_HUB_ETAG_TIMEOUT" not in os.environ


POOR = {
    "LANG": "C",
    "PYTHONIOENCODING": "ascii",
    "OMP_NUM_THREADS": "many",
    "HF_HUB_DOWNLOAD_TIMEOUT": "long",
    "CUDA_VISIBLE_DEVICES": "none of them",
    "TMPDIR": "/nowhere",
    "COLUMNS": "wide",
}


def test_a_process_with_nothing_but_odd_settings_and_closed_streams(top, tmp_path):
    (top / "images" / "0.png").rename(top / "images" / "ä.png")
    command = " ".join([sys.executable, "-m", "vqcli", *line("encode", top)])
    try:
        done = subprocess.run(
            ["sh", "-c", f"exec {command} <&- >out.txt 2>&-"], env=ENVIRONMENT | POOR, timeout=60
        )
    finally:
        (top / "images" / "ä.png").rename(top / "images" / "0.png")
    assert done.returncode == 0
    assert (tmp_path / "out.txt").read_text().startswith("tokens.npy  4 images")


@pytest.mark.parametrize("command", ["encode", "evaluate"])
def test_closed_standard_input_is_a_sentence(top, command):
    arguments = line(command, top)
    where = arguments.index(f"{top}/images")
    runner = [sys.executable, "-m", "vqcli", *arguments[:where], "-", *arguments[where + 1 :]]
    done = subprocess.run(
        ["sh", "-c", f"exec {' '.join(runner)} <&-"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "error: - reads names from standard input, which is closed\nhint: " in done.stderr
