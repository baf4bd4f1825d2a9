import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from vqcli import __version__
from vqcli.cli.app import ALIASES, app, speaking
from vqcli.cli.output import Out
from vqcli.errors import BadImage, Interrupted, VqcliError
from vqcli.jobs.catalog import PURPOSES

runner = CliRunner()
COMMANDS = get_command(app).commands


def vqcli(*arguments):
    return runner.invoke(app, list(arguments), prog_name="vqcli")


def failing(error):
    """An application of one command that raises."""

    def fail(out: Out) -> None:
        raise error

    one = typer.Typer(rich_markup_mode=None)
    one.command()(speaking(fail))
    return one


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command(name):
    shown = vqcli(name, "--help").stdout
    assert re.search(rf"^Examples?:\n  vqcli {ALIASES.get(name, name)}\b", shown, re.M)
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option[0] == "-"]
    assert {"--json", "--quiet", "--verbose"} <= set(options)
    assert all(re.fullmatch(r"--[a-z][a-z-]+|-[a-z]", option) for option in options)


def test_root_help_lists_each_command_once_under_a_panel():
    shown = vqcli("-h").stdout
    for name, command in COMMANDS.items():
        assert len(re.findall(rf"^  {name}  ", shown, re.M)) == (0 if command.hidden else 1)
    assert shown.index("Train:") < shown.index("Help:")
    assert not set("╭│╰") & set(shown)


def test_version_and_no_arguments():
    assert vqcli("--version").stdout == f"vqcli {__version__}\n"
    bare = vqcli()
    assert bare.exit_code == 2
    assert "Usage: vqcli" in bare.output


def test_wrong_usage():
    command = vqcli("lst")
    assert (command.exit_code, command.stdout) == (2, "")
    assert "did you mean 'list'?" in command.stderr
    option = vqcli("list", "--jsno")
    assert (option.exit_code, option.stdout) == (2, "")
    assert "--json" in option.stderr
    size = vqcli("encode", "demo:1", "--size", "0x3")
    assert size.exit_code == 2
    assert "neither N, HxW nor native" in size.stderr


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--limit", "0", "'--limit': must be at least 1, not '0'"),
        ("--crop-range", "5", "'--crop-range': must be at most 2, not '5'"),
        ("--batch-size", "many", "'--batch-size' / '-b': must be a whole number, not 'many'"),
        ("--precision", "fp8", "'--precision': 'fp8' is not one of 'fp32', 'bf16', 'fp16'"),
    ],
)
def test_wrong_values_of_flags_are_told_in_our_words(flag, value, said):
    refused = vqcli("encode", "demo:1", flag, value)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: invalid value for {said}\nhint: ")


def test_help_reads_no_configuration():
    code = "import sys, vqcli.cli.app; sys.exit(bool({'pydantic', 'yaml', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_underscores_are_dashes():
    refused = vqcli("encode", "demo:1", "--batch_size", "0")
    assert refused.exit_code == 2
    assert "'--batch-size'" in refused.stderr
    assert vqcli("usage_report", "--help").exit_code == 0


def test_error_is_a_sentence_and_a_hint():
    refused = vqcli("list", "codebok")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "error: there is no list of 'codebok'\nhint: did you mean 'codebooks'?\n"


def test_error_as_json():
    refused = vqcli("new", "no-such-recipe", "--json")
    assert refused.exit_code == 1
    value = json.loads(refused.stdout)
    assert set(value) == {"error", "hint", "reason"}
    assert value["reason"] == "config"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (VqcliError("no", hint="yes", reason="config"), 1, "config"),
        (BadImage("a.png", "truncated"), 1, "truncated"),
        (Interrupted("stopped after 3 shards", signal.SIGTERM), 143, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "denied", "x"), 1, "os"),
        (ZeroDivisionError("odd"), 1, "internal"),
    ],
)
def test_exit_codes(error, code, reason):
    result = runner.invoke(failing(error), ["--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout)["reason"] == reason


def test_traceback_only_in_debug(monkeypatch):
    app_ = failing(ZeroDivisionError("odd"))
    said = runner.invoke(app_, []).stderr
    assert said.startswith(f"error: internal error of vqcli {__version__}: ZeroDivisionError: odd\nhint: ")
    assert all(what in said for what in ("the command", "vqcli doctor", "VQCLI_DEBUG=1"))
    monkeypatch.setenv("VQCLI_DEBUG", "1")
    assert "Traceback" in runner.invoke(app_, []).stderr


def test_commands_exit_as_they_say():
    assert runner.invoke(failing(typer.Exit(3)), []).exit_code == 3
    assert runner.invoke(failing(typer.BadParameter("no")), []).exit_code == 2


def test_list():
    everything = json.loads(vqcli("list", "--json").stdout)
    assert {"recipes", "codebooks", "quantizers", "tokenizers"} <= set(everything)
    assert json.loads(vqcli("list", "recipes", "--json").stdout) == everything["recipes"]
    names = vqcli("list", "recipes", "--quiet").stdout.split()
    assert names == [recipe["name"] for recipe in everything["recipes"]]
    assert "demo" in names
    assert all(entry["summary"] for entries in everything.values() for entry in entries)
    shown = vqcli("list").stdout
    assert all(f"{kind.upper()}\n" in shown for kind in everything)
    assert all(f"{entry['name']} " in shown for entries in everything.values() for entry in entries)


def test_recipes_are_listed_by_purpose():
    lines = vqcli("list", "recipes").stdout.splitlines()
    assert lines[0].startswith("Start here: ")
    assert lines[1].startswith("  demo ")
    headings = [i for i, line in enumerate(lines) if line and line[0] != " "]
    purpose = {}
    for line in lines:
        if line[:1] not in ("", " "):
            heading = line
        elif line.strip():
            purpose[line.split()[0]] = heading.partition(":")[0]
    assert len(headings) == len(PURPOSES) + 1  # the last one says what to do next
    assert purpose["fvq-cifar10"] == "Compare systems on CIFAR-10"
    assert purpose["fvq-cifar10-gan"] == "The same, against a discriminator (GAN)"
    assert purpose["gpt-cifar10"] == purpose["gpt-xl-fvq"] == "Generators"
    assert purpose["fvq-262k"] == "Sizes of the papers"
    assert purpose.keys() >= set(vqcli("list", "recipes", "-q").stdout.split())
    assert next(line for line in lines if line.startswith("  fvq-16k ")).split()[1] == "2509.10140"


def test_models_are_listed_by_system_and_kind():
    lines = vqcli("list", "models").stdout.splitlines()
    headings = [line for line in lines if line and line[0] != " "]
    assert headings[0] == "LlamaGen tokenizers"
    assert {"Stable Diffusion autoencoders", "LlamaGen generators"} < set(headings)
    (row,) = [line for line in lines if line.startswith("  fvq-65k-ep40 ")]
    assert row.split()[1] == "65,536"
    assert all(model["system"] for model in json.loads(vqcli("list", "models", "--json").stdout))


def test_new_keeps_comments_and_does_not_clobber(tmp_path):
    shown = vqcli("new", "demo").stdout
    assert shown.startswith("#")
    target = tmp_path / "my.yaml"
    assert vqcli("new", "demo", "-o", str(target), "-q").stdout == f"{target}\n"
    assert target.read_text() == shown
    target.write_text("mine")
    assert "--force" in vqcli("new", "demo", "-o", str(target)).stderr
    assert target.read_text() == "mine"
    assert vqcli("new", "demo", "-o", str(target), "--force").exit_code == 0
    assert target.read_text() == shown


def test_doctor_tells_no_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://user:hf_secret@hub.example/x")
    result = vqcli("doctor", "--json")
    found = json.loads(result.stdout)
    assert "hf_secret" not in result.output
    assert found["environment"]["HF_ENDPOINT"] == "https://...@hub.example/x"
    assert found["versions"]["vqcli"] == __version__
    assert "cpu" in found["devices"]
    assert found["search"]["cpu"]["256"] == "torch+numba"
    assert result.exit_code == (3 if found["problems"] else 0)


def test_doctor_names_an_unwritable_cache(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file" / "cache"))
    result = vqcli("doctor")
    assert result.exit_code == 3
    assert f"problem: the download cache {tmp_path}/file/cache cannot be written" in result.stdout


def process(command, **streams):
    """Exit code and stderr of a process whose stdout is buffered, as is usual."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, env=env, **streams)
    return done.returncode, done.stderr


def test_reader_that_left_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    assert process([sys.executable, "-m", "vqcli", "new", "demo"], stdout=writer) == (141, "")
    os.close(writer)


def test_closed_stdout_is_no_error():
    assert process(["sh", "-c", f"{sys.executable} -m vqcli new demo >&-"]) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["new", "demo"], ["--help"]])
def test_full_disk_is_a_sentence(arguments):
    with open("/dev/full", "w") as full:
        code, talk = process([sys.executable, "-m", "vqcli", *arguments], stdout=full)
    assert code == 1
    assert talk.startswith("error: No space left on device")
    assert "Traceback" not in talk
