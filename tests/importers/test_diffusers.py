"""diffusers' VQModel: numbers that diffusers 0.42.1 itself computed, and the models that ours cannot be."""

import pytest
import torch

from tests.importers.changes import linear_attention
from tests.importers.foreign import CASES, Case, learned, network
from tests.importers.names import DIFFUSERS, TABLE
from tests.tokenizers.test_golden import assert_near, formula, numbers, picture
from vqcli.errors import VqcliError
from vqcli.importers.diffusers import DiffusersImporter
from vqcli.importers.options import ImportOptions
from vqcli.library.import_tokenizer import convert_tokenizer

CASE = Case(
    "diffusers",
    network((1, 2, 2), (1,), z_channels=4),
    learned(64, 8),
    [*TABLE, *DIFFUSERS],
    upwards=True,
    change=linear_attention,
)
SIZE = ImportOptions(size=(48, 32))
TOKENS = """
52 36 36 36 5 5 36 36 20 47 20 41 36 36 51 36 36 52 59 53 47 52 20 36 5 52 36 36 39 20 20 36 51 36 36 20 20 20
39 5 51 20 20 20 53 35 37 5 51 20 20 59 35 5 35 5 51 59 35 35 35 5 5 5 4 35 35 5 5 5 5 41 35 35 5 5 5 5 41 47
4 5 5 5 41 54 20 58 5 5 5 54 54 47 20 58
"""


@torch.inference_mode()
def test_numbers_of_diffusers():
    state = {key: formula(key, tuple(x.shape)) for key, x in CASE.state(CASE.model()).items()}
    model = convert_tokenizer(DiffusersImporter(), state, SIZE, {"norm_num_groups": 32, "sample_size": 48})
    images = picture()[:, :, :48, :32]
    want = [0.240839, 0.253922, -0.160879, 0.293109, -0.190801, -0.181634, -0.081384, 0.735324]
    assert_near(model.latents(images)[0, :, 0, 0], want)
    tokens = model.encode(images)
    assert tokens.ids[0].tolist() == numbers(TOKENS)
    image = model.decode(tokens)[0]
    assert_near(image[:, 31, 17], [-0.334291, 0.585363, 0.576767])
    assert_near(torch.stack([image.mean(), image.std(unbiased=False)]), [-0.111125, 0.614715])


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (
            {"decoder.conv_norm_out.norm_layer.weight": torch.ones(2)},
            {},
            "norm_type is spatial",
        ),
        ({}, {"norm_type": "spatial"}, "norm_type is spatial"),
        ({}, {"norm_num_groups": 16}, "norm_num_groups is 16"),
        ({}, {"act_fn": "gelu"}, "act_fn is gelu"),
        (None, {}, "mid_block_add_attention is False"),
    ],
)
def test_what_cannot_be_ours(change, settings, said):
    state = CASES["diffusers"].state(CASES["diffusers"].model())
    if change is None:
        state = {key: x for key, x in state.items() if ".mid_block.attentions." not in key}
    with pytest.raises(VqcliError, match=said) as refused:
        convert_tokenizer(DiffusersImporter(), state | (change or {}), SIZE, settings)
    assert "diffusers" in refused.value.hint
