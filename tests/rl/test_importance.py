"""Importance weights: one for the same policy, fewer effective samples the further policies part, a known optimum."""

import copy
import math

import pytest
import torch

from burnish.policies import SquashedPolicy, SquashedPolicyConfig
from burnish.rl import WeightingConfig, importance_weights, log_ratios
from burnish.rl.importance import effective_share
from burnish.training import TrainingConfig, fit

FREE = WeightingConfig(clip=1e9, least_share=0.0)


class Constant(torch.nn.Module):
    """tanh(N(mean, std)) whatever the features: a squashed policy whose density is known."""

    def __init__(self, mean, std):
        super().__init__()
        self.policy = SquashedPolicy(1, 1, SquashedPolicyConfig(hidden=(4,)))
        self.policy.distribution = lambda x: (torch.full((len(x), 1), mean), torch.full((len(x), 1), std))


def constant(mean, std=0.5):
    return Constant(mean, std).policy


def recorded(count=20_000, mean=0.0, std=0.5, seed=0):
    """Actions of tanh(N(mean, std)), and features that say nothing."""
    generator = torch.Generator().manual_seed(seed)
    return torch.zeros(count, 1), (mean + std * torch.randn(count, 1, generator=generator)).tanh()


def test_by_hand():
    """Ratios 1, 2, 4, clipped at 2: 1, 2, 2, of mean 5/3; Kish's size is 25 / 9 of 3."""
    log_ratio = torch.tensor([1.0, 2.0, 4.0]).log()
    found = importance_weights(log_ratio, WeightingConfig(clip=2.0, least_share=0.0))
    assert found.weight.tolist() == pytest.approx([0.6, 1.2, 1.2])
    assert found.share.item() == pytest.approx(25 / 9 / 3) and found.exponent == 1
    found = importance_weights(log_ratio, FREE)
    assert found.weight.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    assert found.share.item() == pytest.approx(49 / 21 / 3)


def test_the_floor_by_hand():
    """Half of the ratios are r, half e²·r: the share is (1 + w)² / (2 + 2 w²) with w = e^2β, which is 0.9 at w = 2."""
    log_ratio = torch.tensor([-7.0, -5.0]).repeat(50)
    found = importance_weights(log_ratio, WeightingConfig(clip=1e9, least_share=0.9))
    assert found.share.item() == pytest.approx(0.9, abs=1e-4)
    assert found.exponent.item() == pytest.approx(math.log(2) / 2, abs=1e-4)
    assert found.weight[:2].tolist() == pytest.approx([2 / 3, 4 / 3], abs=1e-4)
    whole = importance_weights(log_ratio, WeightingConfig(clip=1e9, least_share=1.0))
    torch.testing.assert_close(whole.weight, torch.ones(100), atol=1e-3, rtol=0)


def test_the_same_policy_has_weights_of_one():
    torch.manual_seed(0)
    policy = SquashedPolicy(3, 2, SquashedPolicyConfig(hidden=(8,)))
    features, action = torch.randn(500, 3), torch.rand(500, 2) * 2 - 1
    found = importance_weights(log_ratios(policy, copy.deepcopy(policy), features, action), WeightingConfig())
    assert torch.equal(found.weight, torch.ones(500)) and found.share == 1 and found.exponent == 1


def test_fewer_effective_samples_the_further_they_part():
    """Of Gaussians δ apart, E w² = exp(δ²/σ²): the share is its inverse."""
    features, action = recorded()
    shares = []
    for shift in (0.0, 0.1, 0.25, 0.5, 1.0):
        found = importance_weights(log_ratios(constant(shift), constant(0.0), features, action), FREE)
        shares.append(found.share.item())
        if shift <= 0.5:
            assert found.share.item() == pytest.approx(math.exp(-((shift / 0.5) ** 2)), rel=0.1)
    assert shares == sorted(shares, reverse=True) and shares[0] == pytest.approx(1) and shares[-1] < 0.1


def test_the_clip_is_kept_and_the_floor_too():
    log_ratio = 5 * torch.randn(2000, generator=torch.Generator().manual_seed(0))
    found = importance_weights(log_ratio, WeightingConfig(clip=3.0, least_share=0.8))
    assert found.share.item() == pytest.approx(0.8, abs=1e-3) and 0 < found.exponent < 1
    assert found.weight.mean().item() == pytest.approx(1, rel=1e-5) and found.weight.isfinite().all()
    clipped = found.weight[log_ratio >= math.log(3)]
    assert len(clipped) > 100 and (clipped == found.weight.max()).all(), "all the same, and none is larger"


def test_not_even_a_policy_that_never_did_it_divides_by_zero():
    found = importance_weights(torch.full((10,), -1e4), WeightingConfig())
    torch.testing.assert_close(found.weight, torch.ones(10))
    assert effective_share(torch.tensor([0.0, -1e4])).item() == pytest.approx(0.5)


def test_the_weighted_optimum_is_the_target_policys():
    """A constant fitted to a² of tanh(N(0, ½)) by weighted squares is the mean of a² under tanh(N(0.6, ¼))."""
    features, action = recorded(200_000)
    found = importance_weights(log_ratios(constant(0.6, 0.25), constant(0.0), features, action), FREE)
    target = recorded(200_000, 0.6, 0.25, seed=1)[1].square().mean().item()
    plain = action.square().mean().item()
    constant_fit = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.SGD([constant_fit], lr=0.25)
    for _ in range(50):
        loss = (found.weight * (constant_fit - action[:, 0].square()).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(plain - target) > 0.05
    assert constant_fit.item() == pytest.approx(target, abs=0.01)


def test_a_fitted_behaviour_density_gives_the_true_weights(tmp_path):
    """π_b by maximum likelihood on the actions alone, in the place of the true one."""
    features, action = recorded(5000, 0.2, 0.4)

    class Pairs:
        def sample(self, batch_size, generator):
            drawn = torch.randint(len(action), (batch_size,), generator=generator)
            return features[drawn], action[drawn][:, None]

    torch.manual_seed(0)
    fitted = SquashedPolicy(1, 1, SquashedPolicyConfig(hidden=(8,)))
    fit(fitted, Pairs(), TrainingConfig(steps=400, batch_size=256, learning_rate=1e-2), tmp_path, 0)
    target = constant(0.4, 0.4)
    known, found = (
        importance_weights(log_ratios(target, base, features, action), FREE) for base in (constant(0.2, 0.4), fitted)
    )
    assert found.share.item() == pytest.approx(known.share.item(), abs=0.05)
    assert torch.corrcoef(torch.stack([known.weight, found.weight]))[0, 1] > 0.99
