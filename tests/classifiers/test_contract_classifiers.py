"""What every classifier must do, on every layout of tokens."""

import copy

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.generators.test_contract_generators import QUANTIZERS, quantizer, spec
from tests.options import unread, watched
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.classifier import load_classifier, save_classifier
from vqcli.checkpoint.generator import load_generator
from vqcli.errors import VqcliError
from vqcli.parts import PARTS
from vqcli.registry import ClassifierConfig, build, resolve
from vqcli.types import TokenizerSpec, Tokens

NAMES = list(PARTS["classifiers"])
FORMS = [(name, {}) for name in NAMES]
FORMS += [("vit", {"embedding": "learned"}), ("vit", {"pool": "token"})]
"""Names with options: the defaults, and what else a ViT can be."""


def make(name, grid="square", **options):
    """A classifier with noise in every weight: a small head would show nothing."""
    torch.manual_seed(0)
    kind = resolve("classifiers", name)
    config = TypeAdapter(ClassifierConfig).validate_python({"name": name, **kind.TINY, **options})
    classifier = build("classifiers", config, spec(grid)).eval()
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    classifier.attach(quantizer(grid))
    return classifier


def images(classifier, count=6):
    """Tokens of some images, at random, with labels."""
    blank, labels = classifier.blank(count), torch.arange(count) % classifier.config.classes
    ids = np.random.default_rng(1).integers(0, classifier.spec.codebook_size, blank.ids.shape)
    return Tokens(torch.from_numpy(ids), blank.grid), labels


@pytest.fixture(
    params=[(name, grid, options) for name, options in FORMS for grid in QUANTIZERS],
    ids=lambda each: "-".join([each[0], each[1], *each[2].values()]),
)
def classifier(request):
    name, grid, options = request.param
    return make(name, grid, **options)


def test_gradient_reaches_every_parameter(classifier):
    losses = classifier.train()(*images(classifier, 32))
    assert tuple(losses) == classifier.LOSSES
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in classifier.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_it_tells_classes(classifier):
    tokens, labels = images(classifier)
    logits = classifier.logits(tokens)
    assert (logits.shape, logits.dtype) == ((6, classifier.config.classes), torch.float32)
    alone = torch.cat([classifier.logits(Tokens(tokens.ids[i : i + 1], tokens.grid)) for i in range(6)])
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-4)  # whatever stands beside it
    assert len({tuple(row) for row in logits.tolist()}) == 6
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(classifier(tokens, labels)["cross_entropy"], expected)


def test_evaluation_is_deterministic(classifier):
    tokens, _ = images(classifier)
    assert torch.equal(classifier.logits(tokens), classifier.logits(tokens))


def test_every_token_counts(classifier):
    """One token that changes changes what is believed."""
    tokens, _ = images(classifier, 1)
    before = classifier.logits(tokens)
    for i in range(tokens.ids.shape[1]):
        ids = tokens.ids.clone()
        ids[0, i] = (ids[0, i] + 1) % classifier.spec.codebook_size
        assert not torch.equal(classifier.logits(Tokens(ids, tokens.grid)), before)


def test_a_folder_brings_it_back(classifier, tmp_path):
    save_classifier(classifier, tmp_path, None, classes=["disc", "ring", "square", "star"])
    loaded = load_classifier(tmp_path)
    loaded.attach(quantizer(next(name for name in QUANTIZERS if spec(name).grid == classifier.grid)))
    tokens, _ = images(classifier)
    assert torch.equal(classifier.logits(tokens), loaded.logits(tokens))
    assert loaded.spec == classifier.spec
    assert read_classes(tmp_path) == ["disc", "ring", "square", "star"]
    with pytest.raises(VqcliError, match="holds a classifier, not a generator"):
        load_generator(tmp_path)


def test_what_it_is_handed_is_no_part_of_it(classifier):
    assert all(name.partition(".")[0] not in ("code_steps", "scale") for name in classifier.state_dict())
    copied = copy.deepcopy(classifier)
    assert torch.equal(copied.logits(images(copied)[0]), classifier.logits(images(copied)[0]))


def test_bf16_weights_tell_classes(classifier):
    tokens, _ = images(classifier)
    logits = copy.deepcopy(classifier).to(torch.bfloat16).logits(tokens)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.softmax(-1), classifier.logits(tokens).softmax(-1), atol=0.2, rtol=0)


def test_layers_are_told_from_the_first_to_the_last(classifier):
    """What layer-wise decay stands on: no layer is skipped, and the head is the last."""
    layers = {name: classifier.layer_of(name) for name, _ in classifier.named_parameters()}
    assert set(layers.values()) == set(range(max(layers.values()) + 1))
    assert layers["head.weight"] == max(layers.values())


@pytest.mark.parametrize("name", NAMES)
def test_tokenizers_without_tokens_are_refused(name):
    kind = resolve("classifiers", name)
    config = kind.Config(**kind.TINY)
    with pytest.raises(ValueError, match="tells its image size"):
        kind(config, TokenizerSpec(16, 8, 4))
    with pytest.raises(VqcliError, match="has no codebook: it makes latents"):
        kind(config, TokenizerSpec(0, 8, 4, (8, 8), "", ((2, 2),)))


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_read(name):
    kind = resolve("classifiers", name)
    config, seen = watched(kind)
    classifier = kind(config, spec()).train()
    classifier.attach(quantizer("square"))
    classifier(*images(classifier))
    assert unread(kind, seen) == set()
