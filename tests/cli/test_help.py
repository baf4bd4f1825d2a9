"""Help of every command: it fits, says what holds without a flag, and shows a line to type."""

import json
import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from vqcli.cli.app import ALIASES, COMMANDS, app
from vqcli.cli.help import FIRST, LAST, PANELS, broken

NAMES = [name for _, name, _ in COMMANDS]
ROOT = get_command(app)
KNOWN = ROOT.commands
EVERYWHERE = ["--json", "--quiet", "--verbose", "--plugin", "--help"]


def vqcli(*arguments):
    return CliRunner().invoke(app, [*arguments], prog_name="vqcli")


def sections(text):
    """Heading -> lines of the help."""
    found, heading = {}, ""
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z][\w ]*:", line):
            heading = line[:-1]
        elif line.strip():
            found.setdefault(heading, []).append(line)
    return found


def flags_of(lines):
    """Long names of flags in the order of lines of help."""
    starts = [line for line in lines if re.match(r"  -", line)]
    return [re.search(r"--[a-z-]+", line)[0] for line in starts]


@pytest.mark.parametrize("width", [80, 50, 110])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_fits(name, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))  # the runner of tests has 80 columns always
    context = ROOT.context_class(ROOT, info_name="vqcli", **ROOT.context_settings)
    if name:
        context = KNOWN[name].context_class(KNOWN[name], info_name=name, parent=context)
    shown = context.get_help()
    assert max(map(len, shown.splitlines())) <= width
    assert not re.search("[\u2011\xa0╭│]", shown)


@pytest.mark.parametrize("name", NAMES)
def test_groups_come_in_their_order(name):
    found = sections(vqcli(name, "--help").stdout)
    headings = [heading for heading in found if heading in ("Arguments", FIRST, *PANELS)]
    assert headings == [each for each in ("Arguments", FIRST, *PANELS) if each in found]
    assert flags_of(found[LAST]) == EVERYWHERE
    told = [flag for heading in headings for flag in flags_of(found[heading])]
    flags = [p for p in KNOWN[name].params if p.param_type_name == "option" and not p.hidden]
    assert sorted(told) == sorted([max(p.opts, key=len) for p in flags] + ["--help"])


def test_groups_hold_what_they_say():
    found = sections(vqcli("encode", "--help").stdout)
    assert flags_of(found[FIRST])[:3] == ["--out", "--model", "--size"]
    assert {"--split", "--limit", "--strict"} < set(flags_of(found["Images"]))
    assert flags_of(found["Computing"]) == ["--batch-size", "--device", "--precision", "--verify"]


def test_every_name_of_a_group_is_a_flag():
    known = {each.name for command in KNOWN.values() for each in command.params} | {"help"}
    assert {name for names in PANELS.values() for name in names.split()} <= known


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_says_what_it_does(name):
    for each in KNOWN[name].params:
        if not each.hidden:
            assert re.match(r"(?s)[A-Z\w$].*[.\])]$", each.help), each.name
            assert "otherwise" not in each.help  # a default stands in brackets
            assert not re.search(r"\[(?!default: |@|:N\]|required)[^\]]*\]\.?$", each.help), each.name


def test_a_default_has_one_form():
    text = " ".join(vqcli("encode", "--help").stdout.split())
    for default in ("32", "the model's", "tokens.npy, or latents", "1.1", "none", "fp32", "--labels"):
        assert f"[default: {default}]" in text
    assert "x>=" not in text
    assert "[required]" in vqcli("decode", "--help").stdout
    seeded = " ".join(vqcli("generate", "--help").stdout.split())
    assert "[default: 0]" in seeded
    assert "[default: $VQCLI_MODEL, then llamagen-b-256]" in seeded


@pytest.mark.parametrize("name", NAMES)
def test_examples_can_be_typed(name):
    found = sections(vqcli(name, "--help").stdout)
    lines = found.get("Example") or found["Examples"]
    commands = "\n".join(lines).replace("\\\n", "").splitlines()
    for command in commands:
        program, named, *arguments = shlex.split(command)
        assert (program, named) == ("vqcli", name)
        context = KNOWN[name].make_context(name, list(arguments))  # refuses what is no flag
        assert context.params is not None


def test_lines_are_broken_where_a_shell_allows_it():
    command = "vqcli train NAME --data 'a b/*.png' --set training.steps=800 --resume"
    lines = broken(command, 30)
    assert lines[0] == "vqcli train NAME \\"
    assert "    --data 'a b/*.png' \\" in lines
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)
    assert broken(command, 200) == [command]


@pytest.mark.parametrize("name", ["encode", "usage", "usage-report", "list"])
def test_help_of_a_command_by_a_command(name):
    assert vqcli("help", name).stdout == vqcli(name, "--help").stdout
    assert vqcli("help", name).exit_code == 0


def test_help_alone():
    for line in (["help"], ["help", "help"], ["help", "--help"]):
        assert vqcli(*line).stdout == vqcli("--help").stdout
    unknown = vqcli("help", "encod")
    assert (unknown.exit_code, unknown.stderr) == (
        2,
        "error: there is no command 'encod'\nhint: did you mean 'encode'?\n",
    )


def test_usage_is_a_hidden_name():
    assert {"usage", "utilization-report"} <= ALIASES.keys()
    assert not re.search(r"^  usage  ", vqcli("--help").stdout, re.M)
    assert vqcli("usage", "--help").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["trian"], "there is no command 'trian'", "did you mean 'train'?"),
        (["xyzzy"], "there is no command 'xyzzy'", "vqcli --help lists the commands"),
        (["list", "--jsno"], "there is no flag --jsno", "did you mean '--json'? vqcli list --help"),
        (["--versoin"], "there is no flag --versoin", "did you mean '--version'? vqcli --help"),
        (["encode", "a.png", "b.png", "c.png"], "more arguments than it takes, from 'b.png' on", "quote a"),
        (["encode", "a.png", "-o"], "option '-o' requires an argument", "vqcli COMMAND --help"),
        (["encode"], "missing argument 'IMAGES'", "vqcli encode --help"),
        (
            ["encode", "x", "--limit", "0"],
            "invalid value for '--limit': must be at least 1, not '0'",
            "vqcli",
        ),
        (["prune", "x", "--out", "y", "--limit", "3"], "--size, --split and --limit choose among", "vqcli"),
    ],
)
def test_a_wrong_line_is_an_error_and_a_hint(arguments, error, hint):
    refused = vqcli(*arguments)
    first, second = refused.stderr.splitlines()
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert first.startswith(f"error: {error}")
    assert second.startswith(f"hint: {hint}")


def test_a_wrong_line_as_json():
    for arguments in (["lst", "--json"], ["list", "--json", "--jsno"], ["encode", "--json"]):
        refused = vqcli(*arguments)
        value = json.loads(refused.stdout)
        assert (refused.exit_code, value["reason"], refused.stderr) == (2, "option", "")
        assert value["hint"]


def test_a_command_that_is_asked_nothing_shows_help():
    assert vqcli().exit_code == 2
    assert vqcli().output == vqcli("--help").stdout
