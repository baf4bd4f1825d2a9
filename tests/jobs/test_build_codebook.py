"""Codebooks from features: what the file holds, every input accounted for, and kills without trace."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from tests.jobs.encoded import Stop, pictures
from tests.locks import held_elsewhere
from vqcli import files
from vqcli.codebooks.projected import read_table
from vqcli.data.demo import DemoSource
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs import feature_shards
from vqcli.jobs.build_codebook import CodebookOptions, CodebookResult, build_codebook
from vqcli.jobs.feature_shards import FeatureOptions
from vqcli.nn import kmeans
from vqcli.nn.nearest import nearest_codes
from vqcli.pixels import to_tensor
from vqcli.types import silent


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_shards, "SHARD", 4)


SOURCE = {"batch_size": 4, "num_workers": 0, "device": "cpu", "size": (8, 8)}


def build(
    images: object, out: Path, *, size: int = 16, force: bool = False, **other: object
) -> CodebookResult:
    own = {name: other.pop(name) for name in ("per_class", "iterations", "seed") if name in other}
    source = FeatureOptions(str(images), **SOURCE | other)
    return build_codebook(CodebookOptions(source, size, **{"iterations": 4} | own), out, force=force)


def solid(folder: Path, colours: dict[str, tuple[int, int, int]]) -> Path:
    for name, colour in colours.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(folder / name)
    return folder


def opened(path: Path) -> tuple[Tensor, dict[str, str]]:
    with safe_open(path, "pt") as file:
        assert list(file.keys()) == ["codes"]
        return file.get_tensor("codes"), file.metadata()


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


@pytest.mark.parametrize("per_class", [False, True])
def test_stopped_at_every_write_it_ends_with_the_same_bytes(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, per_class: bool
) -> None:
    colours = {
        f"{name}/{i}.png": (7 * i, i * i, base) for name, base in (("a", 0), ("b", 90)) for i in range(6)
    }
    folder = solid(tmp_path / "in", colours)
    whole = tmp_path / "whole.safetensors"
    build(folder, whole, size=8, per_class=per_class)
    writing = files.writing
    for stop in range(100):
        out, done = tmp_path / str(stop) / "f.safetensors", []

        def failing(path: Path, stop: int = stop, done: list = done):  # type: ignore[no-untyped-def]
            if len(done) == stop:
                raise Stop
            done.append(path)
            return writing(path)

        with monkeypatch.context() as patch:
            patch.setattr(files, "writing", failing)
            try:
                build(folder, out, size=8, per_class=per_class)
                break
            except Stop:
                assert not out.exists()
        build(folder, out, size=8, per_class=per_class)
        assert out.read_bytes() == whole.read_bytes()
    assert stop > 8
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_finished_work_is_not_done_again(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, remove = tmp_path / "f.safetensors", files.remove_folder

    def stop(folder: Path) -> None:
        raise Stop

    with monkeypatch.context() as patch:  # killed between the last file and the end
        patch.setattr(files, "remove_folder", stop)
        with pytest.raises(Stop):
            build("demo:10", out)
    before = out.read_bytes()
    monkeypatch.setattr(feature_shards.Extractor, "extract", None)
    monkeypatch.setattr("vqcli.nn.kmeans.KMeans.step", None)
    build("demo:10", out)
    assert out.read_bytes() == before
    assert files.remove_folder is remove
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


SEEDED = {"size": 64, "iterations": 60, "seed": 5}
SMALL = (
    "import vqcli.jobs.feature_shards as f; f.SHARD = 4; import vqcli.nn.kmeans as k; k.LEAST_SAMPLE = 500; "
    "from vqcli.cli.app import main; main()"
)
COMMAND = [
    *[
        "build-codebook",
        "demo:600",
        "-k",
        "64",
        "--iterations",
        "60",
        "--seed",
        "5",
        "--size",
        "16",
        "-b",
        "4",
    ],
    *["--num-workers", "0", "--device", "cpu", "-q"],
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def build_as_commanded(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``COMMAND`` does, in this process."""
    torch.set_num_threads(1)
    monkeypatch.setattr(feature_shards, "SHARD", 4)
    monkeypatch.setattr(kmeans, "LEAST_SAMPLE", 500)
    source = FeatureOptions("demo:600", **SOURCE | {"size": (16, 16)})
    build_codebook(CodebookOptions(source, **SEEDED), out)


def test_killed_in_both_phases_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, partial = tmp_path / "f.safetensors", tmp_path / "f.partial"
    command = [sys.executable, "-c", SMALL, *COMMAND]

    def iterations() -> int:
        try:
            with safe_open(partial / "kmeans-00000.safetensors", "pt") as file:
                return len(file.get_tensor("objectives"))
        except OSError:
            return -1

    for reached in (lambda: (partial / "vectors-00030.npy").exists(), lambda: iterations() > 10):
        process = subprocess.Popen([*command, "-o", str(out)], env=ENVIRONMENT)
        while not reached():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 10 < iterations() < 60
    (partial / ".tmp-0-half").write_bytes(b"left by the kill")
    for path in (out, tmp_path / "whole" / "f.safetensors"):
        build_as_commanded(path, monkeypatch)
    assert out.read_bytes() == (tmp_path / "whole" / "f.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.safetensors", "whole"]


def test_two_processes_write_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launch, str(script), *COMMAND, "-o", str(tmp_path / "2.safetensors")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    build_as_commanded(tmp_path / "1.safetensors", monkeypatch)
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": 8}, "codes 16 -> 8$"),
        ({"seed": 1}, "seed 0 -> 1$"),
        ({"iterations": 5}, "iterations 4 -> 5$"),
        ({"pool": 2}, "pooling 1 -> 2$"),
        ({"patch": 2}, "features pixels of 4x4 patches -> pixels of 2x2 patches$"),
        ({"limit": 19}, "images 20 -> 19$"),
        ({"images": "demo:21", "limit": 20}, "named demo:20 -> demo:21$"),
    ],
)
def test_another_job_in_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, told: str
) -> None:
    out = tmp_path / "f.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("vqcli.jobs.build_codebook.write_codes", lambda *_: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            build("demo:20", out)
    other = {"images": "demo:20"} | change
    with pytest.raises(VqcliError, match=f"f.partial holds another job: {told}") as refused:
        build(out=out, **other)
    assert (refused.value.reason, "--force" in refused.value.hint) == ("changed", True)
    build(out=out, force=True, **other)
    build(out=tmp_path / "fresh.safetensors", **other)
    assert out.read_bytes() == (tmp_path / "fresh.safetensors").read_bytes()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    mine = tmp_path / "f.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / "g.safetensors").write_text("mine")
    for name, force in (("f.safetensors", True), ("g.safetensors", False), ("g.npy", True)):
        with pytest.raises(VqcliError, match=r"exists|no name of a safetensors file"):
            build("demo:10", tmp_path / name, force=force)
    assert mine.read_text() == (tmp_path / "g.safetensors").read_text() == "mine"
    build("demo:10", tmp_path / "g.safetensors", force=True)
    assert len(opened(tmp_path / "g.safetensors")[0]) == 16
    with held_elsewhere(tmp_path / "h.partial"), pytest.raises(VqcliError, match="in use by another"):
        build("demo:10", tmp_path / "h.safetensors")


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
    monkeypatch.setattr(feature_shards, "normalize", lambda images: images.float() * 1e4)
    with pytest.raises(VqcliError, match="beyond 65,504"):
        build("demo:4", tmp_path / "f.safetensors")


def test_a_class_reads_its_images_only(tmp_path: Path, small_shards: None) -> None:
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(10)]
    folder = pictures(tmp_path / "in", names)
    (folder / "a" / "2.png").write_bytes(b"")
    extractor = feature_shards.Extractor(FeatureOptions(str(folder), **SOURCE))
    feature_shards.write_shards(extractor, tmp_path, list(range(extractor.shards)), silent)
    store = feature_shards.open_store(tmp_path, extractor.shards, extractor.vectors)
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
