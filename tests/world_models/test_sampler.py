"""Samplers against EDM's formulas and a distribution whose optimal denoiser is known."""

import itertools
import math

import pytest
import torch

from burnish.world_models import SamplerConfig
from burnish.world_models.sampler import karras_levels, sample

CPU = torch.device("cpu")
MEAN, STD = 0.7, 0.5


def denoise(x, sigma):
    """The optimal denoiser of data N(m, s²): D(x; σ) = (s² x + σ² m) / (s² + σ²)."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def draw(count, seed=0, **config):
    generator = torch.Generator().manual_seed(seed)
    return sample(denoise, (count, 1), SamplerConfig(**config), generator, CPU)


def test_karras_levels_by_hand():
    """ρ = 1 spaces levels evenly; with ρ = 2 the square roots of 1 and 9 meet at 2, that is 4."""
    assert karras_levels(SamplerConfig(steps=3, sigma_max=5, sigma_min=1, rho=1)) == pytest.approx([5, 3, 1, 0])
    assert karras_levels(SamplerConfig(steps=3, sigma_max=9, sigma_min=1, rho=2)) == pytest.approx([9, 4, 1, 0])
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    assert karras_levels(SamplerConfig(steps=3, sigma_max=80, sigma_min=0.002)) == pytest.approx([80, middle, 0.002, 0])


def test_one_step_goes_straight_to_zero():
    assert karras_levels(SamplerConfig(steps=1, sigma_max=5)) == [5, 0]


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_levels_fall_to_zero(steps):
    levels = karras_levels(SamplerConfig(steps=steps))
    assert len(levels) == steps + 1 and levels[-1] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(levels))


@pytest.mark.parametrize(("method", "calls"), [("euler", 4), ("heun", 7)])
def test_start_noise_and_calls(method, calls):
    """The first input has standard deviation sigma_max; Heun calls twice a step except on the last."""
    seen = []

    def record(x, sigma):
        seen.append((x.clone(), float(sigma)))
        return denoise(x, sigma)

    generator = torch.Generator().manual_seed(0)
    sample(record, (20_000, 1), SamplerConfig(steps=4, method=method, sigma_max=3.0), generator, CPU)
    assert len(seen) == calls
    start, sigma = seen[0]
    assert sigma == pytest.approx(3.0)
    assert start.std().item() == pytest.approx(3.0, rel=0.03) and start.mean().item() == pytest.approx(0, abs=0.1)


def test_one_step_is_the_denoiser_at_sigma_max():
    start = 5.0 * torch.randn(100, 1, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(draw(100, seed=3, steps=1), denoise(start, 5.0))


def test_two_euler_steps_by_hand():
    """From x₀ at σ = 4 to σ = 1: x₁ = D + (x₀ - D) / 4; the last step is D(x₁; 1)."""
    x = 4.0 * torch.randn(100, 1, generator=torch.Generator().manual_seed(3))
    x = denoise(x, 4.0) + (x - denoise(x, 4.0)) / 4
    torch.testing.assert_close(draw(100, seed=3, steps=2, sigma_max=4, sigma_min=1), denoise(x, 1.0))


def errors(method, steps):
    """Distance from the exact solution of the ODE, x(0) - m = (x₀ - m) s / √(s² + σ_max²)."""
    start = 5.0 * torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
    exact = MEAN + (start - MEAN) * STD / math.sqrt(STD**2 + 25)
    found = draw(2000, seed=1, steps=steps, method=method, sigma_min=1e-3)
    return (found - exact).abs().mean().item()


def test_euler_is_of_first_and_heun_of_second_order():
    euler = [errors("euler", steps) for steps in (10, 20, 40)]
    heun = [errors("heun", steps) for steps in (10, 20, 40)]
    for coarse, fine in itertools.pairwise(euler):
        assert 1.6 < coarse / fine < 2.6
    for coarse, fine in itertools.pairwise(heun):
        assert 3.0 < coarse / fine < 6.0
    assert heun[0] < euler[0] and heun[2] < euler[2] / 4


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_many_steps_give_the_distribution(method):
    drawn = draw(40_000, steps=100, method=method, sigma_max=40.0)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert drawn.std().item() == pytest.approx(STD, rel=0.03)


def test_the_generator_decides():
    assert torch.equal(draw(50, seed=1), draw(50, seed=1))
    assert not torch.equal(draw(50, seed=1), draw(50, seed=2))
