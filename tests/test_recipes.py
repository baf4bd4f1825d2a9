"""Every shipped recipe parses, builds, and says what was published. Shape letters: K codes, D code width."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.published import BRIDGES, ENCODER_DECODER, PUBLISHED, SMALL, TOTAL
from tests.training.tiny import write_recipe
from vqcli.errors import VqcliError
from vqcli.jobs.check import activations, check_recipe
from vqcli.recipes import recipe_names, recipe_text
from vqcli.registry import resolve
from vqcli.training.recipe import read_recipe
from vqcli.types import grid_length

DOCS = Path(__file__).parent.parent / "docs" / "recipes.md"

SIZES = {"size", "width", "base", "base_width", "bits", "levels", "hidden", "patch", "scales"}
"""Options of a codebook or quantizer in which a small recipe may differ from its system."""
KEPT = ("tokenizer.name", "losses", "optimizer.betas", "optimizer.eps", "optimizer.clip", "schedule.decay")
"""Other options in which it may not."""
TOKENIZERS = [name for name in recipe_names() if "\ntokenizer:\n" in recipe_text(name)]
GENERATORS = [name for name in recipe_names() if name not in TOKENIZERS]
FEW = ["training.batch_size=8"]
"""Activations are worked out for eight images: quicker, of the same model."""


def flat(value, path=""):
    """The leaves of nested mappings by their dotted keys."""
    if not isinstance(value, dict):
        return {path: value}
    return {key: leaf for k, v in value.items() for key, leaf in flat(v, f"{path}.{k}".lstrip(".")).items()}


def settings(name):
    """A recipe's leaves; losses as names and weights."""
    recipe = read_recipe(name)
    losses = {"losses": [(loss.name, loss.weight) for loss in recipe.losses]} if name in TOKENIZERS else {}
    return flat(recipe.model_dump()) | losses


def character(leaves):
    """What makes a system, whatever its size."""
    parts = ("tokenizer.codebook.", "tokenizer.quantizer.")
    return {
        key: value
        for key, value in leaves.items()
        if (key.startswith(parts) and key.split(".")[-1] not in SIZES) or key in KEPT
    }


@cache
def checked(name):
    return check_recipe(name, FEW)


@cache
def built(name):
    """A recipe's tokenizer, without storage."""
    recipe = read_recipe(name)
    with torch.device("meta"):
        return resolve("tasks", recipe.task)(recipe, torch.device("meta")).tokenizer


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_parses_and_builds(name):
    info = checked(name)
    assert info.parameters["total"] == sum(n for part, n in info.parameters.items() if part != "total") > 0
    assert info.steps or info.images is None
    assert info.memory["weights"] >= 4 * info.parameters["total"]
    assert info.memory["activations"] > 0


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_is_and_names_no_place(name):
    first, second = recipe_text(name).splitlines()[:2]
    assert first.startswith("# ")
    assert second.startswith("# ") or name == "demo"
    if name in PUBLISHED:
        assert re.search(r"https://arxiv\.org/abs/\d{4}\.\d{5}$", first)
        assert name in GENERATORS or "LPIPS" in recipe_text(name)
    places = [v for v in settings(name).values() if isinstance(v, str) and ("/" in v or "~" in v)]
    assert places in ([], ["runs/demo-256"], ["runs/fvq-cifar10"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_is_as_published(name):
    found = settings(name)
    assert {key: found.get(key, "missing") for key in PUBLISHED[name]} == PUBLISHED[name]


@pytest.mark.parametrize("name", ENCODER_DECODER)
def test_networks_have_the_published_number_of_parameters(name):
    parameters = checked(name).parameters
    assert (parameters["encoder"], parameters["decoder"]) == ENCODER_DECODER[name]


@pytest.mark.parametrize("name", TOTAL)
def test_tokenizers_have_the_published_number_of_parameters(name):
    assert checked(name).parameters["total"] == TOTAL[name]


@pytest.mark.parametrize("name", BRIDGES)
def test_bridges_have_the_published_number_of_parameters(name):
    bridge = built(name).quantizer.codebook.bridge
    assert sum(p.numel() for p in bridge.parameters()) == BRIDGES[name]


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_tokenizers_that_are_not_here_can_be_looked_at(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = check_recipe(name, FEW).missing
    assert missing
    tokenizer = read_recipe(name).tokenizer
    said = f"there is no model {tokenizer} yet: vqcli train {Path(tokenizer).name} makes it"
    assert (said in missing) == tokenizer.startswith("runs/")


@pytest.mark.parametrize("name", SMALL)
def test_small_recipes_are_small_and_otherwise_like_their_system(name):
    small, large = settings(name), settings(SMALL[name])
    assert small["training.steps"] <= 2000
    assert small["data.size"] == 32
    assert small["training.batch_size"] == 64
    assert checked(name).parameters["total"] < 2_000_000 or name == "fvq-262k-cifar10"
    assert built(name).spec.codebook_size in (4096, 262_144)
    own = {"tokenizer.codebook.last_layer"} if name == "fvq-262k-cifar10" else set()
    differs = {key for key, value in character(small).items() if character(large)[key] != value}
    assert (differs, character(small).keys()) == (own, character(large).keys())


def test_the_demo_is_small():
    recipe = read_recipe("demo")
    assert (recipe.tokenizer.codebook.size, recipe.data.size) == (1024, 32)
    assert recipe.training.steps <= 2000
    assert recipe.data.source.startswith("demo")


def test_the_page_of_recipes_has_them_all():
    """Name, system, codebook, quantizer, K x D, tokens an image: the columns that follow from a recipe."""
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:]] for line in lines]
    assert {row[0] for row in rows} == set(recipe_names())
    told = {row[0]: tuple(row[2:6]) for row in rows if row[0] in TOKENIZERS}
    found = {}
    for name in TOKENIZERS:
        recipe, tokenizer = read_recipe(name), built(name)
        size, side = tokenizer.spec.codebook_size, recipe.data.size
        parts = (recipe.tokenizer.codebook.name, recipe.tokenizer.quantizer.name.replace("_", " "))
        tokens = grid_length(tokenizer.grid(side, side))
        found[name] = (*parts, f"{size:,} x {tokenizer.quantizer.width}", f"{tokens:,} of {side}x{side}")
    assert told == found


def test_a_name_that_is_no_recipe():
    with pytest.raises(VqcliError, match="no recipe is called 'fvq16k'") as raised:
        read_recipe("fvq16k")
    assert raised.value.hint == "did you mean 'fvq-16k'?"


@pytest.mark.parametrize(
    "settings",
    [
        ["data.size=32"],
        ["data.size=32", "training.accumulate=2"],
        ["data.size=32", "tokenizer.codebook.size=1024"],
        ["data.size=32", "tokenizer.checkpointing=true"],
    ],
)
def test_activations_are_what_backward_keeps(tmp_path, settings):
    """The count on the meta device against a real forward on the CPU."""
    path = str(write_recipe(tmp_path))
    recipe = read_recipe(path, settings)
    task = resolve("tasks", recipe.task)(recipe, torch.device("cpu"))
    known = {p.untyped_storage().data_ptr() for p in task.parts["model"].parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    images = torch.zeros(
        recipe.training.batch_size // recipe.training.accumulate, 3, *recipe.data.height_width
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        task.parts["model"](images)
    real = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in known)
    with torch.device("meta"):
        counted = activations(resolve("tasks", recipe.task)(recipe, torch.device("meta")), recipe)
    assert counted == pytest.approx(real, rel=0.05)
    assert check_recipe(path, settings).memory["activations"] == counted
