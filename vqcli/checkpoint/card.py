"""What a tokenizer's folder tells people: its card, and the numbers that were measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vqcli import files
from vqcli.checkpoint.contents import CARD, relist
from vqcli.checkpoint.kinds import AUTOENCODER, KINDS
from vqcli.errors import VqcliError
from vqcli.escapes import markdown
from vqcli.metrics.protocols import PROTOCOLS
from vqcli.metrics.usage.record import USAGE, UsageRecord
from vqcli.types import TokenizerSpec

QUALITY = {
    "psnr": "PSNR {:.2f} dB",
    "ssim": "SSIM {:.4f}",
    "lpips_vgg": "LPIPS {:.4f} (VGG)",
    "lpips_alex": "LPIPS {:.4f} (AlexNet)",
    "rfid": "rFID {:.2f}",
    "rsfid": "rsFID {:.2f}",
    "inception_score": "Inception Score {:.2f}",
    "kid": "KID {:.5f}",
}
"""What a card says of the quality that a record tells."""
NONE: Mapping[str, str] = MappingProxyType({})
STARTS = ("Utilization: ", "Reconstructions of ")
"""What lines about such numbers begin with."""


def model_card(spec: TokenizerSpec, usage: UsageRecord | None, note: str) -> str:
    """README.md of a tokenizer's folder."""
    size = "x".join(map(str, spec.image_size)) if spec.image_size else "any size"
    each = f"for {spec.downsample}x{spec.downsample} of {size} pixels."
    tags, title = "image-tokenizer, vector-quantization", f"A tokenizer with {spec.codebook_size:,} codes"
    what = f"Code width {spec.width}, one token {each}"
    row = KINDS["tokenizer"]
    if not spec.codebook_size:
        tags, title = "autoencoder", "An autoencoder without a codebook"
        what = f"Latents of width {spec.width}, one {each} It makes no tokens."
        row = AUTOENCODER
    lines = [
        f"---\nlibrary_name: vqcli\ntags: [{tags}]\n---",
        f"# {title}\n",
        what,
        *measured_lines(usage),
        note,
        f"\n    {row.line('THIS_FOLDER')}\n",
    ]
    return "\n".join(line for line in lines if line)


def measured_lines(usage: UsageRecord | None) -> list[str]:
    """Lines of a card about what was measured."""
    if not usage:
        return []
    lines = [
        f"Utilization: {usage.utilization:.2%} of the codes over {usage.tokens:,} tokens of "
        f"{markdown(usage.images)} (uniform use would give {usage.uniform_expectation:.2%})."
    ]
    return lines + quality_lines(usage.quality, usage.images, usage.protocol or "plain", usage.cautions)


def quality_lines(
    quality: Mapping[str, Any], images: str, protocol: str, cautions: Mapping[str, str] = NONE
) -> list[str]:
    """The line of a card about how near reconstructions are; none where nothing of it was measured.

    ``cautions`` tell what is wrong with numbers, by their names.
    """
    told = [
        words.format(quality[name]) + (f" ({markdown(cautions[name])})" if name in cautions else "")
        for name, words in QUALITY.items()
        if quality.get(name) is not None
    ]
    if not told:
        return []
    known = PROTOCOLS.get(protocol)
    how = f" Protocol `{known.name}`: {known.summary}." if known else ""
    return [f"Reconstructions of {markdown(images)}: {', '.join(told)}.{how}"]


def record_measured(folder: Path, usage: UsageRecord) -> None:
    """Put other numbers into a model folder and its card, the rest of which stays as it is.

    Raises VqcliError where the folder is a training checkpoint, or another process is at it.
    """
    if files.exists(folder / "state.json"):
        message = f"{folder} is a training checkpoint, which keeps no such numbers"
        raise VqcliError(message, hint="finish the run: its export does", reason="wrong-kind")
    card = folder / CARD
    with files.claimed(folder):
        files.write_json(folder / USAGE, usage.to_json())
        if files.is_file(card):
            text = files.read_bytes(card).decode("utf-8", "surrogateescape")
            files.write_text(card, _renewed(text, measured_lines(usage)))
        relist(folder, [USAGE, *([CARD] if files.is_file(card) else [])])


def _renewed(text: str, measured: list[str]) -> str:
    """A card with ``measured`` where such lines were, or else where they would have been."""
    lines = text.split("\n")
    old = [i for i, line in enumerate(lines) if line.startswith(STARTS)]
    after = [i + 1 for i, line in enumerate(lines) if line.startswith(("Code width ", "# "))]
    place = old[0] if old else max(after, default=len(lines))
    kept = [line for i, line in enumerate(lines) if i not in old]
    return "\n".join([*kept[:place], *measured, *kept[place:]])
