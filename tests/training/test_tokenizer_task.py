import pytest
import torch

from vqcli.errors import VqcliError
from vqcli.training.recipe import read_recipe
from vqcli.training.tokenizer import Batch, TokenizerTask

SMALL = ["tokenizer.network=patch-4", "tokenizer.codebook.size=16", "data.size=16"]


def test_losses_are_told_apart_by_name():
    with pytest.raises(VqcliError, match="losses are names with weights"):
        read_recipe("demo", ["losses=[l1, l2]"])
    recipe = read_recipe("demo", [*SMALL, "losses.l1=1", "losses.l2.weight=3"])
    task = TokenizerTask(recipe, torch.device("cpu"))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    ((part, losses),) = task.losses(Batch(images, torch.zeros(2)), 0)
    reconstruction, _ = task.parts["model"](images)
    assert part == "model"
    assert set(losses) == {"l1", "l2", "codebook", "commitment"}
    torch.testing.assert_close(losses["l2"], 3 * (reconstruction - images).square().mean())


def test_perfect_reconstructions_export(tmp_path):
    """Equal images have no finite ratio of peak to noise; the measurements stay JSON all the same."""
    task = TokenizerTask(read_recipe("demo", SMALL), torch.device("cpu"))
    model = task.parts["model"].eval()
    torch.nn.init.zeros_(model.decoder.head.weight)
    torch.nn.init.constant_(model.decoder.head.bias, -1)
    black = Batch(torch.full((2, 3, 16, 16), -1.0), torch.zeros(2))
    measured = task.validate(model, [black])
    assert 70 < measured["psnr"] < 80
    task.export(model, tmp_path, measured)
    assert (tmp_path / "usage.json").exists()
