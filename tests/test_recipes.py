"""Every shipped recipe parses, builds, and says what was published. Shape letters: K codes, D code width."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.published import BRIDGES, ENCODER_DECODER, FOLLOWED, PUBLISHED, SMALL, TOTAL
from tests.training.tiny import write_recipe
from vqcli.errors import VqcliError
from vqcli.jobs.check import activations, check_recipe
from vqcli.jobs.finder import Onlooker
from vqcli.recipes import recipe_names, recipe_text
from vqcli.registry import resolve
from vqcli.training.recipe import read_recipe
from vqcli.training.tokenizer import Batch
from vqcli.types import grid_length

DOCS = Path(__file__).parent.parent / "docs" / "recipes.md"

SIZES = {"size", "width", "base", "base_width", "bits", "levels", "hidden", "patch", "scales"}
"""Options of a codebook or quantizer in which a small recipe may differ from its system."""
KEPT = ("tokenizer.name", "optimizer.betas", "optimizer.eps", "optimizer.clip", "schedule.decay")
"""Other options in which it may not."""
WITH_GAN = {f"{name}-gan": name for name in SMALL if name != "fvq-262k-cifar10"}
SMALLER = {"discriminator.layers", "discriminator.channels", "adaptive", "disc_start", "ramp"}
"""Options of ``adversarial`` in which a small recipe may differ from its system."""
TRAINED = ("data.size", "data.augment", "losses", "adversarial.", "optimizer.", "schedule.", "training.")
"""Training: what a recipe may follow another system in."""
TOKENIZERS = [name for name in recipe_names() if read_recipe(name).task == "tokenizer"]
GENERATORS = [name for name in recipe_names() if name not in TOKENIZERS]
FEW = ["training.batch_size=8"]
"""Activations are worked out for eight images: quicker, of the same model."""


def flat(value, path=""):
    """The leaves of nested mappings by their dotted keys."""
    if not isinstance(value, dict):
        return {path: value}
    return {key: leaf for k, v in value.items() for key, leaf in flat(v, f"{path}.{k}".lstrip(".")).items()}


def settings(name):
    """A recipe's leaves, and the names of its losses."""
    recipe = read_recipe(name)
    losses = {"losses": tuple(recipe.losses)} if name in TOKENIZERS else {}
    return flat(recipe.model_dump()) | losses


def adversarial(name):
    """The leaves of a recipe's ``adversarial`` section."""
    return flat(read_recipe(name).adversarial.model_dump())


def character(leaves):
    """What makes a system, whatever its size and its critics."""
    parts = ("tokenizer.codebook.", "tokenizer.quantizer.", "losses.l1.", "losses.l2.")
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
        return resolve("tasks", recipe.task)(recipe, torch.device("meta"), models=Onlooker()).tokenizer


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
    places = [v for v in settings(name).values() if isinstance(v, str) and ("/" in v or "~" in v)]
    assert places in ([], *([f"runs/{made}"] for made in TOKENIZERS))


def published(name):
    """What was published for a recipe, by key, and for whom: itself, or else the one it follows."""
    other = FOLLOWED.get(name, "")
    follows = {
        key: (value, other) for key, value in PUBLISHED.get(other, {}).items() if key.startswith(TRAINED)
    }
    return follows | {key: (value, name) for key, value in PUBLISHED[name].items()}


def test_hyper_parameters_are_the_published_ones():
    """All of them in one table, which ``pytest -s`` shows."""
    rows = [
        (name, key, found.get(key, "missing"), *told)
        for name in PUBLISHED
        for found in [settings(name)]
        for key, told in published(name).items()
    ]
    print()
    for row in [("recipe", "key", "ours", "published", "of"), *rows]:
        print("{:16} {:38} {:40} {:40} {}".format(*map(str, row)))
    assert [row for row in rows if row[2] != row[3]] == []


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


OURS = {
    **dict.fromkeys(("fvq", "fvq-262k", "fvq-rq", "fvq-var"), ("last_layer", "revive_below")),
    "vqgan-ema": ("first_size", "init", "revive_below"),
}
"""Options of the codebook that recipes for a CPU have otherwise than their system: what keeps codes alive."""


@pytest.mark.parametrize("name", SMALL)
def test_small_recipes_are_small_and_otherwise_like_their_system(name):
    small, large = settings(name), settings(SMALL[name])
    assert small["training.steps"] <= 2000
    assert small["data.size"] == 32
    assert small["training.batch_size"] == 64
    assert checked(name).parameters["total"] < 2_000_000 or name == "fvq-262k-cifar10"
    assert built(name).spec.codebook_size in (4096, 262_144)
    own = {f"tokenizer.codebook.{key}" for key in OURS.get(name.split("-cifar10")[0], ())}
    differs = {key for key, value in character(small).items() if character(large)[key] != value}
    assert (differs, character(small).keys()) == (own, character(large).keys())


@pytest.mark.parametrize("name", WITH_GAN)
def test_small_recipes_with_a_discriminator_are_the_plain_ones_with_that_of_their_system(name):
    plain = WITH_GAN[name]
    recipe = read_recipe(name)
    assert recipe.model_copy(update={"adversarial": None}) == read_recipe(plain)
    small, large = adversarial(name), adversarial(SMALL[plain])
    rate = small.pop("optimizer.lr")
    inherited = flat(recipe.optimizer.model_dump(), "optimizer")
    assert {key: small.pop(key) for key in inherited if key != "optimizer.lr"}.items() <= inherited.items()
    assert {key for key in small if small[key] != large.get(key)} <= SMALLER
    assert large.keys() - small.keys() == {"optimizer"}
    assert {key: small[key] for key in SMALLER} | {"rate": rate} == {
        "discriminator.layers": 2,
        "discriminator.channels": 32,
        "adaptive": True,
        "disc_start": 500,
        "ramp": 100,
        "rate": 1e-4,
    }


def test_the_demo_is_small():
    recipe = read_recipe("demo")
    assert (recipe.tokenizer.codebook.size, recipe.data.size) == (1024, 32)
    assert recipe.training.steps <= 2000
    assert recipe.data.source.startswith("demo")


def page_rows(pattern):
    """Cells of the lines of the page of recipes that begin like this."""
    lines = [line for line in DOCS.read_text().splitlines() if re.match(pattern, line)]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_of_recipes_has_them_all():
    """Name, system, codebook, quantizer, K x D, tokens an image: the columns that follow from a recipe."""
    rows = page_rows(r"\| `")
    with_gan = {row[-1]: row[0] for row in rows if row[-1].endswith("-gan")}
    assert with_gan == WITH_GAN
    assert {row[0] for row in rows} | WITH_GAN.keys() == set(recipe_names())
    told = {row[0]: tuple(row[2:6]) for row in rows if row[0] in TOKENIZERS}
    found = {}
    for name in set(TOKENIZERS) - WITH_GAN.keys():
        recipe, tokenizer = read_recipe(name), built(name)
        size, side = tokenizer.spec.codebook_size, recipe.data.size
        parts = (recipe.tokenizer.codebook.name, recipe.tokenizer.quantizer.name.replace("_", " "))
        tokens = grid_length(tokenizer.grid(side, side))
        found[name] = (*parts, f"{size:,} x {tokenizer.quantizer.width}", f"{tokens:,} of {side}x{side}")
    assert told == found


def test_the_page_of_recipes_tells_their_losses():
    """Pixel loss, LPIPS, adversarial loss, weight, layers of the discriminator, its start, LeCam."""
    rows = page_rows(r"\| [A-Z][^|]+\| `")
    told = {name: row[2:] for row in rows for name in re.findall(r"[a-z0-9-]+", row[1])}
    found = {}
    for name in set(TOKENIZERS) & PUBLISHED.keys():
        recipe = read_recipe(name)
        config, (pixel, lpips) = recipe.adversarial, recipe.losses.values()
        found[name] = [
            f"{pixel.name.upper()}, {pixel.weight:g}",
            f"{lpips.weight:g}" + (", eps 1e-7" if lpips.eps == 1e-7 else ""),
            config.generator_loss.replace("_", "-"),
            f"{config.weight:g}" + (", adaptive" if config.adaptive else ""),
            f"{config.discriminator.layers} layers, {config.discriminator_loss}"
            + (f", {config.discriminator_weight:g}" if config.discriminator_weight != 1 else ""),
            f"{config.disc_start:,}" if config.disc_start else "first",
            f"{config.lecam:g}" if config.lecam else "",
        ]
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
        ["data.size=32", "adversarial={discriminator: {name: patchgan, layers: 2, channels: 32}}"],
        ["data.size=32", "adversarial={discriminator: {name: patchgan}, adaptive: true}"],
    ],
)
def test_activations_are_what_backward_keeps(tmp_path, settings):
    """The count on the meta device against a real forward on the CPU."""
    path = str(write_recipe(tmp_path))
    recipe = read_recipe(path, settings)
    task = resolve("tasks", recipe.task)(recipe, torch.device("cpu"), models=Onlooker())
    modules = (*task.parts.values(), *task.beside())
    known = {p.untyped_storage().data_ptr() for m in modules for p in m.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    images = torch.zeros(
        recipe.training.batch_size // recipe.training.accumulate, 3, *recipe.data.height_width
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _model, _losses = next(task.losses(Batch(images, torch.zeros(0)), 0))
    real = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in known)
    with torch.device("meta"):
        counted = activations(
            resolve("tasks", recipe.task)(recipe, torch.device("meta"), models=Onlooker()), recipe
        )
    assert counted == pytest.approx(real, rel=0.05)
    assert check_recipe(path, settings).memory["activations"] == counted
