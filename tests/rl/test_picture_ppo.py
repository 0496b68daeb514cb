"""PPO on pictures: the same update, with a critic that the policy brings along."""

import dataclasses
import math

import pytest
import torch

from burnish.errors import InputError
from burnish.imagination import ImaginationConfig, ImaginedEnv
from burnish.networks import MLP, PictureNetwork
from burnish.policies import GaussianPolicy, GaussianPolicyConfig, PicturePolicy, PicturePolicyConfig
from burnish.rl import PPO, EnvExperience, PPOConfig
from tests.imagination.counter_world import CounterWorld, make_models, start_states

SIZE = 32
CONFIG = PicturePolicyConfig(image_size=SIZE, widths=(8, 8), embedding=16, hidden=(16,), shift=2, max_std=0.6)
PPO_CONFIG = PPOConfig(epochs=2, minibatch_size=16, target_kl=None, critic_hidden=(16,))


class PictureWorld(CounterWorld):
    """The counter world, seen: a white bar at 4 + 16 · position on black."""

    feature_dim = 3 * SIZE**2

    def features(self, state):
        bar = (torch.arange(SIZE) - (4 + 16 * state.position)).abs() <= 2
        return (bar.float() * 2 - 1)[:, None, None, :].expand(-1, 3, SIZE, -1).flatten(1)


class SeenGoal:
    """Success where the bar has reached the pixel of position 1."""

    def succeeded(self, features):
        return features.view(-1, 3, SIZE, SIZE)[:, 0, 0, 21] > 0


def make_env(num_envs=8):
    config = ImaginationConfig(num_envs=num_envs, horizon=5)
    return ImaginedEnv(make_models(PictureWorld(), SeenGoal()), start_states(), 1, config)


def make_policy():
    torch.manual_seed(0)
    return PicturePolicy(3 * SIZE**2, 1, CONFIG)


def moved(module, before):
    return [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]


def update(config, env=None):
    policy, env = make_policy(), env or make_env()
    ppo = PPO(policy, env.feature_dim, config)
    generator = torch.Generator().manual_seed(0)
    rollout = EnvExperience(env, 0).rollout(policy, 4, generator)
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (policy, ppo.critic)]
    metrics = ppo.learn(rollout, generator)
    return ppo, before, metrics


def test_one_update():
    """Encoders of both the policy and the critic learn; the anchor stays."""
    ppo, before, metrics = update(PPO_CONFIG)
    assert isinstance(ppo.critic, PictureNetwork)
    for module, old in zip((ppo.policy, ppo.critic), before, strict=True):
        changed = moved(module, old)
        assert any("encoder" in name for name in changed) and any("head" in name for name in changed)
    assert moved(ppo.base, before[0]) == []
    assert all(math.isfinite(value) for value in metrics.values())


def test_augmentation_is_off_unless_asked_for():
    """With it, minibatches are shifted, and only then; a policy without any has nothing to change."""
    plain, _, _ = update(PPO_CONFIG)
    shifted, _, _ = update(dataclasses.replace(PPO_CONFIG, augment=True))
    assert moved(shifted.policy, plain.policy.state_dict())
    features = torch.randn(4, 3)
    assert GaussianPolicy(3, 1, GaussianPolicyConfig()).augment(features) is features


def test_a_state_policy_has_the_same_critic_as_ever():
    torch.manual_seed(0)
    policy = GaussianPolicy(3, 1, GaussianPolicyConfig(hidden=(8,)))
    torch.manual_seed(1)
    critic = PPO(policy, 3, PPO_CONFIG).critic
    torch.manual_seed(1)
    expected = MLP(3, (16,), 1, output_scale=0.1).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in critic.state_dict().items())


def test_a_world_of_other_features_is_refused():
    with pytest.raises(InputError, match="gives 5 features, the policy reads 3072"):
        PPO(make_policy(), 5, PPO_CONFIG)
