"""The table of kinds: what stands in it is there, and a third kind is one row."""

import ast
import json
import re

import pytest
from PIL import Image
from typer.testing import CliRunner

import vqcli
from tests import toy_kind
from tests.models import make_classifier, make_generator, make_model
from vqcli.checkpoint.folder import kind_of, read_config, row_of
from vqcli.checkpoint.kinds import KINDS
from vqcli.cli.app import COMMANDS, app
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.push import pack
from vqcli.parts import PARTS, attribute
from vqcli.registry import resolve

TARGETS = ("load", "describe", "door", "convert", "evaluate")


def command(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setitem(KINDS, "judge", toy_kind.JUDGE)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_names_is_there(kind):
    row = KINDS[kind]
    told = {what: getattr(row, what) for what in TARGETS}
    assert all(callable(attribute(target)) for target in told.values() if target)
    assert {what for what, target in told.items() if not target} <= {"convert"}
    known = {name for _, name, _ in COMMANDS}
    card = row.card.format(repository="me/mine", apart="")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    ast.parse(code)
    assert row.use.split()[0] in known
    assert {line.split()[1] for line in card.splitlines() if line.startswith("    vqcli ")} <= known
    assert set(row.commands.replace(",", " ").replace(" and ", " ").split()) <= known


def test_the_code_of_the_cards_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (12, 9)).save("photo.jpg")
    models = {"tokenizer": make_model(tmp_path / "vq")}
    models["generator"] = make_generator(tmp_path / "gpt", models["tokenizer"])
    models["classifier"] = make_classifier(tmp_path / "vit", models["tokenizer"])
    assert models.keys() == KINDS.keys()
    for kind, folder in models.items():
        card = KINDS[kind].card.format(repository=folder, apart="")
        known = {}
        exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0], known)
        if kind == "classifier":
            assert known["found"].names[0][0] in ("tabby cat", "tiger cat", "Red Panda!", "owl")
        else:
            assert all(isinstance(image, Image.Image) for image in known["pictures"])


def test_every_importer_makes_a_kind_that_is_known():
    converted = {name for name, row in KINDS.items() if row.convert}
    assert {resolve("importers", name).KIND for name in PARTS["importers"]} == converted


def test_a_third_kind_is_known_and_told(tmp_path, judge):
    folder = toy_kind.make(tmp_path / "judge")
    assert (kind_of(folder), row_of(folder)) == ("judge", toy_kind.JUDGE)
    told = command("info", folder).splitlines()
    assert [line.split(maxsplit=1) for line in told] == [["folder", str(folder)], ["judges", "3 classes"]]
    assert json.loads(command("info", folder, "--json")) == {
        "folder": str(folder),
        "kind": "judge",
        "classes": 3,
    }


def test_a_third_kind_is_opened(tmp_path, judge):
    model = vqcli.load(toy_kind.make(tmp_path / "judge"), device="cpu")
    assert model.judge([[0, 3], [3, 15]]) in range(3)
    assert (model.folder, model.options.device.type) == (tmp_path / "judge", "cpu")


def test_a_third_kind_is_packed_with_its_card(tmp_path, judge):
    parcel = pack(str(toy_kind.make(tmp_path / "judge")), "me/judge")
    assert (parcel.kind, parcel.next) == ("judge", "vqcli judge IMAGES -m me/judge")
    assert "# A judge\n" in parcel.card
    assert "    vqcli judge IMAGES -m me/judge --tokenizer TOKENIZER\n" in parcel.card
    assert "network:\n  codes: 16\n  classes: 3\n" in parcel.card


def test_a_third_kind_is_copied_with_its_tokenizer(tmp_path, judge):
    folder = toy_kind.make(tmp_path / "judge", make_model(tmp_path / "vq"))
    command("pull", folder, "-o", tmp_path / "copy")
    assert kind_of(tmp_path / "copy") == "judge"
    assert kind_of(tmp_path / "copy" / "tokenizer") == "tokenizer"


def test_a_third_kind_is_refused_where_another_is_wanted(tmp_path, judge):
    folder = toy_kind.make(tmp_path / "judge")
    with pytest.raises(VqcliError, match="holds a judge, not a tokenizer") as refused:
        read_config(folder)
    assert refused.value.hint == "it is for vqcli judge; give a tokenizer's folder"
    with pytest.raises(VqcliError, match="is a judge: it makes no images"):
        evaluate(EvaluateOptions(str(folder), device="cpu"))
    whole = toy_kind.make(tmp_path / "whole", make_model(tmp_path / "vq"))
    with pytest.raises(VqcliError) as refused:
        read_config(whole)
    assert refused.value.hint == f"its tokenizer is {whole / 'tokenizer'}"


def test_without_its_row_it_is_no_model(tmp_path):
    with pytest.raises(VqcliError, match=r"no generator and no classifier \(kind: judge\)"):
        kind_of(toy_kind.make(tmp_path / "judge"))
