"""Rollouts: what is stored is what happened, and steps lead to the frame before a restart."""

import torch

from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import collect_rollout
from tests.imagination.counter_world import make_env, start_states


def collect(steps=12, seed=0):
    torch.manual_seed(0)
    policy = GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(8,)))
    env = make_env(num_envs=5, horizon=4, starts=start_states([0.0, 0.5], [0.9, 0.8]))
    features, _ = env.reset(seed=seed)
    rollout, following = collect_rollout(env, policy, features, steps, torch.Generator().manual_seed(seed))
    return policy, features, rollout, following


def test_what_is_stored():
    _, features, rollout, following = collect()
    assert rollout.features.shape == (12, 5, 1) and rollout.log_prob.shape == (12, 5, 1)
    assert torch.equal(rollout.features[0], features)
    done = rollout.terminated | rollout.truncated
    assert done.any() and rollout.success.any()
    # The law of the counter world: every step leads a quarter of the clipped action further, before any restart.
    moved = rollout.features + 0.25 * rollout.trace.clamp(-1, 1)
    torch.testing.assert_close(rollout.next_features, moved)
    # Within an episode the next row begins where this one led; after its end, at a start state.
    chained = torch.cat([rollout.features[1:], following.unsqueeze(0)])
    assert torch.equal(chained[~done], rollout.next_features[~done])
    restarted = chained[done]
    assert all(((restarted - value).abs() < 1e-6).any() for value in (0.0, 0.9))
    assert ((restarted.abs() < 1e-6) | ((restarted - 0.9).abs() < 1e-6)).all()
    assert torch.equal(rollout.reward, rollout.success.float())


def test_log_probabilities_are_those_of_the_acting_policy():
    policy, _, rollout, _ = collect()
    found = policy.log_prob(rollout.features.flatten(0, 1), rollout.trace.flatten(0, 1)).view(12, 5, 1)
    torch.testing.assert_close(rollout.log_prob, found)
    assert not rollout.log_prob.requires_grad


def test_the_seed_decides():
    one, two, other = (collect(seed=seed)[2].trace for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
