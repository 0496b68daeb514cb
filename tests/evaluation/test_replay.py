"""Replayed episodes in worlds that are right, and in worlds that are wrong in a known way."""

import pytest
import torch

from burnish.data import STATE, Dataset
from burnish.evaluation.replay import Replayed, replay, success_of_states
from tests.evaluation.test_back_test import INFO, Backwards, agent, recorded
from tests.imagination.counter_world import CounterWorld, Position
from tests.imagination.test_imagined_play import Pairs
from tests.world_models.linear_system import episode


def goal(states):
    """It knows: success at position 1."""
    return (states[:, 0] >= 1 - 1e-6).float()


class Doubting(CounterWorld):
    """Imagines a goal on the way in every second copy of the episodes only."""

    def imagine(self, state, action, generator=None):
        reached = torch.arange(len(action)) < len(action) // 2
        return Position(state.position.where(~reached[:, None], torch.ones(())))


def test_a_world_that_is_right_agrees_with_every_outcome():
    data = recorded(agent())
    found = replay(CounterWorld(), goal, data, seed=0)
    assert 0 < int(found.real.sum()) < len(found.real) == data.num_episodes
    assert torch.equal(found.imagined, found.real.float()) and found.correlation == pytest.approx(1)


def test_a_world_that_is_wrong_does_not():
    """Backwards nobody arrives who was not there at the start."""
    data = recorded(agent())
    found = replay(Backwards(), goal, data, seed=0)
    assert found.correlation < 0.3 and found.imagined.mean() < found.real.float().mean()


def test_copies_are_averaged():
    found = replay(Doubting(), goal, recorded(agent()), seed=0, copies=4)
    assert torch.equal(found.imagined, torch.full_like(found.imagined, 0.5)) and found.correlation == 0


def test_nothing_counts_after_an_episodes_end():
    """The first one stops short of the goal; the second, longer one, goes on for it to be overtaken by."""
    one = episode([[0.5], [0.75]], [[1], [1]], source="policy")
    other = episode([[0.0]] * 4, [[0]] * 4, source="policy")
    found = replay(CounterWorld(), goal, Dataset.from_episodes([one, other], INFO), seed=0)
    assert found.imagined.tolist() == [0, 0]


def test_a_model_of_chunks_is_asked_at_their_ends():
    """0.5 → 1.0 in the two actions of one transition; the last frame's action is none."""
    one = episode([[0.5], [0.75], [1.0]], [[1], [1], [-1]], success=[0, 0, 1], source="policy")
    other = episode([[0.0], [0.0], [0.0]], [[0], [0], [1]], source="policy")
    found = replay(Pairs(), goal, Dataset.from_episodes([one, other], INFO), seed=0)
    assert found.imagined.tolist() == [1, 0] and found.correlation == pytest.approx(1)


def test_the_correlation_by_hand():
    """Deviations (−0.5, 0, 0.5) and (−1/3, −1/3, 2/3): 0.5 / √(0.5 · 2/3)."""
    found = Replayed(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([False, False, True]))
    assert found.correlation == pytest.approx(0.5 / (0.5 * 2 / 3) ** 0.5)
    assert Replayed(torch.tensor([0.2, 0.4]), torch.tensor([True, True])).correlation == 0


def test_the_classifier_learns_success_and_leaves_no_trace_in_the_random_numbers():
    data = recorded(agent(), episodes=40)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    probability = success_of_states(data, seed=1)
    assert torch.equal(torch.rand(2), expected)
    states = data.observations[STATE]
    clear = (states[:, 0] - 1).abs() > 0.1
    assert ((probability(states) > 0.5) == data.success)[clear].float().mean() > 0.97
    assert torch.equal(probability(states), success_of_states(data, seed=1)(states))
    assert not probability(states).requires_grad
