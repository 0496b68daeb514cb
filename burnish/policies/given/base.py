"""The contract of a policy that was made elsewhere."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from burnish.components import Component


class Given(Component, register=False):
    """Named observations, in their own units, to a chunk of actions in theirs; without noise and without a memory.

    Attributes:
        inputs: the size of each observation that it reads, by its key; None where it takes whatever is there.
        frames: the newest frames that it reads of each, oldest first.
        action_dim: A; None until it has acted.
        chunk: T_a, the actions of one decision that are executed.
        learns: whether gradients reach weights that may change.
    """

    inputs: Mapping[str, int] | None
    frames: int
    action_dim: int | None
    chunk: int
    learns: bool

    def plan(self, observation: Mapping[str, Float[Tensor, "B frames D"]]) -> Float[Tensor, "B T_a A"]:
        """The chunk that it would execute."""
        raise NotImplementedError
