"""Evaluation protocols by name: what is done to images before they are compared, and how. A table.

Two numbers can be compared only where all of this agrees. Sources: the authors' evaluation scripts, as the
descriptions tell. Sizes and crops are those of images that a tokenizer reconstructs; sets of images that are
compared to each other are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vqcli.pixels import Rounding

Crop = Literal["adm", "centre", "smallest_side"]
"""Cover the size and cut the centre (ADM); cut the centre of the image as it is, black around smaller ones
(torchvision's CenterCrop alone); bilinear to the smallest side, then cut (albumentations)."""
Options = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """How images are prepared and what is measured."""

    name: str
    summary: str
    """What it stands for, in a sentence."""
    metrics: Mapping[str, Options]
    """Names of metrics with what differs from their defaults; those measured where nobody asks for others."""
    crop: Crop = "adm"
    compared: Rounding = "nearest"
    """How reconstructions are rounded before PSNR, SSIM and LPIPS compare them."""
    saved: Rounding = "nearest"
    """How reconstructions are rounded before the FID Inception network sees them."""
    made: Rounding = "nearest"
    """The same of a generator's samples."""
    jpeg: tuple[str, ...] = ()
    """What is a JPEG of quality 75 before that network sees it: ``reference``, ``reconstruction``, ``sample``
    (of a generator)."""
    whole_reference: bool = False
    """Reconstructions are measured against whole images, not against what was cut out of them."""
    resize: Literal["tensorflow", "clean"] = "tensorflow"
    """How images come to the network's 299 pixels: TensorFlow 1's bilinear, or clean-fid's bicubic."""
    labels: Literal["random", "balanced"] = "random"
    """Classes of a generator's samples."""

    def metric(self, name: str) -> Options:
        """What ``name`` is built from, as a part's section."""
        return {"name": name, **self.metrics.get(name, {})}


GAUSSIAN_2 = {"window": "gaussian", "data_range": 2, "downsample": True}
FIDELITY = {"fid": {}, "inception_score": {"splits": 10, "seed": 2020}}

PROTOCOLS = {
    each.name: each
    for each in (
        Protocol(
            "plain",
            "8-bit images, means over images; PSNR and SSIM (Gaussian window) of RGB, true data range",
            {"psnr": {}, "ssim": {}, "lpips": {}, "fid": {}, "inception_score": {}, "usage": {}},
        ),
        Protocol(
            "llamagen",
            "LlamaGen's reconstruction_vq_ddp.py and ADM's evaluator: SSIM with a uniform window and data "
            "range 2",
            {
                "psnr": {},
                "ssim": {"window": "uniform", "data_range": 2},
                "fid": {},
                "sfid": {},
                "inception_score": {"chunk": 5000, "seed": 0},
                "precision_recall": {},
                "usage": {},
            },
            compared="truncate_128",
            saved="truncate_128",
            made="truncate_128",
        ),
        Protocol(
            "fvq",
            "FVQ's eval_fid.py: centre cut without resizing, both sides JPEG of quality 75 for rFID and IS, "
            "PSNR of luma, SSIM with data range 2, LPIPS of AlexNet",
            {
                "psnr": {"channel": "y"},
                "ssim": GAUSSIAN_2,
                "lpips": {},
                "fid": {},
                "inception_score": {"splits": 10, "seed": 0},
                "usage": {},
            },
            crop="centre",
            jpeg=("reference", "reconstruction"),
        ),
        Protocol(
            "vqgan-lc",
            "VQGAN-LC's eval_reconstruction.py and clean-fid: PSNR of luma of unrounded images, LPIPS of "
            "inputs that are mapped twice, rFID against whole images",
            {
                "psnr": {"channel": "y"},
                "ssim": {"window": "gaussian", "downsample": True},
                "lpips": {"mapped_twice": True},
                "fid": {},
                "usage": {},
            },
            crop="smallest_side",
            compared="none",
            saved="truncate",
            jpeg=("sample",),
            whole_reference=True,
            resize="clean",
            labels="balanced",
        ),
        Protocol(
            "adm",
            "ADM's evaluator: FID, sFID, Inception Score over chunks of 5,000 in the order of files, "
            "precision and recall",
            {"fid": {}, "sfid": {}, "inception_score": {"chunk": 5000}, "precision_recall": {}},
            saved="truncate_128",
            made="truncate_128",
        ),
        Protocol(
            "torch-fidelity",
            "torch-fidelity: FID, Inception Score of 10 shuffled splits, KID of 100 subsets of 1,000",
            FIDELITY | {"kid": {"subsets": 100, "subset_size": 1000, "seed": 2020}},
        ),
        Protocol(
            "clean-fid",
            "clean-fid's mode clean: bicubic, antialiased resizing; FID and KID",
            {"fid": {}, "kid": {"subsets": 100, "subset_size": 1000}},
            resize="clean",
        ),
    )
}
"""By name; the first is the default."""
