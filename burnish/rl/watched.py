"""An experience that is watched from outside whatever learns from it, and shared among processes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.policies import Policy
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.training.processes import Processes


@dataclass
class Signal:
    """Whether anything that was explored differs from anything else in what it earned."""

    episodes: float = 0.0
    """That have ended so far."""
    lowest: float = torch.inf
    highest: float = -torch.inf
    """Reward of one decision."""
    terminated: float = 0.0
    """Episodes that ended by themselves, before their time was up."""

    @property
    def flat(self) -> bool:
        """No two decisions earned differently, and ending early costs nothing."""
        return self.lowest == self.highest and (self.lowest == 0 or self.terminated == 0)


class Watched:
    """Hands on the rollouts of an experience and keeps count of what happens in them, of all processes together."""

    def __init__(self, experience: Experience) -> None:
        self.experience, self.signal = experience, Signal()
        self._seen: list[Rollout] = []
        self.num_envs, self.device = experience.num_envs, experience.device

    @property
    def imagined_steps(self) -> int:
        """Of this process."""
        return self.experience.imagined_steps

    def rollout(self, policy: Policy, steps: int, generator: torch.Generator) -> Rollout:
        """One of the experience's."""
        found = self.experience.rollout(policy, steps, generator)
        self._seen.append(found)
        return found

    def learned(self, rollout: Rollout, error: Tensor) -> None:
        """Told to the experience."""
        self.experience.learned(rollout, error)

    def state_dict(self) -> dict[str, Any]:
        """The experience's."""
        return self.experience.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.experience.load_state_dict(state)

    def rates(self, processes: Processes) -> dict[str, float]:
        """The mean reward of a decision since the last call, and of the episodes that ended the share in success, and
        the share by halting, as far as the experience tells."""
        seen, self._seen = self._seen, []
        if not seen:
            return {}
        sums, range_ = zip(*(_summary(rollout) for rollout in seen), strict=True)
        ended, terminated, reward, success, halted, unknown = processes.gather(torch.stack(sums)).sum(0).tolist()
        lowest, highest = processes.gather(torch.stack(range_)).unbind(1)
        signal = self.signal
        signal.episodes += ended
        signal.terminated += terminated
        signal.lowest = min(signal.lowest, float(lowest.min()))
        signal.highest = max(signal.highest, float(highest.max()))
        decisions = processes.count * sum(rollout.reward.numel() for rollout in seen)
        found = {"train/episodes": ended, "train/reward": reward / decisions}
        if seen[0].success is not None:
            found["train/success"] = success / max(ended - unknown, 1)
        if seen[0].halted is not None:
            found["train/halted"] = halted / max(ended, 1)
        return found


def _summary(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Numbers that are added up (ended, terminated, reward, success, halted, unknown), and the range of the reward."""
    nothing = torch.zeros_like(rollout.terminated)
    columns = (
        rollout.terminated | rollout.truncated,
        rollout.terminated,
        rollout.reward.detach(),
        nothing if rollout.success is None else rollout.success,
        nothing if rollout.halted is None else rollout.halted,
        nothing if rollout.unknown is None else rollout.unknown,
    )
    reward = rollout.reward.detach().float()
    return torch.stack([column.float().sum() for column in columns]), torch.stack([reward.min(), reward.max()])


# ---------------------------------------------------------------------------------------------------------------------
# What each process has of its own, in one file.


def gathered(state: Any, processes: Processes, name: str = "") -> Any:
    """One process's part of an experience's state, joined by all the others' (see `Experience`)."""
    if isinstance(state, dict):
        return {key: gathered(value, processes, key) for key, value in state.items()}
    if isinstance(state, Tensor):
        return processes.gather(state[None] if name == "generator" else state)
    return state * processes.count if type(state) is int else state


def share_of(state: Any, rows: int, processes: Processes, fresh: int, device: torch.device, name: str = "") -> Any:
    """This process's part of what `gathered` joined: `rows` rows of each tensor.

    A process that was not there before gets a generator seeded by `fresh`: what it draws now, none has drawn yet.
    """
    if isinstance(state, dict):
        return {key: share_of(value, rows, processes, fresh, device, key) for key, value in state.items()}
    if name == "generator":
        if processes.rank < len(state):
            # Cloned: a generator reads a view's memory from its beginning.
            return state[processes.rank].clone()
        return torch.Generator(device=device).manual_seed(fresh).get_state()
    if isinstance(state, Tensor):
        return state[processes.rank * rows : (processes.rank + 1) * rows]
    return state // processes.count if type(state) is int else state
