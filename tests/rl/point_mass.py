"""A point on a line, recorded by actors of whom few know where to go, and what a policy does with it."""

import numpy as np
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode

STEP, GOAL, LENGTH = 0.2, 1.0, 30


def mixed_data(episodes: int = 120, seed: int = 0) -> Dataset:
    """x ← x + 0.2 a from somewhere on the left, success at 1: one actor in four goes right, the others go left."""
    generator = np.random.default_rng(seed)
    recorded = []
    for number in range(episodes):
        drift = 0.6 if number % 4 == 0 else -0.4
        position, states, actions = generator.uniform(-1, 0), [], []
        for _ in range(LENGTH):
            states.append(position)
            actions.append(np.clip(drift + generator.normal(0, 0.4), -1, 1))
            if position >= GOAL:
                break
            position = max(position + STEP * actions[-1], -2.0)
        state = np.array(states, np.float32)[:, None]
        action = np.array(actions, np.float32)[:, None]
        recorded.append(Episode({STATE: state}, action, state[:, 0] >= GOAL, "mixed", number, "right"))
    return Dataset.from_episodes(recorded, DatasetInfo(fps=10))


def success_rate(policy: torch.nn.Module) -> float:
    """Of the deterministic policy from 21 starts, in as many steps as an episode has."""
    position = torch.linspace(-1, 0, 21)[:, None]
    reached = torch.zeros(len(position), dtype=torch.bool)
    for _ in range(LENGTH):
        with torch.no_grad():
            position = position + STEP * policy.act(position, True, None).action_chunk[:, 0]
        reached |= position[:, 0] >= GOAL
    return float(reached.float().mean())
