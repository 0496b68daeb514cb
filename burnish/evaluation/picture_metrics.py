"""How far pictures are from the true ones: PSNR, PSNR where something moves, and SSIM.

Pictures are uint8, (…, H, W, 3), RGB. Every number is per picture; leading dimensions are kept.
"""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from burnish.errors import InputError

PEAK = 255.0
PSNR_CAP = 100.0
"""dB; what identical pictures get, and the most that any pair gets."""
MOVING_THRESHOLD = 8
"""Of 255: a pixel moves where one of its channels changes by more than that."""
SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_MIDDLE = 128
_SSIM_C1, _SSIM_C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def psnr(pictures: UInt8[Tensor, "*batch H W 3"], target: UInt8[Tensor, "*batch H W 3"]) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio, 10 log10(255² / mean square error over pixels and channels), at most PSNR_CAP dB."""
    return decibels(_squares(pictures, target).mean((-2, -1)))


def moving_pixels(
    present: UInt8[Tensor, "*batch H W 3"], target: UInt8[Tensor, "*batch H W 3"], threshold: int = MOVING_THRESHOLD
) -> Bool[Tensor, "*batch H W"]:
    """Pixels of which at least one channel differs by more than `threshold` between the present frame and the target.

    Both where something was and where it went move; a prediction that holds the present frame is wrong on all of them.
    """
    return (present.to(torch.int16) - target.to(torch.int16)).abs().amax(-1) > threshold


def moving_error(
    pictures: UInt8[Tensor, "*batch H W 3"], target: UInt8[Tensor, "*batch H W 3"], moving: Bool[Tensor, "*batch H W"]
) -> Float[Tensor, "*batch"]:
    """Mean square error over the `moving` pixels and their channels, in squared steps of 255; NaN where none moves."""
    return (_squares(pictures, target) * moving).sum((-2, -1)) / moving.sum((-2, -1))


def moving_psnr(
    pictures: UInt8[Tensor, "*batch H W 3"], target: UInt8[Tensor, "*batch H W 3"], moving: Bool[Tensor, "*batch H W"]
) -> Float[Tensor, "*batch"]:
    """PSNR over the `moving` pixels alone: what stands still flatters every model. NaN where none moves."""
    return decibels(moving_error(pictures, target, moving))


def decibels(error: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """PSNR of a mean square error, at most PSNR_CAP dB; NaN stays NaN."""
    return (10 * torch.log10(PEAK**2 / error)).clamp(max=PSNR_CAP)


def ssim(pictures: UInt8[Tensor, "*batch H W 3"], target: UInt8[Tensor, "*batch H W 3"]) -> Float[Tensor, "*batch"]:
    """Structural similarity: 11×11 Gaussian window of standard deviation 1.5, K1 = 0.01, K2 = 0.03, L = 255.

    Mean over the three channels and over the windows that lie within the picture. Source: Z. Wang et al., "Image
    quality assessment: from error visibility to structural similarity", IEEE TIP 13 (2004), Eq. 13, which reads grey
    pictures. Raises InputError where a picture is smaller than the window.
    """
    height, width = pictures.shape[-3:-1]
    if min(height, width) < SSIM_WINDOW:
        wanted = f"at least {SSIM_WINDOW}×{SSIM_WINDOW}"
        raise InputError(f"SSIM: found pictures of {height}×{width} pixels, expected {wanted}, its window")
    # Around 0, so that the variances keep their digits: they do not know of the shift, the means get it back.
    x, y = (p.movedim(-1, -3).reshape(-1, height, width).float() - _MIDDLE for p in (pictures, target))
    maps = _blurred(torch.stack([x, y, x * x, y * y, x * y])).flatten(2)
    mean_x, mean_y, var_x, var_y, covariance = maps.unbind()
    var_x, var_y, covariance = var_x - mean_x**2, var_y - mean_y**2, covariance - mean_x * mean_y
    mean_x, mean_y = mean_x + _MIDDLE, mean_y + _MIDDLE
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (var_x + var_y + _SSIM_C2)
    return (luminance * structure).mean(-1).view(*pictures.shape[:-3], 3).mean(-1)


def _squares(pictures: Tensor, target: Tensor) -> Tensor:
    """Square error of each pixel, averaged over channels: (…, H, W)."""
    return (pictures.float() - target.float()).square().mean(-1)


def _blurred(maps: Tensor) -> Tensor:
    """Averages of (…, H, W) under the Gaussian window, where it fits: (…, H − 10, W − 10)."""
    # Products with banded matrices: on a CPU nine times as fast as convolutions of single channels.
    down, across = (_windows(size, maps) for size in maps.shape[-2:])
    return down.T @ (maps @ across)


def _windows(size: int, like: Tensor) -> Tensor:
    """(size, size − 10): a column for each place of the window along one side."""
    row = torch.arange(size, device=like.device)[:, None]
    offset = row - torch.arange(size - SSIM_WINDOW + 1, device=like.device) - SSIM_WINDOW // 2
    weight = torch.exp(-(offset.to(like.dtype) ** 2) / (2 * _SSIM_SIGMA**2)) * (offset.abs() <= SSIM_WINDOW // 2)
    return weight / weight.sum(0)
