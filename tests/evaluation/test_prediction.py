"""Open-loop prediction error against holding the last frame, on a system with a known law."""

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset
from burnish.evaluation.prediction import OpenLoop, imagine_along, open_loop
from burnish.world_models import TransitionSpace
from burnish.world_models.history import push
from tests.world_models.linear_system import INFO, episode, fitted_space


class Exact:
    """x' = x + 0.1 a, exactly, in the contract of a world model; `bias` spoils it."""

    def __init__(self, space: TransitionSpace, bias: float = 0.0):
        self.space, self.bias = space, bias
        self.action_steps, self.normaliser, self.recorded = 1, space.normaliser, space.recorded
        self.initial, self.observe, self.features, self.decode = (
            space.initial,
            space.observe,
            space.features,
            space.decode,
        )

    def imagine(self, state, action, generator=None):
        x = self.decode(state)[STATE].clone()
        x[:, :1] += 0.1 * action + self.bias
        return push(state, action, self.space.normaliser.normalise(x))


def constant_motion(episodes=4, length=12, apart=1.0):
    """Every action is 1: a position runs from 0 in steps of 0.1; the episodes' goals are so far `apart`."""
    recorded = []
    for index in range(episodes):
        t = np.arange(length)
        recorded.append(episode(np.stack([0.1 * t, 0 * t + apart * index], axis=1), np.ones((length, 1)), seed=index))
    return Dataset.from_episodes(recorded, INFO)


def std_of(dataset):
    return dataset.observations[STATE][:, 0].std(correction=0).item()


def test_a_perfect_model_has_no_error_and_holding_drifts():
    """h steps of 0.1, in standard deviations of the data, the goal left out."""
    dataset = constant_motion()
    found = open_loop(Exact(fitted_space(dataset)), dataset, horizon=5, seed=0)
    assert found.model_error.shape == found.hold_error.shape == (4 * 7, 5)
    assert found.model_error.max() < 1e-5
    expected = 0.1 * torch.arange(1, 6) / std_of(dataset)
    torch.testing.assert_close(found.hold_error, expected.expand(28, 5), atol=1e-5, rtol=1e-5)
    assert found.disagreement is None


def test_a_biased_model_by_hand():
    """A bias of 0.02 a step: 0.02 h after h steps, where the range of the data does not end the drift."""
    dataset, held_out = constant_motion(length=24), constant_motion(episodes=1, length=20)
    found = open_loop(Exact(fitted_space(dataset), bias=0.02), held_out, horizon=3, seed=0)
    expected = 0.02 * torch.arange(1, 4) / std_of(dataset)
    torch.testing.assert_close(found.model_error, expected.expand(17, 3), atol=1e-4, rtol=1e-4)


def test_disagreement_is_asked_before_each_step():
    dataset = constant_motion()
    model = Exact(fitted_space(dataset))

    def doubt(state, action):
        return model.decode(state)[STATE][:, 0] + action[:, 0]

    found = open_loop(model, dataset, horizon=3, seed=0, disagreement=doubt)
    steps = found.disagreement - found.disagreement[:, :1]
    torch.testing.assert_close(steps, torch.tensor([0.0, 0.1, 0.2]).expand_as(steps), atol=1e-5, rtol=0)
    assert found.disagreement.min().item() == pytest.approx(1.0, abs=1e-5)


def test_every_window_knows_its_episode():
    """The goal of `constant_motion` is the number of the episode."""
    dataset = constant_motion(episodes=6)
    model = Exact(fitted_space(dataset))
    goal = lambda state, action: model.decode(state)[STATE][:, 1]  # noqa: E731
    found = open_loop(model, dataset, horizon=2, seed=0, disagreement=goal)
    assert found.episode.bincount().tolist() == [10] * 6
    torch.testing.assert_close(found.disagreement[:, 0], found.episode.float(), atol=1e-5, rtol=0)


def test_limit_and_seed():
    dataset = constant_motion(episodes=6)
    model = Exact(fitted_space(dataset))
    doubt = lambda state, action: model.decode(state)[STATE][:, 0] + 100 * model.decode(state)[STATE][:, 1]  # noqa: E731
    one, two, other = (open_loop(model, dataset, 2, s, doubt, limit=10).disagreement for s in (1, 1, 2))
    assert one.shape == (10, 2)
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_imagining_along_recorded_actions():
    """An exact model repeats the episode from its first frame; the last action leads nowhere."""
    dataset = constant_motion()
    states, actions = dataset.observations[STATE][12:24], dataset.actions[12:24].clone()
    model = Exact(fitted_space(dataset))
    torch.testing.assert_close(imagine_along(model, {STATE: states}, actions, seed=0)[STATE], states, atol=1e-5, rtol=0)
    actions[-1], actions[4] = -1.0, 0.0
    expected = states.clone()
    expected[5:, 0] -= 0.1
    torch.testing.assert_close(
        imagine_along(model, {STATE: states}, actions, seed=0)[STATE], expected, atol=1e-5, rtol=0
    )


def test_summary_by_hand():
    """Three windows, two horizons: medians, and linearly interpolated 10 % and 90 % quantiles."""
    model = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    summary = OpenLoop(model, 2 * model, None).summary()
    assert summary["horizon"] == [1, 2]
    assert summary["model"]["median"] == pytest.approx([2, 20])
    assert summary["model"]["p10"] == pytest.approx([1.2, 12])
    assert summary["model"]["p90"] == pytest.approx([2.8, 28])
    assert summary["hold_last"]["median"] == pytest.approx([4, 40])
