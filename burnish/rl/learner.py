"""The contracts of learning by trial: where experience comes from, what learns from it, and how well it does."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from burnish.imagination import ImaginedEvaluation
from burnish.policies import Policy
from burnish.rl.rollout import Rollout


class Experience(Protocol):
    """A source of rollouts: an environment (`EnvExperience`), or a generator of trajectories.

    Of several processes each has one of its own, of the same size. `state_dict` holds nested dicts of tensors with one
    row for each environment, counters (int), and under the name `generator` the state of its random numbers; with it
    the rollouts that follow are bit for bit the same.
    """

    @property
    def num_envs(self) -> int:
        """Environments of this process, N."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the rollouts' tensors are."""
        ...

    @property
    def imagined_steps(self) -> int:
        """Actions that this process has imagined so far."""
        ...

    def rollout(self, policy: Policy, steps: int, generator: torch.Generator) -> Rollout:
        """Let the policy explore for `steps` decisions in each environment, from where the last rollout ended."""
        ...

    def learned(self, rollout: Rollout, error: Tensor) -> None:
        """Hear the critic's |TD errors| (T, N) on a rollout."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following rollouts depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


class Learner(Protocol):
    """Improves its `policy` in place: PPO, A2C, GRPO, a first-order method, an off-policy one with a replay buffer.

    It asks an experience for what it needs, so rollouts' number and length are its own settings. All its random numbers
    come from the generator that it is given; a loss that uses torch's global one is called in `torch.random.fork_rng`,
    seeded from the generator. A learner may own more than a policy: critics, targets, a replay buffer, the model in
    which it imagines; `state_dict` holds all of it. Among several processes all learners keep the same weights.

    One that learns from gradients of the experience makes it itself: `experience(env, seed)` gives a differentiable
    one of an imagined environment.

    What learns from recorded transitions alone (`TD3BC`, `IQL`) has `loss(batch)` instead and is trained by
    `training.fit`.
    """

    policy: Policy

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """Do one iteration and return its metrics."""
        ...

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The loss by which a first update would learn from `rollout`, for the pre-flight check; changes nothing."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following updates depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


@dataclass(frozen=True)
class Judgement:
    """How good a policy is: the number that iterates are compared by, and everything that is worth a line in the log.

    Attributes:
        score: more is better: a success rate, or a mean return.
        metrics: numbers by name; `RefineConfig.max_distance_growth` limits `distance`, or else `disagreement`.
        scale: the size of a difference that matters, by which `RefineConfig.margin` is multiplied: 1 for a rate, the
            standard error for a mean return.
    """

    score: float
    metrics: dict[str, float] = field(default_factory=dict)
    scale: float = 1.0

    @classmethod
    def of(cls, found: ImaginedEvaluation) -> "Judgement":
        """By the pessimistic success rate, or the mean return where success is not known; its scale is the error."""
        metrics = {"halted": found.halted_rate}
        measured = {name: found.mean_uncertainty(name) for name in found.uncertainty}
        metrics |= {name: value for name, value in measured.items() if value is not None}
        if found.success is not None:
            return cls(found.score, {"success": found.score, **metrics})
        spread = float(found.outcome.std(correction=min(1, len(found.outcome) - 1)))
        error = spread / len(found.outcome) ** 0.5
        return cls(found.score, {"return": found.score, "return_error": error, **metrics}, error)


Score = Callable[[Policy], Judgement]
"""Judges a policy, the same way every time: deterministic actions, fixed starts, random numbers of its own."""
