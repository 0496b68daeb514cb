"""The deterministic policy: bounded, normalised, and a Gaussian of fixed width where it explores."""

import pytest
import torch

from burnish.policies import TanhPolicy, TanhPolicyConfig


def make(chunk=1, std=0.1):
    torch.manual_seed(0)
    policy = TanhPolicy(3, 2, TanhPolicyConfig(chunk=chunk, hidden=(8,), std=std))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter))
    return policy


def test_it_acts_inside_the_bounds_and_without_noise():
    policy, features = make(chunk=2), 100 * torch.randn(50, 3)
    decision = policy.act(features, True, None)
    assert decision.action_chunk.shape == (50, 2, 2) and (decision.action_chunk.abs() <= 1).all()
    assert torch.equal(decision.trace, decision.action_chunk.flatten(1))


def test_features_are_normalised_by_its_own_statistics():
    policy, features = make(), torch.randn(50, 3)
    before = policy.action(features)
    policy.normaliser.fit(5 + 3 * features)
    mean, std = features.mean(0), features.std(0, correction=0)
    torch.testing.assert_close(policy.action(5 + 3 * (features * std + mean)), before, atol=1e-4, rtol=1e-4)


def test_noise_and_its_density():
    policy, features = make(chunk=2, std=0.3), torch.randn(4000, 3)
    trace = policy.act(features, False, torch.Generator().manual_seed(0)).trace
    normal = torch.distributions.Normal(policy.action(features), 0.3)
    assert float((trace - policy.action(features)).std().detach()) == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(policy.log_prob(features, trace), normal.log_prob(trace).sum(-1, keepdim=True))
    torch.testing.assert_close(policy.entropy(features), normal.entropy().sum(-1))


def test_loss_by_hand():
    policy, features, chunk = make(), torch.randn(5, 3), torch.rand(5, 1, 2)
    loss, metrics = policy.loss((features, chunk))
    torch.testing.assert_close(loss, (policy.action(features) - chunk[:, 0]).square().mean())
    torch.testing.assert_close(metrics["rmse"] ** 2, loss)
