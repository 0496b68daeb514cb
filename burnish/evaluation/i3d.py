"""The I3D network of FVD, told as a table: class scores of Kinetics-400 as features of videos."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from burnish.errors import InputError
from burnish.networks.conv import to_signed

SIZE = 224
CLASSES = 400
MIN_FRAMES = 9
"""Time is divided by 8, rounded up, and the last pooling layer reads two of what is left."""
_EPSILON = 1e-3

# Output channels of an Inception block: 1×1; 1×1 then 3×3; 1×1 then 3×3; pooled then 1×1 (Inception-v1's table).
_BLOCKS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# What is pooled before a block: kernel and stride over time, height, width.
_POOLS = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}

Triple = tuple[int, int, int]


class I3D(nn.Module):
    """Inflated Inception-v1: videos (N, T, H, W, 3) to the 400 class scores before the softmax, averaged over time.

    Frames are scaled to [-1, 1] and resized to 224×224 (bilinear).  Architecture: J. Carreira and A. Zisserman, "Quo
    vadis, action recognition?", CVPR 2017; FVD reads its class scores (T. Unterthiner et al., arXiv 1812.01717).
    Parameters are named as in its PyTorch ports (`Conv3d_1a_7x7.conv3d.weight`, `Mixed_3b.b1a.bn.running_mean`,
    `logits.conv3d.weight`, …).
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = VideoUnit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = VideoUnit(64, 64, 1)
        self.Conv3d_2c_3x3 = VideoUnit(64, 192, 3)
        channels = 192
        for name, widths in _BLOCKS.items():
            self.add_module(name, VideoBlock(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = ClassScores(channels)

    def forward(self, videos: UInt8[Tensor, "N T H W 3"]) -> Float[Tensor, "N 400"]:
        """Scores of videos of at least MIN_FRAMES frames; raises InputError for shorter ones."""
        count, frames = videos.shape[:2]
        if frames < MIN_FRAMES:
            raise InputError(f"FVD's network: found videos of {frames} frames, expected at least {MIN_FRAMES}")
        pictures = to_signed(videos.flatten(0, 1))
        pictures = functional.interpolate(pictures, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        x = pictures.view(count, frames, 3, SIZE, SIZE).transpose(1, 2)
        x = pool_same(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in _BLOCKS:
            if name in _POOLS:
                x = pool_same(x, *_POOLS[name])
            x = self.get_submodule(name)(x)
        x = functional.avg_pool3d(x, (2, 7, 7), stride=1)
        return self.logits(x).mean((-3, -2, -1))


class VideoBlock(nn.Module):
    """Four branches whose outputs are stacked."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = VideoUnit(channels, widths[0], 1)
        self.b1a, self.b1b = VideoUnit(channels, widths[1], 1), VideoUnit(widths[1], widths[2], 3)
        self.b2a, self.b2b = VideoUnit(channels, widths[3], 1), VideoUnit(widths[3], widths[4], 3)
        self.b3b = VideoUnit(channels, widths[5], 1)

    def forward(self, x: Float[Tensor, "N C T H W"]) -> Float[Tensor, "N K T H W"]:
        """Run the branches."""
        pooled = pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class VideoUnit(nn.Module):
    """Convolution without bias over time and space, batch normalisation, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(channels, out, kernel, stride=stride, bias=False)
        self.bn = nn.BatchNorm3d(out, eps=_EPSILON)

    def forward(self, x: Float[Tensor, "N C T H W"]) -> Float[Tensor, "N K t h w"]:
        """Convolve."""
        return functional.relu(self.bn(self.conv3d(pad_same(x, self.kernel, self.stride))))


class ClassScores(nn.Module):
    """The last layer: a 1×1×1 convolution with bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, CLASSES, 1)

    def forward(self, x: Float[Tensor, "N C T H W"]) -> Float[Tensor, "N 400 T H W"]:
        """Score."""
        return self.conv3d(x)


def pool_same(x: Float[Tensor, "N C T H W"], kernel: Triple, stride: Triple) -> Float[Tensor, "N C t h w"]:
    """Maximum over windows, with zeros around so that t = ⌈T / stride⌉ (all inputs are >= 0)."""
    return functional.max_pool3d(pad_same(x, kernel, stride), kernel, stride)


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around (N, C, T, H, W) so that sizes become ⌈size / stride⌉; an odd one goes behind, as TensorFlow's."""
    around: list[int] = []
    for size, width, step in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(0, (-(-size // step) - 1) * step + width - size)
        around = [total // 2, total - total // 2, *around]
    return functional.pad(x, around) if any(around) else x
