"""Normalisation against hand-computed numbers."""

import pytest
import torch

from burnish.data import Normaliser
from burnish.errors import InputError


def test_by_hand() -> None:
    normaliser = Normaliser(2).fit(torch.tensor([[1.0, 10.0], [2.0, 10.0], [3.0, 10.0], [6.0, 10.0]]))
    assert normaliser.mean.tolist() == [3.0, 10.0]
    assert normaliser.std.tolist() == [pytest.approx(3.5**0.5), 1.0]  # (4 + 1 + 0 + 9) / 4
    assert normaliser.constant.tolist() == [False, True]
    assert normaliser.normalise(torch.tensor([6.0, 10.0])).tolist() == [pytest.approx(3 / 3.5**0.5), 0.0]
    assert normaliser.denormalise(torch.tensor([2.0, 1.0])).tolist() == [pytest.approx(3 + 2 * 3.5**0.5), 11.0]


def test_inverse() -> None:
    data = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0)) * 3 + 5
    normaliser = Normaliser(4).fit(data)
    normalised = normaliser.normalise(data)
    assert normalised.shape == data.shape
    assert torch.allclose(normalised.reshape(-1, 4).mean(0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(normalised.reshape(-1, 4).std(0, correction=0), torch.ones(4), atol=1e-6)
    assert torch.allclose(normaliser.denormalise(normalised), data, atol=1e-5)


def test_floor_by_hand() -> None:
    """Deviations 1, 0.001 and 3: the median is 1, a quarter of it the floor; constants are no part of it."""
    sign = torch.tensor([1.0, -1.0] * 5)
    data = torch.stack([sign, 0.001 * sign, 3 * sign, torch.full((10,), 4.0)], dim=1)
    assert Normaliser(4).fit(data, floor=0.25).std.tolist() == [1.0, 0.25, 3.0, 1.0]
    assert Normaliser(4).fit(data).std.tolist() == [1.0, pytest.approx(0.001), 3.0, 1.0]
    assert Normaliser(1).fit(torch.ones(3, 1), floor=0.25).std.tolist() == [1.0]


def test_constants_are_told_from_small_signals() -> None:
    """Rounding of a large constant is no signal; a tiny one around zero is."""
    sign = torch.tensor([1.0, -1.0] * 50)
    large = torch.full((100,), 1000.0) + 6.2e-5 * sign  # one unit in the last place of float32
    tiny = 1e-9 * sign
    small = 0.6 + 1e-4 * sign
    zero = torch.zeros(100)
    normaliser = Normaliser(4).fit(torch.stack([large, tiny, small, zero], dim=1))
    assert normaliser.constant.tolist() == [True, False, False, True]
    assert normaliser.std.tolist() == [1.0, pytest.approx(1e-9), pytest.approx(1e-4, rel=1e-3), 1.0]


def test_large_offset_keeps_its_precision() -> None:
    """Mean and deviation in float64: float32 sums of a million such numbers would be off."""
    values = (torch.arange(1_000_000) % 2).float()[:, None] + 4096.0
    normaliser = Normaliser(1).fit(values)
    assert normaliser.mean.item() == 4096.5
    assert normaliser.std.item() == 0.5


def test_travels_in_the_state_dict() -> None:
    fitted = Normaliser(2).fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    loaded = Normaliser(2)
    loaded.load_state_dict(fitted.state_dict())
    assert loaded.normalise(torch.tensor([3.0, 5.0])).tolist() == [1.0, 0.0]
    assert loaded.constant.tolist() == [False, True]


@pytest.mark.parametrize(
    "data", [torch.zeros(0, 2), torch.zeros(3, 3), torch.zeros(2), torch.tensor([[0.0, float("nan")]])]
)
def test_bad_data(data: torch.Tensor) -> None:
    with pytest.raises(InputError, match="normalisation: found"):
        Normaliser(2).fit(data)
