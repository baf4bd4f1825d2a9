"""The bridged codebook's options."""

import pytest
import torch

from vqcli.codebooks.bridged import BridgedCodebook
from vqcli.errors import VqcliError
from vqcli.nn.nearest import nearest_codes
from vqcli.registry import _parse


def test_dial_sets_the_network() -> None:
    config = BridgedCodebook.Config(size=65536, width=256, bridge="L/8", depth=3)
    assert (config.hidden, config.patch, config.depth) == (256, 8, 3)


def test_impossible_size_is_refused_before_a_network_is_built() -> None:
    with pytest.raises(VqcliError, match="multiple of 16; 992 works"):
        _parse("codebooks", {"name": "bridged", "size": 1000, "width": 8})


@pytest.mark.parametrize("name", sorted(BridgedCodebook.Config.SIZES))
def test_names_of_sizes_tell_patch_and_depth(name: str) -> None:
    config = BridgedCodebook.Config(size=65536, width=8, bridge=name)
    patch, _, depth = name.partition("/")[2].partition("-d")
    assert (config.patch, config.depth) == (int(patch), int(depth or 2))


def test_all_codes_start_at_zero_and_only_the_last_layer_learns_then() -> None:
    book = BridgedCodebook(BridgedCodebook.Config(**BridgedCodebook.TINY))
    codes_kd = book.codes()
    assert not codes_kd.any()
    (codes_kd - 1).square().mean().backward()
    learns = {name for name, p in book.named_parameters() if p.grad is not None and p.grad.any()}
    assert learns == {"bridge.recover.weight", "bridge.recover.bias"}


def test_a_small_last_layer_gives_every_code_a_place_of_its_own() -> None:
    torch.manual_seed(0)
    options = {"size": 256, "width": 8, "hidden": 64, "patch": 4, "last_layer": "small"}
    codes_kd = BridgedCodebook(BridgedCodebook.Config(**options)).codes().detach()
    assert len(codes_kd.unique(dim=0)) == 256
    assert 0.001 < codes_kd.norm(dim=1).mean() < 0.1
    tokens = nearest_codes(torch.randn(4096, 8), codes_kd)
    slots = (tokens // 16 % 4) * 4 + tokens % 4  # of 16 x 16 codes in patches of 4 x 4
    assert len(slots.unique()) == 16


def test_codes_ignore_autocast() -> None:
    book = BridgedCodebook(BridgedCodebook.Config(**BridgedCodebook.TINY))
    torch.nn.init.normal_(book.bridge.recover.weight)
    with torch.autocast("cpu", torch.bfloat16):
        inside = book.codes()
    assert inside.dtype == torch.float32
    assert torch.equal(inside, book.codes())
