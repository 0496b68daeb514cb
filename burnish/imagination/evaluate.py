"""How often a policy succeeds in imagination, pessimistically: a halted episode counts as a failure."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool
from torch import Tensor

from burnish.imagination.env import ImaginedEnv
from burnish.world_models.base import State


class Acts(Protocol):
    """Something that decides on features."""

    def act(self, features: Tensor, deterministic: bool, generator: torch.Generator | None) -> Any:
        """Return a `Decision`."""
        ...


@dataclass(frozen=True)
class ImaginedSuccess:
    """One imagined episode from each start."""

    success: Bool[Tensor, " N"]
    halted: Bool[Tensor, " N"]
    disagreement: float | None = None
    """Mean over the decisions of all episodes, in units of the halting threshold; None without an ensemble."""
    distance: float | None = None
    """The same of the distance to the data; None where it is not measured."""

    @property
    def rate(self) -> float:
        """Pessimistic success rate."""
        return float(self.success.float().mean())

    @property
    def halted_rate(self) -> float:
        """Share of episodes that left the data's support."""
        return float(self.halted.float().mean())


@torch.no_grad()
def imagined_success(
    env: ImaginedEnv, policy: Acts, starts: State, steps: int, seed: int, check_every: int = 10
) -> ImaginedSuccess:
    """Run the deterministic policy once from each row of `starts` for at most `steps` decisions."""
    features, _ = env.reset(seed=seed, options={"states": starts})
    success = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
    halted, alive = success.clone(), ~success
    lived, doubts = torch.zeros((), device=env.device), dict[str, Tensor]()
    for step in range(steps):
        decision = policy.act(features, True, None)
        features, _, _, _, info = env.step(decision.action_chunk)
        success |= alive & info["success"]
        halted |= alive & info["halted"]
        lived += alive.sum()
        for name in ("disagreement", "distance"):
            if name in info:
                doubts[name] = doubts.get(name, 0) + torch.where(alive, info[name], 0).sum()
        alive &= ~info["_final_obs"]
        if step % check_every == check_every - 1 and not alive.any():
            break
    return ImaginedSuccess(success, halted, **{name: float(total / lived) for name, total in doubts.items()})
