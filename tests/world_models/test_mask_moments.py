"""Moments of mask pictures: by hand, back as discs, behind a model of vectors, and what is refused."""

import pytest
import torch

from burnish.components import load, save
from burnish.data import STATE, image_key
from burnish.errors import InputError
from burnish.world_models import Encoded, HistoryConfig, MaskMoments, MaskMomentsConfig, ObservationHistory

KEY = image_key("table_mask")


def pictures():
    """Two pictures of 9 × 9: a square of three by three at full value above the middle, and one pixel at half value."""
    made = torch.zeros(2, 9, 9, 3, dtype=torch.uint8)
    made[0, 0:3, 3:6, 0] = 255
    made[1, 4, 8, 2] = 128
    return made


def encoder():
    return MaskMoments(MaskMomentsConfig(image_size=9))


def test_moments_by_hand():
    x, y, size, value = encoder().encode({KEY: pictures()}).view(2, 4, 3).unbind(1)
    torch.testing.assert_close(x, torch.tensor([[0.0, 0, 0], [0, 0, 1]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(y, torch.tensor([[-0.75, 0, 0], [0, 0, 0]]), atol=1e-3, rtol=0)
    half = 128 / 255
    torch.testing.assert_close(size, 8 / 81 * torch.tensor([[9.0, 0, 0], [0, 0, half]]))
    torch.testing.assert_close(value, torch.tensor([[1.0, 0, 0], [0, 0, half]]))


def test_what_comes_back_lies_in_the_same_place():
    made = encoder()
    again = made.decode(made.encode({KEY: pictures()}))[KEY]
    assert again.shape == (2, 9, 9, 3) and again.dtype == torch.uint8
    rows, columns = torch.where(again[0, :, :, 0] == 255)
    assert float(rows.float().mean()) == pytest.approx(1, abs=0.4) and float(columns.float().mean()) == pytest.approx(4)
    assert 5 <= len(rows) <= 13 and not again[0, :, :, 1:].any()
    assert set(again[1, :, :, 2].unique().tolist()) == {0, 128}


def test_it_is_saved_and_observed_behind(tmp_path):
    save(tmp_path, Encoded(encoder(), ObservationHistory(12, 2, HistoryConfig(frames=1))))
    model = load(tmp_path, Encoded)
    state = model.observe(model.initial(2), None, {KEY: pictures()})
    inner = model.inner.decode(state)[STATE]
    torch.testing.assert_close(inner, encoder().encode({KEY: pictures()}))
    assert set(model.decode(state)) >= {KEY}


@pytest.mark.parametrize(
    "observation, told",
    [
        ({STATE: torch.zeros(2, 1)}, "found no 'observation.images.table_mask' among"),
        ({KEY: torch.zeros(2, 8, 8, 3, dtype=torch.uint8)}, "found torch.uint8 .*expected"),
        ({KEY: torch.zeros(2, 9, 9, 3)}, "found torch.float32"),
    ],
    ids=["missing", "size", "dtype"],
)
def test_what_is_refused(observation, told):
    with pytest.raises(InputError, match=told):
        encoder().encode(observation)
