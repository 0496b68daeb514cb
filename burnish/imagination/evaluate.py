"""How good a policy is in imagination: in the environment that it learns in, or in any world, as if on a robot."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.errors import RunError
from burnish.imagination.env import ImaginedEnv
from burnish.imagination.rollout import Act, Models, Retold, rollout, transitions
from burnish.world_models.base import State

_WORST = 1e6


class Acts(Protocol):
    """Something that decides on features."""

    def act(self, features: Tensor, deterministic: bool, generator: torch.Generator | None) -> Any:
        """Return a `Decision`."""
        ...


class Plays(Protocol):
    """Something that acts on observations, and remembers its episodes between calls: an `Agent`."""

    def begin(self, batch_size: int) -> None:
        """All episodes start now."""
        ...

    def act(self, observation: dict[str, Tensor]) -> Float[Tensor, "B A"]:
        """What it does next."""
        ...

    def executed(self, action: Tensor) -> None:
        """What was done instead."""
        ...


@dataclass(frozen=True)
class ImaginedEvaluation:
    """One imagined episode from each of N starts.

    Attributes:
        outcome: what each was worth, pessimistically: success as 0 or 1 where it can be told, else the return. What
            halted has not succeeded, and has earned what it had until then.
        success: within the time limit; None where the reward does not tell.
        returns: the sum of all rewards, undiscounted.
        halted: where pessimism ended the episode, or would have ended it.
        uncertainty: by name, the mean on the way, in thresholds.
        worst: by name, the largest on the way.
        lived: decisions or transitions that each episode had.
        unknown: of which a judge did not say how they went; they count for nothing in `score`. None where none is
            asked.
    """

    outcome: Float[Tensor, " N"]
    success: Bool[Tensor, " N"] | None
    returns: Float[Tensor, " N"]
    halted: Bool[Tensor, " N"]
    uncertainty: dict[str, Float[Tensor, " N"]] = field(default_factory=dict)
    worst: dict[str, Float[Tensor, " N"]] = field(default_factory=dict)
    lived: Float[Tensor, " N"] | None = None
    unknown: Bool[Tensor, " N"] | None = None

    @property
    def score(self) -> float:
        """Pessimistic success rate, or mean return where there is no success; of the episodes whose outcome is known.

        Raises:
            RunError: a judge was asked about all of them and answered nothing.
        """
        known = self.outcome if self.unknown is None else self.outcome[~self.unknown]
        if not len(known):
            raise RunError(f"the judge did not answer about any of {len(self.outcome)} imagined episodes")
        return float(known.mean())

    @property
    def hopeful(self) -> Float[Tensor, " N"]:
        """What each was worth whatever the uncertainty."""
        return self.returns if self.success is None else self.success.to(self.returns.dtype)

    @property
    def halted_rate(self) -> float:
        """Share of episodes that left the data's support."""
        return float(self.halted.float().mean())

    def mean_uncertainty(self, name: str) -> float | None:
        """Over all steps of all episodes; None where it is not measured."""
        if name not in self.uncertainty or self.lived is None:
            return None
        return float((self.uncertainty[name] * self.lived).sum() / self.lived.sum())

    @property
    def distance(self) -> Float[Tensor, " N"]:
        """Each episode's mean distance to the data; of the first uncertainty where that is not measured, else 0."""
        first = next(iter(self.uncertainty.values()), torch.zeros_like(self.outcome))
        return self.uncertainty.get("distance", first)


@torch.no_grad()
def imagined_evaluation(
    env: ImaginedEnv, policy: Acts, starts: State, steps: int, seed: int, check_every: int = 10
) -> ImaginedEvaluation:
    """Run the deterministic policy once from each row of `starts` for at most `steps` decisions.

    Rewards are as the environment's pessimism has them.
    """
    features, _ = env.reset(seed=seed, options={"states": starts})
    alive = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    halted, success, known, unknown = ~alive, ~alive, False, None
    returns, lived = (torch.zeros(env.num_envs, device=env.device) for _ in range(2))
    way = _Way()
    for step in range(steps):
        decision = policy.act(features, True, None)
        features, reward, _, _, info = env.step(decision.action_chunk)
        returns = returns + torch.where(alive, reward, 0)
        if "success" in info:
            success, known = success | (alive & info["success"]), True
        if "unknown" in info:
            unknown = _either(unknown, alive & info["unknown"])
        halted = halted | (alive & info["halted"])
        lived = lived + alive
        way.add(alive, {each.name: info[each.name] for each in env.models.pessimism.uncertainties})
        alive = alive & ~info["_final_obs"]
        if step % check_every == check_every - 1 and not bool(alive.any()):
            break
    outcome = success.float() if known else returns
    told = success if known else None
    return ImaginedEvaluation(outcome, told, returns, halted, *way.mean_and_worst(lived), lived, unknown)


@torch.no_grad()
def imagined_play(
    agent: Plays,
    models: Models,
    starts: State,
    observation: dict[str, Tensor],
    steps: int | Int[Tensor, " N"],
    seed: int,
    deviation: Float[Tensor, "N T A"] | None = None,
    course: Retold | None = None,
) -> ImaginedEvaluation:
    """Play the deterministic agent from each row of `starts` for at most `steps` actions (one number, or each
    episode's own), whatever the uncertainty.

    A world model of several `action_steps` finishes its last transition. `success` and `returns` are those of the play
    to its end, `outcome` what pessimism leaves of it. `observation` (N, …) is what was recorded there; later ones are
    decoded from imagined states. The agent keeps its own observer, so its features may be those of another world model
    than the one it plays in. `deviation` is added to the agent's first T actions. Commands are those of the recorded
    `course`; without one they stay as they are.
    """
    world = models.world_model
    device = next(iter(observation.values())).device
    count = len(next(iter(observation.values())))
    generator = torch.Generator(device=device).manual_seed(seed)

    def act(state: Any, transition: int) -> Tensor:
        seen = observation if transition == 0 else world.decode(state)
        first = transition * world.action_steps
        chunk = range(first, first + world.action_steps)
        return torch.cat([_act(agent, seen, deviation, now) for now in chunk], dim=-1)

    halted, success = (torch.zeros(count, dtype=torch.bool, device=device) for _ in range(2))
    returns, cautious, lived = (torch.zeros(count, device=device) for _ in range(3))
    known, way, unknown = False, _Way(), None
    agent.begin(count)
    limit = transitions(world, steps)
    acts = act if course is None else _Along(act, course.observed)
    for now in rollout(models.hopeful(), starts, acts, limit, generator):
        assert now.outcome is not None
        allowed, ended = models.pessimism.apply(now.outcome, now.uncertainty)
        cautious = cautious + allowed.where(now.alive & ~halted).reward
        halted = halted | (now.alive & ended)
        returns, lived = returns + now.outcome.reward, lived + now.alive
        if now.outcome.success is not None:
            success, known = success | now.outcome.success, True
        if now.outcome.unknown is not None:
            unknown = _either(unknown, now.outcome.unknown)
        way.add(now.alive, now.uncertainty)
    outcome = (success & ~halted).float() if known else cautious
    told = success if known else None
    return ImaginedEvaluation(outcome, told, returns, halted, *way.mean_and_worst(lived), lived, unknown)


@dataclass(frozen=True)
class _Along:
    """An agent's actions beside what was recorded."""

    act: Act
    observed: Callable[[int], dict[str, Tensor]]

    def __call__(self, state: Any, step: int) -> Tensor:
        return self.act(state, step)


def _either(before: Tensor | None, now: Tensor) -> Tensor:
    return now if before is None else before | now


class _Way:
    """Sums and maxima of uncertainties while episodes live, within a million; no number is as bad as it gets."""

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self.worst: dict[str, Tensor] = {}

    def add(self, alive: Bool[Tensor, " N"], uncertainty: dict[str, Tensor]) -> None:
        for name, value in uncertainty.items():
            value = torch.nan_to_num(value, nan=_WORST).clamp(-_WORST, _WORST)
            total, worst = self.total.get(name, 0), self.worst.get(name, torch.zeros_like(value))
            self.total[name] = total + torch.where(alive, value, 0)
            self.worst[name] = torch.where(alive, torch.maximum(worst, value), worst)

    def mean_and_worst(self, lived: Float[Tensor, " N"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {name: total / lived for name, total in self.total.items()}, self.worst


def _act(agent: Plays, observation: dict[str, Tensor], deviation: Tensor | None, step: int) -> Tensor:
    action = agent.act(observation)
    if deviation is not None and step < deviation.shape[1]:
        action = (action + deviation[:, step]).clamp(-1, 1)
        agent.executed(action)
    return action
