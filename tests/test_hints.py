"""What vqcli tells people to type can be typed: commands, flags, extras, recipes, keys and pages exist.

All text of the package is read, without docstrings: hints, help, what is said at the end. ``¤`` stands for
what is filled in when a text is printed.
"""

import ast
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
import typer
from huggingface_hub import constants
from typer.testing import CliRunner

from tests.plugins import vqcli
from vqcli.cli.app import app
from vqcli.cli.text import with_plugins
from vqcli.errors import VqcliError, suggestion
from vqcli.jobs.catalog import kinds
from vqcli.jobs.doctor import EXTRAS
from vqcli.jobs.evaluation.measuring import find_weights
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.recipes import recipe_names
from vqcli.training.accelerator import TRACKERS
from vqcli.training.recipe import read_recipe
from vqcli.types import silent

PACKAGE = Path(__file__).parents[1] / "vqcli"
ROOT = PACKAGE.parent
COMMANDS = typer.main.get_command(app).commands
SAID = re.compile(r"\bvqcli ([a-z][a-z-]*)((?: [^\s;,)`\"]+)*)")
PROSE = {"installs", "needs", "none", "process", "reads", "would", "wrote"}
"""What follows the name where no command is meant."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
AROUND = {"makes", "takes", "shows"}
"""Words of the sentence around a command."""
OF_OTHERS = {"--upgrade", "--nproc", "--standalone", "--user", "--rm", "--sparse"}
"""Flags of pip, torchrun, tar and the like."""
OWN = {
    "jobs/evaluation/": "evaluate",
    "jobs/decode.py": "decode",
    "jobs/prune.py": "prune",
    "jobs/train.py": "train",
    "jobs/generate.py": "generate",
    "jobs/build_codebook.py": "build-codebook",
    "training/": "train",
    "library/importing.py": "import",
    "importers/": "import",
}
"""Whose command says what stands in a folder; another one has to be named."""


@cache
def texts():
    """File and text of all strings of the package, docstrings left out."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        passed = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        passed |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if id(node) in passed:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "¤" for part in node.values)
                found.append((path.relative_to(PACKAGE).as_posix(), "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((path.relative_to(PACKAGE).as_posix(), node.value))
    return found


def flags_of(command):
    return {name for option in COMMANDS[command].params for name in (*option.opts, *option.secondary_opts)}


EVERY = set().union(*map(flags_of, COMMANDS)) | {"--version", "--help"}


def found(pattern):
    """File, text and what a pattern finds there."""
    return [(file, text, match) for file, text in texts() for match in re.finditer(pattern, text)]


def said_commands():
    """File, text, command and the words behind it."""
    for file, text, match in found(SAID):
        name = match[1]
        if name in PROSE or name.startswith("¤") or match[2].startswith(" (") or text.startswith("VQCLI"):
            continue
        yield file, text, name, match[2].split()


def test_texts_are_found():
    """Or all else here would hold of nothing."""
    assert len(texts()) > 2000
    assert len(list(said_commands())) > 40
    assert any("¤" in text and "--resume" in text for _, text in texts())


def test_commands_exist():
    wrong = [
        (file, text) for file, text, name, _ in said_commands() if name not in COMMANDS and name != "help"
    ]
    assert not wrong


def test_flags_behind_a_command_are_its_own():
    wrong = []
    for file, text, name, words in said_commands():
        known = flags_of(name) | {"--help"} if name in COMMANDS else {"--help"}
        given = [word.split("=")[0].strip("[],.'") for word in words if re.match(r"--?[a-zA-Z]", word)]
        wrong += [(file, text, flag) for flag in given if flag.rstrip(":)¤") not in known | {"--"}]
    assert not wrong


def test_flags_exist():
    """Those that stand alone are of the command at hand, or at least of one."""
    wrong = []
    for file, text, match in found(FLAG):
        if text[match.end() : match.end() + 1] == "¤" or match[0] in OF_OTHERS or file.startswith("report/"):
            continue
        own = next((name for place, name in OWN.items() if file.startswith(place)), None)
        alone = own and "vqcli " not in text
        if match[0] not in (flags_of(own) if alone else EVERY):
            wrong.append((file, text, match[0]))
    assert not wrong


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {match[1] for _, _, match in found(r"vqcli\[(\w+)\]")}
    assert named
    assert named <= extras.keys()


def test_extras_that_are_filled_in_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*EXTRAS, *TRACKERS} <= extras.keys()
    for extra, package in EXTRAS.items():
        assert any(re.match(rf"{package}\b", needed) for needed in extras[extra])


def test_pages_exist():
    named = {match[0] for _, _, match in found(r"\b(?:docs/)?[\w-]+\.md\b") if "/" in match[0]}
    assert named
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_recipes_and_lists_exist():
    wrong = []
    for file, text, name, words in said_commands():
        first = words[0] if words else ""
        known = {"new": recipe_names(), "list": kinds(), "train": recipe_names()}.get(name)
        plain = re.fullmatch(r"[a-z0-9][a-z0-9-]*", first) and first not in AROUND
        if known and plain and first not in known:
            wrong.append((file, text, first))
    assert not wrong


KEY = (
    r"(?<![\w./`{-])((?:data|training|losses|optimizer|schedule|tokenizer|generator)(?:\.[a-z_]+)+)(?![\w(])"
)


def test_keys_of_recipes_exist():
    """Behind ``--set`` or alone, in any recipe that is shipped."""
    said = found(rf"{KEY}|--set '?([a-z_]+(?:\.[a-z_]+)+)")
    keys = {match[1] or match[2] for _, text, match in said if " " in text}  # a sentence, no file's name
    assert keys
    recipes = [read_recipe(name, ()).model_dump() for name in recipe_names()]
    assert not [key for key in keys if not any(reaches(recipe, key.split(".")) for recipe in recipes)]


def reaches(section, names):
    for name in names:
        if not isinstance(section, dict) or name not in section:
            return False
        section = section[name]
    return True


def test_commands_run(tmp_path, monkeypatch):
    """Those that need nothing, up to the words of the sentence around them."""
    monkeypatch.chdir(tmp_path)
    whole = set()
    for _, _, name, words in said_commands():
        if name in ("list", "new", "doctor") and not re.search(r"[¤A-Z\[]", " ".join(words)):
            takes = [param for param in COMMANDS[name].params if param.param_type_name == "argument"]
            said = shlex.split(f"{name} {' '.join(words)}".rstrip(".,:)"))
            whole.add(tuple(said[: 1 + len(takes)]))
    assert len(whole) > 3
    for words in sorted(whole):
        done = CliRunner().invoke(app, words, prog_name="vqcli")
        assert done.exit_code == 0, done.output


def test_a_name_that_is_none_gets_no_list_of_sixty():
    done = vqcli("train", "zzzzzz")
    assert f"hint: vqcli list recipes shows all {len(recipe_names())}" in done.stderr
    assert suggestion("zz", [f"a{i}" for i in range(20)]).endswith("a15 and 4 more")
    assert suggestion("zz", ["ab", "cd"], "vqcli list recipes") == "known: ab, cd"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "continue it: vqcli train --resume runs/a",
            "continue it: vqcli train --plugin 'my m' --resume runs/a",
        ),
        ("Next: vqcli usage-report -m runs/a", "Next: vqcli usage-report --plugin 'my m' -m runs/a"),
        (
            "Next: vqcli encode IMAGES -o tokens.npy -m runs/a",
            "Next: vqcli encode --plugin 'my m' IMAGES -o tokens.npy -m runs/a",
        ),
        (
            "stopped at step 3; to go on: vqcli train --resume runs/a",
            "stopped at step 3; to go on: vqcli train --plugin 'my m' --resume runs/a",
        ),
        (
            "vqcli reconstruct photos/ -m runs/a -o made",
            "vqcli reconstruct --plugin 'my m' photos/ -m runs/a -o made",
        ),
        ("Train it with: vqcli train my.yaml", "Train it with: vqcli train --plugin 'my m' my.yaml"),
        ("stopped; continue with --resume", "stopped; continue with --resume --plugin 'my m'"),
        ("look at the data: vqcli encode lists what is wrong", None),
        ("name one: vqcli list models", None),
        ("Next: vqcli usage-report -m runs/a --plugin 'my m'", None),
    ],
)
def test_what_comes_next_names_the_plugins(text, wanted):
    assert with_plugins(text, ["my m"]) == (wanted or text)
    assert with_plugins(text, []) == text


@pytest.mark.parametrize("target", ["images", "model"])
def test_who_compares_images_is_not_sent_to_a_tokenizer(tmp_path, monkeypatch, target):
    """Without a network, and without the weights."""
    (tmp_path / "config.json").touch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    asked = EvaluateOptions("demo:3" if target == "images" else str(tmp_path))
    with pytest.raises(VqcliError, match="fid-inception needs, cannot be found on this machine") as error:
        find_weights("fid-inception", asked, silent)
    assert "--inception-weights FOLDER" in error.value.hint
    assert ("or go without" in error.value.hint) == (target == "model")
