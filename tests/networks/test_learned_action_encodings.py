"""The encodings that look at a window or at the data: cosines against SciPy, the nearest code, and padding."""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from burnish.networks import action_encoding
from burnish.networks.action_encoding import DCT, VectorQuantised, cosine_basis, k_means

NAMES = ("two_hot", "one_hot", "linear", "dct", "vq")


@pytest.mark.parametrize("frames", [1, 2, 4, 7])
def test_the_transform_is_scipys(frames):
    window = torch.randn(3, frames, 2, generator=torch.Generator().manual_seed(frames))
    expected = scipy.fft.dct(window.numpy().astype(np.float64), type=2, norm="ortho", axis=1)
    np.testing.assert_allclose((cosine_basis(frames) @ window).numpy(), expected, atol=1e-6)


def test_known_vectors():
    """Constant 0.5: √4 · 0.5 = 1 at frequency 0, so token 10 of γ = 10; ±1 in turn has no constant part.

    Of (1, -1, 1, -1) the coefficients are 0, 0.7654, 0, 1.8478, as cos(π k (2n + 1) / 8) sums by hand.
    """
    encode = DCT(frames=4, action_dim=2, bins=21)
    window = torch.tensor([[0.5, 1.0], [0.5, -1.0], [0.5, 1.0], [0.5, -1.0]])
    assert encode.coefficients(window).T.tolist() == [[10, 0, 0, 0], [0, 8, 0, 18]]
    tokens = encode(window).view(4, 2, encode.size)
    assert encode.size == 41 and tokens.sum(-1).eq(1).all()
    assert tokens.argmax(-1).T.tolist() == [[30, 20, 20, 20], [20, 28, 20, 38]]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6))
def test_the_vocabulary_is_complete_and_half_a_step_is_lost_at_most(frames, values):
    encode, window = DCT(frames, 1), torch.tensor(values[:frames]).unsqueeze(1)
    exact = scipy.fft.dct(window.numpy().astype(np.float64), norm="ortho", axis=0)
    found = encode.coefficients(window).numpy() / 10
    assert np.abs(found - exact).max() <= 0.05 + 1e-5
    assert np.abs(10 * found).max() <= encode.limit


def test_one_action_is_one_hot():
    action = torch.rand(50, 1, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(DCT(1, 3)(action), action_encoding("one_hot")(action))


def test_the_scale_comes_from_quantiles():
    """Dimension 0 from -0.2 to 0.6 but for one outlier in a thousand; dimension 1 stands still at 0.3."""
    actions = torch.stack([torch.linspace(-0.2, 0.6, 1001), torch.full((1001,), 0.3)], dim=1)
    actions[500, 0] = 1.0
    encode = DCT(2, 2)
    encode.fit(actions)
    assert encode.centre.tolist() == pytest.approx([0.2, 0.3], abs=2e-3)
    assert encode.half_width.tolist() == pytest.approx([0.392, 0.1], abs=2e-3)
    high = torch.tensor([[0.6, 0.3], [1.0, 0.3]])
    assert encode.coefficients(high)[:, 0].tolist() == [14, 0], "both are clamped to 1: √2 · 10, and no change"
    assert set(encode.state_dict()) == {"centre", "half_width"}


def test_nearest_code_by_hand():
    encode = VectorQuantised(2, codes=3)
    encode.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, -1.0]]))
    action = torch.tensor([[[0.4, 0.1], [0.6, 0.1]], [[-0.6, -0.6], [9.0, 0.0]]])
    assert encode.codes(action).tolist() == [[0, 1], [2, 1]]
    assert encode(action).tolist() == [[[0, 0], [1, 0]], [[-1, -1], [1, 0]]]


def test_the_gradient_passes_straight_through():
    encode, action = VectorQuantised(2), torch.tensor([[0.3, -0.4]], requires_grad=True)
    (encode(action) * torch.tensor([2.0, 5.0])).sum().backward()
    assert action.grad is not None and action.grad.tolist() == [[2, 5]]


def test_k_means_finds_clusters():
    centres = torch.tensor([[-0.8, 0.5], [0.0, -0.7], [0.9, 0.9]])
    generator = torch.Generator().manual_seed(0)
    rows = (centres.repeat(200, 1) + 0.02 * torch.randn(600, 2, generator=generator)).clamp(-1, 1)
    encode = VectorQuantised(2, codes=8)
    encode.fit(rows)
    error = (encode(rows) - rows).norm(dim=1)
    assert error.mean() < 0.03, "as near as the noise"
    before = VectorQuantised(2, codes=8)
    assert (before(rows) - rows).norm(dim=1).mean() > 5 * error.mean()


def test_more_codes_than_rows():
    rows = torch.tensor([[0.1], [0.9]])
    assert sorted(set(k_means(rows, 5).flatten().tolist())) == pytest.approx([0.1, 0.9])


def test_a_bigger_codebook_loses_less():
    rows = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    errors = []
    for codes in (4, 32, 256):
        encode = VectorQuantised(3, codes)
        encode.fit(rows)
        errors.append((encode(rows) - rows).square().mean().item())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("name", NAMES)
def test_windows(name):
    """Sizes are known beforehand; garbage in the padding changes nothing, other actions do."""
    encode = action_encoding(name, frames=3, action_dim=2)
    generator = torch.Generator().manual_seed(0)
    encode.fit(torch.rand(500, 2, generator=generator) * 2 - 1)
    actions = torch.rand(5, 3, 2, generator=generator) * 2 - 1
    valid = torch.tensor([[False, True, True]]).expand(5, -1)
    encoded = encode.window(actions, valid)
    assert encoded.shape == (5, encode.output_dim(2, 3)) == (5, 6 * encode.size)
    assert torch.equal(encode.rows(actions, valid).flatten(1), encoded)
    garbage = actions.clone()
    garbage[:, 0] = 0.9
    assert torch.equal(encode.window(garbage, valid), encoded)
    assert not torch.equal(encode.window(-actions, valid), encoded)
    assert torch.equal(encode.window(actions * 1e6, valid), encode.window((actions * 1e6).clamp(-1, 1), valid))


@pytest.mark.parametrize("name", ["two_hot", "one_hot", "linear"])
def test_the_first_three_encode_windows_as_ever(name):
    """Each action by itself, then zero where there is none; bit for bit."""
    encode = action_encoding(name, frames=4, action_dim=3)
    actions = torch.rand(7, 4, 3, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    valid = torch.arange(4) >= torch.arange(7).unsqueeze(1) % 4
    before = {
        "linear": lambda a: a.clamp(-1, 1),
        "one_hot": lambda a: one_hot(((a.clamp(-1, 1) + 1) / 2 * 20).round().long(), 21).flatten(-2),
        "two_hot": lambda a: (
            (1 - (a.clamp(-1, 1)[..., None] - torch.linspace(-1, 1, 21)).abs() / (2 / 20)).clamp(min=0).flatten(-2)
        ),
    }[name]
    assert torch.equal(encode(actions), before(actions).float())
    assert torch.equal(encode.window(actions, valid), (before(actions) * valid.float().unsqueeze(-1)).flatten(1))
    assert encode.output_dim(3, 4) == 12 * (1 if name == "linear" else 21)


def test_choosing_an_encoding_leaves_the_random_numbers_alone():
    for name in NAMES:
        torch.manual_seed(0)
        action_encoding(name, frames=4, action_dim=2)
        assert torch.rand(1).item() == pytest.approx(0.49625658988952637), name


def test_the_vocabulary_of_dct():
    assert [DCT(frames, 1).size for frames in (1, 2, 4)] == [21, 2 * math.ceil(10 * math.sqrt(2)) + 1, 41]
