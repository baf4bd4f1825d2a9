"""Published networks that losses and metrics compare images with: where their weights lie. A table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkFile:
    """A file of weights, at a plain https address."""

    url: str
    """Its last part is the file's name."""
    bytes: int
    sha256: str
    """Of the file; at least the first eight digits."""
    keys: str
    """Regular expression that the keys start with which are needed of it."""
    licence: str

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Network:
    """A network and all that its weights are put together from."""

    name: str
    files: tuple[NetworkFile, ...]

    @property
    def option(self) -> str:
        """The flag with which a user names a file or folder of its weights."""
        return f"--{self.name.partition('-')[0]}-weights"


TORCH = "https://download.pytorch.org/models/"
LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
FEATURES, HEADS = r"features\.|net\.slice\d+\.", r"lins?\.?\d+\.model\."
"""Keys of both ways to name them: torchvision's and version 0.1's files, and what LPIPS's package saves."""

VGG16 = NetworkFile(
    f"{TORCH}vgg16-397923af.pth",
    553_433_881,
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    FEATURES,
    "BSD-3-Clause",
)
VGG_HEADS = NetworkFile(
    f"{LPIPS}vgg.pth",
    7_289,
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    HEADS,
    "BSD-2-Clause",
)
ALEXNET = NetworkFile(
    f"{TORCH}alexnet-owt-7be5be79.pth",
    244_408_911,
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    FEATURES,
    "BSD-3-Clause",
)
ALEX_HEADS = NetworkFile(
    f"{LPIPS}alex.pth",
    6_009,
    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    HEADS,
    "BSD-2-Clause",
)
NETWORKS = {
    each.name: each
    for each in (Network("lpips-vgg", (VGG16, VGG_HEADS)), Network("lpips-alex", (ALEXNET, ALEX_HEADS)))
}
