"""The squashed Gaussian: a density over actions that is one, gradients of samples, recorded actions at the border."""

import math

import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from burnish.policies import SquashedPolicy, SquashedPolicyConfig
from burnish.policies.squashed import squashed_log_prob
from burnish.training import TrainingConfig, fit


def policy(actions=2, seed=0, **settings):
    torch.manual_seed(seed)
    made = SquashedPolicy(3, actions, SquashedPolicyConfig(hidden=(8,), **settings))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_the_density_is_that_of_the_squashed_variable():
    made, features = policy(), torch.randn(50, 3)
    raw = 4 * torch.rand(50, 2) - 2
    mean, std = made.distribution(features)
    expected = TransformedDistribution(Normal(mean, std), TanhTransform()).log_prob(raw.tanh()).sum(-1)
    torch.testing.assert_close(made.log_prob(features, raw)[:, 0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.density(features, raw.tanh()), expected, atol=1e-3, rtol=1e-3)


def test_a_decision_brings_its_log_probability():
    made, features = policy(), torch.randn(5, 3)
    with torch.no_grad():
        decision = made.act(features, False, torch.Generator().manual_seed(0))
        assert torch.equal(decision.log_prob, made.log_prob(features, decision.trace))


def test_by_hand_at_the_middle_and_far_out():
    """u = 0 under N(0, 1): ln 1/√2π, and nothing is stretched. u = 20: 1 - tanh² u = 4 e^-40, far below rounding."""
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    assert squashed_log_prob(zero, zero, one).item() == pytest.approx(-0.5 * math.log(2 * math.pi))
    far = squashed_log_prob(20 * one, zero, one).item()
    assert far == pytest.approx(-200 - 0.5 * math.log(2 * math.pi) - math.log(4) + 40, rel=1e-5)


def test_the_density_integrates_to_one():
    made = policy(actions=1, max_std=0.5)
    action = torch.linspace(-0.9989, 0.9989, 20001)[:, None]
    density = made.density(torch.randn(1, 3).expand(len(action), 3), action).exp()
    assert torch.trapezoid(density, action[:, 0]).item() == pytest.approx(1, abs=0.02)


def test_actions_at_the_border_have_a_density():
    made = policy()
    found = made.density(torch.randn(2, 3), torch.tensor([[1.0, -1.0], [0.0, 1.0]]))
    assert found.isfinite().all()


def test_samples_carry_gradients():
    """d a / d μ = 1 - a², for every sample."""
    made, features = policy(), torch.randn(4, 3)
    mean, std = (each.detach().requires_grad_(True) for each in made.distribution(features))
    made.distribution = lambda features: (mean, std)
    action, log_prob = made.explore(features, torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(action.sum(), mean, retain_graph=True)
    torch.testing.assert_close(slope, 1 - action.detach() ** 2)
    raw = action.detach().double().atanh().float()
    torch.testing.assert_close(log_prob, squashed_log_prob(raw, mean, std), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(made.executed(raw), action)


def test_maximum_likelihood_finds_mean_and_width(tmp_path):
    """Of actions tanh(0.5 + 0.3 n), whatever the features."""

    class Pairs:
        def sample(self, batch_size, generator):
            noise = torch.randn(batch_size, 1, 1, generator=generator)
            return torch.randn(batch_size, 3, generator=generator), (0.5 + 0.3 * noise).tanh()

    made = policy(actions=1)
    fit(made, Pairs(), TrainingConfig(steps=300, batch_size=256, learning_rate=1e-2), tmp_path, 0)
    mean, std = made.distribution(torch.randn(100, 3))
    assert mean.mean().item() == pytest.approx(0.5, abs=0.05) and std.mean().item() == pytest.approx(0.3, abs=0.05)
