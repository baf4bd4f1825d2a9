"""What all importers share: a published checkpoint is known by its keys, and every key is accounted for.

No importer knows a size: levels, blocks, channels and codes are read from keys and shapes. What neither tells
is an option, with the published value as its default.
"""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from vqcli.errors import VqcliError
from vqcli.importers.layouts import Layout, begins, turned
from vqcli.importers.options import ImportOptions

State = dict[str, Tensor]
"""Tensors by key."""
AVERAGE = "model_ema."
"""What Lightning files put before a running average; its key has no dots."""
TOGETHER = re.compile(r"(.*)\.([qkv])\.(weight|bias)")
"""Our names for the three parts of an attention that ours has in one."""
NO_PLACE = "it has keys that its sizes leave no place for:"


def unfit(message: str) -> VqcliError:
    """The error of a file that is not what its layout should be."""
    return VqcliError(message, hint="is the file whole? compare its SHA-256 with its source", reason="layout")


class Importer(ABC):
    """Recognises a published layout by its keys, and brings its weights under our names."""

    KIND: ClassVar[str]
    """Of the model that its files become: a row of ``checkpoint.kinds``."""
    HAS: ClassVar[tuple[str | tuple[str, ...], ...]]
    """What its keys start with, each of these; of a group one is enough."""
    LACKS: ClassVar[tuple[str, ...]] = ()
    """What none of its keys starts with."""
    LAYOUT: ClassVar[Layout]
    IGNORED: ClassVar[tuple[str, ...]] = ()
    """What keys start with that no model needs: losses, counters, masks; ``#`` stands for a number."""
    FROZEN: ClassVar[tuple[str, ...]] = ()
    """What keys start with that are not trained, and so have no running average."""
    APART: ClassVar[tuple[str, ...]] = ()
    """What our names start with where we have an attention's three maps in one, and they have them apart."""
    OPTIONS: ClassVar[frozenset[str]] = frozenset()
    """The options that its files leave open."""
    LICENCE: ClassVar[str] = ""
    """Of the authors' code, where they give one; weights may have another."""

    def matches(self, keys: Iterable[str]) -> bool:
        """Whether a checkpoint with these keys is of this layout."""
        keys = list(keys)
        has = all(any(key.startswith(mark) for key in keys) for mark in self.HAS)
        return has and not any(key.startswith(self.LACKS) for key in keys)

    def weights(self, state: State, options: ImportOptions) -> State:
        """A file's weights under our names: averages where it has them, attention in one piece.

        Raises VqcliError that names a key which is unknown or missing, or an option that the file answers.
        """
        wrong = sorted(options.given - self.OPTIONS)
        if wrong:
            raise VqcliError(f"its layout leaves no --{wrong[0]} open", hint="leave it out", reason="option")
        state = self._rename(self._average(state))
        if self.LAYOUT.upwards:
            levels = levels_in(state)
            state = {turned(name, levels): tensor for name, tensor in state.items()}
        return self._fuse(state)

    def published(self, name: str, levels: int = 0) -> str:
        """Their key for a weight of ours, in a network of so many levels."""
        if name.startswith(self.APART):
            name = name.replace(".qkv.", ".q.")  # the first of three
        return self.LAYOUT.theirs(name, levels)

    def averaged(self, keys: Iterable[str]) -> bool:
        """Whether ``weights`` are the running averages that a file with these keys has."""
        return any(key.startswith(AVERAGE) for key in keys)

    def shape(self, state: State, name: str, rank: int) -> torch.Size:
        """The shape of a weight that must be there. Raises VqcliError."""
        key = self.published(name, levels_in(state))
        if name not in state:
            raise unfit(f"it lacks '{key}'")
        if state[name].ndim != rank:
            raise unfit(f"'{key}' has shape {tuple(state[name].shape)}, not one of {rank} numbers")
        return state[name].shape

    def check_fit(self, weights: State, wanted: State) -> None:
        """Raises VqcliError that names a weight which is missing, unknown, of another shape or not finite."""
        levels = levels_in(wanted)

        def key(name: str) -> str:
            return f"'{self.published(name, levels)}'"

        missing = [name for name in wanted if name not in weights]
        unknown = [name for name in weights if name not in wanted]
        for what, names in {"it lacks": missing, NO_PLACE: unknown}.items():
            if names:
                more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
                raise unfit(f"{what} {', '.join(map(key, names[:3]))}{more}")
        for name, tensor in weights.items():
            found, shape = tuple(tensor.shape), tuple(wanted[name].shape)
            if found != shape:
                raise unfit(f"{key(name)} has shape {found}, its other sizes ask for {shape}")
            strided = tensor.layout == torch.strided and tensor.device.type == "cpu"
            plain = tensor.is_floating_point() and strided
            if not plain or not torch.isfinite(tensor.float()).all():
                raise unfit(f"{key(name)} holds NaN, Inf, or other things than numbers")

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
                if average is None and not begins(key, (*self.IGNORED, *self.FROZEN)):
                    raise unfit(f"it has running averages, but none of '{key}'")
                out[key] = tensor if average is None else average
        if averages:
            raise unfit(f"'{AVERAGE}{next(iter(averages))}' is the running average of no key")
        return out

    def _rename(self, state: State) -> State:
        out: State = {}
        for key, tensor in state.items():
            if begins(key, self.IGNORED):
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
        levels = levels_in(state)
        for name, tensor in state.items():
            found = TOGETHER.fullmatch(name) if name.startswith(self.APART) else None
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


def count(state: Iterable[str], prefix: str) -> int:
    """How many different numbers follow a pattern in names."""
    return len({found[1] for name in state if (found := re.match(prefix + r"(\d+)\.", name))})


def levels_in(state: Iterable[str]) -> int:
    """Levels of the convolutional network that has these names of ours; 0 of others."""
    return count(state, r"encoder\.levels\.")
