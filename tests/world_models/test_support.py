"""The distance to the data: zero on it, by hand beside it, a threshold from held-out windows; saved and loaded."""

import pytest
import torch

from burnish.data import Windows
from burnish.world_models import DataSupport, HistoryState, SupportConfig, TransitionSpace
from tests.world_models.linear_system import fitted_space, linear_system


def windows_of(support, dataset):
    frames = support.space.config.frames
    windows = Windows(dataset, history=frames, horizon=1)
    batch = windows.gather(windows.present_frames)
    return support.space.window_state(batch), batch.action[:, frames - 1]


@pytest.fixture(scope="module")
def training():
    return linear_system(20, reach=0.3, seed=5)


@pytest.fixture(scope="module")
def held_out():
    return linear_system(10, reach=0.3, seed=6)


@pytest.fixture(scope="module")
def support(training, held_out):
    return DataSupport.fit(fitted_space(training), SupportConfig(halt_quantile=0.9), training, held_out, seed=0)


def test_recorded_windows_are_at_distance_zero(support, training):
    assert support(*windows_of(support, training)).max() < 1e-2
    assert len(support.references) == 20 * 24, "no more references than windows"


def test_it_is_what_the_distance_to_all_references_has_for_its_least(support, held_out):
    coordinates = support.coordinates(*windows_of(support, held_out))
    assert len(coordinates) > 128, "or there is one block only"
    nearest = torch.cdist(coordinates, support.references).amin(1)
    torch.testing.assert_close(support._nearest(coordinates), nearest, rtol=1e-6, atol=1e-6)


def test_threshold(support, held_out):
    beyond = (support(*windows_of(support, held_out)) > support.threshold).float().mean().item()
    assert beyond == pytest.approx(0.1, abs=0.01)


def test_far_actions_and_far_places(support, held_out):
    state, action = windows_of(support, held_out)
    assert (support(state, torch.full_like(action, 0.95)) > support.threshold).float().mean() > 0.9
    far = HistoryState(state.observation + torch.tensor([9.0, 9, 0, 0]), state.action, state.valid)
    assert support(far, action).median() > support(state, action).median()


def test_the_distance_by_hand(training, held_out):
    """One reference: what is left is the plain distance of the actions."""
    support = DataSupport.fit(fitted_space(training), SupportConfig(references=1), training, held_out, seed=0)
    state, action = windows_of(support, training)
    nearest = support(state, action).argmin()
    state, action = state.rows(nearest[None]), action[nearest][None]
    assert support(state, action).item() == pytest.approx(0, abs=1e-2)
    moved = action + torch.tensor([[0.3, -0.4]])
    assert support(state, moved).item() == pytest.approx(0.5, abs=1e-2)


def test_differences_between_moving_bodies_only(training, held_out):
    """Dimension 2 never moves: its difference to another one is no matter of contact."""
    plain = fitted_space(training)
    space = TransitionSpace(4, 2, plain.learned_dims, plain.config, ((0, 1), (0, 2)))
    space.normaliser.load_state_dict(plain.normaliser.state_dict())
    support = DataSupport.fit(space.fit(training), SupportConfig(), training, held_out, seed=0)
    assert support.pairs == [0] and support.others == []
    state, action = windows_of(support, training)
    assert support.coordinates(state, action).shape[1] == 2 + 2 + 1  # actions, changes, one difference
    raw = space.normaliser.denormalise(state.observation[:, -1])
    expected = 3.0 * (raw[:, 0] - raw[:, 1]) / space.bodies.scale[0]
    torch.testing.assert_close(support.coordinates(state, action)[:, -1], expected)
