"""Several world models of the same data as one: what works in one of them only is a flaw of that one."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.components import Component
from burnish.data import Normaliser
from burnish.errors import InputError
from burnish.world_models.base import Observed


class SeveralWorlds(Observed):
    """Episodes are shared evenly between world models that differ in their random numbers of training.

    Row n of B follows world n·K // B of K, from its first transition to its last, so that a policy learns in all of
    them and is scored in all of them (PETS, arXiv 1805.12114, section 5: trajectory sampling TS∞). All of them keep the
    same states, by the first one's observer.
    """

    def __init__(self, worlds: tuple[Component, ...]) -> None:
        """Take the worlds together.

        Raises:
            InputError: there is none, or they see different features or chunks.
        """
        super().__init__()
        kinds = {(each.feature_dim, each.action_steps) for each in worlds}  # type: ignore[attr-defined]
        if len(kinds) != 1:
            raise InputError(
                f"world models: found features and action steps {sorted(kinds)}, expected one and the same"
            )
        self.worlds = nn.ModuleList(worlds)
        self.feature_dim, self.action_steps = kinds.pop()

    @property
    def observer(self) -> Any:
        """The first world, which keeps the states."""
        return self.worlds[0]

    @property
    def normaliser(self) -> Normaliser:
        """The first world's."""
        return self.observer.normaliser

    def imagine(self, state: Any, action: Float[Tensor, "B A"], generator: torch.Generator | None = None) -> Any:
        """Each row's own world predicts what follows."""
        count = len(action)
        ends = [count * k // len(self.worlds) for k in range(len(self.worlds) + 1)]
        parts = [
            world.imagine(state.rows(slice(begin, end)), action[begin:end], generator)  # type: ignore[operator]
            for world, begin, end in zip(self.worlds, ends, ends[1:], strict=False)
            if end > begin
        ]
        joined = {name: torch.cat([part.tensors()[name] for part in parts]) for name in parts[0].tensors()}
        return type(parts[0])(**joined)

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of the worlds' losses; each of them is trained by itself."""
        found = [world.loss(batch) for world in self.worlds]  # type: ignore[operator]
        metrics = {name: torch.stack([each[1][name] for each in found]).mean() for name in found[0][1]}
        return torch.stack([each[0] for each in found]).mean(), metrics
