"""The Gaussian policy against torch's own distribution, its bounds, and what behaviour cloning teaches it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.training import TrainingConfig, fit

CONFIG = GaussianPolicyConfig(hidden=(16, 16), min_std=0.1, max_std=1.0)


def make(config=CONFIG, seed=0, scale=0.5):
    """A policy with arbitrary weights; a fresh one has means near zero."""
    torch.manual_seed(seed)
    policy = GaussianPolicy(3, 2, config)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return policy


def test_log_prob_and_entropy_equal_torch():
    policy = make()
    features, trace = torch.randn(50, 3), 2 * torch.randn(50, 2)
    mean, std = policy.distribution(features)
    normal = torch.distributions.Normal(mean, std)
    found = policy.log_prob(features, trace)
    assert found.shape == (50, 1) and policy.step_weights.tolist() == policy.clip_scale.tolist() == [1]
    torch.testing.assert_close(found, normal.log_prob(trace).sum(-1, keepdim=True))
    torch.testing.assert_close(policy.entropy(features), normal.entropy().sum(-1))


def test_a_decision_brings_its_log_probability():
    policy, generator = make(), torch.Generator().manual_seed(0)
    features = torch.randn(9, policy.feature_dim, generator=generator)
    with torch.no_grad():
        first, second = (policy.act(features, False, generator) for _ in range(2))
        assert torch.equal(first.log_prob, policy.log_prob(features, first.trace))
        both = policy.log_probs(features, [first.trace, second.trace])
        assert torch.equal(both[0], first.log_prob) and torch.equal(both[1], second.log_prob)
        assert policy.act(features, True).log_prob is None


def test_loss_equals_torch():
    """Negative log-likelihood per action dimension."""
    policy = make()
    features, action = torch.randn(50, 3), torch.rand(50, 2) * 2 - 1
    mean, std = policy.distribution(features)
    loss, metrics = policy.loss((features, action))
    torch.testing.assert_close(loss, -torch.distributions.Normal(mean, std).log_prob(action).mean())
    torch.testing.assert_close(metrics["rmse"], (mean.clamp(-1, 1) - action).square().mean().sqrt())


@given(st.lists(st.floats(-1e8, 1e8, width=32), min_size=3, max_size=3), st.integers(0, 5))
def test_std_is_bounded(values, seed):
    """World4RL's conservative cap holds for any input and any weights."""
    policy = make(seed=seed, scale=3.0)
    mean, std = policy.distribution(torch.tensor([values]))
    assert (std >= 0.1 - 1e-6).all() and (std <= 1.0 + 1e-6).all()
    assert (mean.abs() <= GaussianPolicy.MEAN_LIMIT).all()


def test_deterministic_action_is_the_clipped_mean():
    policy = make(scale=2.0)
    features = torch.randn(200, 3)
    mean, _ = policy.distribution(features)
    assert (mean.abs() > 1).any(), "some means lie outside"
    decision = policy.act(features, deterministic=True)
    assert decision.action_chunk.shape == (200, 1, 2)
    assert torch.equal(decision.action_chunk[:, 0], mean.clamp(-1, 1))
    assert torch.equal(decision.trace, mean)


def test_samples_follow_the_distribution():
    policy = make()
    features = torch.randn(1, 3).expand(20_000, 3)
    decision = policy.act(features, generator=torch.Generator().manual_seed(0))
    mean, std = policy.distribution(features[:1])
    torch.testing.assert_close(decision.trace.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(decision.trace.std(0), std[0], atol=0.02, rtol=0.02)
    assert torch.equal(decision.action_chunk[:, 0], decision.trace.clamp(-1, 1)), "the trace is not clipped"
    assert (decision.trace.abs() > 1).any()


class Pairs:
    def __init__(self, features, actions):
        self.features, self.actions = features, actions

    def sample(self, batch_size, generator):
        index = torch.randint(len(self.features), (batch_size,), generator=generator)
        return self.features[index], self.actions[index]


def test_behaviour_cloning(tmp_path):
    """From noisy demonstrations a = (0.8 x₀, -0.5) + N(0, 0.2²): the means and the noise level are found."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(4000, 3, generator=generator) * 2 - 1
    mean = torch.stack([0.8 * features[:, 0], torch.full((4000,), -0.5)], dim=1)
    policy = make(GaussianPolicyConfig(hidden=(32,), min_std=0.05, max_std=1.0), scale=0.0)
    pairs = Pairs(features, mean + 0.2 * torch.randn(4000, 2, generator=generator))
    before = policy.loss((features, pairs.actions))[0].item()
    fit(policy, pairs, TrainingConfig(steps=600, batch_size=256, learning_rate=5e-3, log_every=200), tmp_path, seed=0)
    after = policy.loss((features, pairs.actions))[0].item()
    assert after < before
    ideal = 0.5 * math.log(2 * math.pi * math.e * 0.2**2)
    assert after == pytest.approx(ideal, abs=0.05)
    found, std = policy.distribution(features)
    assert (found - mean).abs().mean() < 0.04
    assert std.mean().item() == pytest.approx(0.2, abs=0.03)


def test_std_floor_in_cloning(tmp_path):
    """Deterministic demonstrations drive the standard deviation to its floor, not below, so exploration is left."""
    features = torch.rand(500, 3) * 2 - 1
    policy = make(scale=0.0)
    pairs = Pairs(features, torch.zeros(500, 2))
    fit(policy, pairs, TrainingConfig(steps=200, batch_size=128, learning_rate=1e-2, log_every=200), tmp_path, seed=0)
    _, std = policy.distribution(features)
    assert std.min() >= 0.1 and std.mean() < 0.15
