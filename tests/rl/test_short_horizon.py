"""Short-horizon actor-critic: its return by hand at every kind of end, entropy, explosions, a world to solve."""

import math

import pytest
import torch

from burnish.errors import InputError, RunError
from burnish.imagination import imagined_evaluation
from burnish.policies import SquashedPolicy, SquashedPolicyConfig
from burnish.rewards import Outcome
from burnish.rl import (
    DifferentiableExperience,
    GradientsAlong,
    Judgement,
    RefineConfig,
    Rollout,
    ShortHorizon,
    ShortHorizonConfig,
    refine,
)
from tests.imagination.counter_world import at, make_env, start_states
from tests.rl.test_ppo import same, weights

SMALL = ShortHorizonConfig(
    rollout_steps=4, critic_warmup=2, critic_iterations=2, critic_hidden=(16,), policy_learning_rate=3e-3, entropy=0.0
)


def make_policy(features=1, actions=1):
    torch.manual_seed(0)
    return SquashedPolicy(features, actions, SquashedPolicyConfig(hidden=(8,), max_std=0.5))


def learner(**changes):
    return ShortHorizon(make_policy(), 1, ShortHorizonConfig(**{**vars(SMALL), **changes}))


def column(*values):
    return torch.tensor(values).unsqueeze(1)


def by_hand(terminated=(False,) * 3, truncated=(False,) * 3, **changes):
    """The policy's loss of rewards 1, 0, 2 on the way to places of value 4, 2, 6, with γ = ½, times -3."""
    found = learner(gamma=0.5, **changes)
    found.value = lambda features: features[..., 0]
    found._each = lambda features: features[..., 0].expand(2, *features.shape[:-1])
    none = torch.zeros(3, 1, 1)
    value, following = column(2.0, 4.0, 2.0)[..., None], column(4.0, 2.0, 6.0)[..., None]
    ends = column(*terminated), column(*truncated)
    rollout = Rollout(value, none, none - 1.5, column(1.0, 0.0, 2.0), *ends, following)
    return -3 * float(found._policy_loss(rollout)), found._returns(found._columns(rollout)).flatten().tolist()


def test_the_return_by_hand():
    """1 + ½·0 + ¼·2 + ⅛·6 = 2.25; λ-returns with λ = 1 are the critics' targets."""
    assert by_hand(lam=1.0) == (pytest.approx(2.25), [2.25, 2.5, 5.0])


def test_an_end_is_worth_nothing_more_and_the_discount_begins_anew():
    """Ended by the second step: 1 + ½·0, then 2 + ½·6."""
    assert by_hand(terminated=(False, True, False))[0] == pytest.approx(1 + 5)
    assert by_hand(terminated=(False, False, True))[0] == pytest.approx(1 + 0.25 * 2)


def test_a_cut_is_worth_where_it_led():
    """Cut after the second step, at a place of value 2: 1 + ½·(0 + ½·2), then 2 + ½·6."""
    assert by_hand(truncated=(False, True, False))[0] == pytest.approx(1.5 + 5)


def test_an_end_has_the_gradient_of_its_chance():
    """With c₂ = 0 forward: ∂/∂c₂ of the return is ½·½·(value 2 of where it led), as ∂/∂c₁ is ½·(0 + 0); c₃ goes on to
    the value 6 with the discount begun anew: ½·6. Without an end in between, c₁ counts all that follows: ½·(0 + ½·2 +
    ¼·6)."""
    for ended, expected in ((True, [0.0, 0.5, 3.0]), (False, [1.25, 1.25, 0.75])):
        found = learner(gamma=0.5)
        found.value = lambda features: features[..., 0]
        none = torch.zeros(3, 1, 1)
        ends = column(False, ended, False)
        goes_on = (~ends).float().requires_grad_(True)
        following = column(4.0, 2.0, 6.0)[..., None]
        rollout = Rollout(none, none, none, column(1.0, 0.0, 2.0), ends, ends & False, following, goes_on=goes_on)
        (gradient,) = torch.autograd.grad(-3 * found._policy_loss(rollout), goes_on)
        assert gradient.flatten().tolist() == pytest.approx(expected)


def test_entropy_above_its_target_counts():
    """-ln π is 1.5 in each decision and the target 0.5 (of one number): 0.1 · 1 more each, discounted."""
    total, _ = by_hand(entropy=0.1, target_entropy=0.5)
    assert total == pytest.approx(2.25 + 0.1 * (1 + 0.5 + 0.25), rel=1e-5)


def test_the_weight_of_entropy_follows_its_target():
    for target, grows in ((5.0, True), (-5.0, False)):
        found = learner(entropy=0.1, target_entropy=target, critic_warmup=0)
        env = make_env(num_envs=8, horizon=3, starts=start_states([0.0, 0.3], share=0.5), reward=Near())
        found.update(DifferentiableExperience(env, 0), torch.Generator().manual_seed(0))
        assert (found.alpha > 0.1) == grows
        assert found.alpha.item() == pytest.approx(0.1 * math.exp(0.05 if grows else -0.05), rel=1e-3)


class Near:
    """Minus the squared distance from 0.75."""

    def __call__(self, state, action, following):
        away = (following.position[:, 0] - 0.75).square()
        return Outcome(-away, torch.zeros_like(away, dtype=torch.bool))


def environment(seed=0):
    return make_env(num_envs=32, horizon=6, starts=start_states([-0.2, 0.0, 0.3], share=0.5), reward=Near(), seed=seed)


def score(policy):
    env = make_env(num_envs=3, horizon=100, reward=Near())
    return imagined_evaluation(env, policy, at(-0.2, 0.0, 0.3), 6, 0).score


def test_it_solves_a_world_by_the_world_s_own_gradients():
    found, generator = learner(), torch.Generator().manual_seed(0)
    experience = found.experience(environment(), 0)
    before = score(found.policy)
    for _ in range(60):
        metrics = found.update(experience, generator)
    assert score(found.policy) > 0.35 * before, (before, score(found.policy))
    assert metrics["gradient/left_out"] == 0 and metrics["gradient/not_finite"] == 0 and metrics["gradient/first"] > 0


def test_rewards_are_counted_in_a_unit():
    """Of the first rollout that earns anything, with γ = ¾ (four decisions that count): twelve rewards of 1, 0, 2 have
    a mean size of 1, so 4; later ones change nothing, and a loss by hand is a quarter."""
    found = learner(gamma=0.75, critic_warmup=0)
    none = torch.zeros(3, 4, 1, requires_grad=True)
    ends = torch.zeros(3, 4, dtype=torch.bool)
    features = torch.zeros(3, 4, 1)

    def earning(*rewards):
        rows = torch.tensor(rewards)[:, None].expand(3, 4) + 0 * none[..., 0]
        return Rollout(features, none.detach(), none - 1.0, rows, ends, ends, features)

    found._take_unit(earning(0.0, 0.0, 0.0))
    assert found.unit is None
    for rewards in ((1.0, 0.0, -2.0), (100.0, 0.0, 0.0)):
        found._take_unit(earning(*rewards))
        assert found.unit == 4
    found.value = lambda features: features[..., 0]
    assert -3 * found._policy_loss(earning(4.0, 0.0, 0.0)).item() == pytest.approx(1)
    again = learner(gamma=0.75)
    again.load_state_dict(found.state_dict())
    assert again.unit == 4


def test_warm_up_and_the_target_critics():
    found, generator = learner(slow_rate=0.25), torch.Generator().manual_seed(0)
    experience, before = found.experience(environment(), 0), weights(found.policy)
    slow = weights(found.slow)
    found.update(experience, generator)
    for name, parameter in found.slow.named_parameters():
        torch.testing.assert_close(parameter, 0.75 * slow[name] + 0.25 * dict(found.critics.named_parameters())[name])
    found.update(experience, generator)
    assert same(before, found.policy.state_dict())
    found.update(experience, generator)
    assert not same(before, found.policy.state_dict())


def test_the_policy_s_rate_falls_on_a_line():
    found, generator = learner(policy_learning_rate=8e-3, policy_rate_falls=4), torch.Generator().manual_seed(0)
    experience, rates = found.experience(environment(), 0), []
    for _ in range(8):
        found.update(experience, generator)
        rates.append(found.policy_optimizer.param_groups[0]["lr"])
    # Two updates of warm-up, four on the line, and a twentieth after them.
    assert rates == pytest.approx([8e-3, 8e-3, 8e-3, 6e-3, 4e-3, 2e-3, 4e-4, 4e-4])
    again = learner(policy_learning_rate=8e-3, policy_rate_falls=4)
    again.load_state_dict(found.state_dict())
    assert again.policy_rate == found.policy_rate


def test_an_exploded_step_is_left_out_and_counted_then_refused_with_its_place():
    """The gradient of the third reward overflows; every decision before it receives that."""
    found = learner(critic_warmup=0, patience=3)
    experience, generator = found.experience(environment(), 0), torch.Generator().manual_seed(0)

    def exploding():
        rollout = experience.rollout(found.policy, 4, generator)
        reward = torch.cat([rollout.reward[:2], rollout.reward[2:3] * 1e12, rollout.reward[3:]])
        return Rollout(**{**vars(rollout), "reward": reward})

    found.learn(experience.rollout(found.policy, 4, generator), generator)
    before = weights(found.policy)
    for count in (1, 2):
        assert found.learn(exploding(), generator)["gradient/left_out"] == count
        assert same(before, found.policy.state_dict())
    with pytest.raises(
        RunError, match=r"exploded in 3 updates in a row.*at decision 4 .*the largest .* at decision [123]"
    ):
        found.learn(exploding(), generator)
    assert found.learn(experience.rollout(found.policy, 4, generator), generator)["gradient/left_out"] == 3
    assert found.left_out_in_a_row == 0 and not same(before, found.policy.state_dict())


def test_what_is_no_number_is_told():
    along = GradientsAlong(2, torch.device("cpu"))
    leaf = torch.ones(3, 1, requires_grad=True)
    actions = leaf * 1.0
    along.watch(1, actions)
    (actions[:, 0] * torch.tensor([1.0, torch.nan, 2.0])).sum().backward()
    assert leaf.grad.flatten().tolist() == [1, 0, 2] and along.lost.tolist() == [0, 1]
    assert along.where().endswith("1 numbers are not finite, first (backward) at decision 2")


def test_a_killed_refinement_ends_with_the_same_bits(tmp_path):
    config = RefineConfig(iterations=6, evaluate_every=3, checkpoint_seconds=0.0, margin=-1.0)

    def run(folder, stop=None):
        found = learner(entropy=0.01)

        def at_iteration(iteration, row):
            if iteration == stop:
                raise KeyboardInterrupt

        env = environment()
        refine(found, found.experience(env, 0), lambda policy: Judgement(0.0), config, folder, 0, at_iteration)
        return found

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop=4)
    again = run(tmp_path / "parts")
    for name in ("policy", "critics", "slow"):
        assert same(weights(getattr(whole, name)), getattr(again, name).state_dict()), name
    assert torch.equal(whole.log_alpha, again.log_alpha)


def test_other_features_are_refused():
    with pytest.raises(InputError, match="gives 2 features, the policy reads 1"):
        ShortHorizon(make_policy(), 2, SMALL)
