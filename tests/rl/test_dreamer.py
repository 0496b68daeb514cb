"""Dreamer's actor-critic: λ-returns, the policy's loss and the range by hand; slow critic, a world to solve."""

import copy
from types import SimpleNamespace

import pytest
import torch

from burnish.errors import InputError
from burnish.imagination import imagined_evaluation
from burnish.policies import DiffusionPolicy, DiffusionPolicyConfig
from burnish.rl import Dreamer, DreamerConfig, EnvExperience, Rollout
from tests.imagination.counter_world import make_env, start_states
from tests.rl.test_ppo import Scored, make_policy, rollout_of, same, weights


def column(*values):
    return torch.tensor(values).unsqueeze(1)


def drawing():
    return torch.Generator().manual_seed(0)


def by_hand(terminated=(False,) * 3, truncated=(False,) * 3):
    """Rewards 1, 0, 2 on the way through values 2, 4, 2 (and 6 at the end), with γ = λ = ½."""
    dreamer = Dreamer(make_policy(), 1, DreamerConfig(gamma=0.5, lam=0.5))
    dreamer.value = lambda features: features[..., 0]
    none = torch.zeros(3, 1, 1)
    value, following = column(2.0, 4.0, 2.0)[..., None], column(4.0, 2.0, 6.0)[..., None]
    ends = column(*terminated), column(*truncated)
    returns, advantages = dreamer._returns(Rollout(value, none, none, column(1.0, 0.0, 2.0), *ends, following))
    torch.testing.assert_close(returns - advantages, value[..., 0])
    return returns.flatten().tolist()


def test_lambda_returns_by_hand():
    """R₂ = 2 + ½·6 = 5, R₁ = 0 + ½ (½·2 + ½·5) = 1.75, R₀ = 1 + ½ (½·4 + ½·1.75) = 2.4375."""
    assert by_hand() == [2.4375, 1.75, 5.0]


def test_lambda_returns_at_an_end_and_at_a_cut():
    """An end at the second step: R₁ = 0, R₀ = 1 + ½ (½·4). A cut: R₁ = ½·2, R₀ = 1 + ½ (½·4 + ½·1)."""
    assert by_hand(terminated=(False, True, False)) == [2.0, 0.0, 5.0]
    assert by_hand(truncated=(False, True, False)) == [2.25, 1.0, 5.0]


def test_the_policy_loss_by_hand():
    """Two scored steps of log-probabilities -1 and -3, weights 1 and ½: ln π = -2.5. Advantage 6 over a range of 4,
    less 0.1 times the entropy of 2.5; and a range below 1 magnifies nothing."""
    policy = Scored([[-1.0, -3.0]], [1.0, 0.5], [1.0, 1.0])
    policy.feature_dim, policy.begin_refinement = 1, lambda: None
    policy.trunk = lambda hidden, size: torch.nn.Linear(1, size)
    dreamer = Dreamer(policy, 1, DreamerConfig(entropy_weight=0.1))
    none = torch.zeros(1, 1, 1)
    rollout = Rollout(none, none, none, column(0.0), column(False), column(False), none)
    for size, expected in ((4.0, 1.5 * 2.5 - 0.25), (0.01, 6 * 2.5 - 0.25)):
        dreamer.range = torch.tensor(size)
        loss, metrics = dreamer._policy_loss(rollout, column(6.0), drawing())
        assert loss.item() == pytest.approx(expected)
        assert "loss/anchor" not in metrics


def test_the_anchor_by_hand():
    """-ln π of what the pretrained policy does is 3, at a weight of 0.1; all else as above, without entropy."""
    policy = Scored([[-1.0, -3.0]], [1.0, 0.5], [1.0, 1.0], anchor_log_prob=-3.0)
    policy.feature_dim, policy.begin_refinement = 1, lambda: None
    policy.trunk = lambda hidden, size: torch.nn.Linear(1, size)
    dreamer = Dreamer(policy, 1, DreamerConfig(entropy_weight=0.0, anchor_weight=0.1))
    dreamer.base.act = lambda features, deterministic, generator: SimpleNamespace(trace=torch.full((1, 1), 7.0))
    none = torch.zeros(1, 1, 1)
    rollout = Rollout(none, none, none, column(0.0), column(False), column(False), none)
    loss, metrics = dreamer._policy_loss(rollout, column(6.0), drawing())
    assert metrics["loss/anchor"].item() == pytest.approx(3.0)
    assert loss.item() == pytest.approx(6 * 2.5 + 0.1 * 3)


def test_the_anchor_holds_the_policy_where_it_began():
    """The world's reward drives it off; a heavy anchor, and the pretrained policy as it was, keep it there."""

    def strayed(weight):
        policy = make_policy()
        before, config = (
            weights(policy),
            DreamerConfig(critic_warmup=0, policy_learning_rate=1e-2, anchor_weight=weight),
        )
        dreamer, generator = Dreamer(policy, 1, config), drawing()
        experience, features = EnvExperience(make_env(num_envs=32, horizon=8), 0), torch.linspace(-1, 1, 9)[:, None]
        first = dreamer.base.act(features, True, None).action_chunk
        for _ in range(10):
            dreamer.update(experience, generator)
        assert same(before, dreamer.base.state_dict())
        return (policy.act(features, True, None).action_chunk - first).abs().mean().item()

    held, free = strayed(10.0), strayed(0.0)
    assert held < 0.2 * free


def test_the_range_is_a_moving_average_between_percentiles():
    """Of 0 … 100 from the 5th to the 95th: 90. Then a range of 9: 0.75 · 90 + 0.25 · 9."""
    dreamer = Dreamer(make_policy(), 1, DreamerConfig(range_decay=0.75))
    dreamer.updates = 1
    dreamer._measure_range(torch.arange(101.0))
    assert dreamer.range.item() == pytest.approx(90)
    dreamer.updates = 2
    dreamer._measure_range(torch.arange(101.0) / 10)
    assert dreamer.range.item() == pytest.approx(0.75 * 90 + 0.25 * 9)


def test_the_critic_knows_nothing_at_first_and_its_copy_follows():
    dreamer = Dreamer(make_policy(), 1, DreamerConfig(slow_rate=0.25, critic_steps=1))
    assert (dreamer.value(torch.randn(5, 1)) == 0).all()
    before = weights(dreamer.slow)
    dreamer.learn(rollout_of(dreamer.policy), drawing())
    for name, parameter in dreamer.slow.named_parameters():
        expected = 0.75 * before[name] + 0.25 * dict(dreamer.critic.named_parameters())[name]
        torch.testing.assert_close(parameter, expected)


def test_warm_up_leaves_the_policy_alone():
    policy = make_policy()
    dreamer, before = Dreamer(policy, 1, DreamerConfig(critic_warmup=2)), weights(policy)
    experience, generator = EnvExperience(make_env(num_envs=16, horizon=8), 0), torch.Generator().manual_seed(0)
    for _ in range(2):
        assert "loss/policy" not in dreamer.update(experience, generator)
    assert same(before, policy.state_dict())
    assert "loss/policy" in dreamer.update(experience, generator)
    assert not same(before, policy.state_dict())


def test_a_restored_one_goes_on_with_the_same_bits():
    config = DreamerConfig(anchor_weight=0.1)
    dreamer, rollout = Dreamer(make_policy(), 1, config), rollout_of(make_policy())
    for _ in range(2):
        dreamer.updates += 1
        dreamer.learn(rollout, drawing())
    other = Dreamer(make_policy(seed=9), 1, config)
    other.load_state_dict(copy.deepcopy(dreamer.state_dict()))
    for each in (dreamer, other):
        each.updates += 1
        each.learn(rollout, drawing())
    assert dreamer.range == other.range
    for name in ("policy", "base", "critic", "slow"):
        assert same(weights(getattr(dreamer, name)), getattr(other, name).state_dict())


def test_it_solves_the_counter_world():
    """As PPO's test: a policy that stands still learns to walk to the goal, and the critic what that is worth."""
    policy = make_policy()
    env = make_env(num_envs=64, horizon=8, starts=start_states([0.0, 0.3, 0.6], share=0.3))
    judge = make_env(num_envs=16, horizon=10**9)
    starts = judge.starts.episode_starts(16)
    config = DreamerConfig(gamma=0.95, policy_learning_rate=3e-3, value_learning_rate=3e-3, critic_warmup=10)
    dreamer, experience = Dreamer(policy, 1, config), EnvExperience(env, 0)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score < 0.1
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        dreamer.update(experience, generator)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score > 0.9
    near, far = dreamer.value(torch.tensor([[0.8], [-1.0]])).tolist()
    assert near > 0.7 > far


def test_a_diffusion_policy_learns_too():
    torch.manual_seed(0)
    config = DiffusionPolicyConfig(chunk=1, denoising_steps=4, fine_tuned_steps=2, width=16, depth=1)
    dreamer = Dreamer(DiffusionPolicy(1, 1, config), 1, DreamerConfig(critic_warmup=0))
    before = weights(dreamer.policy)
    dreamer.update(EnvExperience(make_env(num_envs=16, horizon=8), 0), torch.Generator().manual_seed(0))
    assert not same(before, dreamer.policy.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"bins": 10}, "dreamer.bins is 10"), ({"percentiles": (0.9, 0.1)}, "expected the lower one first")],
    ids=["even", "turned"],
)
def test_impossible_settings(settings, message):
    with pytest.raises(InputError, match=message):
        DreamerConfig(**settings)


def test_other_features_than_the_policy_reads():
    with pytest.raises(InputError, match="gives 2 features, the policy reads 1"):
        Dreamer(make_policy(), 2, DreamerConfig())
