"""What a policy did and what came of it, collected from a vector environment, imagined or real."""

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from burnish.policies import Policy

_TOLD = ("success", "unknown", "halted", "start", "goes_on")


@dataclass(frozen=True)
class Rollout:
    """T decisions in N environments; all tensors are (T, N, …) on the policy's device."""

    features: Tensor
    trace: Tensor
    log_prob: Tensor
    """(T, N, K): of each scored step, under the policy that acted."""
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_features: Tensor
    """Where the step led, before any reset."""
    success: Tensor | None = None
    """None where nothing says what success is."""
    unknown: Tensor | None = None
    """Episodes of which a judge did not say how they went; None where none is asked."""
    halted: Tensor | None = None
    """Ended because imagination was not to be trusted; None where nothing halts."""
    start: Tensor | None = None
    """The start state of the decision's episode; None where starts have no priorities."""
    goes_on: Tensor | None = None
    """1 - `terminated` with a gradient, where the environment tells one."""
    action: Tensor | None = None
    """(T, N, T_a · A): what was executed; kept by differentiable rollouts."""
    gradients: "GradientsAlong | None" = None
    """Of a differentiable rollout: what comes back to its decisions."""


class GradientsAlong:
    """What came back to the decisions of a rollout: the gradient's size at each step, and what was no number.

    Such entries are replaced by 0, so that one environment's overflow does not spoil all weights; they are counted.
    Filled by a backward pass; another one through the same rollout adds to it.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.squares = torch.zeros(steps, device=device, dtype=torch.float64)
        self.lost = torch.zeros(steps, device=device)

    def watch(self, step: int, action: Tensor) -> None:
        """Note the gradient with respect to the decision of this step."""

        def note(gradient: Tensor) -> Tensor:
            finite = gradient.isfinite()
            kept = torch.where(finite, gradient, 0.0)
            self.squares[step] += kept.double().square().sum()
            self.lost[step] += (~finite).sum()
            return kept

        if action.requires_grad:
            action.register_hook(note)

    def where(self) -> str:
        """In words: how the size grows from the last decision to the first, and what is no number."""
        norms, lost = self.squares.sqrt().tolist(), self.lost.tolist()
        last = len(norms)
        told = f"its size is {norms[-1]:.3g} at decision {last} of the rollout and {norms[0]:.3g} at decision 1"
        if last > 2:
            largest = max(range(last), key=lambda step: norms[step])
            told += f", the largest {norms[largest]:.3g} at decision {largest + 1}"
        broken = [step + 1 for step, count in enumerate(lost) if count]
        if broken:
            told += f"; {sum(lost):.0f} numbers are not finite, first (backward) at decision {max(broken)}"
        return told


class EnvExperience:
    """The `Experience` of a `gymnasium.vector.VectorEnv` of tensors: `ImaginedEnv`, `RealEnv`.

    The environment must restart ended episodes in the same step and report `final_obs`. It has `feature_dim`, `device`,
    `imagined_steps`, `state_dict` and `load_state_dict`; the state holds tensors with one row for each environment,
    counters, and its random `generator`. One that cannot be put back into its episodes, a simulator say, has
    `resumable = False`: it begins new ones.
    """

    def __init__(self, env: VectorEnv, seed: int) -> None:
        """Begin episodes in all environments."""
        self.env: Any = env
        self._features, _ = self.env.reset(seed=seed)

    @property
    def num_envs(self) -> int:
        """N."""
        return self.env.num_envs

    @property
    def feature_dim(self) -> int:
        """F, what the policy reads."""
        return self.env.feature_dim

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.env.device

    @property
    def imagined_steps(self) -> int:
        """Actions that were imagined so far."""
        return self.env.imagined_steps

    @torch.no_grad()
    def rollout(self, policy: Policy, steps: int, generator: torch.Generator) -> Rollout:
        """Explore for `steps` decisions, from where the last rollout ended."""
        return self._explore(policy, steps, generator, None)

    def _explore(
        self, policy: Policy, steps: int, generator: torch.Generator, gradients: "GradientsAlong | None"
    ) -> Rollout:
        rows = list[dict[str, Tensor]]()
        features = self._features
        for step in range(steps):
            decision = policy.act(features, False, generator)
            log_prob = decision.log_prob
            if log_prob is None:
                log_prob = policy.log_prob(features, decision.trace)
            executed = {}
            if gradients is not None:
                gradients.watch(step, decision.action_chunk)
                executed["action"] = decision.action_chunk.detach().flatten(1).clamp(-1, 1)
            following, reward, terminated, truncated, info = self.env.step(decision.action_chunk)
            rows.append(
                {
                    "features": features,
                    "trace": decision.trace,
                    "log_prob": log_prob,
                    "reward": reward,
                    "terminated": terminated,
                    "truncated": truncated,
                    "next_features": torch.where(info["_final_obs"].unsqueeze(-1), info["final_obs"], following),
                    **{name: info[name] for name in _TOLD if info.get(name) is not None},
                    **executed,
                }
            )
            features = following
        self._features = features.detach()
        return Rollout(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]}, gradients=gradients)

    def learned(self, rollout: Rollout, error: Tensor) -> None:
        """Hear the |TD errors| (T, N) of a rollout, from which start states may take their priorities."""
        if rollout.start is not None:
            self.env.starts.priorities.learned(rollout.start, error)

    def state_dict(self) -> dict[str, Any]:
        """Where the episodes are."""
        return {"env": self.env.state_dict(), "features": self._features}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.env.load_state_dict(state["env"])
        resumable = getattr(self.env, "resumable", True)
        self._features = state["features"].to(self.device) if resumable else self.env.reset()[0]
