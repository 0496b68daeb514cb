"""A world model small enough to know by heart: a position on a line that actions push by a quarter."""

from dataclasses import dataclass

import numpy as np
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.imagination import ImaginationConfig, ImaginedEnv, Models, Pessimism, StartConfig, StartStates
from burnish.rewards import SuccessReward
from burnish.world_models import State

PUSH = 0.25


@dataclass(frozen=True)
class Position(State):
    """Where each of B episodes is."""

    position: torch.Tensor
    """(B, 1)"""


class CounterWorld:
    """position += 0.25 action (+ noise, for tests of the generators); the feature is the position."""

    feature_dim = 1
    action_steps = 1

    def __init__(self, noise: float = 0.0):
        self.noise = noise

    def initial(self, batch_size):
        return Position(torch.zeros(batch_size, 1))

    def observe(self, state, action, observation):
        return Position(observation[STATE])

    def recorded(self, dataset):
        return Position(dataset.observations[STATE])

    def imagine(self, state, action, generator=None):
        noise = torch.randn(state.position.shape, generator=generator) if self.noise else 0.0
        return Position(state.position + PUSH * action + self.noise * noise)

    def features(self, state):
        return state.position

    def decode(self, state):
        return {STATE: state.position}

    def loss(self, batch):
        raise NotImplementedError


class Goal:
    """Success at position 1."""

    def succeeded(self, features):
        return features[:, 0] >= 1 - 1e-6


class Doubt:
    """No data left of -0.5: the disagreement about an action is how far left it leads."""

    name = "disagreement"

    def __init__(self):
        self.threshold = torch.tensor(0.5)

    def __call__(self, state, action):
        return -(state.position + PUSH * action)[:, 0]

    members = 1

    def predict_member(self, state, action, member, generator):
        """The one member believes that actions push the other way."""
        assert (member == 0).all()
        return self(state, action), Position(state.position - PUSH * action)


class Distance:
    """No data right of `edge`: how far an action leads beyond it."""

    name = "distance"

    def __init__(self, edge, threshold=0.0):
        self.edge, self.threshold = edge, torch.tensor(threshold)

    def __call__(self, state, action):
        return (state.position + PUSH * action)[:, 0] - self.edge


def dataset(*episodes) -> Dataset:
    """Episodes of positions; success where the position has reached 1."""
    recorded = []
    for positions in episodes:
        state = np.asarray(positions, np.float32).reshape(-1, 1)
        action = np.zeros_like(state)
        recorded.append(Episode({STATE: state}, action, state[:, 0] >= 1, "expert", 0, "counter"))
    return Dataset.from_episodes(recorded, DatasetInfo(fps=10))


def start_states(*episodes, share: float = 1.0, priority: float = 0.0) -> StartStates:
    """Start states of all frames; by default all episodes begin at the recorded first frames."""
    data = dataset(*(episodes or ([0.0, 0.5, 1.0],)))
    states = Position(data.observations[STATE])
    return StartStates(data, states, torch.arange(data.num_frames), StartConfig(share, priority))


def make_models(world=None, goal=None, uncertainties=(), reward=None, **rules) -> Models:
    """The counter world, success at its goal, and what uncertainty does about it."""
    world = world or CounterWorld()
    reward = reward or SuccessReward(world, goal or Goal())
    return Models(world, reward, Pessimism(tuple(each for each in uncertainties if each is not None), **rules))


def make_env(
    num_envs=4, horizon=5, starts=None, noise=0.0, seed=0, member_share=0.0, uncertainties=None, **models
) -> ImaginedEnv:
    """The counter world as an environment; with a `Doubt` about it unless told otherwise."""
    config = ImaginationConfig(num_envs=num_envs, horizon=horizon, member_share=member_share)
    models = make_models(CounterWorld(noise), uncertainties=uncertainties or (Doubt(),), **models)
    return ImaginedEnv(models, starts or start_states(), 1, config, seed)


def at(*positions) -> Position:
    """States at hand-written positions."""
    return Position(torch.tensor(positions, dtype=torch.float32).unsqueeze(1))


def push(*actions) -> torch.Tensor:
    """Hand-written actions, (B, 1)."""
    return torch.tensor(actions, dtype=torch.float32).unsqueeze(1)
