"""What every generator must do, on every layout of tokens."""

import copy

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from vqcli.checkpoint.generator import load_generator, read_classes, save_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.generators.base import image_stream
from vqcli.registry import PARTS, GeneratorConfig, build, resolve
from vqcli.types import TokenizerSpec, grid_length

GRIDS = {
    "square": ((3, 3),),
    "wide": ((2, 4),),
    "residual": ((2, 2),) * 3,
    "scales": ((1, 1), (2, 2), (3, 3)),
}
NAMES = [name for name in PARTS["generators"] if resolve("generators", name).makes == "tokens"]


def spec(grid="square", codes=12):
    found = GRIDS[grid]
    size = tuple(side * 4 for side in found[-1])
    return TokenizerSpec(codes, 8, 4, size, "f" * 64, found)


def make(name, grid="square", **options):
    """A generator with noise in every weight: a head of zeros would show nothing."""
    torch.manual_seed(0)
    kind = resolve("generators", name)
    config = TypeAdapter(GeneratorConfig).validate_python({"name": name, **kind.TINY, **options})
    generator = build("generators", config, spec(grid)).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return generator


def images(generator, count=6):
    rng = np.random.default_rng(1)
    ids = rng.integers(0, generator.spec.codebook_size, (count, grid_length(generator.grid)))
    return torch.from_numpy(ids), torch.arange(count) % generator.config.classes


def streams(labels, seed=0):
    return [image_stream(seed, int(label), i) for i, label in enumerate(labels)]


@pytest.fixture(params=[(name, grid) for name in NAMES for grid in GRIDS], ids="-".join)
def generator(request):
    return make(*request.param)


def test_gradient_reaches_every_parameter(generator):
    losses = generator.train()(*images(generator, 32))
    assert tuple(losses) == generator.LOSSES
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_image_depends_on_its_class_and_its_stream_alone(generator):
    labels = torch.tensor([0, 1, 2, 3, 1])
    sampling = generator.config.sampling
    whole = generator.sample(labels, streams(labels), sampling)
    assert whole.grid == generator.grid
    assert whole.ids.shape == (5, grid_length(generator.grid))
    assert 0 <= whole.ids.min() <= whole.ids.max() < generator.spec.codebook_size
    for i, label in enumerate(labels):
        alone = generator.sample(labels[i : i + 1], [image_stream(0, int(label), i)], sampling)
        assert torch.equal(alone.ids[0], whole.ids[i])
    assert not torch.equal(whole.ids, generator.sample(labels, streams(labels, seed=1), sampling).ids)
    assert not torch.equal(whole.ids[1], whole.ids[4])


def test_evaluation_is_deterministic(generator):
    batch = images(generator)
    assert all(torch.equal(generator(*batch)[name], loss) for name, loss in generator(*batch).items())


def test_a_folder_brings_it_back(generator, tmp_path):
    save_generator(generator, tmp_path, None, classes=["disc", "ring", "square", "star"])
    loaded = load_generator(tmp_path)
    labels = torch.tensor([2, 3])
    same = [g.sample(labels, streams(labels), g.config.sampling).ids for g in (generator, loaded)]
    assert torch.equal(*same)
    assert loaded.spec == generator.spec
    assert read_classes(tmp_path) == ["disc", "ring", "square", "star"]
    with pytest.raises(VqcliError, match="holds a generator, not a tokenizer"):
        load_tokenizer(tmp_path)


def test_bf16_weights_make_images(generator):
    labels = torch.tensor([0, 1])
    halved = copy.deepcopy(generator).to(torch.bfloat16)
    tokens = halved.sample(labels, streams(labels), generator.config.sampling)
    assert tokens.ids.max() < generator.spec.codebook_size


@pytest.mark.parametrize("name", NAMES)
def test_tokenizers_of_no_fixed_size_are_refused(name):
    kind = resolve("generators", name)
    with pytest.raises(ValueError, match="tells its image size"):
        kind(kind.Config(**kind.TINY), TokenizerSpec(16, 8, 4))
