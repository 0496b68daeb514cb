"""ResNet-18 and smaller ones (arXiv 1512.03385, Table 1), under torchvision's names of the weights."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.errors import InputError
from burnish.networks.pictures import group_norm
from burnish.storage import load_tensors

ResNetName = Literal["resnet18", "small"]
NormName = Literal["group", "folded"]

WIDTHS: dict[ResNetName, tuple[int, int, int, int]] = {"resnet18": (64, 128, 256, 512), "small": (16, 32, 64, 128)}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH_NORM_EPS = 1e-5


class ChannelAffine(nn.Module):
    """A scale and a shift for each channel: what is left of a batch normalisation whose statistics are fixed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Scale and shift."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


NORMS: dict[NormName, Callable[[int], nn.Module]] = {"group": group_norm, "folded": ChannelAffine}


class _BasicBlock(nn.Module):
    def __init__(self, before: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = None
        if stride > 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (h + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """The 7×7 stem, a maximum pool, four stages of two basic blocks, an average pool: (B, C, H, W) to (B, widths[-1]).

    Pictures are in [-1, 1]. `norm` makes what normalises a given number of channels. For weights of our own that is
    `group_norm`: batches hold a set share of successes, imagined frames come one kind at a time, and neither must leak
    into another row's score, which batch statistics would let it. For pretrained weights it is `ChannelAffine`, into
    which `load_torchvision` folds their batch normalisation with its recorded statistics.
    """

    input_scale: Tensor
    input_shift: Tensor

    def __init__(
        self, channels: int, widths: tuple[int, int, int, int], norm: Callable[[int], nn.Module] = group_norm
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(widths[0])
        stages = []
        for i, (before, width) in enumerate(itertools.pairwise((widths[0], *widths))):
            stages.append(
                nn.Sequential(_BasicBlock(before, width, 1 if i == 0 else 2, norm), _BasicBlock(width, width, 1, norm))
            )
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.output_dim = widths[-1]
        self.register_buffer("input_scale", torch.ones(channels, 1, 1))
        self.register_buffer("input_shift", torch.zeros(channels, 1, 1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B E"]:
        """Embed pictures."""
        x = self.bn1(self.conv1(pictures * self.input_scale + self.input_shift)).relu()
        x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


def resnet(name: ResNetName, channels: int = 3, norm: NormName = "group") -> ResNet:
    """`resnet18` (11.2 M weights) or `small`, a quarter as wide (0.7 M), for CPUs; random weights."""
    return ResNet(channels, WIDTHS[name], NORMS[norm])


@torch.no_grad()
def load_torchvision(network: ResNet, path: Path) -> None:
    """Fill a network of `folded` norms from a safetensors file with the names of torchvision's `resnet18`.

    The names are `conv1.weight`, `bn1.{weight,bias,running_mean,running_var}`, `layer1.0.conv1.weight`, …,
    `layer2.0.downsample.{0,1}.…`; `fc.*` and `num_batches_tracked` may be there and are not read. Each batch
    normalisation becomes y = (γ/√(σ²+ε)) x + (β − μ γ/√(σ²+ε)). A network of several stacked pictures gets the first
    convolution once for each, divided by their number. Pictures in [-1, 1] are standardised as ImageNet's were.

    Raises:
        InputError: a weight is missing, unknown, of another shape or kind, or not finite.
    """
    found, _ = load_tensors(path)
    found = {k: v for k, v in found.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    pictures = network.conv1.in_channels // 3
    if 3 * pictures != network.conv1.in_channels:
        raise InputError(f"{path}: found a network of {network.conv1.in_channels} channels, expected 3 a picture")
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            repeats = pictures if module is network.conv1 else 1
            out, channels, *kernel = module.weight.shape
            weight = _take(found, f"{name}.weight", (out, channels // repeats, *kernel), path)
            module.weight.copy_(weight.repeat(1, repeats, 1, 1) / repeats)
        elif isinstance(module, ChannelAffine):
            parts = ("weight", "bias", "running_mean", "running_var")
            gamma, beta, mean, var = (_take(found, f"{name}.{part}", module.weight.shape, path) for part in parts)
            module.weight.copy_(gamma / (var + _BATCH_NORM_EPS).sqrt())
            module.bias.copy_(beta - mean * gamma / (var + _BATCH_NORM_EPS).sqrt())
    if found:
        raise InputError(f"{path}: tensor '{min(found)}' is unknown to this network")
    mean, std = (torch.tensor(values * pictures).view(-1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    network.input_scale.copy_(0.5 / std)
    network.input_shift.copy_((0.5 - mean) / std)


def _take(found: dict[str, Tensor], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    if name not in found:
        raise InputError(f"{path}: tensor '{name}' is missing, expected torchvision's names of ResNet-18's weights")
    tensor = found.pop(name)
    if tensor.shape != shape:
        raise InputError(f"{path}: tensor '{name}' has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
    if not tensor.is_floating_point() or not tensor.isfinite().all():
        raise InputError(f"{path}: tensor '{name}' has values that are no finite numbers ({tensor.dtype})")
    if name.endswith("running_var") and (tensor < 0).any():
        raise InputError(f"{path}: tensor '{name}' has negative variances")
    return tensor.to(torch.float32)
