"""The transformer over several kinds of features: what hears what, and what it says at birth."""

import pytest
import torch

from burnish.errors import InputError
from burnish.networks import InteractiveDiT, InteractiveDiTConfig, straight_levels

STREAMS, ACTIONS, PAST, FUTURE = ((1, 3), (2, 4)), 2, 2, 3
SIZE = 11


def network(depth=2, scale=0.3, streams=STREAMS):
    torch.manual_seed(0)
    made = InteractiveDiT(streams, ACTIONS, PAST, FUTURE, InteractiveDiTConfig(width=8, depth=depth, heads=2))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return made.requires_grad_(False)


def inputs(rows=5, frames=FUTURE, size=SIZE):
    generator = torch.Generator().manual_seed(1)
    shapes = ((rows, frames, size), (rows,), (rows, frames, ACTIONS), (rows, PAST, size))
    return [torch.rand(shape, generator=generator) for shape in shapes]


def said(made, x, level, action, past):
    return made(x, level, action, made.memory(past))


def test_it_says_nothing_at_birth():
    found = said(network(scale=0), *inputs())
    assert not found.clean.any() and not found.noise.any() and not found.first.any()
    assert found.clean.shape == found.noise.shape == (5, FUTURE, SIZE)


def test_a_frame_hears_no_later_action_and_no_later_frame():
    made, (x, level, action, past) = network(depth=4), inputs()
    before = said(made, x, level, action, past)
    x[:, 2] += 1
    action[:, 2] += 1
    after = said(made, x, level, action, past)
    for name in ("first", "clean", "noise"):
        one, other = getattr(before, name), getattr(after, name)
        torch.testing.assert_close(one[:, :2], other[:, :2])
        assert not torch.allclose(one[:, 2], other[:, 2])


def test_fewer_frames_are_the_beginning_of_more():
    made, (x, level, action, past) = network(), inputs()
    short = said(made, x[:, :1], level, action[:, :1], past)
    torch.testing.assert_close(short.clean, said(made, x, level, action, past).clean[:, :1])


@pytest.mark.parametrize("change", [lambda a: a[3], lambda a: a[2], lambda a: a[1]], ids=["past", "action", "level"])
def test_everything_that_it_is_told_counts(change):
    made, given = network(), inputs()
    before = said(made, *given)
    change(given).add_(0.5)
    assert (said(made, *given).clean - before.clean).abs().amin() > 0


def test_the_last_layer_of_each_stream_sees_what_the_others_found():
    """With closed gates nothing is mixed: first words are a stream's own, last ones depend on the other's."""
    made, (x, level, action, past) = network(), inputs()
    for block in made.blocks:
        for layers in block.streams:
            layers.modulation.weight.zero_()
            layers.modulation.bias.zero_()
    before = said(made, x, level, action, past)
    x[..., 3:] += 1  # the second stream's
    after = said(made, x, level, action, past)
    torch.testing.assert_close(before.first[..., :3], after.first[..., :3])
    assert not torch.allclose(before.clean[..., :3], after.clean[..., :3])
    assert not torch.allclose(before.noise[..., :3], after.noise[..., :3])


def test_one_stream_alone_has_no_others():
    found = said(network(streams=((1, SIZE),)), *inputs())
    assert found.clean.isfinite().all()


def test_levels_by_hand():
    assert straight_levels(4) == [(1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0.0)]


def test_the_width_is_a_multiple_of_the_heads():
    with pytest.raises(InputError, match="found width 10, expected a multiple of 4 heads"):
        InteractiveDiTConfig(width=10, heads=4)
