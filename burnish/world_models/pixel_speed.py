"""How imagination calls a network of pictures: its own copy of the weights, in the layout and type that run fastest."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.networks import ContextEmbedding, DiT, UNet
from burnish.networks.unet import AdaptiveGroupNorm

CACHE_BYTES = 8 * 2**20
"""On a CPU, only so many rows go through the network at once that the largest hidden layer stays about this size.
Larger ones do not fit into the caches, and convolutions then wait for memory: half the speed in float32."""


@dataclass(frozen=True)
class SpeedConfig:
    """Choices that change how fast a model is, and what it answers only within rounding."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network; training keeps float32 weights (autocast), imagination rounds a copy of them."""
    channels_last: bool = True
    """Whether pictures are laid out with the channels innermost."""
    compile: bool = False
    """Whether imagination compiles the network (with CUDA graphs on CUDA): about a minute at the first step."""
    rows: int | None = within(None, 1)
    """Rows per network call in imagination; None: all on a GPU, as many as the caches take on a CPU."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the network's numbers."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of pictures."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


class FrozenNetwork:
    """A copy of a network's present weights, to be called by a sampler."""

    def __init__(self, network: UNet | DiT, config: SpeedConfig) -> None:
        self.config, self.fingerprint = config, fingerprint(network)
        frozen = copy.deepcopy(network).eval().requires_grad_(False)
        frozen.to(dtype=config.dtype)
        frozen.condition = copy.deepcopy(network.condition).requires_grad_(False)
        self.network = frozen.to(memory_format=config.memory_format)  # type: ignore[call-overload]
        self.forward: Callable[..., Tensor] = frozen.forward
        if config.compile:
            on_cuda = next(network.parameters()).is_cuda
            for module in frozen.modules():
                # Its variance is a difference, for which float32 sums are exact enough beside bfloat16.
                if isinstance(module, AdaptiveGroupNorm):
                    module.one_pass = config.precision == "bfloat16" and not on_cuda
            self.forward = torch.compile(
                frozen.forward, mode="reduce-overhead" if on_cuda else "default", dynamic=False
            )

    def __deepcopy__(self, memo: dict) -> None:
        # Whoever copies a model gets one that will make its own copy: compiled code cannot be copied.
        return None

    def embed(
        self, context: Float[Tensor, "B C h w"], action: Float[Tensor, "B H E"], c_context: Float[Tensor, " 1"]
    ) -> list[ContextEmbedding]:
        """`network.embed`, in pieces of a few rows."""
        rows = self.rows(context)
        pieces = zip(context.split(rows), action.split(rows), strict=True)
        return [self.network.embed(self._laid_out(frames), actions, c_context) for frames, actions in pieces]

    def __call__(
        self, x: Float[Tensor, "B c h w"], c_noise: Float[Tensor, " 1"], pieces: list[ContextEmbedding]
    ) -> Float[Tensor, "B c h w"]:
        """`network.forward`, in the same pieces; float32 out."""
        outputs = []
        for piece, embedding in zip(x.split(self.rows(x)), pieces, strict=True):
            if self.config.compile and x.is_cuda:
                # CUDA graphs write every answer to the same place: it is copied before the next replay.
                torch.compiler.cudagraph_mark_step_begin()
                outputs.append(self.forward(self._laid_out(piece), c_noise, embedding).to(torch.float32, copy=True))
            else:
                outputs.append(self.forward(self._laid_out(piece), c_noise, embedding).float())
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def rows(self, x: Tensor) -> int:
        """How many rows go through the network at once."""
        if self.config.rows is not None:
            return self.config.rows
        if x.device.type != "cpu":
            return len(x)
        size = self.config.dtype.itemsize * self.network.largest_activation(x.shape[-1])
        return max(1, min(len(x), CACHE_BYTES // size))

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.to(self.config.dtype, memory_format=self.config.memory_format)


def fingerprint(network: UNet | DiT) -> tuple[tuple[int, int], ...]:
    """Changes whenever a weight is written or moved; reads nothing from the device."""
    return tuple((weight.data_ptr(), weight._version) for weight in network.state_dict(keep_vars=True).values())
