"""What was measured of a tokenizer, as ``usage.json`` in its folder has it. No torch, no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.refusals import refusal

if TYPE_CHECKING:
    from vqcli.metrics.usage.counts import UsageReport

USAGE = "usage.json"
COUNTED = ("codebook_size", "tokens", "used", "utilization", "uniform_expectation", "perplexity")
"""What a record has of a report."""


class UsageRecord(BaseModel):
    """Usage of a codebook over stated images, and how near reconstructions of them are, where measured."""

    # numbers of reconstructions are open: an evaluation has any metric, and other versions have others
    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    images: str
    """How many images of what, and how they were prepared."""
    codebook_size: int = Field(ge=1)
    """K."""
    tokens: int = Field(ge=0)
    """N."""
    used: int = Field(ge=0)
    """Distinct codes used."""
    utilization: float
    """used / K."""
    uniform_expectation: float
    """Utilization to expect of N tokens drawn uniformly."""
    perplexity: float
    protocol: str | None = None
    """Name of the protocol that reconstructions were compared by; old files do not tell it."""
    cautions: dict[str, str] = Field(default_factory=dict)
    """What is wrong with a number, by its name: made of too few images, or by other weights than usual."""

    @classmethod
    def of(cls, report: UsageReport, images: str, protocol: str | None = None, **quality: Any) -> UsageRecord:
        """The record of exact counts; ``quality``: numbers of reconstructions by name, such as ``psnr``."""
        counted: dict[str, Any] = {name: getattr(report, name) for name in COUNTED}
        return cls(images=images, protocol=protocol, **counted, **quality)

    @classmethod
    def from_json(cls, value: Any, where: str = USAGE) -> UsageRecord:
        """The record that a JSON value tells. Raises VqcliError, naming its fault and ``where`` it stood."""
        try:
            return cls.model_validate(value)
        except ValidationError as e:
            said = refusal(e)[0] if isinstance(value, dict) else "it holds no JSON object"
            message = f"{where} does not tell a codebook's usage: {said}"
            raise VqcliError(message, hint="copy the folder again", reason="damaged") from e

    @classmethod
    def read(cls, folder: Path) -> UsageRecord | None:
        """What a model folder says; None where nothing was measured. Raises VqcliError if it is damaged."""
        path = folder / USAGE
        return cls.from_json(files.read_listed(path), str(path)) if files.is_there(path) else None

    @property
    def quality(self) -> Mapping[str, Any]:
        """How near reconstructions are, by the names of metrics."""
        return self.model_extra or {}

    def to_json(self) -> dict[str, Any]:
        """What ``usage.json`` holds."""
        told = self.model_dump(exclude={"protocol", "cautions"})
        more = {"protocol": self.protocol, "cautions": self.cautions}
        return told | {name: value for name, value in more.items() if value}
