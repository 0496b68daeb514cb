"""PSNR and SSIM against numbers by hand and by other means."""

import math

import numpy as np
import pytest
import torch

from burnish.errors import InputError
from burnish.evaluation.picture_metrics import (
    PSNR_CAP,
    moving_error,
    moving_pixels,
    moving_psnr,
    psnr,
    ssim,
)


def flat(value, size=16, count=1):
    return torch.full((count, size, size, 3), value, dtype=torch.uint8)


def noise(*shape, seed=0):
    return torch.randint(0, 256, (*shape, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_psnr_by_hand():
    """A difference of 10 everywhere: 20 log10(255 / 10); a hundredth of the energy: 20 dB more; equal: the cap."""
    pictures = torch.stack([flat(110)[0], flat(100)[0], flat(90)[0]]).view(3, 1, 16, 16, 3)
    found = psnr(pictures, flat(100).expand(3, 1, -1, -1, -1))
    assert found.shape == (3, 1)
    assert found.flatten().tolist() == pytest.approx([20 * math.log10(25.5), PSNR_CAP, 20 * math.log10(25.5)])
    one_in_a_hundred = torch.zeros(1, 10, 10, 3, dtype=torch.uint8)
    one_in_a_hundred[0, 3, 4] = 255
    assert psnr(one_in_a_hundred, flat(0, 10)).item() == pytest.approx(20)


def test_moving_pixels_by_hand():
    """A change of 8 in one channel is not yet a motion, one of 9 is, in either direction."""
    present, target = flat(100, 4), flat(100, 4)
    target[0, 0, 0, 1], target[0, 1, 2, 2], target[0, 3, 3, 0] = 108, 109, 91
    moving = moving_pixels(present, target)
    assert moving.nonzero().tolist() == [[0, 1, 2], [0, 3, 3]]
    assert moving_pixels(present, target, threshold=7).sum() == 3
    # Holding is wrong by 9 in one of six channels twice; the pixel that did not move does not count.
    assert moving_error(present, target, moving).item() == pytest.approx(81 * 2 / 6)
    assert moving_psnr(present, target, moving).item() == pytest.approx(10 * math.log10(255**2 / 27))
    assert moving_psnr(target, target, moving).item() == PSNR_CAP


def test_where_nothing_moves_there_is_no_number():
    still = moving_pixels(flat(100), flat(100))
    assert moving_psnr(flat(1), flat(100), still).isnan().all()


def test_ssim_of_flat_pictures_by_hand():
    """No structure: (2 · 100 · 150 + C1) / (100² + 150² + C1) with C1 = 2.55²."""
    c1 = 2.55**2
    assert ssim(flat(100), flat(150)).item() == pytest.approx((30000 + c1) / (32500 + c1), rel=1e-5)


def test_ssim_against_gaussian_filters_of_scipy():
    ndimage = pytest.importorskip("scipy.ndimage", reason="compared with scipy, which only the simulators bring along")
    x, y = noise(20, 27, seed=1), noise(20, 27, seed=2)
    y = (0.7 * x + 0.3 * y).to(torch.uint8)

    def blur(values):
        return ndimage.gaussian_filter(values, sigma=1.5, truncate=3.5)[5:-5, 5:-5]

    told = []
    for channel in range(3):
        a, b = (p[..., channel].numpy().astype(np.float64) for p in (x, y))
        mean_a, mean_b = blur(a), blur(b)
        var_a, var_b, both = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
        c1, c2 = 2.55**2, 7.65**2
        value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        told.append(value.mean())
    assert ssim(x[None], y[None]).item() == pytest.approx(np.mean(told), abs=1e-5)


def test_ssim_keeps_leading_dimensions_and_knows_equal_pictures():
    x, y = noise(2, 3, 16, 16, seed=3), noise(2, 3, 16, 16, seed=4)
    assert ssim(x, y).shape == (2, 3)
    torch.testing.assert_close(ssim(x, x), torch.ones(2, 3))
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    torch.testing.assert_close(ssim(x, y)[1, 2], ssim(x[1, 2], y[1, 2]))
    assert ssim(x, y).abs().max() < 0.2


def test_ssim_needs_its_window():
    with pytest.raises(InputError, match="10×10 pixels, expected at least 11×11"):
        ssim(flat(0, 10), flat(0, 10))
