"""Codebooks from features: what the file holds, and every input accounted for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.jobs.encoded import pictures
from tests.jobs.features import SOURCE, build, opened, solid
from vqcli.codebooks.projected import read_table
from vqcli.data.images.demo import DemoSource
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs import feature_shards
from vqcli.jobs.build_codebook import CodebookOptions, build_codebook
from vqcli.jobs.feature_shards import FeatureOptions
from vqcli.nn.nearest import nearest_codes
from vqcli.pixels import to_tensor
from vqcli.types import silent


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_shards, "SHARD", 4)


def patches(count: int, patch: int = 4, side: int = 8) -> Tensor:
    """Patches of drawn images, one after the other, as float16 holds them."""
    drawn = DemoSource(count, (side, side))
    images = torch.stack([to_tensor(drawn[i].image) for i in range(count)]) / 127.5 - 1
    places = [(y, x) for y in range(0, side, patch) for x in range(0, side, patch)]
    return torch.cat(
        [image[:, y : y + patch, x : x + patch].reshape(1, -1) for image in images for y, x in places]
    ).half()


def test_what_the_file_holds(tmp_path: Path, small_shards: None) -> None:
    out = tmp_path / "f.safetensors"
    result = build("demo:30", out, seed=3)
    codes, metadata = opened(out)
    assert (codes.dtype, codes.shape, len(codes.unique(dim=0))) == (torch.float32, (16, 48), 16)
    vectors = patches(30).float()
    objective = (vectors - codes[nearest_codes(vectors, codes)]).square().sum(1).mean().item()
    assert result.objective == pytest.approx(objective, rel=1e-5)
    assert metadata == {
        "features": "pixels of 4x4 patches",
        "pooling": "1",
        "image_size": "8x8",
        "images": "demo:30",
        "split": "",
        "image_count": "30",
        "vectors": "120",
        "codes": "16",
        "per_class": "false",
        "seed": "3",
        "iterations": "4",
        "objective": repr(result.objective),
    }
    found = (result.codes, result.width, result.images, result.vectors, result.classes, result.iterations)
    assert found == (16, 48, 30, 120, 0, 4)
    assert torch.equal(read_table(out, (16, 48)), codes)
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]
    again = tmp_path / "again" / "f.safetensors"
    build("demo:30", again, seed=3)
    assert again.read_bytes() == out.read_bytes()


def test_patches_and_pooling(tmp_path: Path) -> None:
    vectors = patches(5, 2)
    different = len(vectors.unique(dim=0))
    build("demo:5", tmp_path / "a.safetensors", size=different, patch=2)
    told = f"in demo:5: {different} different vectors do not make {different + 1} centres"
    with pytest.raises(VqcliError, match=told):
        build("demo:5", tmp_path / "b.safetensors", size=different + 1, patch=2)
    codes, _ = opened(tmp_path / "a.safetensors")
    assert torch.equal(codes.unique(dim=0), vectors.float().unique(dim=0))
    result = build("demo:5", tmp_path / "c.safetensors", size=5, patch=2, pool=4)
    codes, metadata = opened(tmp_path / "c.safetensors")
    assert (result.vectors, metadata["pooling"]) == (5, "4")
    means = patches(5, 2).float().view(5, 16, 12).mean(1)
    order = torch.cdist(codes, means).argmin(1)
    torch.testing.assert_close(codes, means[order], atol=1e-3, rtol=0)


def test_codes_of_classes(tmp_path: Path, small_shards: None) -> None:
    colours = {
        f"{name}/{i}.png": (base + i, i, base) for name, base in (("ant", 0), ("bee", 100)) for i in range(9)
    }
    folder = solid(tmp_path / "in", colours)
    result = build(folder, tmp_path / "f.safetensors", size=6, per_class=True)
    codes, metadata = opened(tmp_path / "f.safetensors")
    assert (result.classes, result.vectors, metadata["per_class"]) == (2, 72, "true")
    blue = ((codes[:, 32:] + 1) * 127.5).mean(1).round().tolist()
    assert blue == [0] * 3 + [100] * 3  # ant's codes, then bee's
    vectors = (torch.tensor(list(colours.values())).repeat_interleave(16, 1) / 127.5 - 1).half().float()
    objective = (vectors - codes[nearest_codes(vectors, codes)]).square().sum(1).mean().item()
    assert result.objective == pytest.approx(objective, rel=1e-4)
    with pytest.raises(VqcliError, match="7 codes are not divisible by 2 classes") as odd:
        build(folder, tmp_path / "g.safetensors", size=7, per_class=True)
    assert odd.value.hint == "--codebook-size 6"
    with pytest.raises(VqcliError, match="too few vectors in class ant: 9 different vectors do not make 10"):
        build(folder, tmp_path / "g.safetensors", size=20, per_class=True)
    (tmp_path / "names.txt").write_text("".join(f"in/{name}\n" for name in colours))
    with pytest.raises(VqcliError, match=r"not every image of .* has a class"):
        build(tmp_path / "names.txt", tmp_path / "h.safetensors", per_class=True)


def test_bad_images_are_counted(tmp_path: Path, small_shards: None) -> None:
    folder = pictures(tmp_path / "in", [f"{i}.png" for i in range(9)])
    for i in (0, 1, 2, 3, 6):  # the first shard has none left
        (folder / f"{i}.png").write_bytes(b"x" * i)
    result = build(folder, tmp_path / "f.safetensors", size=4)
    assert [bad["key"] for bad in result.rejected] == ["0.png", "1.png", "2.png", "3.png", "6.png"]
    assert result.rejected[0]["reason"] == "empty-file"
    assert (result.images, opened(tmp_path / "f.safetensors")[1]["image_count"]) == (4, "4")
    with pytest.raises(BadImage, match="empty-file"):
        build(folder, tmp_path / "strict.safetensors", size=4, strict=True)
    for i in (4, 5, 7, 8):
        (folder / f"{i}.png").write_bytes(b"")
    with pytest.raises(VqcliError, match=r"none of 9 images could be used \(empty-file, not-an-image\)"):
        build(folder, tmp_path / "none.safetensors", size=4)


def test_a_class_without_images(tmp_path: Path) -> None:
    folder = solid(tmp_path / "in", {"ant/0.png": (0, 0, 0), "bee/0.png": (9, 9, 9)})
    (folder / "bee" / "0.png").write_bytes(b"")
    with pytest.raises(VqcliError, match="too few vectors in class bee: no vectors"):
        build(folder, tmp_path / "f.safetensors", size=2, per_class=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": (10, 8)}, "no features of 10x8 pixels: image sides must be multiples of 4"),
        ({"pool": 3}, "a grid of 2x2 vectors is not made of squares of 3x3"),
    ],
)
def test_sizes_that_do_not_fit(tmp_path: Path, options: dict, told: str) -> None:
    source = FeatureOptions("demo:4", **SOURCE | options)
    with pytest.raises(VqcliError, match=told) as refused:
        build_codebook(CodebookOptions(source), tmp_path / "f.safetensors")
    assert refused.value.reason == "size"


def test_numbers_that_float16_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_shards, "on_device", lambda images, device: images.float() * 1e4)
    with pytest.raises(VqcliError, match="beyond 65,504"):
        build("demo:4", tmp_path / "f.safetensors")


def test_a_class_reads_its_images_only(tmp_path: Path, small_shards: None) -> None:
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(10)]
    folder = pictures(tmp_path / "in", names)
    (folder / "a" / "2.png").write_bytes(b"")
    extractor = feature_shards.Extractor(FeatureOptions(str(folder), **SOURCE))
    work = feature_shards.FeatureShards(extractor, tmp_path)
    work.do(range(work.shards), silent)
    store = work.finish()
    assert (store.images, store.count, len(store.rejected)) == (9, 36, 1)
    everything = store.everything()
    every = torch.cat([everything.read(i) for i in range(len(everything.lengths))])
    labels = np.concatenate(store.labels).repeat(4)
    for label in (0, 1):
        of_class = store.of_class(label)
        found = torch.cat([of_class.read(i) for i in range(len(of_class.lengths))])
        assert torch.equal(found, every[torch.from_numpy(labels == label)])
    record = json.loads((tmp_path / "images-00000.json").read_text())
    assert record["rejected"] == [{"key": "a/2.png", "reason": "empty-file"}]
