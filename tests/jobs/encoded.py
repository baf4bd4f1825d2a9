"""Encoding in tests: small jobs, and what they left."""

import numpy as np
from PIL import Image

from tests.images import picture, save
from vqcli.jobs.encoder import ImageOptions


def options(images, model, **other):
    return ImageOptions(
        **{"batch_size": 4, "num_workers": 0, "device": "cpu"} | other, images=str(images), model=str(model)
    )


def pictures(folder, names):
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(Image.fromarray(np.roll(picture(8, 8), i, axis=2)), "PNG"))
    return folder


def contents(out):
    """Bytes of everything a job left, but the lock."""
    if out.is_file():
        return out.read_bytes(), out.with_suffix(".json").read_bytes()
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}


class Stop(Exception):
    pass
