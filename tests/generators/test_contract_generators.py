"""What every generator must do, on every layout of tokens; toys stand for kinds that none of ours is of."""

import copy
import importlib

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.generators.toys import TOYS
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.generator import load_generator, save_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.generators.base import image_stream
from vqcli.parts import PARTS
from vqcli.registry import CodebookConfig, GeneratorConfig, QuantizerConfig, build, resolve
from vqcli.types import Latents, Standard, TokenizerSpec, Tokens, grid_length

GRIDS = {
    "square": ((3, 3),),
    "wide": ((2, 4),),
    "residual": ((2, 2),) * 3,
    "scales": ((1, 1), (2, 2), (3, 3)),
}
QUANTIZERS = {
    "square": {"name": "nearest"},
    "wide": {"name": "nearest"},
    "residual": {"name": "residual", "depth": 3},
    "scales": {"name": "multiscale", "scales": [1, 2, 3], "phis": 2},
}
REGISTERED = list(PARTS["generators"])
NAMES = [*REGISTERED, *TOYS]


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, target in TOYS.items():
        monkeypatch.setitem(PARTS["generators"], name, target)


def spec(grid="square", codes=12):
    found = GRIDS[grid]
    size = tuple(side * 4 for side in found[-1])
    return TokenizerSpec(codes, 8, 4, size, "f" * 64, found, Standard((0.5,) * 8, (2.0,) * 8))


def quantizer(grid, codes=12):
    """Of a tokenizer with this layout of tokens."""
    torch.manual_seed(1)
    table = {"name": "learned", "size": codes, "width": 8, "init": "normal"}
    codebook = build("codebooks", TypeAdapter(CodebookConfig).validate_python(table))
    config = TypeAdapter(QuantizerConfig).validate_python(QUANTIZERS[grid])
    return build("quantizers", config, codebook).eval()


def make(name, grid="square", **options):
    """A generator with noise in every weight: a head of zeros would show nothing."""
    torch.manual_seed(0)
    kind = resolve("generators", name)
    config = TypeAdapter(GeneratorConfig).validate_python({"name": name, **kind.TINY, **options})
    generator = build("generators", config, spec(grid)).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    generator.attach(quantizer(grid))
    return generator


def images(generator, count=6):
    """What it makes, of some images, at random, with labels."""
    made, labels = generator.blank(count), torch.arange(count) % generator.config.classes
    rng = np.random.default_rng(1)
    if isinstance(made, Latents):
        values = rng.standard_normal(made.values.shape, dtype=np.float32)
        return Latents(torch.from_numpy(values), generator.spec.latents), labels
    ids = rng.integers(0, generator.spec.codebook_size, made.ids.shape)
    return Tokens(torch.from_numpy(ids), made.grid), labels


def streams(labels, seed=0):
    return [image_stream(seed, int(label), i) for i, label in enumerate(labels)]


def numbers(made):
    """Tokens (B, L) or latents (B, D, h, w)."""
    return made.ids if isinstance(made, Tokens) else made.values


def alike(a, b):
    """Tokens are equal; latents but for rounding, which follows the batch's shape."""
    return torch.equal(a, b) if a.dtype == torch.int64 else torch.allclose(a, b, atol=1e-5)


def target(name):
    """Where the part of this name is, a toy's too."""
    module, part = (TOYS | PARTS["generators"])[name].split(":")
    return getattr(importlib.import_module(module), part)


PAIRS = [(name, grid) for name in NAMES for grid in GRIDS]
FIT = [(name, grid) for name, grid in PAIRS if not target(name).misfit(GRIDS[grid])]


@pytest.fixture(params=FIT, ids="-".join)
def generator(request):
    return make(*request.param)


def test_every_generator_fits_some_layout():
    assert {name for name, _ in FIT} == set(NAMES)


@pytest.mark.parametrize(("name", "grid"), [pair for pair in PAIRS if pair not in FIT])
def test_layouts_that_do_not_fit_are_refused(name, grid):
    with pytest.raises(VqcliError) as refused:
        make(name, grid)
    assert str(refused.value) == f"{name} {target(name).misfit(GRIDS[grid])}"
    assert refused.value.hint


def test_gradient_reaches_every_parameter(generator):
    losses = generator.train()(*images(generator, 32))
    assert tuple(losses) == generator.LOSSES
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_makes_what_it_says(generator):
    labels = torch.tensor([0, 1])
    made, blank = generator.sample(labels, streams(labels), generator.config.sampling), generator.blank(2)
    assert numbers(made).shape == numbers(blank).shape
    assert numbers(made).dtype == numbers(blank).dtype
    if generator.makes == "latents":
        assert isinstance(made, Latents)
        assert made.standard == generator.spec.latents
        assert made.values.shape == (2, generator.spec.width, *generator.grid[-1])
    else:
        assert isinstance(made, Tokens)
        assert made.grid == generator.grid
        assert made.ids.shape == (2, grid_length(generator.grid))
        assert 0 <= made.ids.min() <= made.ids.max() < generator.spec.codebook_size


def test_progress_is_counted_in_its_unit(generator):
    class Counted:
        done = 0

        def advance(self, n=1):
            self.done += n

    labels, counted = torch.tensor([0, 1, 2]), Counted()
    generator.sample(labels, streams(labels), generator.config.sampling, counted)
    assert counted.done == 3 * generator.effort(generator.config.sampling)


def test_an_image_depends_on_its_class_and_its_stream_alone(generator):
    labels = torch.tensor([0, 1, 2, 3, 1])
    sampling = generator.config.sampling
    whole = numbers(generator.sample(labels, streams(labels), sampling))
    for i, label in enumerate(labels):
        alone = generator.sample(labels[i : i + 1], [image_stream(0, int(label), i)], sampling)
        assert alike(numbers(alone)[0], whole[i])
    assert not alike(whole, numbers(generator.sample(labels, streams(labels, seed=1), sampling)))
    assert not alike(whole[1], whole[4])


def test_evaluation_is_deterministic(generator):
    batch = images(generator)
    with torch.random.fork_rng():
        first, second = (torch.manual_seed(0) and generator(*batch) for _ in range(2))
    assert all(torch.equal(first[name], loss) for name, loss in second.items())


def test_a_folder_brings_it_back(generator, tmp_path):
    save_generator(generator, tmp_path, None, classes=["disc", "ring", "square", "star"])
    loaded = load_generator(tmp_path)
    if generator.NEEDS:
        loaded.code_steps = generator.code_steps
    labels = torch.tensor([2, 3])
    same = [numbers(g.sample(labels, streams(labels), g.config.sampling)) for g in (generator, loaded)]
    assert torch.equal(*same)
    assert loaded.spec == generator.spec
    assert read_classes(tmp_path) == ["disc", "ring", "square", "star"]
    with pytest.raises(VqcliError, match="holds a generator, not a tokenizer"):
        load_tokenizer(tmp_path)


def test_what_it_is_handed_is_no_part_of_it(generator):
    assert all(name.partition(".")[0] != "code_steps" for name in generator.state_dict())
    copied = copy.deepcopy(generator)
    if generator.NEEDS:
        assert copied.code_steps is generator.code_steps


def test_bf16_weights_make_images(generator):
    labels = torch.tensor([0, 1])
    halved = copy.deepcopy(generator).to(torch.bfloat16)
    made = halved.sample(labels, streams(labels), generator.config.sampling)
    assert numbers(made).shape == numbers(generator.blank(2)).shape
    assert torch.isfinite(numbers(made)).all()


@pytest.mark.parametrize("name", NAMES)
def test_tokenizers_of_no_fixed_size_are_refused(name):
    kind = resolve("generators", name)
    with pytest.raises(ValueError, match="tells its image size"):
        kind(kind.Config(**kind.TINY), TokenizerSpec(16, 8, 4))
