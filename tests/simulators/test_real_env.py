"""The real simulator behind ImaginedEnv's door: same features as an agent sees, chunks, counting, PPO runs on it."""

import dataclasses

import pytest
import torch

from burnish.data import Dataset, DatasetInfo
from burnish.errors import InputError
from burnish.policies import DiffusionPolicy, DiffusionPolicyConfig
from burnish.rl import PPO, EnvExperience, PPOConfig
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import ExpertActor
from burnish.simulators.real_env import RealEnv
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import SimulatorVectorEnv
from burnish.world_models import RSSM, RSSM_PRESETS, HistoryConfig, ObservationHistory

TASK = "drawer-open-v3"
SHORT = SimulatorConfig(action_repeat=2, max_steps=6)


@pytest.fixture(scope="module")
def data():
    jobs = [CollectJob("expert", ExpertActor, [0, 1], {"task": TASK})]
    return Dataset.from_episodes(collect(TASK, jobs, SimulatorConfig(2, 20)), DatasetInfo(fps=40))


def test_a_decision_is_a_chunk_of_real_steps(data):
    """The same actions in the simulator itself give the same frames; a time limit ends the episode within a chunk."""
    observer = ObservationHistory(data.observation_dim, 4, HistoryConfig(frames=2)).fit(data)
    env = RealEnv(TASK, observer, 2, SHORT, chunk=4, seed=3)
    features, _ = env.reset()
    plain = SimulatorVectorEnv(TASK, 2, SimulatorConfig(action_repeat=2, max_steps=6))
    plain.reset(seed=[3, 4])
    seen, _ = plain.reset()
    normalise = observer.normaliser.normalise
    torch.testing.assert_close(features, normalise(torch.from_numpy(seen["observation.state"])))
    actions = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for decision in range(2):
        _, reward, terminated, truncated, info = env.step(actions[decision])
        for k in range(4):
            seen = plain.step(actions[decision, :, k].numpy())[0]
        torch.testing.assert_close(info["final_obs"], normalise(torch.from_numpy(seen["observation.state"])))
    assert truncated.all() and not terminated.any() and reward.sum() == 0
    assert env.real_steps == 2 * 6 and env.imagined_steps == 0
    with pytest.raises(InputError, match="3 actions"):
        RealEnv(TASK, _chunky(data), 2, SHORT, chunk=3)


def _chunky(data):
    return RSSM(data.observation_dim, 4, dataclasses.replace(RSSM_PRESETS["tiny"], action_steps=2)).fit(data)


def test_a_success_is_rewarded_and_begins_anew(data):
    """The expert's own actions, two at a time, from the start where they succeeded."""
    observer = ObservationHistory(data.observation_dim, 4, HistoryConfig(frames=1)).fit(data)
    env = RealEnv(TASK, observer, 1, SimulatorConfig(action_repeat=2, max_steps=100), chunk=2)
    env.reset()
    expert = ExpertActor(TASK)
    expert.begin(env.env, [0])
    rewards, ends = [], []
    for _ in range(40):
        first = torch.from_numpy(expert.act(env.env._observations()))
        _, reward, terminated, _, info = env.step(first.unsqueeze(1).expand(-1, 2, -1))
        rewards.append(reward.item())
        ends.append(terminated.item())
        if terminated.item():
            assert info["success"].item() and info["_final_obs"].item()
            break
    assert rewards[-1] == 1.0 and ends[-1] and sum(rewards) == 1.0


def test_ppo_learns_from_it_unchanged(data):
    torch.manual_seed(0)
    world = RSSM(data.observation_dim, 4, RSSM_PRESETS["tiny"]).fit(data).eval().requires_grad_(False)
    config = DiffusionPolicyConfig(chunk=2, denoising_steps=4, fine_tuned_steps=2, width=16, depth=1)
    policy = DiffusionPolicy(world.feature_dim, 4, config)
    env = RealEnv(TASK, world, 2, SHORT, chunk=2)
    ppo = PPO(policy, env.feature_dim, PPOConfig(epochs=1, target_kl=None))
    generator = torch.Generator().manual_seed(0)
    rollout = EnvExperience(env, 0).rollout(policy, 4, generator)
    before = policy.network.head.weight.clone()
    ppo.learn(rollout, generator)
    assert rollout.truncated.sum() == 2 and env.real_steps == 2 * 8
    assert not torch.equal(policy.network.head.weight, before)
