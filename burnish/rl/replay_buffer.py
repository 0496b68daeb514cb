"""What was experienced, on the device: a ring of transitions that off-policy learners draw from."""

from typing import Any

import torch
from torch import Tensor

from burnish.rl.transitions import TransitionBatch

_COLUMNS = ("features", "action", "reward", "terminal", "next_features")


class ReplayBuffer:
    """The newest `capacity` transitions; where they lie is known to the host, so nothing waits for the device.

    Attributes:
        filled: how many there are.
    """

    def __init__(self, capacity: int, feature_dim: int, action_dim: int, device: torch.device) -> None:
        """Take the memory at once; `action_dim` is that of a whole decision."""
        self.capacity, self.filled, self._next = capacity, 0, 0
        wide = {"features": feature_dim, "action": action_dim, "next_features": feature_dim}
        self._rows = {name: torch.zeros(capacity, size, device=device) for name, size in wide.items()}
        self._rows["reward"] = torch.zeros(capacity, device=device)
        self._rows["terminal"] = torch.zeros(capacity, dtype=torch.bool, device=device)

    def add(self, batch: TransitionBatch) -> None:
        """Write transitions over the oldest ones; of more than there is room for, the last."""
        new = {name: getattr(batch, name)[-self.capacity :] for name in _COLUMNS}
        count = len(new["reward"])
        first = min(count, self.capacity - self._next)
        for name, rows in self._rows.items():
            rows[self._next : self._next + first] = new[name][:first]
            rows[: count - first] = new[name][first:]
        self._next = (self._next + count) % self.capacity
        self.filled = min(self.capacity, self.filled + count)

    def sample(self, batch_size: int, generator: torch.Generator) -> TransitionBatch:
        """Draw uniformly with replacement."""
        device = self._rows["reward"].device
        drawn = torch.randint(self.filled, (batch_size,), generator=generator, device=device)
        return TransitionBatch(**{name: rows[drawn] for name, rows in self._rows.items()})

    def state_dict(self) -> dict[str, Any]:
        """The transitions that there are, and where the next one goes."""
        rows = {name: rows[: self.filled].clone() for name, rows in self._rows.items()}
        return {"next": self._next, "filled": self.filled, "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._next, self.filled = int(state["next"]), int(state["filled"])
        for name, rows in self._rows.items():
            rows[: self.filled] = state["rows"][name].to(rows.device)


def joined(one: TransitionBatch, other: TransitionBatch) -> TransitionBatch:
    """The rows of both."""
    return TransitionBatch(*(torch.cat([getattr(one, name), getattr(other, name)]) for name in _COLUMNS))


def columns(batch: TransitionBatch) -> dict[str, Tensor]:
    """The batch by name."""
    return {name: getattr(batch, name) for name in _COLUMNS}
