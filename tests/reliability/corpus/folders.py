"""Model folders whose config.json, manifest or classes are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.reliability.corpus.case import Case, encode, generate

HUGE = (2**40, 10**9, -1, 0, "x", None, [], {}, 1.5, True, 10**30)
PLACES = {
    "codebook_size": ("codebook_size",),
    "width": ("width",),
    "downsample": ("downsample",),
    "image_size": ("image_size",),
    "fingerprint": ("fingerprint",),
    "tokenizer": ("tokenizer",),
    "kind": ("kind",),
    "format": ("format",),
    "plugins": ("plugins",),
    "codes": ("tokenizer", "codebook", "size"),
    "code-width": ("tokenizer", "codebook", "width"),
    "codebook": ("tokenizer", "codebook"),
    "codebook-name": ("tokenizer", "codebook", "name"),
    "quantizer": ("tokenizer", "quantizer"),
    "channels": ("tokenizer", "channels"),
    "res-blocks": ("tokenizer", "res_blocks"),
    "multipliers": ("tokenizer", "multipliers"),
    "z-channels": ("tokenizer", "z_channels"),
    "name": ("tokenizer", "name"),
}
FINE = {
    ("codebook_size", 0), ("width", 0), ("fingerprint", "x"), ("image_size", None),
    ("downsample", 10**9), ("codebook_size", 10**9), ("width", 10**9),
}  # fmt: skip
"""Not tried: they may be so, or are refused for another reason than what they are."""
GENERATOR = {
    "layers": (("generator", "layers"), (10**6, 0, "x", None, [])),
    "classes": (("generator", "classes"), (10**9, 0, "x", None)),
    "width": (("generator", "width"), (10**9, 0, 2**40, 17)),
    "heads": (("generator", "heads"), (0, 10**9, 3)),
    "sampling": (("generator", "sampling"), (5, [], {"cfg": "x"}, {"top_p": 0}, {"top_k": -5}, {"y": 1})),
    "name": (("generator", "name"), ("os.system", [], None)),
    "generator": (("generator",), (5, [], None, {})),
    "grid": (
        ("tokenizer", "grid"),
        ([], [[0, 0]], [[10**9, 10**9]], 5, "x", [[1]], [[-1, 2]], [[1, 2, 3]], {}),
    ),
    "codebook-size": (("tokenizer", "codebook_size"), (2**40, -1, "x", [])),
    "spec-width": (("tokenizer", "width"), (-1, "x", 2**40)),
    "spec-size": (("tokenizer", "image_size"), ([0, 0], [8], "ab", [8, 8, 8], [10**9, 10**9], 5)),
    "fingerprint": (("tokenizer", "fingerprint"), (5, [], {})),
    "tokenizer": (("tokenizer",), (5, [], None, "x")),
    "latents": (("tokenizer", "latents"), (5, {"mean": [1], "std": []}, {"mean": "x"})),
}
RAW = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"tokenizer"',
    "number": b"5",
    "half": b'{"kind": "tokenizer", "format"',
    "deep": b"[" * 100_000,
    "deep-section": b'{"kind": ' * 50_000,
    "nan": b'{"kind": "tokenizer", "format": 1, "width": NaN}',
    "infinite": b'{"kind": "tokenizer", "format": 1, "width": 1e999}',
    "digits": b'{"kind": "tokenizer", "format": 1, "width": ' + b"9" * 5000 + b"}",
    "twice": b'{"kind": "tokenizer", "kind": "generator"}',
    "utf-16": '{"kind": "tokenizer"}'.encode("utf-16"),
    "latin-1": b'{"kind": "caf\xe9"}',
    "surrogate": b'{"kind": "\\ud800"}',
    "nul": b'{"kind": "a\\u0000b"}',
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n",
    "zeros": bytes(4096),
    "long-kind": b'{"kind": "' + b"x" * 100_000 + b'"}',
    "comment": b'{"kind": "tokenizer"} // mine',
}


def copied(model: str, change: Callable[[Path], object], folder: Path) -> None:
    """A copy of a model of the base, changed, without what would tell that it was."""
    shutil.copytree(base_of(folder) / model, folder / "m")
    for manifest in (folder / "m").rglob("manifest.json"):
        manifest.unlink()
    change(folder / "m")


def base_of(folder: Path) -> Path:
    """Where the models are."""
    return Path((folder / ".base").read_text())


def config(keys: tuple[str, ...], value: Any, folder: Path) -> None:
    """Set a key of config.json; ``...`` removes it."""
    path = folder / "config.json"
    whole = here = json.loads(path.read_text())
    whole.pop("seal", None)
    for key in keys[:-1]:
        here = here[key]
    if value is ...:
        del here[keys[-1]]
    else:
        here[keys[-1]] = value
    path.write_text(json.dumps(whole))


def raw(name: str, data: bytes, folder: Path) -> None:
    """Another file in the place of one."""
    (folder / name).write_bytes(data)


def removed(name: str, folder: Path) -> None:
    """Without one of its files."""
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()


BAD = ("damaged", "wrong-kind", "format", "memory", "config", "layout", "plugin")
"""What may be said of a folder that is not as it should be."""


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    images = encode("{base}/pictures", "-m", "m")
    for name, keys in PLACES.items():
        for i, value in enumerate([*HUGE, ...]):
            absent = value is ... and name in (
                "plugins",
                "codebook_size",
                "width",
                "downsample",
                "format",
                "kind",
            )
            same = name in ("codebook_size", "width", "downsample", "format", "res-blocks") and value is True
            unhashed = None if isinstance(value, list | dict) else (name, value)
            if unhashed in FINE or (name, value) == ("plugins", {}) or absent or same:
                continue
            if name == "codebook" and value in ("x",):
                continue
            make = partial(copied, "tok", partial(config, keys, value))
            yield Case(f"{name}-{i}", make, images, 1, BAD, about="m")
    for name, (keys, values) in GENERATOR.items():
        for i, value in enumerate([*values, ...]):
            if (
                name == "latents" or name in ("sampling", "layers", "classes", "width", "heads")
            ) and value is ...:
                continue
            make, reasons = partial(copied, "gen", partial(config, keys, value)), (*BAD, "tokenizer", "grid")
            if (name, value) != ("spec-size", ...):
                yield Case(f"gen-{name}-{i}", make, generate("m"), 1, reasons, about="m")
            if value is not ... or name not in ("grid", "spec-size", "fingerprint"):  # may be told or not
                yield Case(f"info-{name}-{i}", make, ("info", "m", "--json"), 1, reasons, about="m")
    for name, data in RAW.items():
        make = partial(copied, "tok", partial(raw, "config.json", data))
        yield Case(f"raw-{name}", make, images, 1, BAD, about="m")
        make = partial(copied, "gen", partial(raw, "classes.json", data))
        if name != "list":
            yield Case(f"classes-{name}", make, generate("m"), 1, ("damaged",), about="classes.json")
    for name in ("config.json", "model.safetensors", "codebook.safetensors"):
        make = partial(copied, "tok", partial(removed, name))
        yield Case(
            f"without-{name}", make, images, 1, ("input-missing", "damaged", "wrong-kind", "input-empty")
        )
    for name in ("model.safetensors", "codebook.safetensors"):
        for what, data in (("empty", b""), ("text", b"hello"), ("zeros", bytes(100))):
            make = partial(copied, "tok", partial(raw, name, data))
            yield Case(f"{what}-{name}", make, images, 1, ("damaged",), about=name)
    for name, data in RAW.items():
        make = partial(copied, "tok", partial(raw, "manifest.json", data))
        yield Case(f"manifest-{name}", make, images, 1, ("damaged",), about="m")
