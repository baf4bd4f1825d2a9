"""Projected codebook: a table, usually frozen, behind a small trained map, so that all codes move together.

Papers: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837 (frozen features of images); Zhu et al.,
"SimVQ", https://arxiv.org/abs/2411.02038 (frozen Gaussian, linear map). FVQ's ablations: one layer, five.
VQBridge is the same idea with a transformer as the map: see bridged.py.
Shape letters: K codes, D width, F base width.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vqcli import files
from vqcli.codebooks.base import Codebook, TableConfig, initial_codes
from vqcli.config import DEEPEST, WIDEST
from vqcli.errors import VqcliError
from vqcli.nn.precision import float32


class ProjectedCodebook(Codebook):
    """A table behind a trained linear map or MLP: codes = map(base), base (K, F)."""

    class Config(TableConfig):
        """Options of a projected codebook."""

        name: Literal["projected"] = "projected"
        base: str = "gaussian"
        """``gaussian``: N(0, 1/F); ``uniform``: U(-1/K, 1/K); else a safetensors file, ``codes`` (K, F)."""
        base_width: int = Field(ge=1, le=WIDEST)
        """Width F of the table: 768 for VQGAN-LC's features."""
        train_base: bool = False
        """Whether the table is trained too."""
        hidden: tuple[Annotated[int, Field(ge=1, le=WIDEST)], ...] = Field((), max_length=DEEPEST)
        """Widths of hidden layers, ReLU between: none for a linear map, 256 for VQGAN-LC's MLP."""
        map_init: Literal["torch", "normal"] = "torch"
        """First weights of the last layer: PyTorch's own, or N(0, 1/D) as VQGAN-LC has them."""

        @property
        def file(self) -> Path | None:
            """The file with the table, if it comes from one."""
            return None if self.base in ("gaussian", "uniform") else Path(self.base)

    TINY: ClassVar[dict[str, Any]] = {"size": 16, "width": 8, "base_width": 12, "hidden": [10]}
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.size, config.width)
        # a parameter even where it is frozen: buffers of this size would travel between processes
        self.base = nn.Parameter(first_table(config), requires_grad=config.train_base)
        widths = [config.base_width, *config.hidden, config.width]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.map = nn.Sequential(*layers[:-1])
        if config.map_init == "normal":
            last = layers[-2]
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=config.width**-0.5)

    def codes(self) -> Tensor:
        with float32(self.base):
            return self.map(self.base.float())


def first_table(config: ProjectedCodebook.Config) -> Tensor:
    """The base before training, (K, F); a file is not read where only shapes are wanted.

    Raises VqcliError if the file cannot be read or has another shape.
    """
    shape = (config.size, config.base_width)
    if config.file is None:
        return initial_codes("normal" if config.base == "gaussian" else "uniform", *shape)
    if torch.get_default_device().type == "meta":
        return torch.empty(shape)
    return read_table(config.file, shape)


def read_table(path: Path, shape: tuple[int, int]) -> Tensor:
    """``codes`` of a file. Raises VqcliError if it cannot be read or has another shape."""
    try:
        files.check_seal(path)
        with files.tensors(path) as file:
            table = file.get_tensor("codes").to(torch.float32, copy=True)  # of a file, rows may be unaligned
    except VqcliError as e:
        if e.reason == "os":
            raise
        hint = "codebook.base is gaussian, uniform, or a safetensors file with a tensor 'codes'"
        raise VqcliError(str(e), hint=hint, reason=e.reason) from e
    if table.shape != shape or not torch.isfinite(table).all():
        found = f"shape {tuple(table.shape)}" if table.shape != shape else "numbers that are not finite"
        message = f"{path} has codes of {found}; the recipe wants {shape[0]} finite codes of width {shape[1]}"
        hint = "set codebook.size and codebook.base_width to what the file has"
        raise VqcliError(message, hint=hint, reason="config")
    return table
