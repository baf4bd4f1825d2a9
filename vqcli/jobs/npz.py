"""Images as one array in a ``.npz``, as ADM's evaluator (arXiv:2105.05233) reads samples.

Shape letters: N images, H, W sides.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vqcli import files
from vqcli.data.decode import decode_image
from vqcli.data.location import Disk
from vqcli.errors import BadImage, VqcliError


def write_npz(path: Path, images: Sequence[Path], size: tuple[int, int]) -> None:
    """``arr_0``, uint8 (N, H, W, 3), of PNGs of ``size`` (H, W) in order, of which one is held at a time.

    Raises VqcliError where an image cannot be read or has another size.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *size, 3)}
    member = zipfile.ZipInfo("arr_0.npy")  # named by a string it would tell the time: other bytes each time
    with (
        files.writing(path) as file,
        zipfile.ZipFile(file, "w") as archive,
        archive.open(member, "w", force_zip64=True) as array,
    ):
        np.lib.format.write_array_header_1_0(array, header)
        for image in images:
            array.write(read_image(image, size).data)


def read_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W, 3) of a generated image. Raises VqcliError where it is none of ``size`` (H, W)."""
    try:
        pixels = np.array(decode_image(Disk(path), path.name))
        wrong = "" if pixels.shape[:2] == size else f"{pixels.shape[0]}x{pixels.shape[1]} pixels"
    except BadImage as e:
        wrong = e.reason
    if wrong:
        hint = "delete it and run the same command: what is missing is made again"
        raise VqcliError(f"{path} is no generated image: {wrong}", hint=hint, reason="damaged")
    return pixels
