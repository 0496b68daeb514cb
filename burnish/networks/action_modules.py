"""How a network of pictures that was trained on video without actions learns to follow them: DWS (arXiv 2502.07825).

Every block gets a module of two linear layers, which make a scale and a shift of its channels from the actions. Both
are zero at birth: the network then draws, to the bit, what it drew of video, and learns from there what actions change.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.config import within
from burnish.networks.conditioning import StepCondition
from burnish.networks.dit import DiT
from burnish.networks.modulation import zeroed
from burnish.networks.unet import ResidualBlock, UNet, groups_of


@dataclass(frozen=True)
class ActionModulesConfig:
    """Size of the modules, and whether the network of video learns along."""

    width: int = within(64, 1)
    """Numbers in which the actions are told to every block."""
    train_base: bool = True
    """Whether the network of video learns on beside the modules. The accounts of the paper disagree; in our one
    comparison it follows actions better (benchmarks/results/dws.md)."""


class ActionBeside(nn.Module):
    """The `StepCondition` of a network of video, and beside it what the actions say: [condition; actions].

    The network of video is told which frames are real, as it was, and nothing else.
    """

    def __init__(self, base: StepCondition, frames: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.base, self.split = base, base.width
        self.action = nn.Linear(frames * action_dim, width)

    def embed(self, action: Float[Tensor, "B H E"], c_context: Float[Tensor, " level"]) -> Float[Tensor, "B W"]:
        """As `StepCondition.embed`; the last of the E numbers says whether a frame is real."""
        told, real = functional.silu(self.action(action.flatten(1))), action[..., -1:].contiguous()
        return torch.cat([self.base.embed(real, c_context), told], dim=-1)

    def forward(self, c_noise: Float[Tensor, " level"], embedded: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """As `StepCondition.forward`, with the actions' share as it is."""
        base = self.base(c_noise, of_video(embedded, self.split))
        return torch.cat([base, embedded[..., self.split :].expand(len(base), -1)], dim=-1)


class ActionBlock(nn.Module):
    """y ← y + α(a) · norm(y) + β(a), with y what a block of the network of video makes."""

    def __init__(self, block: nn.Module, channels: int, split: int, width: int) -> None:
        super().__init__()
        self.block, self.split = block, split
        self.scale, self.shift = zeroed(nn.Linear(width, channels)), zeroed(nn.Linear(width, channels))

    def forward(self, x: Float[Tensor, "B *shape"], condition: Float[Tensor, "B W"]) -> Float[Tensor, "B *shape"]:
        """What the wrapped block does, pictures (B, C, h, w) or tokens (B, N, C)."""
        y, told = self.block(x, of_video(condition, self.split)), condition[..., self.split :]
        scale, shift = self.scale(told), self.shift(told)
        if y.ndim == 3:
            normed = functional.layer_norm(y, y.shape[-1:], eps=1e-6)
            return y + torch.addcmul(shift.unsqueeze(1), normed, scale.unsqueeze(1))
        normed = functional.group_norm(y, groups_of(y.shape[1]))
        return y + torch.addcmul(shift[:, :, None, None], normed, scale[:, :, None, None])


class _OfVideo(nn.Module):
    """A layer that reads the condition and stays as it is."""

    def __init__(self, layer: nn.Module, split: int) -> None:
        super().__init__()
        self.layer, self.split = layer, split

    def forward(self, condition: Tensor) -> Tensor:
        return self.layer(of_video(condition, self.split))


class _EachAlone(nn.Module):
    """An activation of both parts; alone, since vectorised code rounds otherwise where rows begin elsewhere."""

    def __init__(self, activate: nn.Module, split: int) -> None:
        super().__init__()
        self.activate, self.split = activate, split

    def forward(self, condition: Tensor) -> Tensor:
        return torch.cat([self.activate(of_video(condition, self.split)), condition[..., self.split :]], dim=-1)


def of_video(condition: Tensor, split: int) -> Tensor:
    """What the network of video is told; laid out as it was, since matrix products round otherwise over strides."""
    return condition[..., :split].contiguous()


def follow_actions(network: UNet | DiT, frames: int, action_dim: int, config: ActionModulesConfig) -> UNet | DiT:
    """Wrap, in place, every block of a network of video that was built for actions without a dimension.

    `action_dim` counts what its `embed` is told of each of the `frames` steps, the flag of real frames last.
    """
    if not config.train_base:
        network.requires_grad_(False)
    split = network.condition.width

    def wrapped(block: nn.Module, channels: int) -> ActionBlock:
        return ActionBlock(block, channels, split, config.width)

    if isinstance(network, DiT):
        for number, block in enumerate(network.blocks):
            network.blocks[number] = wrapped(block, network.config.width)
        network.modulation = _OfVideo(network.modulation, split)  # type: ignore[assignment]
        network.activate = _EachAlone(network.activate, split)  # type: ignore[assignment]
    else:
        for level in (*network.down, network.middle, *network.up):
            for number, block in enumerate(level.children()):
                assert isinstance(block, ResidualBlock)
                level[number] = wrapped(block, block.conv_out.out_channels)  # type: ignore[index]
    network.condition = ActionBeside(network.condition, frames, action_dim, config.width)  # type: ignore[assignment]
    return network
