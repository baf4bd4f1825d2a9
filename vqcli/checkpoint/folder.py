"""What model folders of every kind share: their configuration. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqcli import files
from vqcli.checkpoint.kinds import AUTOENCODER, KINDS, Kind, any_kind
from vqcli.errors import VqcliError
from vqcli.refusals import refusal

FORMAT, TOKENIZER = 1, "tokenizer"
"""The version of the layout, and the folder in a model's own that holds its tokenizer's."""

Pixels = Annotated[int, Field(ge=1)]


class _Told(BaseModel):
    """What keys of ``config.json`` hold, of whatever kind, where they are there."""

    model_config = ConfigDict(strict=True)
    fingerprint: str = ""
    codebook_size: int = Field(0, ge=0)
    width: int = Field(0, ge=0)
    downsample: int = Field(1, ge=1)
    image_size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = None
    tokenizer: dict[str, Any] = {}
    generator: dict[str, Any] = {}
    plugins: dict[str, list[str]] = {}


def kind_of(folder: Path) -> str:
    """What a model folder holds. Raises VqcliError if ``config.json`` does not tell a kind that is known."""
    config = files.read_json(folder / "config.json")
    kind = config.get("kind") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise VqcliError(
            f"{folder} holds {any_kind()} (kind: {kind})",
            hint="give the folder of a model that vqcli wrote",
            reason="wrong-kind",
        )
    return kind


def row_of(folder: Path) -> Kind:
    """All there is to know of the kind of a model folder. Raises VqcliError where ``kind_of`` does."""
    kind = kind_of(folder)
    codes = files.read_json(folder / "config.json").get("codebook_size")
    return AUTOENCODER if kind == "tokenizer" and codes == 0 else KINDS[kind]


def read_config(folder: Path, kind: str = "tokenizer") -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises VqcliError if it is of another kind or version, or its keys hold what they cannot.
    """
    found = kind_of(folder)
    if found != kind:
        hint = f"it is for vqcli {row_of(folder).commands}; give a {kind}'s folder"
        if KINDS[found].on_tokens and (folder / TOKENIZER).is_dir():
            hint = f"its tokenizer is {folder / TOKENIZER}"
        raise VqcliError(f"{folder} holds a {found}, not a {kind}", hint=hint, reason="wrong-kind")
    config: dict[str, Any] = files.read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise VqcliError(
            f"{folder} has format {config.get('format')}, this vqcli reads {FORMAT}",
            hint="update vqcli",
            reason="format",
        )
    try:
        _Told.model_validate(config)
    except ValidationError as e:
        raise damaged(folder, e) from e
    return config


def damaged(folder: Path, e: Exception) -> VqcliError:
    """The error of a ``config.json`` that describes no model."""
    if isinstance(e, ValidationError):
        said, _ = refusal(e)
    else:
        said = f"it does not tell {e}" if isinstance(e, KeyError) else str(e).partition("\n")[0]
    return VqcliError(
        f"{folder}/config.json is damaged: {said}", hint="copy the folder again", reason="damaged"
    )
