"""The Inception-v3 of FID, told as a table: features of the last pooling layer."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from burnish.networks.conv import to_signed

SIZE = 299
FEATURES = 2048
_EPSILON = 1e-3

Kernel = int | tuple[int, int]


class Convolution(NamedTuple):
    """One row of the table."""

    name: str
    out: int
    kernel: Kernel = 1
    stride: int = 1


# Steps in a row, each of which reads the one before; a step of several convolutions stacks their outputs.
Branch = Sequence[Sequence[Convolution]]
_ACROSS, _DOWN = (1, 7), (7, 1)


def _row(*convolutions: Convolution) -> Branch:
    return [[convolution] for convolution in convolutions]


def _narrow(pool: int) -> list[Branch]:
    """35×35 maps."""
    return [
        _row(Convolution("branch1x1", 64)),
        _row(Convolution("branch5x5_1", 48), Convolution("branch5x5_2", 64, 5)),
        _row(
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, 3),
            Convolution("branch3x3dbl_3", 96, 3),
        ),
        _row(Convolution("branch_pool", pool)),
    ]


def _crossed(middle: int) -> list[Branch]:
    """17×17 maps: 7×7 as 1×7 and 7×1."""
    return [
        _row(Convolution("branch1x1", 192)),
        _row(
            Convolution("branch7x7_1", middle),
            Convolution("branch7x7_2", middle, _ACROSS),
            Convolution("branch7x7_3", 192, _DOWN),
        ),
        _row(
            Convolution("branch7x7dbl_1", middle),
            Convolution("branch7x7dbl_2", middle, _DOWN),
            Convolution("branch7x7dbl_3", middle, _ACROSS),
            Convolution("branch7x7dbl_4", middle, _DOWN),
            Convolution("branch7x7dbl_5", 192, _ACROSS),
        ),
        _row(Convolution("branch_pool", 192)),
    ]


def _wide() -> list[Branch]:
    """8×8 maps: the last convolutions of two branches stand side by side."""
    return [
        _row(Convolution("branch1x1", 320)),
        [
            *_row(Convolution("branch3x3_1", 384)),
            [Convolution("branch3x3_2a", 384, (1, 3)), Convolution("branch3x3_2b", 384, (3, 1))],
        ],
        [
            *_row(Convolution("branch3x3dbl_1", 448), Convolution("branch3x3dbl_2", 384, 3)),
            [Convolution("branch3x3dbl_3a", 384, (1, 3)), Convolution("branch3x3dbl_3b", 384, (3, 1))],
        ],
        _row(Convolution("branch_pool", 192)),
    ]


_HALVING_35: list[Branch] = [
    _row(Convolution("branch3x3", 384, 3, 2)),
    _row(
        Convolution("branch3x3dbl_1", 64), Convolution("branch3x3dbl_2", 96, 3), Convolution("branch3x3dbl_3", 96, 3, 2)
    ),
    [],
]
_HALVING_17: list[Branch] = [
    _row(Convolution("branch3x3_1", 192), Convolution("branch3x3_2", 320, 3, 2)),
    _row(
        Convolution("branch7x7x3_1", 192),
        Convolution("branch7x7x3_2", 192, _ACROSS),
        Convolution("branch7x7x3_3", 192, _DOWN),
        Convolution("branch7x7x3_4", 192, 3, 2),
    ),
    [],
]
# (name, branches, how the last branch pools): FID's network averages without the padding, and its very last pool is a
# maximum, where the published Inception-v3 averages with it.
_BLOCKS: list[tuple[str, list[Branch], str]] = [
    ("Mixed_5b", _narrow(32), "average"),
    ("Mixed_5c", _narrow(64), "average"),
    ("Mixed_5d", _narrow(64), "average"),
    ("Mixed_6a", _HALVING_35, "halve"),
    ("Mixed_6b", _crossed(128), "average"),
    ("Mixed_6c", _crossed(160), "average"),
    ("Mixed_6d", _crossed(160), "average"),
    ("Mixed_6e", _crossed(192), "average"),
    ("Mixed_7a", _HALVING_17, "halve"),
    ("Mixed_7b", _wide(), "average"),
    ("Mixed_7c", _wide(), "maximum"),
]


class InceptionV3(nn.Module):
    """Inception-v3 up to its last pooling layer: pictures (N, H, W, 3) to features (N, 2048).

    Pictures are scaled to [-1, 1] and resized to 299×299 (bilinear, no antialiasing).  Architecture: C. Szegedy et al.,
    "Rethinking the Inception architecture for computer vision", CVPR 2016, with the two changes of the network that
    FID is defined with.  Parameters are named as in its PyTorch ports (`Mixed_5b.branch1x1.conv.weight`, `.bn.weight`,
    `.bn.running_mean`, …).
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvolutionUnit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvolutionUnit(32, 32, 3, 1, padding=0)
        self.Conv2d_2b_3x3 = ConvolutionUnit(32, 64, 3, 1)
        self.Conv2d_3b_1x1 = ConvolutionUnit(64, 80, 1, 1)
        self.Conv2d_4a_3x3 = ConvolutionUnit(80, 192, 3, 1, padding=0)
        channels = 192
        for name, branches, pooling in _BLOCKS:
            block = InceptionBlock(channels, branches, pooling)
            channels = block.channels
            self.add_module(name, block)

    def forward(self, pictures: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, "N 2048"]:
        """Features of pictures."""
        x = functional.interpolate(to_signed(pictures), size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, stride=2)
        for name, _, _ in _BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((-2, -1))


class InceptionBlock(nn.Module):
    """Parallel branches whose outputs are stacked; the last one pools first."""

    def __init__(self, channels: int, branches: list[Branch], pooling: str) -> None:
        super().__init__()
        self.branches, self.pooling, self.channels = branches, pooling, 0
        for branch in branches:
            width = channels
            for step in branch:
                for name, out, kernel, stride in step:
                    self.add_module(name, ConvolutionUnit(width, out, kernel, stride))
                width = sum(convolution.out for convolution in step)
            self.channels += width

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Run the branches."""
        outputs = [self._run(branch, x) for branch in self.branches[:-1]]
        return torch.cat([*outputs, self._run(self.branches[-1], self._pool(x))], dim=1)

    def _run(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            x = torch.cat([self.get_submodule(convolution.name)(x) for convolution in step], dim=1)
        return x

    def _pool(self, x: Tensor) -> Tensor:
        if self.pooling == "average":
            return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        if self.pooling == "maximum":
            return functional.max_pool2d(x, 3, stride=1, padding=1)
        return functional.max_pool2d(x, 3, stride=2)


class ConvolutionUnit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU; stride 1 keeps the size, unless `padding` says otherwise."""

    def __init__(self, channels: int, out: int, kernel: Kernel, stride: int, padding: int | None = None) -> None:
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (size[0] // 2, size[1] // 2) if padding is None and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(channels, out, size, stride=stride, padding=around, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=_EPSILON)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Convolve."""
        return functional.relu(self.bn(self.conv(x)))
