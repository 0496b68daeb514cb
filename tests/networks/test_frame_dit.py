"""A transformer over frames: causal in time, and the same whether past frames come again or were kept."""

import pytest
import torch

from burnish.errors import InputError
from burnish.networks import FrameDiT, FrameDiTConfig
from burnish.networks.frame_dit import rotated

ROWS, FRAMES, SIDE, DIM, ACTIONS = 2, 5, 2, 6, 3


@pytest.fixture
def network():
    """With arbitrary weights; a fresh one says zero."""
    torch.manual_seed(0)
    found = FrameDiT(SIDE, DIM, ACTIONS, FrameDiTConfig(width=16, depth=2, heads=2))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return found.eval()


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, FRAMES, SIDE**2, DIM, generator=generator)
    level, action = (
        torch.rand(ROWS, FRAMES, generator=generator),
        torch.randn(ROWS, FRAMES, ACTIONS, generator=generator),
    )
    return x, level, action, torch.ones(ROWS, FRAMES, dtype=torch.bool)


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_what_changes_at_a_frame_leaves_earlier_ones_as_they_were(network, changed):
    """Tokens, noise level or action of frame 3."""
    given = list(inputs())
    before, _ = network(*given)
    given[changed] = given[changed].clone()
    given[changed][:, 3] += 1
    after, _ = network(*given)
    assert torch.equal(before[:, :3], after[:, :3])
    assert all(bool((before[:, t] != after[:, t]).any()) for t in (3, 4))


@pytest.mark.parametrize("past", [1, 3, 4])
def test_kept_keys_and_values_say_what_the_whole_pass_says(network, past):
    x, level, action, valid = inputs()
    valid[0, 0] = False
    whole, _ = network(x, level, action, valid)
    _, kept = network(x[:, :past], level[:, :past], action[:, :past], valid[:, :past])
    rest, _ = network(x[:, past:], level[:, past:], action[:, past:], valid, kept)
    torch.testing.assert_close(rest, whole[:, past:], atol=1e-5, rtol=1e-5)


def test_frames_that_are_none_are_seen_by_nobody(network):
    x, level, action, valid = inputs()
    valid[:, :2] = False
    one, _ = network(x, level, action, valid)
    x[:, :2] += 5
    other, _ = network(x, level, action, valid)
    assert torch.equal(one[:, 2:], other[:, 2:]) and bool(one.isfinite().all())


def test_rotary_products_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 8).unbind(0)
    near = (rotated(q, 3) * rotated(k, 1)).sum()
    torch.testing.assert_close((rotated(q, 13) * rotated(k, 11)).sum(), near)
    assert not torch.isclose((rotated(q, 13) * rotated(k, 1)).sum(), near)


def test_a_width_that_heads_cannot_share():
    with pytest.raises(InputError, match="width 20 and 4 heads"):
        FrameDiTConfig(width=20, heads=4)
