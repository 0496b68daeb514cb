"""A2C: advantages and the loss by hand, the line search and the learning rate on known changes, a world to solve."""

import copy
import math

import pytest
import torch
from torch import nn

from burnish.errors import InputError
from burnish.imagination import imagined_evaluation
from burnish.policies import DiffusionPolicy, DiffusionPolicyConfig
from burnish.rl import A2C, A2CConfig, EnvExperience, Rollout
from tests.imagination.counter_world import make_env, start_states
from tests.rl.test_ppo import Scored, make_policy, rollout_of, same, weights


def column(*values):
    return torch.tensor(values).unsqueeze(1)


def test_advantages_by_hand():
    """Rewards 1, 0, 2 on the way through the slow critic's values 2, 4, 2 (and 6 at the cut), γ = λ = ½:
    δ = 1, -3, 3; A₂ = 3, A₁ = -3 + ¼ · 3 = -2.25, A₀ = 1 + ¼ · -2.25 = 0.4375; returns A + V."""
    a2c = A2C(make_policy(), 1, A2CConfig(gamma=0.5, lam=0.5))
    a2c.value = lambda features: features[..., 0]
    none, ends = torch.zeros(3, 1, 1), (column(False, False, False), column(False, False, True))
    value, following = column(2.0, 4.0, 2.0)[..., None], column(4.0, 2.0, 6.0)[..., None]
    returns, advantages = a2c._returns(Rollout(value, none, none, column(1.0, 0.0, 2.0), *ends, following))
    assert advantages.flatten().tolist() == [0.4375, -2.25, 3.0]
    assert returns.flatten().tolist() == [2.4375, 1.75, 5.0]


def of_scored(log_prob, **settings):
    """A2C of a policy whose log-probabilities are its parameters, and a rollout for it."""
    policy = Scored(log_prob, [1.0] * len(log_prob[0]), [1.0])
    policy.feature_dim, policy.begin_refinement = 1, lambda: None
    policy.trunk = lambda hidden, size: nn.Linear(1, size)
    none, ends = torch.zeros(len(log_prob), 1, 1), torch.ones(len(log_prob), 1, dtype=torch.bool)
    reward = torch.zeros(len(log_prob), 1)
    return A2C(policy, 1, A2CConfig(**settings)), Rollout(none, none, none, reward, ends, ~ends, none)


def test_the_policy_loss_by_hand():
    """Advantages 1 and 5 have mean 3 and standard deviation √8, so ∓1/√2; ln π = -1 and -3 (two scored steps, -1 and
    -2): the loss is -½ (-1/√2 · -1 + 1/√2 · -3) = 1/√2, less 0.1 times the entropy of 2.5."""
    a2c, rollout = of_scored([[-0.5, -0.5], [-1.0, -2.0]], entropy_weight=0.1)
    loss, log_prob = a2c._policy_loss(rollout, torch.tensor([[1.0], [5.0]]))
    assert loss.item() == pytest.approx(1 / math.sqrt(2) - 0.25)
    assert log_prob.tolist() == [[-0.5, -0.5], [-1.0, -2.0]]


@pytest.mark.parametrize(
    ("rate", "length", "trials"),
    [
        (0.011, 1.0, 0),  # within a fifth of 0.01
        (0.0195, 0.8**3, 3),  # 0.0195 → 0.0156 → 0.0125 → 0.00998
        (0.0051, 0.8**-3, 3),  # 0.0051 → 0.00638 → 0.00797 → 0.00996
        (0.001, 1.0, 0),  # longer steps would pass the first learning rate
    ],
    ids=["right", "long", "short", "limited"],
)
def test_the_line_search(rate, length, trials):
    """AdamW's first step moves each log-probability by the learning rate, whatever the gradient: Δ = length · rate."""
    a2c, rollout = of_scored([[-1.0], [-2.0]], policy_learning_rate=0.02 if rate > 0.001 else rate)
    a2c.learning_rate = rate
    metrics = a2c._policy_step(rollout, torch.tensor([[1.0], [5.0]]))
    assert metrics["change_proposed"] == pytest.approx(rate, rel=1e-3)
    assert metrics["change"] == pytest.approx(length * rate, rel=1e-3) and metrics["search_steps"] == trials
    moved = a2c.policy.values.detach() - torch.tensor([[-1.0], [-2.0]])
    assert moved.flatten().tolist() == pytest.approx([-length * rate, length * rate], rel=1e-3), "the taken step"
    assert metrics["learning_rate"] == pytest.approx(length * rate, rel=1e-3)


def test_the_learning_rate_goes_to_where_a_step_has_the_target_s_size():
    """A change of 0.04 where 0.01 is wanted: a rate four times too large, of which a tenth of the way is gone; smaller
    changes raise it, to the first one at most; a change of nothing says nothing."""
    a2c, _ = of_scored([[-1.0]], policy_learning_rate=3e-4, target_change=0.01, rate_adaptation=0.1)
    a2c._adapt(0.04)
    assert a2c.learning_rate == pytest.approx(3e-4 * 0.25**0.1)
    a2c._adapt(0.01)
    assert a2c.learning_rate == pytest.approx(3e-4 * 0.25**0.1)
    a2c._adapt(0.0)
    a2c._adapt(1e-6)
    assert a2c.learning_rate == pytest.approx(3e-4)


def test_every_update_has_the_target_s_size():
    """On a real policy: the mean |Δ log π| of a rollout's actions is within a fifth of the target."""
    policy = make_policy()
    a2c, rollout = A2C(policy, 1, A2CConfig(policy_learning_rate=0.1)), rollout_of(policy)
    flat = rollout.features.flatten(0, 1), rollout.trace.flatten(0, 1)
    for _ in range(3):
        before = policy.log_prob(*flat).detach()
        metrics = a2c.learn(rollout)
        change = float((policy.log_prob(*flat).detach() - before).abs().mean())
        assert change == pytest.approx(metrics["change"], rel=1e-4) and 0.008 <= change <= 0.012
    assert a2c.learning_rate < 0.1


def test_actions_of_its_own_have_a_standardised_deviation_of_one():
    policy = make_policy()
    found = A2C(policy, 1, A2CConfig()).learn(rollout_of(policy), policy_too=False)
    assert found["standardised_deviation"] == pytest.approx(1, abs=0.1)


def test_the_slow_critic_follows():
    a2c = A2C(make_policy(), 1, A2CConfig(slow_rate=0.25, critic_steps=1))
    before = weights(a2c.slow)
    a2c.learn(rollout_of(a2c.policy), policy_too=False)
    for name, parameter in a2c.slow.named_parameters():
        expected = 0.75 * before[name] + 0.25 * dict(a2c.critic.named_parameters())[name]
        torch.testing.assert_close(parameter, expected)


def test_warm_up_leaves_the_policy_alone():
    policy = make_policy()
    a2c, before = A2C(policy, 1, A2CConfig(critic_warmup=2)), weights(policy)
    experience, generator = EnvExperience(make_env(num_envs=16, horizon=8), 0), torch.Generator().manual_seed(0)
    for _ in range(2):
        assert "loss/policy" not in a2c.update(experience, generator)
    assert same(before, policy.state_dict())
    assert "loss/policy" in a2c.update(experience, generator)
    assert not same(before, policy.state_dict())


def test_a_restored_one_goes_on_with_the_same_bits():
    a2c, rollout = A2C(make_policy(), 1, A2CConfig(policy_learning_rate=0.01)), rollout_of(make_policy())
    for _ in range(2):
        a2c.learn(rollout)
    other = A2C(make_policy(seed=9), 1, A2CConfig(policy_learning_rate=0.01))
    other.load_state_dict(copy.deepcopy(a2c.state_dict()))
    for each in (a2c, other):
        each.learn(rollout)
    assert a2c.learning_rate == other.learning_rate
    for name in ("policy", "critic", "slow"):
        assert same(weights(getattr(a2c, name)), getattr(other, name).state_dict())


def test_it_solves_the_counter_world():
    """As PPO's test: a policy that stands still learns to walk to the goal, and the critic what that is worth."""
    policy = make_policy()
    env = make_env(num_envs=64, horizon=8, starts=start_states([0.0, 0.3, 0.6], share=0.3))
    judge = make_env(num_envs=16, horizon=10**9)
    starts = judge.starts.episode_starts(16)
    config = A2CConfig(
        gamma=0.95, policy_learning_rate=3e-2, target_change=0.05, value_learning_rate=3e-3, gradient_clip=10.0
    )
    a2c, experience = A2C(policy, 1, config), EnvExperience(env, 0)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score < 0.1
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        a2c.update(experience, generator)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score > 0.9
    near, far = a2c.value(torch.tensor([[0.8], [-1.0]])).tolist()
    assert near > 0.7 > far


def test_a_diffusion_policy_learns_too():
    torch.manual_seed(0)
    config = DiffusionPolicyConfig(chunk=1, denoising_steps=4, fine_tuned_steps=2, width=16, depth=1)
    a2c = A2C(DiffusionPolicy(1, 1, config), 1, A2CConfig(critic_warmup=0))
    before = weights(a2c.policy)
    found = a2c.update(EnvExperience(make_env(num_envs=16, horizon=8), 0), torch.Generator().manual_seed(0))
    assert not same(before, a2c.policy.state_dict()) and "standardised_deviation" not in found


def test_other_features_than_the_policy_reads():
    with pytest.raises(InputError, match="gives 2 features, the policy reads 1"):
        A2C(make_policy(), 2, A2CConfig())
