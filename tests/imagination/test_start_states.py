"""Where imagined episodes begin."""

import pytest
import torch

from burnish.errors import InputError
from tests.imagination.counter_world import start_states


def drawn(starts, count=4000, seed=0):
    return starts.sample(count, torch.Generator().manual_seed(seed)).position[:, 0]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_mix(share):
    """First frames are at 0.0 and 0.1, intermediate ones at 0.5 and 0.6; successful frames are no starts."""
    found = drawn(start_states([0.0, 0.5, 1.0], [0.1, 0.6, 1.2], share=share))
    first = (found < 0.2).float().mean().item()
    assert first == pytest.approx(share, abs=0.03)
    assert found.max() < 1
    expected = {0.0: {0.5, 0.6}, 0.25: {0.0, 0.1, 0.5, 0.6}, 1.0: {0.0, 0.1}}[share]
    assert {round(value, 4) for value in found.tolist()} == expected
    for value in expected:
        assert (found - value).abs().min() < 1e-6 and ((found - value).abs() < 1e-6).float().mean() > 0.09


def test_an_episode_that_begins_in_success_is_no_start():
    starts = start_states([1.0, 0.5, 1.0], [0.2, 0.7, 0.8], share=1.0)
    assert {round(value, 4) for value in drawn(starts).tolist()} == {0.2}


def test_no_usable_start_is_an_input_error():
    with pytest.raises(InputError, match="start state"):
        start_states([1.0, 0.5, 0.6])


def test_without_intermediate_frames_first_ones_serve():
    assert {round(value, 4) for value in drawn(start_states([0.3, 1.0], [0.4, 1.0], share=0.0)).tolist()} == {0.3, 0.4}


def test_episode_starts_cycle_in_order():
    starts = start_states([0.0, 0.5], [0.1, 0.6], [0.2, 0.7])
    assert starts.episode_starts(5).position[:, 0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.0, 0.1])


def test_fewer_episode_starts_are_spread_over_the_data():
    """Data of several tasks have them one after another: the first episodes would be of one task alone."""
    starts = start_states(*([number / 10, 0.95] for number in range(6)))
    assert starts.episode_starts(3).position[:, 0].tolist() == pytest.approx([0.0, 0.2, 0.4])
    assert starts.episode_starts(4).position[:, 0].tolist() == pytest.approx([0.0, 0.1, 0.3, 0.4])


def test_the_generator_decides():
    starts = start_states([0.0, 0.5, 0.6, 0.7], share=0.5)
    assert torch.equal(drawn(starts, seed=1), drawn(starts, seed=1))
    assert not torch.equal(drawn(starts, seed=1), drawn(starts, seed=2))
