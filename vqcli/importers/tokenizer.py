"""What importers of tokenizers share: the convolutional networks, whose codebooks and quantizers differ."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from vqcli.importers.base import Importer, State, count, levels_in, unfit
from vqcli.importers.options import ImportOptions


class TokenizerImporter(Importer):
    """Converts a published tokenizer."""

    KIND = "tokenizer"
    APART: ClassVar[tuple[str, ...]] = ("encoder.", "decoder.")
    SETTINGS: ClassVar[bool] = False
    """Whether it asks what ``config.json`` beside the file says."""

    def convert(self, state: State, options: ImportOptions) -> tuple[dict[str, Any], State]:
        """The tokenizer's configuration, and its weights in our names, not baked.

        Raises VqcliError that names a key which is unknown, or without which sizes cannot be told.
        """
        weights = self.arrange(self.weights(state, options), options)
        return {**self._network(weights), **self.parts(weights, options)}, weights

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

    def table(self, state: State, name: str) -> dict[str, int]:
        """Size and width of a table of codes (K, D)."""
        size, width = self.shape(state, name, 2)
        return {"size": size, "width": width}

    def _network(self, state: State) -> dict[str, Any]:
        """The network's part of the configuration."""
        channels = self.shape(state, "encoder.stem.weight", 4)[0]
        levels = range(levels_in(state))
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
            "quant_conv": self.kernel(state),
        }

    def kernel(self, state: State) -> int:
        """Kernel of the convolutions around the quantizer."""
        return self.shape(state, "quant_conv.weight", 4)[-1]


def quantizer_for(metric: str) -> dict[str, Any]:
    """The quantizer that compares so."""
    if metric == "dot":
        return {"name": "index_propagation"}
    return {"name": "nearest", "metric": metric}
