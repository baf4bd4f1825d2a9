"""Model folders: what a tokenizer is on disk and on the Hub.

``config.json`` rebuilds it, ``model.safetensors`` is the network, ``codebook.safetensors`` the codes (K, D).
In a training checkpoint the codebook is not baked: its weights are in ``model.safetensors`` too.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.registry import TokenizerConfig, build
from vqcli.tokenizers.base import Tokenizer

FORMAT = 1
CODES = "quantizer.codebook.weight"
"""Where a baked tokenizer keeps its codes."""


def fingerprint(tokenizer: Tokenizer) -> str:
    """Identity of the map from pixels to tokens: SHA-256 of tensors (name, shape, float32) and fields.

    Computed before baking, once, when a model folder is made; stored, never recomputed.
    """
    digest = hashlib.sha256(json.dumps(tokenizer.deciding_fields(), sort_keys=True).encode())
    for name, tensor in sorted(tokenizer.deciding_tensors().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def describe_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """``config.json`` of a tokenizer as it is."""
    spec = tokenizer.spec
    return {
        "kind": "tokenizer",
        "format": FORMAT,
        "fingerprint": spec.fingerprint,
        "codebook_size": spec.codebook_size,
        "width": spec.width,
        "downsample": spec.downsample,
        "image_size": spec.image_size,
        "tokenizer": tokenizer.config.model_dump(mode="json"),
    }


def save_tokenizer(
    tokenizer: Tokenizer, folder: Path, *, usage: dict[str, Any] | None = None, note: str = ""
) -> None:
    """Write a model folder into an existing, empty folder, baked; the tokenizer itself stays as it is."""
    baked = copy.deepcopy(tokenizer).eval()
    baked.fingerprint = baked.fingerprint or fingerprint(tokenizer)
    baked.bake()
    state = baked.state_dict()
    codes_kd = baked.quantizer.codes().detach()
    if CODES in state:
        del state[CODES]
        files.write_tensors(
            folder / "codebook.safetensors", {"codes": codes_kd}, {"fingerprint": baked.fingerprint}
        )
    files.write_tensors(folder / "model.safetensors", state, {"fingerprint": baked.fingerprint})
    if usage is not None:
        files.write_json(folder / "usage.json", usage)
    files.write_text(folder / "README.md", model_card(baked, usage, note))
    files.write_json(folder / "config.json", describe_tokenizer(baked))


def model_card(tokenizer: Tokenizer, usage: dict[str, Any] | None, note: str) -> str:
    """README.md of a model folder."""
    spec = tokenizer.spec
    size = "x".join(map(str, spec.image_size)) if spec.image_size else "any size"
    lines = [
        "---\nlibrary_name: vqcli\ntags: [image-tokenizer, vector-quantization]\n---",
        f"# A tokenizer with {spec.codebook_size:,} codes\n",
        f"Code width {spec.width}, one token for {spec.downsample}x{spec.downsample} of {size} pixels.",
    ]
    if usage:
        lines.append(
            f"Utilization: {usage['utilization']:.2%} of the codes over {usage['tokens']:,} tokens of "
            f"{usage['images']} (uniform use would give {usage['uniform_expectation']:.2%})."
        )
    lines += [note, "\n    vqcli encode IMAGES -o tokens.npy -m THIS_FOLDER\n"]
    return "\n".join(line for line in lines if line)


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder. Raises VqcliError if it is not one this version reads."""
    config = files.read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("kind") != "tokenizer":
        kind = config.get("kind") if isinstance(config, dict) else None
        raise VqcliError(
            f"{folder} holds no tokenizer (kind: {kind})",
            hint="give a tokenizer's folder",
            reason="wrong-kind",
        )
    if config.get("format") != FORMAT:
        raise VqcliError(
            f"{folder} has format {config.get('format')}, this vqcli reads {FORMAT}",
            hint="update vqcli",
            reason="format",
        )
    return config


def load_tokenizer(folder: Path, device: torch.device | str = "cpu") -> Tokenizer:
    """The tokenizer of a model folder or training checkpoint, baked and in evaluation mode.

    Raises VqcliError where ``read_tokenizer`` does.
    """
    tokenizer = read_tokenizer(folder)
    tokenizer.fingerprint = tokenizer.fingerprint or fingerprint(tokenizer)
    tokenizer.bake()
    return tokenizer.eval().to(device)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder or training checkpoint as it was written: a checkpoint's is not baked.

    Raises VqcliError where files are missing, damaged, not finite, or do not fit each other.
    """
    tokenizer = build_tokenizer(read_config(folder), folder).to_empty(device="cpu")
    state = _state(folder, tokenizer.fingerprint)
    try:
        tokenizer.load_state_dict(state)
    except RuntimeError as e:
        said = " ".join(line.strip() for line in str(e).splitlines()[1:3])
        raise VqcliError(
            f"{folder}: config.json and weights do not fit: {said}",
            hint="copy the folder again",
            reason="damaged",
        ) from e
    unfit = next(
        (name for name, x in state.items() if x.is_floating_point() and not torch.isfinite(x).all()), None
    )
    if unfit:
        raise VqcliError(
            f"{folder}: {unfit} holds NaN or Inf", hint="use an earlier checkpoint", reason="not-finite"
        )
    return tokenizer


def build_tokenizer(config: dict[str, Any], folder: Path) -> Tokenizer:
    """The tokenizer that ``config.json`` describes, on the meta device: no weights are drawn or read."""
    from pydantic import TypeAdapter

    try:
        tokenizer_config = TypeAdapter(TokenizerConfig).validate_python(config["tokenizer"])
        with torch.device("meta"):
            tokenizer: Tokenizer = build("tokenizers", tokenizer_config)
        tokenizer.image_size = tuple(config["image_size"]) if config["image_size"] else None
        tokenizer.fingerprint = config["fingerprint"]
    except (KeyError, TypeError, ValueError) as e:
        said = f"{type(e).__name__} {str(e).splitlines()[0]}"
        raise VqcliError(
            f"{folder}/config.json is damaged: {said}", hint="copy the folder again", reason="damaged"
        ) from e
    return tokenizer


def _state(folder: Path, fingerprint: str) -> dict[str, torch.Tensor]:
    """What the weight files of a folder hold; the running average where there is one."""
    average, codebook = folder / "average.safetensors", folder / "codebook.safetensors"
    state = _tensors(average if average.exists() else folder / "model.safetensors", fingerprint)
    if codebook.exists():
        state[CODES] = _tensors(codebook, fingerprint).pop("codes", torch.empty(0))
    return state


def _tensors(path: Path, fingerprint: str) -> dict[str, torch.Tensor]:
    """The tensors of a file. Raises VqcliError if it is damaged or another model's."""
    try:
        with safe_open(path, "pt") as file:
            made_for = (file.metadata() or {}).get("fingerprint", fingerprint)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as e:
        raise VqcliError(f"cannot read {path}: {e}", hint="copy the folder again", reason="damaged") from e
    wrong = ""
    if made_for != fingerprint:
        wrong = f"{path} belongs to another model than config.json"
    elif not _as_listed(path):
        wrong = f"{path} is not what manifest.json says"
    if wrong:
        raise VqcliError(wrong, hint="copy the folder again", reason="damaged")
    return state


def _as_listed(path: Path) -> bool:
    """Whether a file has the hash its folder's manifest gives; true where no manifest names it."""
    manifest = path.with_name("manifest.json")
    if not manifest.exists():
        return True
    try:
        listed = files.read_json(manifest)["files"].get(path.name)
        return listed is None or listed["sha256"] == files.sha256(path)
    except (KeyError, TypeError, AttributeError):
        return False
