"""The diffusion world model: EDM's identities, and what it learns of a system whose law is known."""

import dataclasses
import math

import pytest
import torch

from burnish.data import STATE, Windows
from burnish.networks import preconditioning
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    DiffusionConfig,
    DiffusionWorldModel,
    SamplerConfig,
)
from tests.world_models.linear_system import fitted_space, linear_system, positions

SMALL = DiffusionConfig(width=64, depth=2, rollout_steps=2, sampler=SamplerConfig(steps=3))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of the linear system, trained for a few seconds."""
    dataset = linear_system(60, seed=1, bend=0.02)
    torch.manual_seed(0)
    model = DiffusionWorldModel(fitted_space(dataset), SMALL)
    config = TrainingConfig(steps=500, batch_size=128, learning_rate=3e-3, log_every=100)
    metrics = fit(model, Windows(dataset, history=3, horizon=2), config, tmp_path_factory.mktemp("model"), seed=0)
    assert math.isfinite(metrics["loss"])
    return model.requires_grad_(False)


def untrained(config=SMALL, scale=0.3):
    """A model with arbitrary weights: at birth its network outputs zero."""
    dataset = linear_system(4, length=10)
    torch.manual_seed(0)
    model = DiffusionWorldModel(fitted_space(dataset), config).requires_grad_(False)
    for parameter in model.network.parameters():
        parameter.add_(scale * torch.randn_like(parameter))
    return model, dataset


def batch_state(model, dataset, count=16, horizon=1):
    windows = Windows(dataset, history=model.space.config.frames, horizon=horizon)
    batch = windows.gather(windows.present_frames[:count])
    return batch, model.space.window_state(batch)


# EDM, Table 1 ------------------------------------------------------------------------------------------------------


def test_preconditioning_by_hand():
    """At σ = σ_data = 1/2: c_skip 1/2, c_out (1/4)/√(1/2), c_in 1/√(1/2), c_noise ln(1/2)/4."""
    found = [float(c) for c in preconditioning(torch.tensor(0.5), 0.5)]
    assert found == pytest.approx([0.5, 0.25 * math.sqrt(2), math.sqrt(2), math.log(0.5) / 4])
    # σ = 3, σ_data = 4: √(9 + 16) = 5.
    found = [float(c) for c in preconditioning(torch.tensor(3.0), 4.0)]
    assert found == pytest.approx([16 / 25, 12 / 5, 1 / 5, math.log(3) / 4])


@pytest.mark.parametrize("sigma_data", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sigma", [1e-3, 0.02, 0.7, 5.0, 80.0])
def test_preconditioning_keeps_unit_variances(sigma, sigma_data):
    """EDM's requirements: the network's input and its target have variance one at every noise level."""
    c_skip, c_out, c_in, _ = (c.item() for c in preconditioning(torch.tensor(sigma, dtype=torch.float64), sigma_data))
    assert c_in**2 * (sigma**2 + sigma_data**2) == pytest.approx(1)
    assert ((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * sigma**2) / c_out**2 == pytest.approx(1)


def test_a_silent_network_gives_the_skip_path():
    """F = 0 at birth, so D(x; σ) = c_skip x: 4/5 x at σ = 1/2 (σ_data = 1)."""
    model = DiffusionWorldModel(fitted_space(linear_system(3)), SMALL)
    x, context = torch.randn(5, 2), model.network.embed_context(torch.randn(5, model.space.context_dim))
    torch.testing.assert_close(model.denoise(x, torch.full((1, 1), 0.5), context), 0.8 * x)
    torch.testing.assert_close(model.denoise(x, torch.full((5, 1), 1.0), context), 0.5 * x)


# The contract ------------------------------------------------------------------------------------------------------


def test_carried_dimensions_stay_exactly():
    model, dataset = untrained()
    _, state = batch_state(model, dataset)
    begin = state.observation[:, -1].clone()
    for step in range(20):
        state = model.imagine(state, torch.rand(len(begin), 2) * 2 - 1, torch.Generator().manual_seed(step))
    assert torch.equal(state.observation[:, -1, 2:], begin[:, 2:])
    assert not torch.equal(state.observation[:, -1, :2], begin[:, :2])
    assert state.observation.isfinite().all()
    everything = dataset.observations[STATE][:, :2]
    low, high = everything.amin(0), everything.amax(0)
    margin = 0.1 * (high - low) + 1e-4
    reached = positions(state, model.space)[:, :2]
    assert (reached >= low - margin).all() and (reached <= high + margin).all()


def test_imagination_pushes_the_history():
    model, dataset = untrained()
    _, state = batch_state(model, dataset)
    action = torch.rand(len(state.action), 2)
    following = model.imagine(state, action, torch.Generator().manual_seed(0))
    assert torch.equal(following.observation[:, :-1], state.observation[:, 1:])
    assert torch.equal(following.action[:, -2], action) and (following.action[:, -1] == 0).all()
    assert torch.equal(following.valid[:, :-1], state.valid[:, 1:]) and following.valid[:, -1].all()
    assert model.features(following).shape == (len(action), model.feature_dim)


def test_the_generator_decides():
    model, dataset = untrained()
    _, state = batch_state(model, dataset)
    action = torch.zeros(len(state.action), 2)

    def imagine(seed):
        return model.imagine(state, action, torch.Generator().manual_seed(seed)).observation

    assert torch.equal(imagine(0), imagine(0))
    assert not torch.equal(imagine(0), imagine(1))


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("encoding", ["two_hot", "one_hot", "linear", "dct", "vq"])
def test_loss_is_finite_with_padded_windows(frames, encoding):
    """Every window of short episodes, most of them padded."""
    dataset = linear_system(5, length=4)
    torch.manual_seed(0)
    model = DiffusionWorldModel(fitted_space(dataset, frames=frames, action_encoding=encoding), SMALL)
    windows = Windows(dataset, history=frames, horizon=2)
    loss, metrics = model.loss(windows.gather(windows.present_frames))
    loss.backward()
    assert loss.isfinite() and all(torch.isfinite(torch.as_tensor(value)) for value in metrics.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_silent_network_has_a_loss_of_one():
    """The network's target has variance one at every noise level, if the changes are standardised."""
    dataset = linear_system(200)
    torch.manual_seed(0)
    model = DiffusionWorldModel(fitted_space(dataset), DiffusionConfig(width=16, depth=1, rollout_steps=1))
    batch, _ = batch_state(model, dataset, count=10_000)
    assert model.loss(batch)[0].item() == pytest.approx(1, abs=0.05)


def test_each_predicted_frame_has_its_own_action_and_target():
    """Of a window's three last frames, the first prediction reads one action and one frame, the second the next."""
    model, dataset = untrained()
    batch, _ = batch_state(model, dataset, horizon=2)

    def losses(**changes):
        torch.manual_seed(0)
        _, metrics = model.loss(dataclasses.replace(batch, **changes))
        return metrics["loss_first"].item(), metrics["loss_last"].item()

    first, last = losses()
    for position, moved in ((2, (True, True)), (3, (False, True)), (4, (False, False))):
        action = batch.action.clone()
        action[:, position] = 0.9
        found = losses(action=action)
        assert (found[0] != first, found[1] != last) == moved, position
    following = batch.observation[STATE].clone()
    following[:, 4, :2] += 0.1
    found = losses(observation={STATE: following})
    assert found[0] == first and found[1] != last


def test_windows_must_reach_as_far_as_the_rollout():
    dataset = linear_system(3)
    model = DiffusionWorldModel(fitted_space(dataset), DiffusionConfig(width=16, depth=1, rollout_steps=3))
    batch, _ = batch_state(model, dataset, horizon=2)
    with pytest.raises(ValueError, match="rollout_steps"):
        model.loss(batch)


# What it learns ----------------------------------------------------------------------------------------------------


def test_open_loop_prediction_beats_holding(trained):
    """Ten steps ahead the error is at most a third of that of holding the last frame."""
    batch, state = batch_state(trained, linear_system(20, seed=7, bend=0.02), count=10_000, horizon=10)
    generator = torch.Generator().manual_seed(0)
    for step in range(10):
        state = trained.imagine(state, batch.action[:, 2 + step], generator)
    truth, begin = batch.observation[STATE][:, -1, :2], batch.observation[STATE][:, 2, :2]
    error = (positions(state, trained.space)[:, :2] - truth).norm(dim=1)
    hold = (begin - truth).norm(dim=1)
    assert error.mean() < hold.mean() / 3


@pytest.mark.parametrize("dim", [0, 1])
def test_actions_are_followed(trained, dim):
    """Five pushes of ±0.8 move a dimension by ±0.4 and leave the other one where it is."""
    _, state = batch_state(trained, linear_system(40, seed=8, bend=0.02), count=10_000)
    begin = positions(state, trained.space)
    central = (begin[:, :2].abs() < 0.5).all(1)
    state, begin = state.rows(central), begin[central]
    moves = {}
    for sign in (-1, 1):
        action = torch.zeros(len(begin), 2)
        action[:, dim] = 0.8 * sign
        reached, generator = state, torch.Generator().manual_seed(0)
        for _ in range(5):
            reached = trained.imagine(reached, action, generator)
        moves[sign] = (positions(reached, trained.space) - begin)[:, :2].mean(0)
    assert moves[1][dim].item() == pytest.approx(0.4, abs=0.12)
    assert moves[-1][dim].item() == pytest.approx(-0.4, abs=0.12)
    assert moves[1][1 - dim].item() == pytest.approx(0, abs=0.12)


def test_training_lowers_the_loss(trained):
    batch, _ = batch_state(trained, linear_system(20, seed=7, bend=0.02), count=400, horizon=2)
    fresh = DiffusionWorldModel(trained.space, SMALL)
    torch.manual_seed(0)
    before = fresh.loss(batch)[0]
    torch.manual_seed(0)
    assert trained.loss(batch)[0] < 0.5 * before
