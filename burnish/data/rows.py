"""Batches in two steps: which rows, then the rows, so that several processes each gather their own alone."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import torch

Drawn = TypeVar("Drawn")
"""A tensor with a row for each row of a batch, or a tuple of such."""


class RowSampler(ABC, Generic[Drawn]):
    """Draws which rows a batch has, which is cheap and the same in all processes, and gathers any part of them.

    Each row that is gathered depends on its own drawn row alone, so a part has the same bits as within the whole.
    """

    @abstractmethod
    def draw(self, batch_size: int, generator: torch.Generator) -> Drawn:
        """Which rows a batch has: B = `batch_size` or, of an ensemble of k members, k batches one after another."""

    @abstractmethod
    def gather(self, drawn: Drawn) -> Any:
        """The batch of what was drawn, or of some rows of it."""

    def sample(self, batch_size: int, generator: torch.Generator) -> Any:
        """A whole batch."""
        return self.gather(self.draw(batch_size, generator))
