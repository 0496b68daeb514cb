"""One PPO in CleanRL's style, written against plain Gymnasium, runs unchanged in imagination and on a stock task."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import ArrayConversion
from torch import nn

from tests.imagination.counter_world import make_env, start_states


class ActorCritic(nn.Module):
    def __init__(self, envs):
        super().__init__()
        inputs = int(np.prod(envs.single_observation_space.shape))
        outputs = int(np.prod(envs.single_action_space.shape))
        self.critic = nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, 1))
        self.actor = nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, outputs))
        self.log_std = nn.Parameter(torch.full((1, outputs), -0.5))

    def distribution(self, obs):
        return torch.distributions.Normal(self.actor(obs), self.log_std.exp())


def ppo(envs, iterations, num_steps=16, gamma=0.95, lam=0.9, seed=0):
    """NumPy observations in, NumPy actions out; returns the mean reward of each iteration."""
    torch.manual_seed(seed)
    agent = ActorCritic(envs)
    optimizer = torch.optim.Adam(agent.parameters(), lr=1e-2)
    low, high = envs.single_action_space.low, envs.single_action_space.high
    n = envs.num_envs
    next_obs, _ = envs.reset(seed=seed)
    curve = []
    for _ in range(iterations):
        obs = np.zeros((num_steps, n, *envs.single_observation_space.shape), np.float32)
        following = np.zeros_like(obs)
        actions = np.zeros((num_steps, n, *envs.single_action_space.shape), np.float32)
        rewards, terminations, dones = np.zeros((3, num_steps, n), np.float32)
        for step in range(num_steps):
            obs[step] = next_obs
            with torch.no_grad():
                actions[step] = agent.distribution(torch.from_numpy(obs[step])).sample().numpy()
            next_obs, reward, terminated, truncated, infos = envs.step(np.clip(actions[step], low, high))
            real_next_obs = np.array(next_obs)
            for i in np.flatnonzero(terminated | truncated):
                assert infos["_final_obs"][i]
                real_next_obs[i] = infos["final_obs"][i]
            following[step], rewards[step] = real_next_obs, reward
            terminations[step], dones[step] = terminated, terminated | truncated
        with torch.no_grad():
            x, a = torch.from_numpy(obs), torch.from_numpy(actions)
            values = agent.critic(x)[..., 0].numpy()
            next_values = agent.critic(torch.from_numpy(following))[..., 0].numpy()
            old = agent.distribution(x).log_prob(a).sum(-1).flatten()
        delta = rewards + gamma * next_values * (1 - terminations) - values
        advantages, last = np.zeros_like(delta), np.zeros(n, np.float32)
        for t in reversed(range(num_steps)):
            last = advantages[t] = delta[t] + gamma * lam * (1 - dones[t]) * last
        x, a = x.flatten(0, 1), a.flatten(0, 1)
        returns = torch.from_numpy(advantages + values).flatten()
        advantage = torch.from_numpy(advantages).flatten()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for _ in range(4):
            ratio = (agent.distribution(x).log_prob(a).sum(-1) - old).exp()
            policy_loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            loss = policy_loss + 0.5 * (agent.critic(x)[:, 0] - returns).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
        curve.append(float(rewards.mean()))
        assert all(parameter.isfinite().all() for parameter in agent.parameters())
    return curve


def test_it_improves_in_imagination():
    """A success every fourth step is the best that there is; arbitrary actions seldom get there within ten."""
    env = make_env(num_envs=32, horizon=10, starts=start_states([0.0, 0.5, 1.0]))
    curve = ppo(ArrayConversion(env, env_xp=torch, target_xp=np), iterations=25)
    assert curve[0] < 0.06
    assert np.mean(curve[-3:]) > 0.2
    assert env.imagined_steps == 25 * 16 * 32


def test_it_runs_on_a_stock_task():
    """Pendulum, cut after 20 steps, so that `final_obs` is in use there too."""
    envs = SyncVectorEnv(
        [lambda: gymnasium.make("Pendulum-v1", max_episode_steps=20)] * 4, autoreset_mode=AutoresetMode.SAME_STEP
    )
    curve = ppo(envs, iterations=4)
    assert len(curve) == 4 and all(-17 < reward < 0 for reward in curve)
    envs.close()


@pytest.mark.parametrize("method", ["reset", "step"])
def test_both_environments_answer_alike(method):
    """The same kinds of answers, in the same shapes, from both."""
    imagined = ArrayConversion(make_env(num_envs=4, horizon=3), env_xp=torch, target_xp=np)
    stock = SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    for envs in (imagined, stock):
        answer = envs.reset(seed=0)
        if method == "step":
            answer = envs.step(envs.action_space.sample())
        *arrays, info = answer
        assert isinstance(info, dict)
        assert arrays[0].shape == envs.observation_space.shape and arrays[0].dtype == np.float32
        for array, dtype in zip(arrays[1:], (np.floating, np.bool_, np.bool_), strict=False):
            assert array.shape == (4,) and np.issubdtype(array.dtype, dtype)
    stock.close()
