"""What is learned and what is carried; a change of the observation, there and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data import STATE, Dataset, Windows
from burnish.world_models import HistoryConfig, TransitionSpace, learned_dimensions
from tests.world_models.linear_system import INFO, episode, fitted_space, linear_system


def state_at(space, dataset, *frames):
    return space.window_state(Windows(dataset, history=space.config.frames, horizon=0).gather(torch.tensor(frames)))


def test_learned_dimensions():
    """Moving; a goal that differs between episodes only; constant; rounding; a small signal; moving in one episode."""

    def rows(goal, moves):
        t = np.arange(6)
        columns = [0.1 * t, 0 * t + goal, 0 * t + 3, 5 * (1 + 1e-7 * (t % 2)), 1e-4 * np.sin(t), moves * t]
        return np.stack(columns, axis=1)

    dataset = Dataset.from_episodes([episode(rows(-1.0, 0)), episode(rows(2.0, 0.5)), episode(rows(0.3, 0))], INFO)
    assert learned_dimensions(dataset) == (0, 4, 5)


def test_jumps_between_episodes_are_not_changes():
    """Each episode stands still at its own place: nothing is learned."""
    dataset = Dataset.from_episodes([episode([[k, -k]] * 3) for k in (1.0, 2.0, 5.0)], INFO)
    assert learned_dimensions(dataset) == ()


def test_statistics_by_hand():
    """Changes 1, 3 | 2, 2, deviation √(2/3). After nothing but padding comes 1 or 2, after 1 comes 3 and after 2, 2:
    a line through the changes before leaves errors; values stay in [0, 8] plus 0.5 %."""
    dataset = Dataset.from_episodes([episode([[0.0], [1.0], [4.0]]), episode([[4.0], [6.0], [8.0]])], INFO)
    space = TransitionSpace(1, 1, (0,), HistoryConfig(frames=2)).fit(dataset)
    deviation = (2 / 3) ** 0.5
    assert space.delta_std.item() == pytest.approx(deviation)
    assert (space.low.item(), space.high.item()) == (pytest.approx(-0.04), pytest.approx(8.04))
    # Least squares of (1, 3, 2, 2) on the changes before (0, 1, 0, 2): the slope is 4/11, the means are 2 and 3/4.
    state, none = state_at(space, dataset, 1), torch.zeros(1, 1)  # at 1.0, after a change of 1
    moved = space.advance(state, none, none).observation[0, -1].item() - 1
    assert moved == pytest.approx(2 + (1 - 3 / 4) * 4 / 11, rel=1e-3), "but for a small penalty"
    far = space.advance(state, none, torch.full((1, 1), 1e6)).observation[0, -1].item()
    assert 4 < far <= 8.04, "imagined values stay near the data, and changes, too"
    assert far - 1 < 2 * 3


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_advance_inverts_delta(frames, seed):
    dataset = linear_system(4, length=8, seed=seed)
    space = fitted_space(dataset, frames=frames)
    assert space.learned_dims == (0, 1)
    windows = Windows(dataset, history=frames, horizon=1)
    batch = windows.gather(windows.present_frames)
    state, action = space.window_state(batch), batch.action[:, frames - 1]
    following = space.normaliser.normalise(batch.observation[STATE][:, -1])
    reached = space.advance(state, action, space.delta(state, action, following))
    torch.testing.assert_close(reached.observation[:, -1, :2], following[:, :2], atol=1e-5, rtol=1e-5)
    assert torch.equal(reached.observation[:, -1, 2:], state.observation[:, -1, 2:]), "carried exactly"
    # … and it is the state that observing the real frame gives.
    observed = space.observe(state, action, {STATE: batch.observation[STATE][:, -1]})
    assert torch.equal(reached.action, observed.action) and torch.equal(reached.valid, observed.valid)
    torch.testing.assert_close(reached.observation, observed.observation, atol=1e-5, rtol=1e-5)


def test_advance_leaves_the_old_state_alone():
    dataset = linear_system(2, length=6)
    space = fitted_space(dataset)
    state = state_at(space, dataset, 2, 3)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    space.advance(state, torch.ones(2, 2), torch.ones(2, 2))
    assert all(torch.equal(before[name], tensor) for name, tensor in state.tensors().items())


def test_context_tells_what_matters_apart():
    """The present action, the past and the goal all enter; padding enters as such."""
    dataset = linear_system(3, length=8)
    space = fitted_space(dataset, frames=3)
    state, action = state_at(space, dataset, 4, 5), torch.tensor([[0.5, -0.5], [0.1, 0.2]])
    context = space.context(state, action)
    assert context.shape == (2, space.context_dim) and context.isfinite().all()
    assert not torch.equal(context, space.context(state, -action))
    for name in ("observation", "action"):
        changed = dict(state.tensors())
        changed[name] = changed[name].clone()
        changed[name][:, -2] += 0.2
        assert not torch.equal(context, space.context(type(state)(**changed), action)), name
    goal = state.observation.clone()
    goal[:, :, 2] += 1
    assert not torch.equal(context, space.context(type(state)(goal, state.action, state.valid), action))


def test_padding_holds_no_actions():
    """At an episode's first frame the past is known to be padding, and no action in it counts."""
    dataset = linear_system(1, length=8)
    space = fitted_space(dataset, frames=3)
    state, action = state_at(space, dataset, 0), torch.tensor([[0.5, -0.5]])
    garbage = state.action.clone()
    garbage[:, :-1] = 0.9
    context = space.context(state, action)
    assert torch.equal(context, space.context(type(state)(state.observation, garbage, state.valid), action))
    real = torch.ones_like(state.valid)
    assert not torch.equal(context, space.context(type(state)(state.observation, state.action, real), action))
