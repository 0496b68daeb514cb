"""Imagination that leaves out what nobody asks for, and does the rest at once, is the same imagination."""

import sys

import pytest
import torch

from burnish import lanes
from burnish.imagination import ImaginationConfig, ImaginedEnv, Models, Pessimism, StartConfig, StartStates
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rewards import FunctionReward, RewardTerms, TermConfig
from burnish.rl import PPO, EnvExperience, PPOConfig
from burnish.world_models import (
    DataSupport,
    DiffusionConfig,
    DiffusionWorldModel,
    DisagreementEnsemble,
    EnsembleConfig,
    SupportConfig,
)
from tests.world_models.linear_system import fitted_space, linear_system


@pytest.fixture(scope="module")
def models():
    data = linear_system(20, reach=0.3, seed=5)
    torch.manual_seed(0)
    space = fitted_space(data)
    world = DiffusionWorldModel(space, DiffusionConfig(width=32, depth=2)).eval()
    torch.nn.init.normal_(world.network.head.weight, std=0.1)
    ensemble = DisagreementEnsemble(space, EnsembleConfig(members=3, hidden=(16,))).eval()
    ensemble.calibrate(data)
    support = DataSupport.fit(space, SupportConfig(), data, data, seed=0)
    names = tuple(f"n{i}" for i in range(data.observation_dim))
    terms = RewardTerms((TermConfig("distance", -1.0, names[0], (0.0,)),))
    return Models(world, FunctionReward(world, terms, names), Pessimism((ensemble, support), "none")), data


def make_env(models, share=0.5):
    models, data = models
    frames = torch.arange(data.num_frames)
    starts = StartStates(data, models.world_model.recorded(data), frames, StartConfig())
    return ImaginedEnv(models, starts, data.action_dim, ImaginationConfig(num_envs=48, horizon=6, member_share=share))


def imagined(env, steps=9):
    """What some steps tell, and the random number that comes after them."""
    found = [env.reset(seed=3)[0]]
    actions = torch.rand(steps, env.num_envs, env.action_dim, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        for action in actions:
            features, reward, _, _, info = env.step(action)
            found += [features, reward, info["disagreement"], info["distance"]]
    return [*found, torch.rand(1, generator=env.generator)]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_rows_of_members_need_no_world_model(models, share, monkeypatch):
    env, asked = make_env(models, share), []
    world = env.models.world_model
    counted = type(world).imagine_rows
    monkeypatch.setattr(
        type(world), "imagine_rows", lambda self, *rest: (asked.append(len(rest[2])), counted(self, *rest))[1]
    )
    found = imagined(env)
    assert (not asked) if share == 0 else (0 <= max(asked) < 48)
    monkeypatch.setattr(sys.modules["burnish.imagination.rollout"], "_on_some", lambda *_: False)
    for one, other in zip(found, imagined(make_env(models, share)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.fixture
def two_lanes():
    lanes.offer(2)
    with lanes.opened():
        yield
    lanes.offer(1)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_lanes_change_nothing(models, share, two_lanes, monkeypatch):
    found = imagined(make_env(models, share))
    monkeypatch.setattr(lanes, "_pools", [])
    assert all(map(torch.equal, found, imagined(make_env(models, share))))


def refined(models, augment):
    env = make_env(models)
    torch.manual_seed(2)
    policy = GaussianPolicy(env.feature_dim, env.action_dim, GaussianPolicyConfig(hidden=(16,)))
    settings = PPOConfig(rollout_steps=4, epochs=3, minibatch_size=64, critic_hidden=(16,), augment=augment)
    ppo, generator = PPO(policy, env.feature_dim, settings), torch.Generator().manual_seed(4)
    experience = EnvExperience(env, 0)
    metrics = [ppo.learn(experience.rollout(policy, 4, generator), generator) for _ in range(3)]
    return metrics, [*policy.parameters(), *ppo.critic.parameters()]


@pytest.mark.parametrize("augment", [False, True])
def test_policy_and_critic_learn_the_same_in_lanes(models, augment, two_lanes, monkeypatch):
    metrics, weights = refined(models, augment)
    monkeypatch.setattr(lanes, "_pools", [])
    expected, same = refined(models, augment)
    assert metrics == expected and all(map(torch.equal, weights, same))
