"""Action encodings against hand-computed numbers, and properties that hold for every action."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.networks import action_encoding

K = 21
BINS = torch.linspace(-1, 1, K)
actions = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=5)


def test_two_hot_by_hand():
    """21 bins are 0.1 apart: 0.05 lies halfway between bin 10 (0.0) and bin 11 (0.1)."""
    encoded = action_encoding("two_hot", K)(torch.tensor([[0.05]]))
    expected = torch.zeros(1, K)
    expected[0, 10] = expected[0, 11] = 0.5
    torch.testing.assert_close(encoded, expected)


@pytest.mark.parametrize(
    ("action", "weights"),
    [
        (-1.0, {0: 1.0}),
        (1.0, {20: 1.0}),
        (0.0, {10: 1.0}),
        (0.3, {13: 1.0}),
        (0.025, {10: 0.75, 11: 0.25}),
        (-0.97, {0: 0.7, 1: 0.3}),
        (1.7, {20: 1.0}),
        (-50.0, {0: 1.0}),
    ],
)
def test_two_hot_weights(action, weights):
    encoded = action_encoding("two_hot", K)(torch.tensor([[action]]))
    expected = torch.zeros(1, K)
    for index, weight in weights.items():
        expected[0, index] = weight
    torch.testing.assert_close(encoded, expected, atol=2e-6, rtol=0)


def test_each_action_dimension_has_its_own_group():
    encoded = action_encoding("two_hot", 3)(torch.tensor([[-1.0, 0.5], [0.0, 1.0]]))
    assert encoded.tolist() == [[1, 0, 0, 0, 0.5, 0.5], [0, 1, 0, 0, 0, 1]]


@given(actions)
def test_two_hot_is_lossless(values):
    """Groups sum to one, at most two neighbours are hot, and the weighted bins give the action back."""
    action = torch.tensor([values])
    groups = action_encoding("two_hot", K)(action).unflatten(-1, (len(values), K))
    torch.testing.assert_close(groups.sum(-1), torch.ones_like(action))
    assert (groups >= 0).all() and ((groups > 1e-6).sum(-1) <= 2).all()
    torch.testing.assert_close((groups * BINS).sum(-1), action, atol=2e-6, rtol=0)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_every_encoding_clamps(values):
    action = torch.tensor([values])
    for name in ("two_hot", "one_hot", "linear"):
        encode = action_encoding(name, K)
        assert torch.equal(encode(action), encode(action.clamp(-1, 1)))


@given(actions)
def test_one_hot_takes_the_nearest_bin(values):
    action = torch.tensor([values])
    groups = action_encoding("one_hot", K)(action).unflatten(-1, (len(values), K))
    assert ((groups == 0) | (groups == 1)).all() and (groups.sum(-1) == 1).all()
    distance = (BINS[groups.argmax(-1)] - action).abs()
    assert (distance <= 0.05 + 1e-5).all()


def test_linear_is_the_action():
    action = torch.tensor([[0.25, -0.5], [3.0, -1.0]])
    assert action_encoding("linear")(action).tolist() == [[0.25, -0.5], [1.0, -1.0]]


@pytest.mark.parametrize(("name", "size"), [("two_hot", 7), ("one_hot", 7), ("linear", 1)])
def test_shapes(name, size):
    encode = action_encoding(name, 7)
    assert encode.size == size
    assert encode(torch.zeros(2, 5, 3)).shape == (2, 5, 3 * size)
    assert encode(torch.zeros(4, 3)).dtype == torch.float32


def test_two_hot_is_differentiable():
    """Between two bins 0.1 apart the weights change at -10 and +10."""
    action = torch.tensor([[0.04]], requires_grad=True)
    encoded = action_encoding("two_hot", K)(action)
    slopes = [torch.autograd.grad(encoded[0, i], action, retain_graph=True)[0].item() for i in (9, 10, 11, 12)]
    assert slopes == pytest.approx([0, -10, 10, 0])
