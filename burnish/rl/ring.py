"""Rows on the device, the newest of which are kept: what replay buffers are made of."""

from typing import Any

import torch
from torch import Tensor


class Ring:
    """The newest `capacity` rows of several columns; where they lie is known to the host, so nothing waits for the
    device.

    Attributes:
        rows: the columns by name, (capacity, …) each.
        filled: how many rows there are.
    """

    def __init__(self, rows: dict[str, Tensor]) -> None:
        """Take the memory that there is for them."""
        self.rows, self.filled, self._next = rows, 0, 0
        self.capacity = len(next(iter(rows.values())))

    @property
    def device(self) -> torch.device:
        """Where the rows lie."""
        return next(iter(self.rows.values())).device

    def write(self, new: dict[str, Tensor]) -> None:
        """Write rows, at most `capacity` of them, over the oldest ones."""
        count = len(next(iter(new.values())))
        first = min(count, self.capacity - self._next)
        for name, rows in self.rows.items():
            rows[self._next : self._next + first] = new[name][:first]
            rows[: count - first] = new[name][first:]
        self._next = (self._next + count) % self.capacity
        self.filled = min(self.capacity, self.filled + count)

    def at(self, number: Tensor) -> Tensor:
        """Where rows lie, counted from the oldest."""
        oldest = self._next if self.filled == self.capacity else 0
        return (oldest + number) % self.capacity

    def state_dict(self) -> dict[str, Any]:
        """The rows that there are, and where the next one goes."""
        rows = {name: rows[: self.filled].clone() for name, rows in self.rows.items()}
        return {"next": self._next, "filled": self.filled, "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._next, self.filled = int(state["next"]), int(state["filled"])
        for name, rows in self.rows.items():
            rows[: self.filled] = state["rows"][name].to(rows.device)
