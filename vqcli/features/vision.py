"""Features of a pretrained vision encoder from the Hub, through ``transformers`` (extra ``features``).

Paper: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837, section 3.2: CLIP ViT-L/14, patch tokens
through the last normalization and the projection of the class token, not brought to unit length.
Shape letters: B images, N patches, F width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.features.base import Features

HINT = "name a vision transformer on the Hub, such as openai/clip-vit-large-patch14"


class VisionFeatures(Features):
    """Patch features of a vision encoder from the Hub: CLIP ViT-L/14, or any by name."""

    class Config(PartConfig):
        """Options of an encoder's features."""

        name: Literal["vision"] = "vision"
        model: str = "openai/clip-vit-large-patch14"
        """Name on the Hub or folder of a ``transformers`` vision model."""

    POOL: ClassVar[int] = 4
    config: Config
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config) -> None:
        """Raises VqcliError if ``transformers`` is missing or has no such model."""
        super().__init__()
        self.config = config
        self.network, settings = load(config.model)
        vision = getattr(self.network.config, "vision_config", self.network.config)
        if not isinstance(getattr(vision, "patch_size", None), int):
            raise VqcliError(f"{config.model} does not look at patches", hint=HINT, reason="wrong-kind")
        self.patch: int = vision.patch_size
        self.image_size = input_size(settings, vision.image_size)
        self.projects = hasattr(self.network, "visual_projection")
        self.width = self.network.config.projection_dim if self.projects else vision.hidden_size
        for name in ("mean", "std"):
            default = [0.5] * 3  # [-1, 1] stays what it is
            self.register_buffer(name, torch.tensor(settings.get(f"image_{name}", default)).view(3, 1, 1))

    @property
    def title(self) -> str:
        return self.config.model

    def grid(self, height: int, width: int) -> tuple[int, int]:
        if (height, width) != self.image_size:
            own = "x".join(map(str, self.image_size))
            raise ValueError(f"{self.config.model} takes images of {own} pixels")
        return height // self.patch, width // self.patch

    def forward(self, images: Tensor) -> Tensor:
        h, w = self.grid(*images.shape[2:])
        encoder = getattr(self.network, "vision_model", self.network)
        pixels = ((images + 1) / 2 - self.mean) / self.std
        hidden = encoder(pixel_values=pixels).last_hidden_state[
            :, -h * w :
        ]  # class and registers stand first
        if self.projects:
            hidden = self.network.visual_projection(encoder.post_layernorm(hidden))
        return hidden


def input_size(settings: dict[str, Any], default: int) -> tuple[int, int]:
    """(height, width) that the encoder's own preprocessing ends with."""
    size = settings.get("crop_size") or settings.get("size") or default
    if isinstance(size, dict):
        side = int(size.get("shortest_edge", default))
        return int(size.get("height", side)), int(size.get("width", side))
    return int(size), int(size)


def load(name: str) -> tuple[Any, dict[str, Any]]:
    """The encoder, frozen, and its preprocessing settings. Raises VqcliError if they cannot be had."""
    try:
        import transformers
        from transformers.image_processing_base import ImageProcessingMixin
    except Exception as e:  # a broken torchvision raises RuntimeError here
        message = f"features of {name} need transformers ({type(e).__name__}: {e})"
        hint = "pip install 'vqcli[features]', or --features pixels, which needs none"
        raise VqcliError(message, hint=hint, reason="missing-extra") from e
    try:
        kind = transformers.AutoConfig.from_pretrained(name).model_type
        clip = kind in ("clip", "clip_vision_model")
        factory = transformers.CLIPVisionModelWithProjection if clip else transformers.AutoModel
        network: nn.Module = factory.from_pretrained(name, dtype=torch.float32)
        settings, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError) as e:
        reason = str(e).partition("\n")[0]
        raise VqcliError(f"cannot load {name}: {reason}", hint=HINT, reason="input-missing") from e
    return network.eval().requires_grad_(False), settings
