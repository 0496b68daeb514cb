"""SAC: its ring of transitions, its target and losses by hand, what moves when, resuming, and a world to solve."""

import copy
import math

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.imagination import imagined_evaluation
from burnish.policies import GaussianPolicy, GaussianPolicyConfig, SquashedPolicy, SquashedPolicyConfig
from burnish.rl import (
    SAC,
    EnvExperience,
    Judgement,
    RefineConfig,
    ReplayBuffer,
    SACConfig,
    TransitionBatch,
    Transitions,
)
from burnish.rl.preflight import preflight
from burnish.rl.refine import refine
from burnish.training import ALONE
from tests.imagination.counter_world import make_env, start_states
from tests.rl.point_mass import mixed_data
from tests.rl.test_ppo import same, weights

SMALL = {"critic_hidden": (16,), "batch_size": 32, "gradient_steps": 2, "capacity": 400, "critic_warmup": 1}


def make_sac(seed=0, features=1, actions=1, recorded=None, **settings):
    torch.manual_seed(seed)
    policy = SquashedPolicy(features, actions, SquashedPolicyConfig(hidden=(16,), max_std=0.6, min_std=0.1))
    return SAC(policy, features, SACConfig(**{**SMALL, **settings}), ALONE, recorded)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*values, terminal=None):
    """Transitions whose feature is their reward."""
    value = torch.tensor(values, dtype=torch.float32)
    end = torch.zeros(len(value), dtype=torch.bool) if terminal is None else torch.tensor(terminal)
    return TransitionBatch(value[:, None], 0.1 * value[:, None].clamp(-9, 9), value, end, value[:, None] + 1)


# -- the buffer --------------------------------------------------------------------------------------------------------


def kept(buffer):
    return sorted(buffer.state_dict()["rows"]["reward"].tolist())


def test_the_ring_by_hand():
    buffer = ReplayBuffer(4, 1, 1, torch.device("cpu"))
    buffer.add(rows(1, 2, 3))
    assert buffer.filled == 3 and set(buffer.sample(50, generator()).reward.tolist()) == {1, 2, 3}
    buffer.add(rows(4, 5))
    assert kept(buffer) == [2, 3, 4, 5]
    buffer.add(rows(6))
    assert kept(buffer) == [3, 4, 5, 6]
    buffer.add(rows(*range(10, 17)))
    assert kept(buffer) == [13, 14, 15, 16], "of more than there is room for, the newest"
    drawn = buffer.sample(20, generator())
    torch.testing.assert_close(drawn.next_features, drawn.features + 1)


def test_a_restored_ring_goes_on_in_the_same_place():
    one, other = (ReplayBuffer(5, 1, 1, torch.device("cpu")) for _ in range(2))
    one.add(rows(1, 2, 3))
    other.load_state_dict(one.state_dict())
    for buffer in (one, other):
        buffer.add(rows(4, 5, 6))
    for name, column in one.state_dict()["rows"].items():
        assert torch.equal(column, other.state_dict()["rows"][name])
    assert kept(one) == [2, 3, 4, 5, 6]


# -- losses ------------------------------------------------------------------------------------------------------------


def test_the_target_by_hand():
    """r + γ (1 - d) (min Q' - α ln π), with Q' = (2, 3), ln π = -0.5 and α = 0.2: 1 + 0.9 · 2.1; an end is worth r."""
    sac = make_sac(gamma=0.9, entropy=0.2)
    sac.policy.explore = lambda features, generator: (features, torch.full((len(features),), -0.5))
    sac.target.forward = lambda features, action: torch.tensor([[2.0], [3.0]]).expand(2, len(features))
    found = sac._target(rows(1, 1, terminal=[False, True]), generator())
    assert found.tolist() == pytest.approx([1 + 0.9 * 2.1, 1])


def test_the_discount_of_a_chunk():
    policy = SquashedPolicy(1, 1, SquashedPolicyConfig(chunk=3, hidden=(8,)))
    assert SAC(policy, 1, SACConfig(gamma=0.9, critic_hidden=(8,))).discount == pytest.approx(0.9**3)


def test_the_losses_by_hand():
    sac, batch = make_sac(entropy=0.3), rows(-1, 0, 2)
    value, target = sac.critic(batch.features, batch.action), sac._target(batch, generator())
    expected = ((value[0] - target) ** 2).mean() + ((value[1] - target) ** 2).mean()
    torch.testing.assert_close(sac._value_loss(batch, generator())[0], expected)
    loss, log_prob = sac._policy_loss(batch.features, generator())
    action, again = sac.policy.explore(batch.features, generator())
    expected = (0.3 * again - torch.minimum(*sac.critic(batch.features, action))).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(log_prob, again.detach())
    loss.backward()
    assert all(parameter.grad is None for parameter in sac.critic.parameters())
    wanted = torch.autograd.grad(expected, list(sac.policy.parameters()))
    for parameter, gradient in zip(sac.policy.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("target, grows", [(5.0, True), (-50.0, False)], ids=["too-little", "too-much"])
def test_the_weight_of_entropy_follows_what_is_wanted(target, grows):
    sac = make_sac(target_entropy=target)
    sac._policy_step(rows(0, 1, 2), generator())
    assert (float(sac.alpha) > 0.1) == grows


def test_targets_follow_by_their_share():
    sac = make_sac(polyak=0.25)
    before = [parameter.clone() for parameter in sac.target.parameters()]
    sac._value_step(rows(0, 1, 2), generator())
    for old, new, found in zip(before, sac.critic.parameters(), sac.target.parameters(), strict=True):
        torch.testing.assert_close(found, 0.75 * old + 0.25 * new)


def test_recorded_transitions_have_their_share():
    """Three of eight rows are recorded ones; without any, all rows are imagined."""
    data = mixed_data(20)
    recorded = Transitions(data.observations[STATE], data)
    for given, count in ((recorded, 3), (None, 0)):
        sac = make_sac(recorded=given, batch_size=8, real_share=0.375)
        sac.buffer.add(rows(77))
        drawn = sac._draw(generator())
        assert len(drawn.reward) == 8 and int((drawn.reward != 77).sum()) == count


# -- learning ----------------------------------------------------------------------------------------------------------


def test_a_policy_without_a_density_is_refused():
    with pytest.raises(InputError, match=r"SAC: found a GaussianPolicy.*expected a SquashedPolicy"):
        SAC(GaussianPolicy(1, 1, GaussianPolicyConfig()), 1, SACConfig())
    with pytest.raises(InputError, match="gives 2 features, the policy reads 1"):
        SAC(SquashedPolicy(1, 1, SquashedPolicyConfig()), 2, SACConfig())


def test_what_is_remembered_is_what_was_executed():
    """position += 0.25 action: every remembered transition keeps to it but those that a restart would have broken."""
    sac = make_sac()
    experience = EnvExperience(make_env(num_envs=16, horizon=4), 0)
    sac.remember(experience.rollout(sac.policy, 8, generator()))
    kept = sac.buffer.sample(500, generator())
    torch.testing.assert_close(kept.next_features, kept.features + 0.25 * kept.action)
    assert sac.buffer.filled == 128 and not kept.terminal[kept.reward == 0].all()


def test_warm_up_leaves_the_policy_and_its_entropy_alone():
    sac = make_sac(critic_warmup=2)
    before, alpha = weights(sac.policy), float(sac.alpha)
    experience = EnvExperience(make_env(num_envs=16, horizon=8), 0)
    for _ in range(2):
        assert "loss/policy" not in sac.update(experience, generator())
    assert same(before, sac.policy.state_dict()) and float(sac.alpha) == alpha
    metrics = sac.update(experience, generator())
    assert all(math.isfinite(value) for value in metrics.values())
    assert not same(before, sac.policy.state_dict()) and float(sac.alpha) != alpha


def test_it_passes_the_pre_flight_check_which_changes_nothing():
    sac = make_sac()
    before = copy.deepcopy(sac.state_dict())
    preflight(sac, EnvExperience(make_env(num_envs=16, horizon=8), 0), 0, ALONE)
    assert same(before["policy"], sac.policy.state_dict()) and sac.buffer.filled == 0


def test_a_killed_refinement_ends_with_the_same_bits(tmp_path):
    config = RefineConfig(iterations=6, evaluate_every=3, checkpoint_seconds=0.0, margin=-1.0)

    def run(folder, stop=None):
        sac = make_sac()
        judge = make_env(num_envs=8, horizon=10**9)

        def at(iteration, row):
            if iteration == stop:
                raise KeyboardInterrupt

        def score(policy):
            return Judgement.of(imagined_evaluation(judge, policy, judge.starts.episode_starts(8), 8, 0))

        experience = EnvExperience(make_env(num_envs=16, horizon=8), 0)
        refine(sac, experience, score, config, folder, 0, on_iteration=at)
        return sac

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop=4)
    again = run(tmp_path / "parts")
    for name in ("policy", "critic", "target"):
        assert same(weights(getattr(whole, name)), getattr(again, name).state_dict()), name
    assert torch.equal(whole.alpha, again.alpha) and whole.updates == again.updates == 6


def test_it_solves_the_counter_world():
    """As PPO's test: a policy that stands still learns to walk to the goal."""
    sac = make_sac(
        batch_size=128,
        gradient_steps=8,
        capacity=20_000,
        gamma=0.95,
        critic_hidden=(32, 32),
        entropy=0.02,
        policy_learning_rate=3e-3,
        value_learning_rate=3e-3,
        polyak=0.02,
        critic_warmup=5,
    )
    env = make_env(num_envs=64, horizon=8, starts=start_states([0.0, 0.3, 0.6], share=0.3))
    judge = make_env(num_envs=16, horizon=10**9)
    starts = judge.starts.episode_starts(16)
    assert imagined_evaluation(judge, sac.policy, starts, 8, seed=0).score < 0.1
    experience, drawn = EnvExperience(env, 0), generator()
    for _ in range(60):
        sac.update(experience, drawn)
    assert imagined_evaluation(judge, sac.policy, starts, 8, seed=0).score > 0.9
