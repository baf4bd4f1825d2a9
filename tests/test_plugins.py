"""Which modules become plugins, what they are refused for, and that no file allows one."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from tests.cli.said import refused
from tests.plugins import forgotten, vqcli
from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.parts import BASES, PARTS
from vqcli.plugins import allow, loaded, needed, require
from vqcli.registry import resolve

LOSS = '''
from typing import Literal
from vqcli.losses.base import ImageLoss, ImageLossConfig
from vqcli.losses.pixel import L1Loss

class Mine(ImageLoss):
    """A loss of mine."""
    class Config(ImageLossConfig):
        name: Literal["mine"] = "mine"
    def forward(self, reconstruction, images):
        return (reconstruction - images).abs().max()
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, where ``mymodule.py`` lies."""
    (tmp_path / "mymodule.py").write_text(LOSS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    return tmp_path


@pytest.mark.parametrize("kind", PARTS)
def test_every_part_is_of_its_base(kind):
    module, name = BASES[kind].split(":")
    base = getattr(import_module(module), name)
    for part in PARTS[kind]:
        assert issubclass(resolve(kind, part), base)


def listed(*arguments, kind="losses"):
    done = vqcli("list", kind, "--json", *arguments)
    assert done.exit_code == 0, done.output
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_ways_to_allow_a_plugin(here, monkeypatch):
    entry = {"name": "mine", "summary": "A loss of mine.", "plugin": "mymodule"}
    assert "mine" not in listed()
    assert listed("--plugin", "mymodule")["mine"] == entry
    assert listed("--plugin", here / "mymodule.py")["mine"] == entry
    done = vqcli("--plugin", "mymodule", "list", "losses")
    assert "A loss of mine. (mymodule)" in done.stdout
    monkeypatch.setenv("VQCLI_PLUGINS", "mymodule:mymodule,./mymodule.py")
    assert listed()["mine"] == entry
    assert listed()["l1"].keys() == {"name", "summary"}


def test_a_module_of_a_package(here):
    (here / "lab").mkdir()
    (here / "lab" / "losses.py").write_text(LOSS)
    (here / "lab" / "__init__.py").write_text("from lab.losses import Mine\n")
    assert listed("--plugin", "lab.losses")["mine"]["plugin"] == "lab.losses"
    assert listed("--plugin", "lab")["mine"]["plugin"] == "lab"


def test_installed_plugins(here, monkeypatch):
    (here / "acme-1.0.dist-info").mkdir()
    (here / "acme-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    points = here / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text("[vqcli.parts]\nacme = mymodule\nworse = no_such_module\n")
    monkeypatch.syspath_prepend(here)
    assert listed()["mine"]["plugin"] == "mymodule"
    with forgotten():
        assert resolve("losses", "l1").__name__ == "L1Loss"
        assert not loaded(), "a part of ours imports no plugin"
        assert resolve("losses", "mine").__name__ == "Mine"
        with pytest.raises(VqcliError) as caught:
            resolve("losses", "minne")
        assert "did you mean 'mine'?; there is no plugin no_such_module" in caught.value.hint
    found = json.loads(vqcli("doctor", "--json").stdout)
    assert found["plugins"] == ["mymodule"]
    assert any("no_such_module" in problem["message"] for problem in found["problems"])


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("raise RuntimeError('odd')", "the plugin odd cannot be imported: RuntimeError: odd", "VQCLI_DEBUG"),
        ("raise SystemExit(0)", "the plugin odd cannot be imported: SystemExit: 0", "VQCLI_DEBUG"),
        ("import no_such", "the plugin odd cannot be imported: ModuleNotFoundError", "VQCLI_DEBUG"),
        ("from vqcli.losses.pixel import L1Loss", "the plugin odd has no parts", "ImageLoss"),
        (
            "from vqcli.generators.base import Generator\nclass Half(Generator):\n    def sample(self): ...",
            "the plugin odd has no parts: Half lacks compile_step, forward",
            "write compile_step, forward",
        ),
        (LOSS.replace('"mine"', '"l1"'), "odd:Mine cannot be the loss 'l1', which vqcli has", "another name"),
        (LOSS + "class Two(Mine): ...", "odd:Two cannot be the loss 'mine', which Mine has", "another name"),
        (LOSS.replace(' = "mine"', ""), "odd:Mine has no name", "Literal"),
    ],
)
def test_what_is_no_plugin(here, monkeypatch, text, message, hint):
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    (here / "odd.py").write_text(text)
    refused(vqcli("list", "losses", "--plugin", "odd"), message, hint)
    assert "mine" not in listed()


def test_names_without_a_plugin(here):
    refused(vqcli("list", "--plugin", "mymodul"), "there is no plugin mymodul", "FOLDER/mymodul.py")
    refused(vqcli("list", "--plugin", "/"), "there is no plugin at /", "--plugin")
    refused(vqcli("list", "--plugin", "./mymodul.py"), "there is no plugin at ./mymodul.py", "--plugin")
    (here / "json.py").write_text(LOSS)
    refused(vqcli("list", "--plugin", "json"), "Python has another module json", "a name of its own")
    (here / "two.py").write_text(LOSS)
    taken = vqcli("list", "--plugin", "mymodule", "--plugin", "two")
    refused(taken, "two:Mine cannot be the loss 'mine', which mymodule has", "another name")
    failed = vqcli("list", "--plugin", "mymodul", "--json")
    assert json.loads(failed.stdout)["reason"] == "plugin"


def test_a_class_is_named_by_its_module_in_a_recipe(here):
    setting = ("check", "demo", "--set", "losses.mymodule:Mine=2")
    refused(vqcli(*setting), "the loss mymodule:Mine needs the plugin mymodule", "--plugin mymodule")
    done = json.loads(vqcli(*setting, "--plugin", "mymodule", "--json").stdout)
    assert done["plugins"] == {"mymodule": ["loss mine"]}
    assert done["settings"]["losses"]["mine"] == {"weight": 2.0, "name": "mine"}
    assert "plugin mymodule" in vqcli(*setting, "--plugin", "mymodule").stdout
    wrong = vqcli("check", "demo", "--set", "losses.mymodule:Min=2", "--plugin", "mymodule")
    refused(wrong, "the plugin mymodule has no loss Min", "mymodule:Mine")


def test_what_a_file_tells_allows_nothing(here):
    for told in (["mymodule"], {"mymodule": ["loss mine"]}):
        with pytest.raises(VqcliError, match="model needs the plugin mymodule"):
            require(told, "model")
    assert "mymodule" not in sys.modules
    for told in ("mymodule", [3], {"../x": []}, None):
        with pytest.raises(VqcliError, match="names of modules"):
            require(told, "model")
    with forgotten():
        allow("mymodule")
        require({"mymodule": ["loss mine"]}, "model")
        assert needed(resolve("losses", "mine").Config()) == {"plugins": {"mymodule": ["loss mine"]}}
    assert needed(PartConfig()) == {}


def test_a_recipe_may_tell_what_it_needs(here):
    recipe = here / "my.yaml"
    recipe.write_text("extends: demo\nplugins: [mymodule]\nlosses: {mine: 1}\n")
    refused(vqcli("check", recipe), f"{recipe} needs the plugin mymodule", "--plugin mymodule")
    assert vqcli("check", recipe, "--plugin", "mymodule").exit_code == 0


def test_help_needs_no_plugin(here):
    command = [sys.executable, "-m", "vqcli", "--plugin", "no_such", "list", "--help"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
