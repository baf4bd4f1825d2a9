"""The importer contract: a published checkpoint becomes a configuration and weights of ours.

No importer knows a size: levels, blocks, channels and codes are read from keys and shapes. What neither tells
is an option, with the published value as its default.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vqcli.errors import VqcliError
from vqcli.importers.layouts import Layout, turned

State = dict[str, Tensor]
"""Tensors by key."""
AVERAGE = "model_ema."
"""What Lightning files put before a running average; its key has no dots."""
TOGETHER = re.compile(r"((?:encoder|decoder)\..*)\.([qkv])\.(weight|bias)")
"""Our names for the three parts of an attention that ours has in one."""


@dataclass(frozen=True)
class ImportOptions:
    """What neither keys nor shapes tell; None for what was published."""

    metric: Literal["l2", "cosine", "dot"] | None = None
    """How latents are compared with codes."""
    size: tuple[int, int] | None = None
    """(height, width) of the images it was trained on, in pixels."""
    scales: tuple[int, ...] | None = None
    """Sides of a multi-scale tokenizer's squares of tokens."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """``config.json`` that lies beside the file, if one does."""

    @property
    def given(self) -> set[str]:
        """Names of the options that were given and do not fit every layout."""
        return {name for name in ("metric", "scales") if getattr(self, name) is not None}


def unfit(message: str) -> VqcliError:
    """The error of a file that is not what its layout should be."""
    return VqcliError(message, hint="is the file whole? compare its SHA-256 with its source", reason="layout")


class Importer(ABC):
    """Recognises a published layout by its keys, and converts it."""

    HAS: ClassVar[tuple[str | tuple[str, ...], ...]]
    """What its keys start with, each of these; of a group one is enough."""
    LACKS: ClassVar[tuple[str, ...]] = ()
    """What none of its keys starts with."""
    LAYOUT: ClassVar[Layout]
    IGNORED: ClassVar[tuple[str, ...]] = ()
    """What keys start with that no tokenizer needs: losses, counters."""
    FROZEN: ClassVar[tuple[str, ...]] = ()
    """What keys start with that are not trained, and so have no running average."""
    OPTIONS: ClassVar[frozenset[str]] = frozenset()
    """The options that its files leave open."""
    SETTINGS: ClassVar[bool] = False
    """Whether it asks what ``config.json`` beside the file says."""
    LICENCE: ClassVar[str] = ""
    """Of the authors' code, where they give one; weights may have another."""

    def matches(self, keys: Iterable[str]) -> bool:
        """Whether a checkpoint with these keys is of this layout."""
        keys = list(keys)
        has = all(any(key.startswith(mark) for key in keys) for mark in self.HAS)
        return has and not any(key.startswith(self.LACKS) for key in keys)

    def convert(self, state: State, options: ImportOptions) -> tuple[dict[str, Any], State]:
        """The tokenizer's configuration, and its weights in our names, not baked.

        Raises VqcliError that names a key which is unknown, or without which sizes cannot be told.
        """
        wrong = sorted(options.given - self.OPTIONS)
        if wrong:
            raise VqcliError(f"its layout leaves no --{wrong[0]} open", hint="leave it out", reason="usage")
        state = self._rename(self._average(state))
        if self.LAYOUT.upwards:
            levels = count(state, r"encoder\.levels\.")
            state = {turned(name, levels): tensor for name, tensor in state.items()}
        state = self.arrange(self._fuse(state), options)
        return {**self._network(state), **self.parts(state, options)}, state

    @abstractmethod
    def parts(self, state: State, options: ImportOptions) -> dict[str, Any]:
        """The ``codebook`` and ``quantizer`` of the configuration, from weights in our names."""

    def arrange(self, state: State, options: ImportOptions) -> State:
        """The weights in our shapes, where theirs are others. Raises VqcliError on what cannot be ours."""
        return state

    def image_size(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width) of the images that its published files were trained on."""
        improved = config["name"] == "improved"  # published ones have 16 x 16 tokens
        side = 16 * 2 ** (len(config["multipliers"]) - 1) if improved else 256
        return side, side

    def published(self, name: str, levels: int) -> str:
        """Their key for a weight of ours, in a network of so many levels."""
        if name.startswith(("encoder.", "decoder.")):
            name = name.replace(".qkv.", ".q.")  # the first of three
        return self.LAYOUT.theirs(name, levels)

    def shape(self, state: State, name: str, rank: int) -> torch.Size:
        """The shape of a weight that must be there. Raises VqcliError."""
        key = self.published(name, count(state, r"encoder\.levels\."))
        if name not in state:
            raise unfit(f"it lacks '{key}'")
        if state[name].ndim != rank:
            raise unfit(f"'{key}' has shape {tuple(state[name].shape)}, not one of {rank} numbers")
        return state[name].shape

    def table(self, state: State, name: str) -> dict[str, int]:
        """Size and width of a table of codes (K, D)."""
        size, width = self.shape(state, name, 2)
        return {"size": size, "width": width}

    def _average(self, state: State) -> State:
        """Running averages in place of the weights they are of, where the file has them."""
        averages = {key.removeprefix(AVERAGE): x for key, x in state.items() if key.startswith(AVERAGE)}
        if not averages:
            return state
        for counter in ("decay", "num_updates"):
            averages.pop(counter, None)
        out = {}
        for key, tensor in state.items():
            if not key.startswith(AVERAGE):
                average = averages.pop(key.replace(".", ""), None)
                if average is None and not key.startswith((*self.IGNORED, *self.FROZEN)):
                    raise unfit(f"it has running averages, but none of '{key}'")
                out[key] = tensor if average is None else average
        if averages:
            raise unfit(f"'{AVERAGE}{next(iter(averages))}' is the running average of no key")
        return out

    def _rename(self, state: State) -> State:
        out: State = {}
        for key, tensor in state.items():
            if key.startswith(self.IGNORED):
                continue
            name = self.LAYOUT.ours(key)
            if name is None:
                raise unfit(f"it has a key '{key}', which its layout does not know")
            if name in out:
                raise unfit(f"'{key}' stands twice, under two names")
            out[name] = tensor
        return out

    def _fuse(self, state: State) -> State:
        """Attention with its three maps in one."""
        out: State = {}
        levels = count(state, r"encoder\.levels\.")
        for name, tensor in state.items():
            found = TOGETHER.fullmatch(name)
            if found is None:
                out[name] = tensor
                continue
            whole = f"{found[1]}.qkv.{found[3]}"
            if whole not in out:
                names = [f"{found[1]}.{part}.{found[3]}" for part in "qkv"]
                keys = [f"'{self.published(part, levels)}'" for part in names]
                missing = [key for key, part in zip(keys, names) if part not in state]
                if missing:
                    raise unfit(f"it lacks {missing[0]}")
                if len({state[part].shape for part in names}) > 1:
                    raise unfit(f"{keys[0]}, {keys[1]} and {keys[2]} have different shapes")
                out[whole] = torch.cat([state[part] for part in names])
        return out

    def _network(self, state: State) -> dict[str, Any]:
        """The network's part of the configuration."""
        channels = self.shape(state, "encoder.stem.weight", 4)[0]
        levels = range(count(state, r"encoder\.levels\."))
        widths = [self.shape(state, f"encoder.levels.{i}.res.0.conv1.weight", 4)[0] for i in levels]
        if not channels or any(width % channels for width in widths):
            raise unfit(f"its levels have {widths} channels, not multiples of the {channels} it begins with")
        config = {
            "name": self.LAYOUT.network,
            "channels": channels,
            "multipliers": [width // channels for width in widths],
            "res_blocks": count(state, r"encoder\.levels\.0\.res\."),
        }
        if self.LAYOUT.network == "improved":
            return config | {"adaptive": any(name.startswith("decoder.levels.0.adapt.") for name in state)}
        attention = [i for i in levels if count(state, rf"encoder\.levels\.{i}\.attn\.")]
        return config | {
            "attention_levels": attention,
            "z_channels": self.shape(state, "encoder.head.weight", 4)[0],
            "quant_conv": self.shape(state, "quant_conv.weight", 4)[-1],
        }


def quantizer_for(metric: str) -> dict[str, Any]:
    """The quantizer that compares so."""
    if metric == "dot":
        return {"name": "index_propagation"}
    return {"name": "nearest", "metric": metric}


def count(state: Iterable[str], prefix: str) -> int:
    """How many different numbers follow a pattern in names."""
    return len({found[1] for name in state if (found := re.match(prefix + r"(\d+)\.", name))})
