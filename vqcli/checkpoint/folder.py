"""What model folders of every kind share: their configuration. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from vqcli import files
from vqcli.checkpoint.kinds import AUTOENCODER, KINDS, Kind, any_kind
from vqcli.config import DEEPEST, LARGEST, MOST_CODES, WIDEST
from vqcli.errors import VqcliError
from vqcli.refusals import refusal

FORMAT, TOKENIZER = 1, "tokenizer"
"""The version of the layout, and the folder in a model's own that holds its tokenizer's."""

Pair = Annotated[list[Annotated[int, Field(ge=1, le=LARGEST)]], Field(min_length=2, max_length=2)]
Wide = Annotated[list[float], Field(max_length=WIDEST)]


class _Standard(BaseModel):
    """How latents were standardized."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    mean: Wide
    std: Wide

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError("latents have as many means as deviations")
        return self


class _Spec(BaseModel):
    """What keys hold that tell of a tokenizer, where they are there."""

    model_config = ConfigDict(strict=True)
    fingerprint: str = ""
    codebook_size: int = Field(0, ge=0, le=MOST_CODES)
    width: int = Field(0, ge=0, le=WIDEST)
    downsample: int = Field(1, ge=1, le=LARGEST)
    image_size: Pair | None = None
    grid: Annotated[list[Pair], Field(min_length=1, max_length=DEEPEST)] | None = None
    latents: _Standard | None = None


class _Told(_Spec):
    """What keys of ``config.json`` hold, of whatever kind, where they are there."""

    tokenizer: dict[str, Any] = {}
    generator: dict[str, Any] = {}
    classifier: dict[str, Any] = {}
    makes: Literal["tokens", "latents"] | None = None
    plugins: dict[str, list[str]] = {}


def kind_of(folder: Path) -> str:
    """What a model folder holds. Raises VqcliError if ``config.json`` does not tell a kind that is known."""
    config = files.read_listed(folder / "config.json")
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
    codes = files.read_listed(folder / "config.json").get("codebook_size")
    return AUTOENCODER if kind == "tokenizer" and codes == 0 else KINDS[kind]


def read_config(folder: Path, kind: str = "tokenizer") -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises VqcliError if it is of another kind or version, or its keys hold what they cannot.
    """
    found = kind_of(folder)
    if found != kind:
        hint = f"it is for vqcli {row_of(folder).commands}; give a {kind}'s folder"
        if KINDS[found].on_tokens and files.is_folder(folder / TOKENIZER):
            hint = f"its tokenizer is {folder / TOKENIZER}"
        raise VqcliError(f"{folder} holds a {found}, not a {kind}", hint=hint, reason="wrong-kind")
    config: dict[str, Any] = files.read_listed(folder / "config.json")
    if config.get("format") != FORMAT:
        raise VqcliError(
            f"{folder} has format {config.get('format')}, this vqcli reads {FORMAT}",
            hint="update vqcli",
            reason="format",
        )
    try:
        _Told.model_validate(config)
        if kind != "tokenizer":
            _Spec.model_validate(config.get(TOKENIZER, {}))
    except ValidationError as e:
        raise damaged(folder, e) from e
    return config


def check_part(part: Any, config: dict[str, Any], section: str, folder: Path) -> None:
    """Raises VqcliError where a section of ``config.json`` describes no ``part``, a type of ``registry``.

    What a plugin makes of it, nobody can tell without that.
    """
    if not config.get("plugins"):
        try:
            TypeAdapter(part).validate_python(config[section])
        except (KeyError, ValueError, VqcliError) as e:
            raise damaged(folder, e) from e


def damaged(folder: Path, e: Exception) -> VqcliError:
    """The error of a ``config.json`` that describes no model."""
    if isinstance(e, ValidationError):
        said, _ = refusal(e)
    elif isinstance(e, VqcliError):
        if e.reason not in ("config", "option"):
            return e
        said = str(e)
    else:
        said = f"it does not tell {e}" if isinstance(e, KeyError) else str(e).partition("\n")[0]
    return VqcliError(
        f"{folder}/config.json is damaged: {said}", hint="copy the folder again", reason="damaged"
    )
