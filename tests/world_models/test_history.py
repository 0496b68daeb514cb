"""The history state: what a policy sees is the same step by step, in windows and after partial restarts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data import STATE, Dataset, Windows
from burnish.world_models import HistoryConfig, HistoryState, ObservationHistory
from tests.world_models.linear_system import INFO, episode, linear_system


def frame(*values):
    """One observation a row, of one dimension."""
    return {STATE: torch.tensor(values, dtype=torch.float32).unsqueeze(1)}


def actions(*values):
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


def test_push_order_by_hand():
    history = ObservationHistory(1, 1, HistoryConfig(frames=3))
    state = history.initial(1)
    assert not state.valid.any()
    state = history.observe(state, None, frame(5.0))
    assert state.observation.flatten().tolist() == [5, 5, 5]
    assert state.valid.tolist() == [[False, False, True]]
    assert state.action.flatten().tolist() == [0, 0, 0]
    state = history.observe(state, actions(0.1), frame(6.0))
    assert state.observation.flatten().tolist() == [5, 5, 6]
    assert state.valid.tolist() == [[False, True, True]]
    assert state.action.flatten().tolist() == pytest.approx([0, 0.1, 0])
    state = history.observe(state, actions(0.2), frame(7.0))
    state = history.observe(state, actions(0.3), frame(8.0))
    assert state.observation.flatten().tolist() == [6, 7, 8]
    assert state.valid.all()
    assert state.action.flatten().tolist() == pytest.approx([0.2, 0.3, 0])
    assert history.decode(state)[STATE].tolist() == [[8]]


def test_the_action_before_an_episode_is_ignored():
    history = ObservationHistory(1, 1, HistoryConfig(frames=3))
    with_action = history.observe(history.initial(1), actions(0.9), frame(5.0))
    without = history.observe(history.initial(1), None, frame(5.0))
    assert all(torch.equal(tensor, without.tensors()[name]) for name, tensor in with_action.tensors().items())


def test_partial_restart():
    """Row 1 begins anew while row 0 goes on."""
    history = ObservationHistory(1, 1, HistoryConfig(frames=2))
    state = history.observe(history.initial(2), None, frame(1.0, 10.0))
    state = history.observe(state, actions(0.5, 0.6), frame(2.0, 20.0))
    state = state.where(torch.tensor([False, True]), history.initial(2))
    state = history.observe(state, actions(0.7, 0.8), frame(3.0, 30.0))
    assert state.observation.squeeze(-1).tolist() == [[2, 3], [30, 30]]
    torch.testing.assert_close(state.action.squeeze(-1), torch.tensor([[0.7, 0.0], [0.0, 0.0]]))
    assert state.valid.tolist() == [[True, True], [False, True]]


def test_rows():
    history = ObservationHistory(1, 1, HistoryConfig(frames=2))
    state = history.observe(history.initial(3), None, frame(1.0, 2.0, 3.0))
    assert state.rows(torch.tensor([2, 0, 2])).observation[:, -1, 0].tolist() == [3, 1, 3]
    assert state.rows(torch.tensor([False, True, False])).observation[:, -1, 0].tolist() == [2]


def test_features_are_the_newest_frames_normalised():
    """Mean 2, standard deviation 1 over (1, 1, 3, 3)."""
    dataset = Dataset.from_episodes([episode([[1.0], [1.0], [3.0], [3.0]])], INFO)
    history = ObservationHistory(1, 1, HistoryConfig(frames=3, feature_frames=2)).fit(dataset)
    assert history.feature_dim == 2
    state = history.observe(history.initial(1), None, frame(4.0))
    state = history.observe(state, actions(0.0), frame(1.0))
    torch.testing.assert_close(history.features(state), torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(history.decode(state)[STATE], torch.tensor([[1.0]]))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.lists(st.integers(2, 7), min_size=1, max_size=3), st.integers(0, 99))
def test_windows_equal_step_by_step_observation(frames, lengths, seed):
    """At every frame of every episode, the first ones included."""
    generator = torch.Generator().manual_seed(seed)
    episodes = [
        episode(torch.randn(n, 2, generator=generator).numpy(), torch.rand(n, 3, generator=generator).numpy())
        for n in lengths
    ]
    dataset = Dataset.from_episodes(episodes, INFO)
    history = ObservationHistory(2, 3, HistoryConfig(frames=frames)).fit(dataset)
    windows = Windows(dataset, history=frames, horizon=0)
    from_windows = history.window_state(windows.gather(windows.present_frames))
    position = 0
    for recorded in episodes:
        state = history.initial(1)
        for t in range(len(recorded)):
            action = torch.from_numpy(recorded.action[t - 1 : t]) if t else None
            state = history.observe(state, action, {STATE: torch.from_numpy(recorded.observation[STATE][t : t + 1])})
            expected = from_windows.rows(torch.tensor([position]))
            for name, tensor in state.tensors().items():
                assert torch.equal(tensor, expected.tensors()[name]), (name, t)
            position += 1


def test_window_state_leaves_out_the_present_action_and_the_future():
    dataset = linear_system(2, length=6)
    history = ObservationHistory(4, 2, HistoryConfig(frames=3))
    short, long = (Windows(dataset, history=3, horizon=n).gather(torch.tensor([3])) for n in (0, 2))
    for name, tensor in history.window_state(long).tensors().items():
        assert torch.equal(tensor, history.window_state(short).tensors()[name])
    assert (history.window_state(long).action[:, -1] == 0).all()
    assert (long.action[:, 2] != 0).all(), "the batch itself is left as it was"


def test_states_are_plain_tensors():
    state = ObservationHistory(2, 1, HistoryConfig(frames=3)).initial(4)
    assert {name: tuple(tensor.shape) for name, tensor in state.tensors().items()} == {
        "observation": (4, 3, 2),
        "action": (4, 3, 1),
        "valid": (4, 3),
    }
    assert isinstance(HistoryState(**state.tensors()), HistoryState)
