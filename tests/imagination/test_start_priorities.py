"""Start states in proportion to the critic's errors."""

import pytest
import torch

from burnish.imagination import ImaginationConfig, ImaginedEnv
from burnish.imagination.priorities import LEAST, STALE, StartPriorities
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import PPO, EnvExperience, PPOConfig
from tests.imagination.counter_world import make_models, start_states

ENVS, CPU = 8, torch.device("cpu")


def uniform(count, seed=0):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


def priorities(errors, exponent=1.0):
    found = StartPriorities(len(errors), exponent, CPU)
    found.error = torch.tensor(errors)
    return found


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_draws_follow_the_errors(exponent):
    """χ² of 20,000 draws against |error|^exponent: 16.3 is the 99.9 % quantile of three degrees of freedom."""
    errors, count = torch.tensor([0.5, 1.0, 1.5, 2.0]), 20_000
    drawn = priorities(errors.tolist(), exponent).draw(uniform(count), torch.tensor([0, 1, 2, 3]))
    expected = errors.pow(exponent) / errors.pow(exponent).sum() * count
    chi = ((torch.bincount(drawn, minlength=4) - expected).square() / expected).sum()
    assert chi < 16.3


def test_draws_are_among_what_was_asked_for_and_none_is_given_up():
    drawn = priorities([5.0, 0.0, 1.0, 9.0]).draw(uniform(4000), torch.tensor([1, 2]))
    assert set(drawn.tolist()) == {1, 2}
    assert (drawn == 1).float().mean() == pytest.approx(LEAST / (1 + LEAST), abs=0.02)
    edges = priorities([1.0, 1.0]).draw(torch.tensor([0.0, 1.0 - 1e-9, 1.0]), torch.tensor([0, 1]))
    assert edges.tolist() == [0, 1, 1]


def test_errors_are_taken_in_by_hand():
    """Mean error 2: start 0 has (1 + 3) / 2 / 2 = 1, start 2 has 4 / 2 = 2; one decision has no start."""
    found = priorities([1.0, 1.0, 1.0])
    found.learned(torch.tensor([[0, 0], [2, -1]]), torch.tensor([[1.0, 3.0], [4.0, 0.0]]))
    assert found.error.tolist() == pytest.approx([1.0, 1.0, 2.0])


def test_what_was_seen_long_ago_is_forgotten():
    found = priorities([1.0, 1.0])
    found.learned(torch.tensor([[0, 1]]), torch.tensor([[3.0, 1.0]]))
    assert found.error.tolist() == pytest.approx([1.5, 0.5])
    for _ in range(50):
        found.learned(torch.tensor([[1, 1]]), torch.tensor([[1.0, 1.0]]))
    assert float(found.error[0]) == pytest.approx(1 + 0.5 * (1 - STALE) ** 50, rel=1e-4)


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_rows_and_back(count):
    found = priorities([0.1, 0.2, 0.3, 0.4, 0.5])
    other = priorities([1.0] * 5)
    assert found.rows(count).shape[0] == count
    other.restore(found.rows(count))
    assert torch.equal(other.error, found.error)


def experience(priority):
    starts = start_states([0.0, 0.2, 0.4, 0.6], [0.1, 0.3, 0.5, 0.7], priority=priority)
    rules = ImaginationConfig(num_envs=ENVS, horizon=3)
    env = ImaginedEnv(make_models(), starts, 1, rules, seed=0)
    return EnvExperience(env, 0)


def learner():
    torch.manual_seed(0)
    policy = GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(8,)))
    return PPO(policy, 1, PPOConfig(rollout_steps=4, critic_warmup=0, minibatch_size=16, critic_hidden=(8,)))


def test_a_learner_moves_them():
    found, ppo = experience(1.0), learner()
    generator = torch.Generator().manual_seed(0)
    rollout = found.rollout(ppo.policy, 4, generator)
    assert rollout.start is not None and rollout.start.shape == (4, ENVS) and int(rollout.start.min()) >= 0
    # An episode's first features are its start's: with a horizon of three the fourth decision is from a new one.
    positions = found.env.starts.states.position[rollout.start[3]]
    assert torch.allclose(rollout.features[3][rollout.truncated[2]], positions[rollout.truncated[2]])
    ppo.update(found, generator)
    assert not torch.equal(found.env.starts.priorities.error, torch.ones(8))


def test_without_priorities_nothing_is_told():
    found, ppo = experience(0.0), learner()
    assert found.rollout(ppo.policy, 2, torch.Generator().manual_seed(0)).start is None


def test_resumed_they_go_on_with_the_same_bits():
    first, ppo, generator = experience(1.0), learner(), torch.Generator().manual_seed(0)
    ppo.update(first, generator)
    left = first.state_dict()
    second = experience(1.0)
    second.load_state_dict(left)
    seen = [each.rollout(ppo.policy, 6, torch.Generator().manual_seed(5)) for each in (first, second)]
    for name in ("features", "reward", "start"):
        assert torch.equal(getattr(seen[0], name), getattr(seen[1], name))


def test_uniform_starts_draw_as_ever():
    """A priority of 0 uses the same random numbers as before there were priorities."""
    starts = start_states([0.0, 0.2, 0.4], [0.1, 0.3, 0.5], share=0.5)
    pick = torch.rand(16, 3, generator=torch.Generator().manual_seed(3))
    rows = starts.draw(16, torch.Generator().manual_seed(3))
    first = starts.first[(pick[:, 0] * 2).long()]
    between = starts.intermediate[(pick[:, 1] * len(starts.intermediate)).long()]
    assert torch.equal(rows, torch.where(pick[:, 2] < 0.5, first, between))
