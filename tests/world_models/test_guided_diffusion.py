"""Weights in the loss by hand, the noises that are members, and a deviation that grows where nothing was learned."""

import dataclasses

import pytest
import torch

from burnish.components import load, save
from burnish.data import Windows
from burnish.training import TrainingConfig, fit
from burnish.world_models import GuidedDiffusion, GuidedDiffusionConfig, WeightedWindows
from burnish.world_models.guided_diffusion import WeightedBatch
from tests.world_models.linear_system import fitted_space, linear_system

SMALL = GuidedDiffusionConfig(width=48, depth=2, rollout_steps=2, noises=3)


def untrained(scale=0.3, config=SMALL):
    dataset = linear_system(6, length=10)
    torch.manual_seed(0)
    model = GuidedDiffusion(fitted_space(dataset, frames=1), config).requires_grad_(False)
    for parameter in model.network.parameters():
        parameter.add_(scale * torch.randn_like(parameter))
    return model, dataset


def known(model, dataset, count=12):
    frames = torch.arange(count) % (dataset.lengths[0] - 1)
    return model.recorded(dataset).rows(frames), dataset.actions[frames]


def test_weights_multiply_each_transition_by_hand():
    """With all weights one it is the world model's own loss; a weight of zero leaves a transition out."""
    model, dataset = untrained()
    windows = Windows(dataset, 1, 2)
    batch = windows.gather(windows.present_frames[:8])

    def loss(weight):
        torch.manual_seed(3)
        return model.loss(batch if weight is None else WeightedBatch(batch, weight))[0]

    torch.testing.assert_close(loss(torch.ones(8, 2)), loss(None))
    each = torch.stack([loss(torch.eye(8)[row][:, None] * torch.tensor([1.0, 0.0])) for row in range(8)]) * 16
    torch.manual_seed(3)
    wrong, _ = model._errors(batch)
    torch.testing.assert_close(each, wrong[0].square().mean(1))
    weight = torch.rand(8, 2)
    by_hand = (weight * torch.stack([one.square().mean(1) for one in wrong], 1)).mean()
    torch.testing.assert_close(loss(weight), by_hand)


def test_windows_carry_the_weights_of_their_own_transitions():
    """The weight at frame f is that of the transition from f: of a window of two, those at its present and the next."""
    _, dataset = untrained()
    windows = WeightedWindows(dataset, 1, 2)
    assert torch.equal(windows.weight, torch.ones(60)) and len(windows.transitions) == 6 * 9
    windows.weight = torch.arange(60.0)
    drawn = windows.sample(40, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.weight[:, 1], drawn.weight[:, 0] + 1)
    present = drawn.weight[:, 0].long()
    assert torch.equal(drawn.windows.action[:, 0], dataset.actions[present]) and (present % 10 <= 7).all()


def test_members_are_noises():
    """A member's state is that of its noise, in every row; -1 is what `imagine` makes of the same generator's noise."""
    model, dataset = untrained()
    state, action = known(model, dataset)
    everyone = torch.full((12,), -1)
    deviation, fresh = model.predict_member(state, action, everyone, torch.Generator().manual_seed(5))
    again = model.imagine(state, action, torch.Generator().manual_seed(5))
    torch.testing.assert_close(fresh.observation, again.observation)
    outputs = []
    for member in range(3):
        spread, believed = model.predict_member(state, action, torch.full((12,), member), torch.Generator())
        torch.testing.assert_close(spread, deviation)
        start = model.noise[member].expand(12, -1)
        outputs.append(model._from_noise(state, action, start))
        torch.testing.assert_close(believed.observation, model.space.advance(state, action, outputs[-1]).observation)
    torch.testing.assert_close(deviation, torch.stack(outputs).std(0).square().mean(1).sqrt())
    torch.testing.assert_close(model(state, action), deviation)
    before = torch.get_rng_state()
    assert torch.equal(model(state, action), model(state, action)) and torch.equal(before, torch.get_rng_state())


def test_the_deviation_tells_what_is_random(tmp_path):
    """Where actions are large the system is noisy, where they are small it is not; thresholds from held-out data."""
    dataset = linear_system(60, seed=1, noise=0.0)
    noisy = dataset.actions[:-1].abs().amax(1) > 0.6
    generator = torch.Generator().manual_seed(0)
    key = next(iter(dataset.observations))
    state = dataset.observations[key].clone()
    state[1:, :2] += 0.1 * torch.randn(len(state) - 1, 2, generator=generator) * noisy[:, None]
    dataset = dataclasses.replace(dataset, observations={key: state})
    torch.manual_seed(0)
    model = GuidedDiffusion(fitted_space(dataset, frames=1), dataclasses.replace(SMALL, rollout_steps=1))
    training = TrainingConfig(steps=400, batch_size=128, learning_rate=3e-3)
    fit(model, WeightedWindows(dataset, 1, 1), training, tmp_path / "fit", 0)
    frames = WeightedWindows(dataset, 1, 1).present
    with torch.no_grad():
        deviation = model(model.recorded(dataset).rows(frames), dataset.actions[frames])
    ratio = deviation[noisy[frames]].mean() / deviation[~noisy[frames]].mean()
    assert ratio > 1.2
    found = model.calibrate(dataset)
    assert (deviation > model.threshold).float().mean().item() == pytest.approx(0.01, abs=0.005)
    assert found["median"] < found["threshold"]
    save(tmp_path / "saved", model)
    other = load(tmp_path / "saved", GuidedDiffusion)
    assert torch.equal(other.noise, model.noise) and torch.equal(other.threshold, model.threshold)
