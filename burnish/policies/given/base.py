"""The contract of a policy that was made elsewhere."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from burnish.components import Component


class Given(Component, register=False):
    """Named observations, in their own units, to a chunk of actions in theirs; without noise and without a memory.

    Attributes:
        inputs: the size of each vector that it reads, by its key; None where it takes whatever is there.
        pictures: the shape (H, W, 3) of each camera's pictures that it must have, by its key.
        frames: the newest frames that it reads of each, oldest first.
        action_dim: A; None until it has acted.
        chunk: T_a, the actions of one decision that are executed.
        learns: whether gradients reach weights that may change.
    """

    inputs: Mapping[str, int] | None
    pictures: Mapping[str, tuple[int, ...]] = {}
    frames: int
    action_dim: int | None
    chunk: int
    learns: bool

    def plan(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B T_a A"]:
        """The chunk that it would execute, for vectors (B, frames, D) and pictures uint8 (B, frames, H, W, 3)."""
        raise NotImplementedError
