"""Rollouts: what is stored is what happened, steps lead to the frame before a restart, and the next one goes on."""

import torch

from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import EnvExperience
from tests.imagination.counter_world import make_env, start_states


def make(seed=0):
    torch.manual_seed(0)
    policy = GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(8,)))
    env = make_env(num_envs=5, horizon=4, noise=0.05, starts=start_states([0.0, 0.5], [0.9, 0.8]))
    return policy, EnvExperience(env, seed), torch.Generator().manual_seed(seed)


def test_what_is_stored():
    policy, experience, generator = make()
    experience.env.models.world_model.noise = 0.0
    rollout = experience.rollout(policy, 12, generator)
    assert rollout.features.shape == (12, 5, 1) and rollout.log_prob.shape == (12, 5, 1)
    done = rollout.terminated | rollout.truncated
    assert done.any() and rollout.success.any()
    # The law of the counter world: every step leads a quarter of the clipped action further, before any restart.
    moved = rollout.features + 0.25 * rollout.trace.clamp(-1, 1)
    torch.testing.assert_close(rollout.next_features, moved)
    # Within an episode the next row begins where this one led, after its end at a start state; so does the next
    # rollout.
    following = experience.rollout(policy, 1, generator).features
    chained = torch.cat([rollout.features[1:], following])
    assert torch.equal(chained[~done], rollout.next_features[~done])
    restarted = chained[done]
    assert ((restarted.abs() < 1e-6) | ((restarted - 0.9).abs() < 1e-6)).all()
    assert len(restarted.unique()) == 2
    assert torch.equal(rollout.reward, rollout.success.float())
    assert not rollout.log_prob.requires_grad and experience.imagined_steps == 13 * 5


def test_the_seed_decides():
    one, two, other = ((lambda p, e, g: e.rollout(p, 12, g).trace)(*make(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_it_goes_on_from_a_saved_state():
    policy, experience, generator = make()
    experience.rollout(policy, 6, generator)
    state, drawn = experience.state_dict(), generator.get_state()
    expected = experience.rollout(policy, 6, generator)
    _, other, _ = make(seed=9)
    for restored in (experience, other):
        restored.load_state_dict(state)
        generator.set_state(drawn)
        found = restored.rollout(policy, 6, generator)
        assert torch.equal(found.features, expected.features) and torch.equal(found.trace, expected.trace)
    assert other.imagined_steps == 12 * 5


def test_an_environment_that_cannot_be_saved_begins_anew():
    policy, experience, generator = make()
    experience.env.resumable = False
    experience.rollout(policy, 6, generator)
    experience.load_state_dict(experience.state_dict())
    assert ((experience._features == 0) | (experience._features == 0.9)).all()


def test_what_an_environment_does_not_tell_is_none():
    policy, experience, generator = make()
    step = experience.env.step

    def without(actions):
        *told, info = step(actions)
        return *told, {name: info[name] for name in ("final_obs", "_final_obs")}

    experience.env.step = without
    rollout = experience.rollout(policy, 2, generator)
    assert rollout.success is None and rollout.halted is None and rollout.reward.shape == (2, 5)
