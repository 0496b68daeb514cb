"""What was experienced, on the device: transitions that off-policy learners draw from."""

import torch
from torch import Tensor

from burnish.rl.ring import Ring
from burnish.rl.transitions import TransitionBatch

_COLUMNS = ("features", "action", "reward", "terminal", "next_features")


class ReplayBuffer(Ring):
    """The newest `capacity` transitions."""

    def __init__(self, capacity: int, feature_dim: int, action_dim: int, device: torch.device) -> None:
        """Take the memory at once; `action_dim` is that of a whole decision."""
        wide = {"features": feature_dim, "action": action_dim, "next_features": feature_dim}
        rows = {name: torch.zeros(capacity, size, device=device) for name, size in wide.items()}
        rows["reward"] = torch.zeros(capacity, device=device)
        rows["terminal"] = torch.zeros(capacity, dtype=torch.bool, device=device)
        super().__init__(rows)

    def add(self, batch: TransitionBatch) -> None:
        """Write transitions over the oldest ones; of more than there is room for, the last."""
        self.write({name: rows[-self.capacity :] for name, rows in columns(batch).items()})

    def sample(self, batch_size: int, generator: torch.Generator) -> TransitionBatch:
        """Draw uniformly with replacement."""
        drawn = torch.randint(self.filled, (batch_size,), generator=generator, device=self.device)
        return TransitionBatch(**{name: rows[drawn] for name, rows in self.rows.items()})


def joined(one: TransitionBatch, other: TransitionBatch) -> TransitionBatch:
    """The rows of both."""
    return TransitionBatch(*(torch.cat([getattr(one, name), getattr(other, name)]) for name in _COLUMNS))


def columns(batch: TransitionBatch) -> dict[str, Tensor]:
    """The batch by name."""
    return {name: getattr(batch, name) for name in _COLUMNS}
