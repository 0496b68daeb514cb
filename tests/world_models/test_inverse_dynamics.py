"""Inverse dynamics: R² by hand, what never varies, and that it finds the action of a known system."""

import pytest
import torch

from burnish.data import STATE, Dataset
from burnish.training import TrainingConfig, fit
from burnish.world_models import InverseDynamics, InverseDynamicsConfig, RecordedActions
from tests.world_models.linear_system import INFO, episode, linear_system

CONFIG = InverseDynamicsConfig(hidden=(32,))


def test_r_squared_by_hand():
    """A network that always says 0.5: squared errors 0, 1 and 0.25 around a mean of 0.5."""
    rows = episode([[0.0], [1.0], [3.0], [4.0]], [[0.5], [-0.5], [1.0], [0.9]])
    data = Dataset.from_episodes([rows], INFO)
    inverse = InverseDynamics(1, 1, CONFIG).fit(data)
    with torch.no_grad():
        inverse.network.head.weight.zero_()
        inverse.network.head.bias.fill_(0.5)
    found = inverse.explained(data)
    mean = (0.5 - 0.5 + 1.0) / 3
    spread = sum((a - mean) ** 2 for a in (0.5, -0.5, 1.0))
    assert found["transitions"] == 3 and found["r2"] == pytest.approx(1 - 1.25 / spread, abs=1e-5)
    assert found["rmse"] == pytest.approx((1.25 / 3) ** 0.5, abs=1e-6)


def test_an_action_that_never_varies_has_none():
    data = Dataset.from_episodes([episode([[0.0], [1.0], [3.0]], [[0.2, 0.5], [0.2, 0.1], [0.2, 0.3]])], INFO)
    found = InverseDynamics(1, 2, CONFIG).fit(data).explained(data)
    assert found["r2_each"][0] is None and found["r2_each"][1] is not None


def test_it_finds_the_actions_of_a_linear_system(tmp_path):
    """Of two dimensions that actions push, beside two that nothing moves; transitions never cross episodes."""
    data = linear_system(32)
    rows = RecordedActions(data)
    assert len(rows.all.action) == 32 * 24
    inverse = InverseDynamics(4, 2, CONFIG).fit(data)
    fit(inverse, rows, TrainingConfig(steps=600, batch_size=128, learning_rate=3e-3, ema_decay=None), tmp_path, 0)
    # Noise of 0.002 on pushes of 0.1 leaves (0.02 / std(a))² unexplained, a thousandth.
    assert inverse.explained(linear_system(4, seed=9))["r2"] > 0.98
    far = data.observations[STATE][:1] + torch.tensor([[9.0, 9.0, 0.0, 0.0]])
    assert inverse(data.observations[STATE][:1], far).abs().max() <= 1
