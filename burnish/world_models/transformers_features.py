"""Features of a pretrained vision transformer (DINOv2, SigLIP, …) through the user's `transformers`."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, image_key
from burnish.errors import InputError
from burnish.world_models.picture_encoding import checked_pictures, encoded_in_parts

_ENCODE_BATCH = 32


@dataclass(frozen=True)
class TransformersFeaturesConfig:
    """Of `TransformersFeatures`."""

    model: str = "facebook/dinov2-base"
    """A folder, or a name that `transformers` downloads (LaDi-WM: DINOv2 ViT-B/14, google/siglip-base-patch16-224)."""
    cameras: tuple[str, ...] = ("corner3",)
    image_size: int = within(128, 8)
    """Height and width of the recorded pictures."""
    resolution: int = within(126, 1)
    """Height and width that the model sees, a multiple of its patches (LaDi-WM: 126 and 144: 81 patches)."""
    grid: int | None = within(None, 1)
    """Patches are averaged over a grid of so many rows and columns; None: each patch is a token, as published."""
    patch: int = within(14, 1)
    """Height and width of the model's patches."""
    width: int = within(768, 1)
    """Numbers of a patch."""


class TransformersFeatures(Component):
    """Patch features of a frozen model as tokens, camera after camera; only its name is saved, not its weights.

    The model is loaded where it is first asked.

    Raises:
        InputError: transformers is not installed, the model does not load, or its features have another size.
    """

    def __init__(self, config: TransformersFeaturesConfig) -> None:
        super().__init__()
        if not config.cameras or config.resolution % config.patch:
            raise InputError(
                f"transformers features: found {len(config.cameras)} cameras and a resolution of {config.resolution}, "
                f"expected at least one and a multiple of the patch, {config.patch}"
            )
        self.config = config
        self.side = config.resolution // config.patch
        self.tokens = len(config.cameras) * (config.grid or self.side) ** 2
        self.latent_dim = self.tokens * config.width
        self._loaded: tuple[torch.nn.Module, Tensor, Tensor] | None = None

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        size = self.config.image_size
        return {image_key(name): (size, size, 3) for name in self.config.cameras}

    @torch.no_grad()
    def encode(self, observation: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The features of pictures (B, S, S, 3) uint8.

        Raises:
            InputError: see the class; or a camera is missing, or its pictures have another size or dtype.
        """
        c, side = self.config, self.side
        stacked = checked_pictures(observation, self.observation_shapes)
        pictures = stacked.unflatten(1, (-1, 3)).flatten(0, 1)
        model, mean, std = self._model(pictures.device)
        size = (c.resolution, c.resolution)
        seen = functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
        found = model(((seen + 1) / 2 - mean) / std).last_hidden_state
        # Some models put tokens of the whole picture before those of its patches.
        patches = found[:, -(side**2) :]
        if found.shape[1] < side**2 or patches.shape[2] != c.width:
            raise InputError(
                f"the model '{c.model}': found {found.shape[1]} tokens of {found.shape[2]} numbers, expected "
                f"{side**2} or more of {c.width}; set patch and width to the model's own"
            )
        if c.grid is not None:
            square = patches.transpose(1, 2).unflatten(2, (side, side))
            patches = functional.adaptive_avg_pool2d(square, c.grid).flatten(2).transpose(1, 2)
        return patches.unflatten(0, (len(stacked), -1)).flatten(1)

    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The features of every frame."""
        return encoded_in_parts(self, dataset, _ENCODE_BATCH)

    def _model(self, device: torch.device) -> tuple[torch.nn.Module, Tensor, Tensor]:
        if self._loaded is None or self._loaded[1].device != device:
            model, processor = _load(self.config.model)
            colours = [
                torch.tensor(each, device=device).view(3, 1, 1) for each in (processor.image_mean, processor.image_std)
            ]
            # Kept apart from the module: the weights are the library's, and no part of what is saved.
            object.__setattr__(self, "_loaded", (model.to(device).eval().requires_grad_(False), *colours))
        assert self._loaded is not None
        return self._loaded


def _load(name: str) -> tuple[Any, Any]:
    try:
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("features of the kind 'transformers' need it: pip install -e '.[masks]'") from None
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name)
        # Foreign weights are never unpickled.
        model = transformers.AutoModel.from_pretrained(name, use_safetensors=True)
    except Exception as error:
        # Whatever other people's files and networks raise.
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the model '{name}' does not load: {type(error).__name__}: {reason}") from error
    return getattr(model, "vision_model", model), processor
