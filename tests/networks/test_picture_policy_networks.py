"""Random shifts by whole pixels, and a convolutional network on flattened pictures."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from burnish.errors import InputError
from burnish.networks import PictureNetwork, picture_shape, random_shift


def padded_crops(picture, pixels):
    """Every picture that padding by replication and cropping can give, by (row, column) offset."""
    size = picture.shape[-1]
    padded = nn.functional.pad(picture[None], (pixels,) * 4, mode="replicate")[0]
    return {(y, x): padded[:, y : y + size, x : x + size] for y in range(2 * pixels + 1) for x in range(2 * pixels + 1)}


def test_a_shift_by_hand():
    """A shift of one pixel at most: a row of 1 2 3 becomes 1 1 2, 1 2 3 or 2 3 3, and the same in the columns."""
    picture = torch.tensor([[1.0, 2.0, 3.0]] * 3).view(1, 1, 3, 3)
    moved = random_shift(picture.expand(64, -1, -1, -1), 1, torch.Generator().manual_seed(0))
    found = {tuple(row.tolist()) for row in moved.flatten(0, 2)}
    assert found == {(1, 1, 2), (1, 2, 3), (2, 3, 3)}
    turned = random_shift(picture.mT.expand(64, -1, -1, -1), 1, torch.Generator().manual_seed(0))
    assert {tuple(column.tolist()) for column in turned.mT.flatten(0, 2)} == found


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_a_shift_is_a_crop_of_the_padded_picture(pixels, seed):
    pictures = torch.randn(6, 2, 9, 9, generator=torch.Generator().manual_seed(seed))
    moved = random_shift(pictures, pixels, torch.Generator().manual_seed(seed))
    for picture, result in zip(pictures, moved, strict=True):
        assert any(torch.equal(result, crop) for crop in padded_crops(picture, pixels).values())


def test_every_shift_occurs_and_rows_move_apart():
    picture = torch.randn(2, 9, 9)
    moved = random_shift(picture.expand(1000, -1, -1, -1), 2, torch.Generator().manual_seed(0))
    crops = padded_crops(picture, 2)
    counts = [int((moved == crop).flatten(1).all(1).sum()) for crop in crops.values()]
    assert sum(counts) == 1000 and len(counts) == 25 and min(counts) > 15


def test_no_shift_is_the_identity():
    pictures = torch.randn(3, 3, 8, 8)
    assert random_shift(pictures, 0) is pictures


def test_the_generator_decides_the_shift():
    pictures = torch.randn(8, 3, 16, 16)
    one, two, other = (random_shift(pictures, 4, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def make(size=32, channels=6):
    torch.manual_seed(0)
    return PictureNetwork((channels, size, size), (8, 16), 24, (16,), 5)


@pytest.mark.parametrize("size", [32, 33, 50, 64])
def test_any_size(size):
    network = make(size)
    assert network(torch.randn(2, 3, 6 * size**2)).shape == (2, 3, 5)


def test_slices_without_gradients_change_nothing():
    """1,100 rows go through in three slices; each row is what it is alone."""
    network, features = make(), torch.rand(1100, 6 * 32**2)
    with torch.no_grad():
        whole = network(features)
        torch.testing.assert_close(whole[[0, 600, 1099]], network(features[[0, 600, 1099]]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(features[:4]), whole[:4], atol=1e-5, rtol=1e-4)
    assert network(features[:0]).shape == (0, 5)


def test_places_are_kept():
    """The same spot elsewhere gives other numbers, which pooling over the picture would not."""
    network, pictures = make(channels=3), torch.zeros(2, 3, 32, 32)
    pictures[0, :, 8:12, 8:12] = 1
    pictures[1, :, 20:24, 16:20] = 1
    one, other = network(pictures.flatten(1))
    assert not torch.allclose(one, other, atol=1e-3)


def test_features_that_are_no_pictures():
    assert picture_shape("this", 2 * 3 * 32**2, 2, 3, 32) == (6, 32, 32)
    with pytest.raises(InputError, match=r"this: found 3071 features, expected .* 1 × 3 × 32² = 3072"):
        picture_shape("this", 3071, 1, 3, 32)
    with pytest.raises(InputError, match="image_size 16, expected at least 32"):
        picture_shape("this", 3 * 16**2, 1, 3, 16, least=32)
