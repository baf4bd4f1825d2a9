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
    also: tuple[str, ...] = ()
    """Other names under which the very same bytes are published."""

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.url.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called where somebody else has put it."""
        return self.name, *self.also


@dataclass(frozen=True)
class Network:
    """A network and all that its weights are put together from."""

    name: str
    option: str
    """The flag with which a user names a file or folder of its weights."""
    files: tuple[NetworkFile, ...]


TORCH = "https://download.pytorch.org/models/"
LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
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
INCEPTION = NetworkFile(
    f"{FIDELITY}weights-inception-2015-12-05-6726825d.pth",
    95_628_359,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    r"(Conv2d|Mixed)_.*\.(conv\.weight|bn\.(weight|bias|running_))|fc\.weight",
    "Apache-2.0",
    also=("pt_inception-2015-12-05-6726825d.pth",),  # pytorch-fid's name
)
NETWORKS = {
    each.name: each
    for each in (
        Network("lpips-vgg", "--lpips-weights", (VGG16, VGG_HEADS)),
        Network("lpips-alex", "--lpips-weights", (ALEXNET, ALEX_HEADS)),
        Network("fid-inception", "--inception-weights", (INCEPTION,)),
    )
}
