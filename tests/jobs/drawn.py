"""Generating in tests: small jobs, and what they left."""

import numpy as np
from PIL import Image

from vqcli.jobs.sampler import GenerateOptions


def options(generator, *classes, **other):
    small = {"count": 3, "batch_size": 4, "device": "cpu"}
    return GenerateOptions(classes or ("3", "0"), str(generator), **small | other)


def images(out):
    """Pixels of every generated image of a folder, by name."""
    return {p.name: np.array(Image.open(p)) for p in out.glob("*-s*.png")}


def contents(out):
    """Bytes of everything a job left, but the lock."""
    return {p.name: p.read_bytes() for p in out.iterdir() if p.name != ".lock"}
