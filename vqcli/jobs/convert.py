"""Published checkpoints become model folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vqcli import files
from vqcli.aliases import ALIASES
from vqcli.checkpoint import fingerprint, save_tokenizer
from vqcli.config import parse
from vqcli.data.remap import check_free
from vqcli.errors import VqcliError
from vqcli.importers.base import AVERAGE, Importer, ImportOptions, State, unfit
from vqcli.importers.containers import Checkpoint, read_checkpoint
from vqcli.parts import PARTS
from vqcli.registry import build, resolve
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Progress, silent

FORMAT, RECORD = 1, "import.json"


@dataclass(frozen=True)
class ImportResult:
    """The tokenizer that a file became."""

    out: Path
    layout: str
    """Name of the importer."""
    codebook_size: int
    width: int
    downsample: int
    image_size: tuple[int, int]
    fingerprint: str
    metric: str | None
    """How latents are compared with codes: l2, cosine or dot; None where the layout knows no such choice."""
    metric_assumed: bool
    """Whether neither the file nor the user told the metric; then it is as published with such sizes."""
    record: dict[str, Any]
    """``import.json``: the file's name and hash, where in it the weights were, the licence of its code."""


def import_model(
    path: Path,
    out: Path,
    options: ImportOptions | None = None,
    *,
    force: bool = False,
    expected: str | None = None,
    progress: Progress = silent,
) -> ImportResult:
    """Write a model folder with the weights of a published checkpoint, baked: all of it or nothing.

    ``expected`` is the SHA-256 that the file must have. Raises VqcliError if it cannot be read or could run
    code, if it changes meanwhile, if its layout is not known, if a key is missing, unknown or of another
    shape, if weights are not finite, and if ``out`` is taken.
    """
    options = options or ImportOptions()
    check_free(out, ours=(out / "config.json").is_file(), force=force)
    progress.start("import", 3, "steps")
    digest, found = read_hashed(path, expected)
    progress.advance()
    layout, importer = recognise(path, found.state)
    record: dict[str, Any] = {
        "format": FORMAT,
        "file": path.name,
        "sha256": digest,
        "layout": layout,
        "container": found.container,
        "averaged": found.container == "ema" or any(key.startswith(AVERAGE) for key in found.state),
        "licence": importer.LICENCE,
    }
    try:
        settings = settings_beside(path) if importer.SETTINGS else {}
        tokenizer = convert(importer, found.state, options, settings)
    except VqcliError as e:
        raise VqcliError(f"{path} as {layout}: {e}", hint=e.hint, reason=e.reason) from e
    del found  # its memory is needed for writing
    check_unchanged(path, digest)
    record |= told_of_metric(importer, tokenizer, options, digest)
    progress.advance()
    with files.writing_folder(out) as folder:
        save_tokenizer(tokenizer, folder, note=describe(record))
        files.write_json(folder / RECORD, record)
    progress.advance()
    spec = tokenizer.spec
    assert spec.image_size
    return ImportResult(
        out,
        layout,
        spec.codebook_size,
        spec.width,
        spec.downsample,
        spec.image_size,
        spec.fingerprint,
        record["metric"],
        record["metric_assumed"],
        record,
    )


def read_hashed(path: Path, expected: str | None) -> tuple[str, Checkpoint]:
    """The SHA-256 of a file, unless it is known already, and what the file holds. Raises VqcliError."""
    try:
        return expected or files.sha256(path), read_checkpoint(path)
    except OSError as e:
        hint = "give a .pt, .pth, .ckpt, .bin or .safetensors file"
        raise VqcliError(f"cannot read {path}: {e.strerror}", hint=hint, reason="input-missing") from e


def recognise(path: Path, keys: Iterable[str]) -> tuple[str, Importer]:
    """The one importer whose layout has these keys, and its name. Raises VqcliError if there is none."""
    keys = sorted(keys)
    for name in PARTS["importers"]:
        importer: Importer = resolve("importers", name)()
        if importer.matches(keys):
            return name, importer
    some = ", ".join(f"'{key}'" for key in keys[:: max(1, len(keys) // 3)][:4])
    raise VqcliError(
        f"{path} has a layout that is not known: {len(keys):,} keys such as {some}",
        hint=f"known: {', '.join(PARTS['importers'])}",
        reason="layout",
    )


def convert(importer: Importer, state: State, options: ImportOptions, settings: dict[str, Any]) -> Tokenizer:
    """A checkpoint's tokenizer, not baked, with its fingerprint. Raises VqcliError if it does not fit."""
    config, weights = importer.convert(state, replace(options, settings=settings))
    try:
        parsed = parse(resolve("tokenizers", config["name"]).Config, config, "its sizes make no tokenizer")
        with torch.device("meta"):
            tokenizer: Tokenizer = build("tokenizers", parsed)
    except VqcliError as e:
        hint = "sizes are read from shapes, and scales are those of --scales"
        raise VqcliError(str(e), hint=hint, reason="layout") from e
    tokenizer.image_size = options.size or importer.image_size(config)
    try:
        tokenizer.grid(*tokenizer.image_size)
    except ValueError as e:
        raise VqcliError(str(e), hint="give another --size (or --scales)", reason="size") from e
    check_fit(importer, tokenizer, weights)
    tokenizer.to_empty(device="cpu")
    tokenizer.load_state_dict(weights)
    tokenizer.fingerprint = fingerprint(tokenizer)
    return tokenizer.eval()


def check_fit(importer: Importer, tokenizer: Tokenizer, weights: State) -> None:
    """Raises VqcliError that names a weight which is missing, unknown, of another shape or not finite."""
    wanted, levels = tokenizer.state_dict(), len(getattr(tokenizer.config, "multipliers", ()))

    def key(name: str) -> str:
        return f"'{importer.published(name, levels)}'"

    for what, names in (
        ("it lacks", [name for name in wanted if name not in weights]),
        ("it has keys that its sizes leave no place for:", [name for name in weights if name not in wanted]),
    ):
        if names:
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            raise unfit(f"{what} {', '.join(map(key, names[:3]))}{more}")
    for name, tensor in weights.items():
        found, shape = tuple(tensor.shape), tuple(wanted[name].shape)
        if found != shape:
            raise unfit(f"{key(name)} has shape {found}, its other sizes ask for {shape}")
        plain = tensor.is_floating_point() and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or not torch.isfinite(tensor.float()).all():
            raise unfit(f"{key(name)} holds NaN, Inf, or other things than numbers")


def check_unchanged(path: Path, digest: str) -> None:
    """Raises VqcliError if a file is no longer what it was: weights are copied by now, and may be of both."""
    try:
        changed = files.sha256(path) != digest
    except OSError:
        changed = True
    if changed:
        raise VqcliError(
            f"{path} changed while it was read",
            hint="give the same command again when nothing writes to it",
            reason="changed",
        )


def told_of_metric(
    importer: Importer, tokenizer: Tokenizer, options: ImportOptions, digest: str
) -> dict[str, Any]:
    """How latents are compared with codes, and whether that was assumed; a known file's is known."""
    quantizer = tokenizer.quantizer
    metric = "dot" if quantizer.name == "index_propagation" else getattr(quantizer.config, "metric", None)
    left_open = "metric" in importer.OPTIONS and options.metric is None
    known = any(each.sha256 == digest for each in ALIASES.values())
    return {"metric": metric, "metric_assumed": left_open and not known}


def settings_beside(path: Path) -> dict[str, Any]:
    """``config.json`` that lies beside a file, as diffusers' models have it; empty if there is none."""
    beside = path.with_name("config.json")
    found = files.read_json(beside) if beside.is_file() else {}
    return found if isinstance(found, dict) else {}


def describe(record: dict[str, Any]) -> str:
    """What the model card says of where it is from."""
    lines = [f"Imported from `{record['file']}` (SHA-256 {record['sha256']}), layout {record['layout']}"]
    lines += [" with its running averages as weights" if record["averaged"] else "", "."]
    if record["metric"]:
        untold = "; the file does not tell: --metric" if record["metric_assumed"] else ""
        lines.append(f" Latents and codes are compared by {record['metric']}{untold}.")
    if record["licence"]:
        lines.append(f" Its authors' code is under {record['licence']}; their weights may be under another.")
    return "".join(lines)
