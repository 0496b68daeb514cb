"""The contract of a world model: real and imagined experience go through the same door."""

from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.components import Component
from burnish.data import Dataset, Normaliser


@dataclass(frozen=True)
class State:
    """What a world model remembers of B episodes: a dataclass of tensors, batch first."""

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, for checkpoints."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def where(self, mask: Bool[Tensor, " B"], other: Self) -> Self:
        """Rows of `other` where `mask` is true, own rows elsewhere."""

        def choose(own: Tensor, others: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (own.dim() - 1)), others, own)

        return type(self)(**{name: choose(own, getattr(other, name)) for name, own in self.tensors().items()})

    def put(self, index: Tensor, rows: Self) -> Self:
        """`rows` at the places that `index` (integers) names, own rows elsewhere."""
        found = {name: own.index_copy(0, index, getattr(rows, name)) for name, own in self.tensors().items()}
        return type(self)(**found)

    def rows(self, index: Tensor) -> Self:
        """The rows that `index` names (integers, or a boolean mask)."""
        return type(self)(**{name: own[index] for name, own in self.tensors().items()})


class Observer(Protocol):
    """The half of a world model that real experience needs: a state, and the features read from it."""

    feature_dim: int
    action_steps: int
    """Actions of one transition: 1, or T_a where a world model learns transitions over whole action chunks."""

    def initial(self, batch_size: int) -> State:
        """States of episodes that have not begun."""
        ...

    def observe(self, state: Any, action: Float[Tensor, "B A"] | None, observation: dict[str, Tensor]) -> State:
        """Take in a real observation; `action` led to it (None or ignored where the episode begins)."""
        ...

    def recorded(self, dataset: Dataset) -> State:
        """The state at every frame of a dataset, F rows, as `observe` reaches it from the episode's start."""
        ...

    def features(self, state: Any) -> Float[Tensor, "B F"]:
        """What policies and classifiers read."""
        ...

    def decode(self, state: Any) -> dict[str, Tensor]:
        """The observation that the state stands for, in the data's own units."""
        ...


class WorldModel(Observer, Protocol):
    """A world model: also predicts experience, and learns from windows or sequences."""

    @property
    def normaliser(self) -> Normaliser:
        """Of the state vector; errors of prediction are told in its units."""
        ...

    def imagine(self, state: Any, action: Float[Tensor, "B A"], generator: torch.Generator | None) -> State:
        """Predict the state after `action`; with `action_steps` > 1, after that many flattened into one vector."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss and metrics on a batch of windows."""
        ...


class Observed(Component, register=False):
    """A world model whose states a component of its own keeps: the observer half of the contract is that one's."""

    @property
    def observer(self) -> Any:
        """The observer."""
        raise NotImplementedError

    def initial(self, batch_size: int) -> Any:
        """States of episodes that have not begun."""
        return self.observer.initial(batch_size)

    def observe(self, state: Any, action: Tensor | None, observation: dict[str, Tensor]) -> Any:
        """Take in a real observation; `action` led to it (None or ignored where the episode begins)."""
        return self.observer.observe(state, action, observation)

    def recorded(self, dataset: Dataset) -> Any:
        """The state at every frame of a dataset, in frame order."""
        return self.observer.recorded(dataset)

    def features(self, state: Any) -> Float[Tensor, "B F"]:
        """What policies and classifiers read."""
        return self.observer.features(state)

    def decode(self, state: Any) -> dict[str, Tensor]:
        """The observation that the state stands for, in the data's own units."""
        return self.observer.decode(state)
