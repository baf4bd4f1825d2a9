"""Every published layout, at sizes that were never published: the same tensors, the same tokens."""

import pytest
import torch

from tests.importers.foreign import CASES, Case
from vqcli.checkpoint.tokenizer import fingerprint
from vqcli.errors import VqcliError
from vqcli.importers.options import ImportOptions
from vqcli.importers.tokenizer import TokenizerImporter
from vqcli.library.import_tokenizer import convert_tokenizer
from vqcli.parts import PARTS
from vqcli.registry import resolve

STEP = 17
"""Of the many keys of networks, which are alike, every so many-eth is left out in turn."""
IMPORTERS = {name: resolve("importers", name)() for name in PARTS["importers"]}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def run(case: Case, state):
    options = ImportOptions(**{"size": case.image} | case.options)
    return convert_tokenizer(IMPORTERS[case.importer], state, options, {})


def test_every_importer_has_a_case():
    tokenizers = {name for name, importer in IMPORTERS.items() if isinstance(importer, TokenizerImporter)}
    assert {case.importer for case in CASES.values()} == tokenizers


@torch.inference_mode()
def test_tensors_and_tokens(case):
    model = case.model()
    state = case.state(model)
    assert [name for name, importer in IMPORTERS.items() if importer.matches(state)] == [case.importer]
    found = run(case, dict(reversed(state.items())))
    weights, want = found.state_dict(), model.state_dict()
    assert weights.keys() == want.keys()
    assert all(torch.equal(weights[name], x) for name, x in want.items())
    assert found.fingerprint == fingerprint(model)
    images = torch.rand(2, 3, *case.image, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latents = model.latents(images)
    assert torch.equal(found.latents(images), latents)
    assert torch.equal(found.decode_latents(latents, quantize=True), model.decode_latents(latents, True))
    if not model.quantizer.size:
        return
    tokens = model.encode(images)
    assert torch.equal(found.encode(images).ids, tokens.ids)
    assert torch.equal(found.decode(tokens), model.decode(tokens))
    found.bake()
    assert torch.equal(found.encode(images).ids, tokens.ids)


def keys_that_count(case: Case, state):
    """Those that are read, and how errors name them: averages as the weights they are of."""
    averages = {key for key in state if key.startswith("model_ema.")}
    dotless = {f"model_ema.{key.replace('.', '')}": key for key in state}
    for key in state:
        counter = key in ("model_ema.decay", "model_ema.num_updates")
        if key not in case.ignored and not counter and (key in averages or not averages):
            name = dotless.get(key, key)
            for theirs, shown in case.spelled.items():
                name = name.replace(theirs, shown)
            yield key, name


def test_every_key_counts(case):
    """Without it, or in another shape: refused by its published name."""
    state = case.state(case.model())
    keys = list(keys_that_count(case, state))
    inner = [pair for pair in keys if pair[0].startswith(("encoder.", "decoder.", "model_ema."))]
    for key, name in [pair for pair in keys if pair not in inner] + inner[::STEP]:
        with pytest.raises(VqcliError) as refused:
            run(case, {other: x for other, x in state.items() if other != key})
        assert f"'{name}'" in str(refused.value)
        with pytest.raises(VqcliError) as refused:
            run(case, state | {key: torch.ones(*state[key].shape, 2)})
        assert f"'{name}'" in str(refused.value)


@pytest.mark.parametrize("key", ["encoder.extra.weight", "decoder.conv_in.more", "stray", "quant_conv.x.y"])
def test_unknown_keys(case, key):
    state = case.state(case.model())
    with pytest.raises(VqcliError, match=f"'{key}'") as refused:
        run(case, state | {key: torch.ones(2)})
    assert refused.value.hint
