"""What a tokenizer's folder tells people: its card, and the numbers that were measured of it."""

from __future__ import annotations

from pathlib import Path

from vqcli import files
from vqcli.checkpoint.contents import CARD, MANIFEST
from vqcli.checkpoint.kinds import KINDS
from vqcli.errors import VqcliError
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
STARTS = ("Utilization: ", "Reconstructions of ")
"""What lines about such numbers begin with."""


def model_card(spec: TokenizerSpec, usage: UsageRecord | None, note: str) -> str:
    """README.md of a tokenizer's folder."""
    size = "x".join(map(str, spec.image_size)) if spec.image_size else "any size"
    lines = [
        "---\nlibrary_name: vqcli\ntags: [image-tokenizer, vector-quantization]\n---",
        f"# A tokenizer with {spec.codebook_size:,} codes\n",
        f"Code width {spec.width}, one token for {spec.downsample}x{spec.downsample} of {size} pixels.",
        *measured_lines(usage),
        note,
        f"\n    vqcli {KINDS['tokenizer'].use} -m THIS_FOLDER\n",
    ]
    return "\n".join(line for line in lines if line)


def measured_lines(usage: UsageRecord | None) -> list[str]:
    """Lines of a card about what was measured."""
    if not usage:
        return []
    lines = [
        f"Utilization: {usage.utilization:.2%} of the codes over {usage.tokens:,} tokens of "
        f"{usage.images} (uniform use would give {usage.uniform_expectation:.2%})."
    ]
    quality = usage.quality
    told = [words.format(quality[name]) for name, words in QUALITY.items() if quality.get(name) is not None]
    if told:
        protocol = PROTOCOLS.get(usage.protocol or "plain")
        how = f" Protocol `{protocol.name}`: {protocol.summary}." if protocol else ""
        lines.append(f"Reconstructions of {usage.images}: {', '.join(told)}.{how}")
    return lines


def record_measured(folder: Path, usage: UsageRecord) -> None:
    """Put other numbers into a model folder and its card, the rest of which stays as it is.

    Raises VqcliError where the folder is a training checkpoint.
    """
    if (folder / "state.json").exists():
        message = f"{folder} is a training checkpoint, which keeps no such numbers"
        raise VqcliError(message, hint="finish the run: its export does", reason="wrong-kind")
    files.write_json(folder / USAGE, usage.to_json())
    card = folder / CARD
    if card.is_file():
        files.write_text(card, _renewed(card.read_text("utf-8", "surrogateescape"), measured_lines(usage)))
    if (folder / MANIFEST).is_file():
        files.write_json(folder / MANIFEST, {"files": files.manifest(folder)})


def _renewed(text: str, measured: list[str]) -> str:
    """A card with ``measured`` where such lines were, or else where they would have been."""
    lines = text.split("\n")
    old = [i for i, line in enumerate(lines) if line.startswith(STARTS)]
    after = [i + 1 for i, line in enumerate(lines) if line.startswith(("Code width ", "# "))]
    place = old[0] if old else max(after, default=len(lines))
    kept = [line for i, line in enumerate(lines) if i not in old]
    return "\n".join([*kept[:place], *measured, *kept[place:]])
