"""Features: what their vectors are, beside slow formulas, and what is said where they cannot be had."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vqcli.errors import VqcliError
from vqcli.features import vision
from vqcli.features.base import pool, pooled_grid
from vqcli.features.pixels import PixelFeatures
from vqcli.features.vision import VisionFeatures, input_size
from vqcli.parts import PARTS, describe
from vqcli.registry import resolve


def images(h: int, w: int) -> torch.Tensor:
    return torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_every_kind_is_described() -> None:
    assert set(PARTS["features"]) == {"pixels", "vision"}
    assert all(describe("features").values())
    for name in PARTS["features"]:
        part = resolve("features", name)
        assert part.Config().name == name
        assert all(field.description for key, field in part.Config.model_fields.items() if key != "name")


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_pixels(patch: int) -> None:
    features, batch = PixelFeatures(PixelFeatures.Config(patch=patch)), images(8, 12)
    h, w = features.grid(8, 12)
    vectors = features(batch)
    assert vectors.shape == (2, h * w, features.width)
    for y in range(h):
        for x in range(w):
            square = batch[:, :, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
            assert torch.equal(vectors[:, y * w + x], square.flatten(1))
    features.grid(*features.image_size)


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        PixelFeatures(PixelFeatures.Config()).grid(8, 10)
    PixelFeatures(PixelFeatures.Config(patch=7)).grid(56, 56)
    assert PixelFeatures(PixelFeatures.Config(patch=7)).image_size == (56, 56)


def test_pooling_averages_squares_of_the_grid() -> None:
    vectors = torch.randn(2, 24, 5)
    assert pooled_grid((4, 6), 2) == (2, 3)
    grid, found = vectors.view(2, 4, 6, 5), pool(vectors, (4, 6), 2)
    assert found.shape == (2, 6, 5)
    for y in range(2):
        for x in range(3):
            square = grid[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flatten(1, 2)
            torch.testing.assert_close(found[:, y * 3 + x], square.mean(1))
    assert pool(vectors, (4, 6), 1) is vectors
    with pytest.raises(ValueError, match="4x6 vectors is not made of squares of 4x4"):
        pooled_grid((4, 6), 4)


@pytest.mark.parametrize("problem", ["missing", "broken"])
def test_without_transformers_the_extra_is_named(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "transformers":
                raise RuntimeError("operator torchvision::nms does not exist")

    if problem == "missing":
        monkeypatch.setitem(sys.modules, "transformers", None)
    else:
        monkeypatch.delitem(sys.modules, "transformers", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(VqcliError, match=r"openai/clip-vit-large-patch14 need transformers") as refused:
        VisionFeatures(VisionFeatures.Config())
    assert "pip install 'vqcli[features]'" in refused.value.hint
    assert refused.value.reason == "missing-extra"


class Encoder(nn.Module):
    """A vision transformer without blocks: one class token, then patches."""

    def __init__(self, side: int, patch: int, extra: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, patch, patch)
        self.first = nn.Parameter(torch.full((extra, 6), 1e6))
        self.post_layernorm = nn.LayerNorm(6)
        nn.init.normal_(self.post_layernorm.weight)
        self.config = SimpleNamespace(patch_size=patch, image_size=side, hidden_size=6)

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        patches = self.embed(pixel_values).flatten(2).transpose(1, 2)
        first = self.first.expand(len(patches), -1, -1)
        return SimpleNamespace(last_hidden_state=torch.cat([first, patches], 1))


class Clip(nn.Module):
    """An encoder with CLIP's projection, under the names that ``transformers`` has."""

    def __init__(self) -> None:
        super().__init__()
        self.vision_model = Encoder(8, 2, 1)
        self.visual_projection = nn.Linear(6, 5, bias=False)
        vision = self.vision_model.config
        self.config = SimpleNamespace(projection_dim=5, **vars(vision))


SETTINGS = {
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.5, 0.6, 0.7],
    "crop_size": {"height": 8, "width": 8},
}


def test_clip_patches_are_normalized_and_projected(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Clip()
    monkeypatch.setattr(vision, "load", lambda name: (network, SETTINGS))
    features = VisionFeatures(VisionFeatures.Config(model="someone/clip"))
    assert (features.width, features.image_size, features.grid(8, 8)) == (5, (8, 8), (4, 4))
    assert (features.title, features.POOL) == ("someone/clip", 4)
    batch = images(8, 8)
    vectors, encoder = features(batch), network.vision_model
    mean, std = (torch.tensor(SETTINGS[name])[:, None, None] for name in ("image_mean", "image_std"))
    for y in range(4):
        for x in range(4):
            pixels = ((batch[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] + 1) / 2 - mean) / std
            hidden = encoder.post_layernorm(encoder.embed(pixels).flatten(1))
            torch.testing.assert_close(vectors[:, 4 * y + x], network.visual_projection(hidden))
    with pytest.raises(ValueError, match="someone/clip takes images of 8x8 pixels"):
        features.grid(16, 16)


def test_other_encoders_give_their_last_hidden_state(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Encoder(12, 4, 5)  # a class token and four registers
    monkeypatch.setattr(vision, "load", lambda name: (network, {}))
    features = VisionFeatures(VisionFeatures.Config(model="someone/dino"))
    assert (features.width, features.image_size) == (6, (12, 12))
    batch = images(12, 12)
    torch.testing.assert_close(features(batch), network.embed(batch).flatten(2).transpose(1, 2))


def test_a_network_without_patches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Conv2d(3, 4, 1)
    network.config = SimpleNamespace(image_size=8, hidden_size=4)
    monkeypatch.setattr(vision, "load", lambda name: (network, {}))
    with pytest.raises(VqcliError, match="someone/convnet does not look at patches"):
        VisionFeatures(VisionFeatures.Config(model="someone/convnet"))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 192}}, (224, 192)),
        ({"size": {"height": 384, "width": 384}}, (384, 384)),
        ({"size": {"shortest_edge": 224}}, (224, 224)),
        ({"size": 112}, (112, 112)),
        ({}, (518, 518)),
    ],
)
def test_the_size_that_preprocessing_ends_with(settings: dict, size: tuple[int, int]) -> None:
    assert input_size(settings, 518) == size
