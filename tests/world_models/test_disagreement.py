"""Disagreement: high where there was no data, a threshold from held-out windows, no single dimension in command."""

import math

import pytest
import torch

from burnish.data import STATE, Windows
from burnish.training import TrainingConfig, fit
from burnish.world_models import DisagreementEnsemble, EnsembleConfig, HistoryState
from burnish.world_models.disagreement import spread
from tests.world_models.linear_system import fitted_space, linear_system


def states(ensemble, dataset):
    windows = Windows(dataset, history=ensemble.space.config.frames, horizon=1)
    batch = windows.gather(windows.present_frames)
    return ensemble.space.window_state(batch), batch.action[:, ensemble.space.config.frames - 1]


@pytest.fixture(scope="module")
def held_out():
    return linear_system(30, reach=0.3, seed=6, bend=0.02)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, held_out):
    """Five members that have only seen slow motion: actions within ±0.3."""
    dataset = linear_system(40, reach=0.3, seed=5, bend=0.02)
    torch.manual_seed(0)
    config = EnsembleConfig(members=5, hidden=(64, 64), halt_quantile=0.9)
    ensemble = DisagreementEnsemble(fitted_space(dataset), config)
    training = TrainingConfig(steps=300, batch_size=64, learning_rate=3e-3, log_every=100)
    fit(ensemble, ensemble.bootstrap(dataset, seed=0), training, tmp_path_factory.mktemp("ensemble"), seed=0)
    ensemble.requires_grad_(False)
    ensemble.evidence = ensemble.calibrate(held_out)
    return ensemble


def test_the_quantile_of_held_out_windows_lies_below_the_threshold(trained, held_out):
    beyond = (trained(*states(trained, held_out)) > trained.threshold).float().mean().item()
    assert beyond == pytest.approx(0.1, abs=0.01)
    assert trained.evidence["threshold"] == pytest.approx(trained.threshold.item())
    assert trained.evidence["median"] < trained.evidence["threshold"] <= trained.evidence["maximum"]
    assert trained.evidence["windows"] == 30 * 24


def test_disagreement_outside_the_data(trained, held_out):
    """Actions three times as large, and a place where no episode went."""
    state, action = states(trained, held_out)
    inside = trained(state, action)
    fast = trained(state, torch.full_like(action, 0.95))
    assert fast.median() > inside.quantile(0.9) and (fast > trained.threshold).float().mean() > 0.5
    far = HistoryState(state.observation + torch.tensor([6.0, 6, 0, 0]), state.action, state.valid)
    outside = trained(far, action)
    assert outside.median() > 2 * inside.median()
    assert (outside > trained.threshold).float().mean() > 0.9


def test_members_learned_the_change(trained, held_out):
    """The members' mean explains most of the variance of what inertia leaves."""
    state, action = states(trained, held_out)
    windows = Windows(held_out, history=3, horizon=1)
    following = windows.gather(windows.present_frames).observation[STATE][:, -1]
    target = trained.space.delta(state, action, trained.space.normaliser.normalise(following))
    assert (trained.predict(state, action).mean(0) - target).square().mean() < 0.2 * target.square().mean()


def test_one_batched_call_is_row_by_row(trained, held_out):
    state, action = states(trained, held_out)
    some = torch.arange(5)
    together = trained(state.rows(some), action[some])
    alone = torch.cat([trained(state.rows(some[i : i + 1]), action[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    assert trained.predict(state, action).shape == (5, len(action), 2)


def with_scale(*scale):
    ensemble = DisagreementEnsemble(fitted_space(linear_system(3)), EnsembleConfig(members=2, hidden=(8,)))
    ensemble.scale.copy_(torch.tensor(scale))
    return ensemble


def test_robust_by_hand():
    """ln(1 + spread / scale), averaged: spreads of one scale give ln 2, of three scales ln 4, none gives 0."""
    found = with_scale(1.0, 10.0).robust(torch.tensor([[1.0, 10.0], [0.0, 10.0], [3.0, 30.0], [0.0, 0.0]]))
    assert found.tolist() == pytest.approx([math.log(2), math.log(2) / 2, math.log(4), 0])


def test_the_spread_is_the_standard_deviation():
    predictions = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spread(predictions), predictions.std(0))


def test_a_wild_dimension_cannot_dominate():
    """A spread a thousand times its scale counts like a handful of scales; what the other one says still adds up."""
    wild, both, modest = with_scale(1.0, 1.0).robust(torch.tensor([[1e3, 0.0], [1e3, 1.0], [31.0, 31.0]]))
    assert wild.item() == pytest.approx(math.log(1001) / 2)
    assert both.item() - wild.item() == pytest.approx(math.log(2) / 2, abs=1e-5)
    assert wild < modest


def test_calibration_with_a_heavy_tail():
    """One dimension explodes on 2 % of the windows: the threshold stays near what the others say."""

    class Members(torch.nn.Module):
        def __init__(self, values):
            super().__init__()
            self.values = values

        def forward(self, context):
            rows, self.values = self.values[:, : len(context)], self.values[:, len(context) :]
            return rows

    dataset = linear_system(20, length=26)  # 500 windows
    torch.manual_seed(0)
    ensemble = DisagreementEnsemble(fitted_space(dataset), EnsembleConfig(members=2, hidden=(8,), halt_quantile=0.95))
    spread = torch.rand(500, 2)
    wild = spread.clone()
    wild[::50, 0] = 1e6
    thresholds = []
    for values in (spread, wild):
        # Two members at ± s/√2 have a (sample) standard deviation of s.
        ensemble.network = Members(torch.stack([values, -values]) / math.sqrt(2))
        ensemble.calibrate(dataset)
        thresholds.append(ensemble.threshold.item())
    assert ensemble.scale.tolist() == pytest.approx([0.9, 0.9], abs=0.05), "the 90 % quantile of each dimension"
    assert thresholds[1] < 1.2 * thresholds[0]


def test_each_member_draws_from_its_own_bootstrap():
    """Episodes stand or fall together: every episode that a member sees, it sees whole."""
    dataset = linear_system(20, length=5)
    ensemble = DisagreementEnsemble(fitted_space(dataset), EnsembleConfig(members=3, hidden=(8,)))
    sampler = ensemble.bootstrap(dataset, seed=0)
    batch = sampler.sample(400, torch.Generator().manual_seed(0))
    assert len(batch.action) == 1200
    goals = batch.observation[STATE][:, 0, 2].view(3, 400)  # the goal names the episode
    members = [set(goals[i].tolist()) for i in range(3)]
    assert all(7 <= len(seen) <= 18 for seen in members), "about 63 % of 20 episodes"
    assert members[0] != members[1] != members[2]
    again = ensemble.bootstrap(dataset, seed=0).sample(400, torch.Generator().manual_seed(0))
    assert torch.equal(batch.action, again.action)
    presents = {tuple(row) for row in batch.observation[STATE][:400, 2].tolist()}
    assert len(presents) == 4 * len(members[0])


def test_before_calibration_nothing_is_beyond():
    ensemble = DisagreementEnsemble(fitted_space(linear_system(3)), EnsembleConfig(members=2, hidden=(8,)))
    assert ensemble.threshold.item() == math.inf
