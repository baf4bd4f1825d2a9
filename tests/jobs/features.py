"""Small codebooks from features, and what their files hold."""

from pathlib import Path

from PIL import Image
from safetensors import safe_open
from torch import Tensor

from vqcli.jobs.build_codebook import CodebookOptions, CodebookResult, build_codebook
from vqcli.jobs.feature_shards import FeatureOptions

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
        told = {name: text for name, text in file.metadata().items() if name != "seal"}
        return file.get_tensor("codes"), told
