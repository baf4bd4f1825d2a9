"""Every shipped recipe parses, builds, and says what was published. Shape letters: K codes, D code width."""

import pytest
import torch

from tests.training.tiny import write_recipe
from vqcli.errors import VqcliError
from vqcli.jobs.info import activations, check_recipe
from vqcli.recipes import recipe_names, recipe_text
from vqcli.registry import resolve
from vqcli.training.recipe import read_recipe

# https://arxiv.org/abs/2509.10140 and its official scripts. K, hidden width and patch of the bridge.
FVQ = {"fvq-16k": (16_384, 256, 4), "fvq-65k": (65_536, 256, 8), "fvq-262k": (262_144, 256, 8)}
BRIDGE_PARAMETERS = {"fvq-16k": 3_153_664, "fvq-65k": 9_457_408, "fvq-262k": 9_457_408}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_parses_and_builds(name):
    info = check_recipe(name, [])
    assert info.parameters["total"] == sum(n for part, n in info.parameters.items() if part != "total") > 0
    assert info.steps or info.images is None
    assert info.memory["weights"] >= 16 * info.parameters["total"]  # weight, gradient, two moments
    assert info.memory["activations"] > 0
    assert recipe_text(name).startswith("#")


@pytest.mark.parametrize("name", FVQ)
def test_fvq_is_as_published(name):
    size, hidden, patch = FVQ[name]
    recipe = read_recipe(name)
    tokenizer, training = recipe.tokenizer, recipe.training
    book = tokenizer.codebook
    assert (book.name, book.size, book.width) == ("bridged", size, 256)
    assert (book.hidden, book.patch, book.depth, book.blocks) == (hidden, patch, 2, "plain")
    assert (tokenizer.channels, tokenizer.multipliers, tokenizer.res_blocks) == (128, (1, 1, 2, 2, 4), 2)
    assert (tokenizer.z_channels, tokenizer.quantizer.metric) == (256, "l2")
    assert (tokenizer.quantizer.codebook_weight, tokenizer.quantizer.commitment_weight) == (1.0, 0.25)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.lr_batch) == ("adam", 1e-4, 128)
    assert (optimizer.betas, optimizer.weight_decay, optimizer.clip) == ((0.9, 0.95), 0, 1)
    schedule = recipe.schedule
    assert (schedule.decay, schedule.warmup, schedule.hold) == ("linear", "4 epochs", 0.3)
    assert (schedule.start, schedule.floor) == (0.005, 0.01)
    assert (training.steps, training.batch_size, training.precision) == ("40 epochs", 128, "bf16")
    assert training.average is None
    assert (recipe.data.size, recipe.data.augment) == (256, "crop-flip")
    assert [loss.name for loss in recipe.losses] == ["l2"]


@pytest.mark.parametrize("name", FVQ)
def test_fvq_has_the_published_number_of_parameters(name):
    recipe = read_recipe(name)
    with torch.device("meta"):
        book = resolve("codebooks", "bridged")(recipe.tokenizer.codebook)
    assert sum(p.numel() for p in book.bridge.parameters()) == BRIDGE_PARAMETERS[name]
    assert book.base.shape == (FVQ[name][0], 256)


def test_small_recipes_are_small():
    for name, size in (("demo", 1024), ("fvq-cifar10", 4096)):
        recipe = read_recipe(name)
        assert recipe.tokenizer.codebook.size == size
        assert recipe.training.steps <= 2000
        assert recipe.data.size == 32
    assert read_recipe("demo").data.source.startswith("demo")


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
