"""A saved policy, or a planner, as an actor of the real simulator, loaded in whichever process plays the episodes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from burnish.data import ActionScaling
from burnish.evaluation.frozen import load_frozen
from burnish.policies import Agent, load_agent
from burnish.rl import Planner, PlanningAgent, PlanningConfig
from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.vector import SimulatorVectorEnv


class _InSimulator:
    """An agent's actions as simulators take them: in [-1, 1] of the environment's own `units`.

    An agent of data with units of their own has those of the environment (`TaskSpec.check_data`); any other one has
    [-1, 1] already.
    """

    def __init__(self, agent: Agent, units: ActionScaling) -> None:
        self.agent, self.units = agent, units if agent.scaling is not None else None

    def act(self, observation: Observation, generator: torch.Generator | None = None) -> np.ndarray:
        """The deterministic policy's actions, or with a generator drawn ones."""
        seen = {key: torch.from_numpy(value) for key, value in observation.items()}
        action = self.agent.act(seen, generator is None, generator)
        return (action if self.units is None else self.units.to_unit(action)).numpy()

    def executed(self, action: np.ndarray) -> None:
        done = torch.from_numpy(action)
        self.agent.executed(done if self.units is None else self.units.to_data(done))


class PolicyActor:
    """Plays the policy of a folder: the deterministic one plus temporally correlated noise, or as it explores.

    Args:
        folder: where the agent was saved.
        noise: standard deviation of the noise, 0 for none.
        correlation: of the noise at successive frames.
        sampled: whether actions are drawn from the policy's distribution; their random numbers depend on the episodes'
            seeds alone.
    """

    def __init__(self, folder: Path, noise: float = 0.0, correlation: float = 0.9, sampled: bool = False) -> None:
        self.agent = load_agent(folder)
        self.noise, self.correlation, self.sampled = noise, correlation, sampled

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes."""
        self.agent.begin(len(seeds))
        self._units = _InSimulator(self.agent, env.units)
        self._noise = CorrelatedNoise(self.noise, self.correlation, env.action_dim, seeds)
        self._generator = torch.Generator().manual_seed(seeds[0]) if self.sampled else None

    def act(self, observation: Observation) -> np.ndarray:
        """Actions, float32 (K, A) in [-1, 1]."""
        action = self._units.act(observation, self._generator)
        if self.noise > 0 or self.sampled:
            action = np.clip(action + self._noise.next(), -1, 1).astype(np.float32)
            self._units.executed(action)
        return action


class PlanningActor:
    """Plans every decision in the frozen world model of a run, from the pretrained policy's observer state.

    Args:
        policy: the stage of the pretrained policy, whose observer sees what the world model saw.
        world: the stage of the world model.
        reward: the one of the success classifier, or of a learned reward.
        uncertainties: those of what tells where imagination is not to be trusted.
        config: size of the search.
    """

    def __init__(
        self, policy: Path, world: Path, reward: Path, uncertainties: Sequence[Path], config: PlanningConfig
    ) -> None:
        saved = load_agent(policy)
        models = load_frozen(world, reward, uncertainties)
        self.planner = Planner(models, saved.policy, config)
        self.agent: Agent = PlanningAgent(saved, self.planner)

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes; the search's random numbers depend on their seeds alone."""
        self.planner.generator.manual_seed(seeds[0])
        self.agent.begin(len(seeds))
        self._units = _InSimulator(self.agent, env.units)

    def act(self, observation: Observation) -> np.ndarray:
        """Actions, float32 (K, A) in [-1, 1]."""
        return self._units.act(observation)
