"""A linear system with Gaussian policies, whose on-policy moments a simulation of its equations tells."""

from dataclasses import dataclass

import numpy as np
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, Normaliser
from burnish.world_models import TrajectoryConfig, TrajectoryDenoiser, TrajectoryWindows

A = torch.tensor([[0.95, 0.1], [-0.1, 0.9]])
B = torch.tensor([[0.0], [0.3]])
NOISE = 0.02
END = 0.8
CONFIG = TrajectoryConfig(horizon=6, network="mlp", width=96, depth=2, hidden_share=0.3, noise_mean=-0.5)


def step(state, action, generator):
    """s' = A s + B a + noise; the reward is -|s'|²."""
    state = state @ A.T + action.clamp(-1, 1) @ B.T
    return state + NOISE * torch.randn(state.shape, generator=generator)


def dataset(episodes=200, length=14, seed=0, end=None) -> Dataset:
    """Random actions from random states; with `end`, an episode is over where the first number is above it."""
    generator, made = torch.Generator().manual_seed(seed), []
    for index in range(episodes):
        state, states, actions = torch.randn(1, 2, generator=generator), [], []
        if end is not None:
            state[0, 0] = state[0, 0].clamp(max=end - 0.01)
        bias = 0.6 * torch.rand(1, generator=generator) - 0.3
        for _ in range(length):
            action = (bias + 0.5 * torch.randn(1, 1, generator=generator)).clamp(-1, 1)
            states.append(state[0].numpy())
            actions.append(action[0].numpy())
            if end is not None and float(state[0, 0]) > end:
                break
            state = step(state, action, generator)
        rows = np.array(states, np.float32)
        over = np.zeros(len(rows), bool) if end is None else rows[:, 0] > end
        reward = np.append(0, -np.square(rows[1:]).sum(1)).astype(np.float32)
        never = np.zeros(len(rows), bool)
        made.append(Episode({STATE: rows}, np.array(actions, np.float32), never, "play", index, "toy", reward, over))
    return Dataset.from_episodes(made, DatasetInfo(fps=10))


def learned(data, config=CONFIG, steps=500) -> TrajectoryDenoiser:
    """The denoiser of the data, in some seconds."""
    torch.manual_seed(0)
    world, windows = TrajectoryDenoiser(2, 1, config).fit(data), TrajectoryWindows(data, config)
    optimizer = torch.optim.AdamW(world.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss, _ = world.loss(windows.sample(256, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return world.eval().requires_grad_(False)


@dataclass(frozen=True)
class Settings:
    """What guidance reads of a policy's configuration."""

    chunk: int = 1


@dataclass(frozen=True)
class LinearPolicy:
    """a ~ N(K s, std²), of normalised states."""

    gain: tuple[float, float]
    std: float
    normaliser: Normaliser
    config: Settings = Settings()

    def distribution(self, features):
        mean = self.normaliser.denormalise(features) @ torch.tensor(self.gain)[:, None]
        return mean, torch.full_like(mean, self.std)

    def log_prob(self, features, trace):
        mean, std = self.distribution(features)
        return torch.distributions.Normal(mean, std).log_prob(trace)


def on_policy(policy, start, steps, generator):
    """True states (N, steps + 1, 2) and unclipped actions (N, steps, 1)."""
    states, actions = [start], []
    for _ in range(steps):
        mean, std = policy.distribution(policy.normaliser.normalise(states[-1]))
        actions.append(mean + std * torch.randn(mean.shape, generator=generator))
        states.append(step(states[-1], actions[-1], generator))
    return torch.stack(states, 1), torch.stack(actions, 1)
