"""LPIPS on AlexNet: a distance of pictures in the features of a network, weighted to agree with people."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from burnish.errors import InputError
from burnish.networks.conv import to_signed

MIN_SIZE = 31
"""Pixels: of smaller pictures nothing is left for AlexNet's third layer."""
# AlexNet's convolutions: (place among torchvision's layers, output channels, kernel, stride, padding).
_CONVOLUTIONS = ((0, 64, 11, 4, 2), (3, 192, 5, 1, 2), (6, 384, 3, 1, 1), (8, 256, 3, 1, 1), (10, 256, 3, 1, 1))
_POOLED_BEFORE = (3, 6)
# Mean and standard deviation of ImageNet for pictures in [-1, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class LPIPS(nn.Module):
    """Learned perceptual similarity of pictures (version 0.1, AlexNet): 0 for equal ones, larger for less alike.

    Source: R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, Eq. 1:
    features after each of the five ReLUs, made unit length along the channels, squared differences weighted by one
    non-negative number a channel, mean over the picture, sum over the layers.  Parameters are named as torchvision's
    AlexNet (`features.0.weight`, …) and the authors' linear layers (`lin0.model.1.weight`, …).
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features, channels = nn.ModuleDict(), 3
        for index, (place, out, kernel, stride, padding) in enumerate(_CONVOLUTIONS):
            self.features[str(place)] = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding)
            self.add_module(f"lin{index}", ChannelWeights(out))
            channels = out
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1), persistent=False)

    def forward(self, pictures: UInt8[Tensor, "N H W 3"], target: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, " N"]:
        """The distance of each pair; raises InputError for pictures of fewer than MIN_SIZE pixels a side."""
        if min(pictures.shape[1:3]) < MIN_SIZE:
            found = f"{pictures.shape[1]}×{pictures.shape[2]} pixels"
            raise InputError(f"LPIPS: found pictures of {found}, expected at least {MIN_SIZE}×{MIN_SIZE}")
        pairs = zip(self.layers(pictures), self.layers(target), strict=True)
        terms = [
            self.get_submodule(f"lin{index}")((x - y).square()).mean((-3, -2, -1)) for index, (x, y) in enumerate(pairs)
        ]
        return torch.stack(terms).sum(0)

    def layers(self, pictures: UInt8[Tensor, "N H W 3"]) -> list[Tensor]:
        """The five layers' features, unit length along the channels: (N, C, h, w) each."""
        x = (to_signed(pictures) - self.shift) / self.scale
        found = []
        for place, *_ in _CONVOLUTIONS:
            x = functional.max_pool2d(x, 3, stride=2) if place in _POOLED_BEFORE else x
            x = functional.relu(self.features[str(place)](x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON))
        return found


class ChannelWeights(nn.Module):
    """One weight a channel, under the name that the authors' files give it (`model.1.weight`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"1": nn.Conv2d(channels, 1, 1, bias=False)})

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 1 H W"]:
        """The weighted sum over channels."""
        return self.model["1"](x)
