"""The study of utilization: settings that hold, and a table that says what cells came to."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import utilization

from vqcli.training.recipe import read_recipe


@pytest.mark.parametrize("system", utilization.SYSTEMS)
def test_a_cell_is_its_recipe_with_other_codes_and_one_budget(system):
    cell = utilization.Cell(system, 1024, 7)
    recipe = read_recipe(utilization.SYSTEMS[system][0], cell.settings(800, Path("features.safetensors")))
    codebook = recipe.tokenizer.codebook
    assert (codebook.size, recipe.seed, recipe.training.steps) == (1024, 7, 800)
    assert recipe.training.batch_size == 64
    assert codebook.name == {"fvq": "bridged", "fvq-constant": "bridged", "ema": "ema"}.get(
        system, codebook.name
    )
    if system == "lc":
        assert codebook.base == "features.safetensors"
    if system == "fvq-linear":
        assert (codebook.name, codebook.train_base, codebook.hidden) == ("projected", True, ())
    if system == "fvq-constant":
        assert recipe.schedule.decay == "constant"


def test_seeds_of_a_cell_are_one_row():
    cell = {
        "system": "fvq",
        "codebook_size": 1024,
        "utilization": 0.99,
        "uniform_expectation": 1.0,
        "perplexity": 800.4,
        "psnr": 22.5,
        "steps": 800,
        "seconds": 500.0,
    }
    other = cell | {"seed": 1, "utilization": 1.0, "seconds": None}
    lines = utilization.table([cell | {"seed": 0}, other]).splitlines()
    assert len(lines) == 3
    told = "| fvq | 1,024 | 0, 1 | 99.50% (99.00% to 100.00%) | 100.00% (100.00% to 100.00%) |"
    assert lines[2].startswith(told)
    assert lines[2].endswith("| 800 (800 to 800) | 500 |")
