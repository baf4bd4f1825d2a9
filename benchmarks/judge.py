"""What share of generated images a small classifier takes for the class that was asked for.

The classifier learns from drawn images that no recipe trains on, blurred, noised and with a few wrong
patches, so that it looks at shapes and not at single pixels. Images mixed from patches of many others are
"nothing" to it, so that a mess is not taken for the class it resembles most. Learning takes a minute or two
on one CPU thread, once: the weights are kept.

    python benchmarks/judge.py FOLDER                              # written by `vqcli generate`
    python benchmarks/judge.py --images demo:2000 --split test     # drawn images
    python benchmarks/judge.py --reconstructions runs/demo         # those, through a tokenizer first

Shape letters: N images, K classes and "nothing", C, H, W of an image, L patches of an image.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli import files
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.demo import DemoSource
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError
from vqcli.library.references import locate
from vqcli.pixels import CenterCrop, normalize, to_tensor, to_uint8
from vqcli.types import Reading

SIDE, PATCH, BATCH = 32, 4, 100
FIRST = 1_000_000
"""The classifier learns from training images from this number on; recipes use the first ones."""
SETTINGS = {"images": 20_000, "epochs": 6, "lr": 3e-3, "seed": 0, "tested": 2000}
NAMES = [*DemoSource().classes, "nothing"]
NOTHING = len(NAMES) - 1

Labelled = tuple[Tensor, Tensor]
"""Images uint8 (N, C, H, W), and the class (N,) each should be."""


class Judge(nn.Module):
    """Images in [-1, 1] (N, C, H, W) to logits (N, K): five convolutions, then the mean over places."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 32, 2), (32, 48, 1), (48, 64, 2), (64, 96, 1), (96, 128, 2)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(128, len(NAMES))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


def patchwork(images: Tensor, share_n: Tensor, generator: torch.Generator) -> Tensor:
    """Images of which each patch is, with the image's share as chance, another image's at the same place."""
    patches = rearrange(images, "n c (h p) (w q) -> n (h w) c p q", p=PATCH, q=PATCH)
    n, count = patches.shape[:2]
    other_nl = torch.randint(n, (n, count), generator=generator)
    foreign_nl = torch.rand(n, count, generator=generator) < share_n[:, None]
    mixed = patches[torch.where(foreign_nl, other_nl, torch.arange(n)[:, None]), torch.arange(count)]
    return rearrange(mixed, "n (h w) c p q -> n c (h p) (w q)", h=images.shape[2] // PATCH)


def blur_and_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image blurred by an amount of its own, then noised by one."""
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blur, noise = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    return images.lerp(blurred, blur) + 0.15 * noise * torch.randn(images.shape, generator=generator)


def spoil(images: Tensor, classes: Tensor, generator: torch.Generator) -> Labelled:
    """A batch as it is learned: few patches are wrong, but in the eighth of it that shall be nothing."""
    nothing = torch.arange(len(images)) < len(images) // 8
    amount_n = torch.rand(len(images), generator=generator)
    mixed = patchwork(images, torch.where(nothing, 0.4 + 0.6 * amount_n, 0.05 * amount_n), generator)
    return blur_and_noise(mixed, generator), classes.masked_fill(nothing, NOTHING)


def train(settings: dict[str, Any]) -> Judge:
    """A classifier, from shuffled batches of drawn images; its learning rate goes up and down once."""
    torch.manual_seed(settings["seed"])
    generator = torch.Generator().manual_seed(settings["seed"])
    source = DemoSource(FIRST + settings["images"], (SIDE, SIDE))
    images, classes = stack((source[i].image, source.label(i)) for i in range(FIRST, len(source)))
    judge, steps = Judge().train(), settings["epochs"] * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(judge.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings["lr"], total_steps=steps)
    for _ in range(settings["epochs"]):
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            spoiled, wanted = spoil(normalize(images[chosen]), classes[chosen], generator)
            loss = F.cross_entropy(judge(spoiled), wanted, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return judge.eval()


def load(weights: Path, settings: dict[str, Any]) -> tuple[Judge, dict[str, Any]]:
    """The classifier kept in a file, and how it was made; trained first where these settings are not kept."""
    if weights.exists():
        with safe_open(weights, "pt") as file:
            about = json.loads((file.metadata() or {}).get("judge", "{}"))
            if about.get("settings") == settings:
                judge = Judge().eval()
                judge.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                return judge, about
    print(f"training the classifier, to be kept in {weights} ...", file=sys.stderr)
    start = time.perf_counter()
    judge = train(settings)
    about = {"settings": settings, "seconds": round(time.perf_counter() - start, 1)}
    about["test_accuracy"] = tally(judge, *drawn(f"demo:{settings['tested']}", "test"))["share"]
    files.write_tensors(weights, judge.state_dict(), {"judge": json.dumps(about)})
    return judge, about


def stack(pairs: Iterable[tuple[Image.Image, int | None]]) -> Labelled:
    """Pictures with their classes as tensors; cut to size where they have another."""
    crop, stream = CenterCrop((SIDE, SIDE)), np.random.default_rng
    images, classes = zip(*((to_tensor(crop(image, stream)), label) for image, label in pairs))
    return torch.stack(images), torch.tensor(classes)


def drawn(images: str, split: str | None) -> Labelled:
    """Labelled images of a source."""
    source = open_source(images, Reading(split, (SIDE, SIDE)))
    return stack((source[i].image, source.label(i)) for i in range(len(source)))


def generated(folder: Path) -> Labelled:
    """The images ``vqcli generate`` wrote to a folder. Raises VqcliError if a class is none of the drawn."""
    listed = files.read_json(folder / "samples.json")
    wanted = {image["file"]: image["name"] for image in listed["images"]}
    strange = sorted(set(wanted.values()) - set(NAMES[:NOTHING]))
    if strange:
        raise VqcliError(f"{folder} has images of {', '.join(strange)}", hint="only drawn classes are known")
    return stack(
        (Image.open(folder / file).convert("RGB"), NAMES.index(name)) for file, name in wanted.items()
    )


@torch.inference_mode()
def reconstructed(images: Tensor, model: str) -> Tensor:
    """Images through a tokenizer, to tokens and back, uint8."""
    tokenizer = load_tokenizer(locate(model))
    batches = (tokenizer.decode(tokenizer.encode(normalize(batch))) for batch in images.split(BATCH))
    return torch.cat([to_uint8(batch) for batch in batches])


@torch.inference_mode()
def tally(judge: Judge, images: Tensor, classes: Tensor) -> dict[str, Any]:
    """Share recognised, of all and of every class, and what each class is mostly taken for instead."""
    said = torch.cat([judge(normalize(batch)).argmax(1) for batch in images.split(BATCH)])
    counts_kk = torch.bincount(classes * len(NAMES) + said, minlength=len(NAMES) ** 2).view(-1, len(NAMES))
    rows = []
    for i, name in enumerate(NAMES[:NOTHING]):
        counts = counts_kk[i].tolist()
        times, most = max((count, other) for other, count in zip(NAMES, counts) if other != name)
        mistaken = {"for": most, "times": times} if times else None
        rows.append({"class": name, "recognised": counts[i], "n": sum(counts), "mistaken": mistaken})
    recognised = int(counts_kk.diagonal().sum())
    return {"share": recognised / len(said), "recognised": recognised, "n": len(said), "classes": rows}


def show(result: dict[str, Any]) -> None:
    """A table on stdout."""
    print("class          recognised     n    share  mostly taken for instead")
    for row in [*result["classes"], {**result, "class": "all", "mistaken": None}]:
        share = f"{row['recognised'] / row['n']:8.2%}" if row["n"] else "       -"
        mistaken = f"  {row['mistaken']['for']} ({row['mistaken']['times']})" if row["mistaken"] else ""
        print(f"{row['class']:<14} {row['recognised']:>10} {row['n']:>5} {share}{mistaken}")
    about = result["judge"]
    print(f"Of {about['settings']['tested']:,} drawn images it recognises {about['test_accuracy']:.2%}.")


def main() -> None:
    """Judge a folder, or images, and fail if too few are recognised."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("folder", nargs="?", type=Path, help="written by vqcli generate")
    parser.add_argument("--images", default="demo:2000", help="judge these, where no folder is given")
    parser.add_argument("--split", default="test", help="of --images")
    parser.add_argument(
        "--reconstructions", metavar="MODEL", help="pass --images through this tokenizer first"
    )
    parser.add_argument("--weights", default="out/judge.safetensors", help="where the classifier is kept")
    parser.add_argument("--fail-below", type=float, default=0.0, help="share that must be recognised")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    options = parser.parse_args()
    if options.folder and options.reconstructions:
        parser.error("--reconstructions needs originals: give no folder")
    try:
        given = options.images, options.split
        images, classes = generated(options.folder) if options.folder else drawn(*given)
        if options.reconstructions:
            images = reconstructed(images, options.reconstructions)
    except VqcliError as e:
        sys.exit(f"{e}\n{e.hint}")
    judge, about = load(Path(options.weights), SETTINGS)
    result = {**tally(judge, images, classes), "judge": about}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    if result["share"] < options.fail_below:
        sys.exit(f"fewer than {options.fail_below:.0%} are recognised")


if __name__ == "__main__":
    main()
