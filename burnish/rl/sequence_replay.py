"""What a policy did, frame after frame, on the device: a ring that recurrent models and reward heads learn from."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from burnish.data import STATE, SequenceBatch
from burnish.errors import InputError
from burnish.rewards import RewardTransitions
from burnish.rl.ring import Ring
from burnish.rl.rollout import Rollout


@dataclass
class _Nothing:
    """A stream that remembers nothing: sequences that are drawn at random do not go on one another."""

    carry: dict[str, Tensor] | None = None


class SequenceReplay(Ring):
    """The newest `capacity` frames: features, the decision that led to each, and what came of it.

    A rollout adds one environment's frames after another's. A frame that begins is one to which nothing led: the first
    of an environment's part, and that of a restart.
    """

    def __init__(self, capacity: int, feature_dim: int, action_dim: int, device: torch.device) -> None:
        """Take the memory at once; `action_dim` is that of a whole decision."""
        super().__init__(
            {
                "features": torch.zeros(capacity, feature_dim, device=device),
                "action": torch.zeros(capacity, action_dim, device=device),
                "reward": torch.zeros(capacity, device=device),
                "terminated": torch.zeros(capacity, dtype=torch.bool, device=device),
                "begins": torch.ones(capacity, dtype=torch.bool, device=device),
            }
        )

    def add(self, frames: dict[str, Tensor]) -> None:
        """Write frames, as `frames_of` makes them, over the oldest ones; InputError where they are too many at once."""
        count = len(frames["reward"])
        if count > self.capacity:
            raise InputError(
                f"replay: found {count} frames in one rollout, expected at most the capacity, {self.capacity}"
            )
        self.write(frames)

    def sequences(self, count: int, length: int, generator: torch.Generator) -> SequenceBatch:
        """`count` sequences of `length` successive frames, drawn uniformly; what begins within them says so."""
        device = self.device
        if self.filled < length:
            raise InputError(f"replay: found {self.filled} frames, expected at least {length}, those of a sequence")
        # Counted from the oldest frame, so that none runs from the newest frames into the oldest ones.
        drawn = torch.randint(self.filled - length + 1, (count,), generator=generator, device=device)
        index = self.at(drawn[:, None] + torch.arange(length, device=device))
        begins = self.rows["begins"][index]
        begins[:, 0] = True
        return SequenceBatch({STATE: self.rows["features"][index]}, self.rows["action"][index], begins, _Nothing())

    def transitions(self, count: int, generator: torch.Generator) -> RewardTransitions:
        """`count` single decisions and what they earned, drawn nearly uniformly; none of them crosses a beginning."""
        device = self.device
        drawn = torch.randint(1, self.filled, (count,), generator=generator, device=device)
        # After a beginning there always comes a step.
        drawn = drawn + self.rows["begins"][self.at(drawn)].long()
        after, before = self.at(drawn), self.at(drawn - 1)
        rows = self.rows
        return RewardTransitions(
            rows["features"][before],
            rows["action"][after],
            rows["features"][after],
            rows["reward"][after],
            rows["terminated"][after],
        )


@torch.no_grad()
def frames_of(rollout: Rollout) -> dict[str, Tensor]:
    """The frames of a rollout, one environment's after another's: where each began, and what each decision led to.

    Where an episode ended before the rollout did, the frame of the restart follows.
    """
    assert rollout.action is not None
    action = rollout.action
    ended: Bool[Tensor, "T N"] = rollout.terminated | rollout.truncated
    # Each decision has two slots: the frame it led to, and that of a restart; before the first one is a beginning.
    features = torch.stack([rollout.next_features, rollout.features.roll(-1, 0)], 1).flatten(0, 1)
    restarts = ended.clone()
    restarts[-1] = False
    there = torch.stack([torch.ones_like(ended), restarts], 1).flatten(0, 1)
    nothing = torch.zeros_like(rollout.reward)
    columns = {
        "features": torch.cat([rollout.features[:1], features]),
        "action": torch.cat([torch.zeros_like(action[:1]), _apart(action, torch.zeros_like(action))]),
        "reward": torch.cat([nothing[:1], _apart(rollout.reward, nothing)]),
        "terminated": torch.cat([ended[:1] & False, _apart(rollout.terminated, ended & False)]),
        "begins": torch.cat([torch.ones_like(ended[:1]), _apart(torch.zeros_like(ended), torch.ones_like(ended))]),
    }
    chosen = torch.cat([torch.ones_like(ended[:1]), there]).t().flatten()
    return {name: values.transpose(0, 1).flatten(0, 1)[chosen] for name, values in columns.items()}


def _apart(steps: Tensor, restarts: Tensor) -> Tensor:
    return torch.stack([steps, restarts], 1).flatten(0, 1)
