"""How a continuous action enters a world model: two-hot (World4RL, Eq. 5), one-hot, or as it is."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

ActionEncodingName = Literal["two_hot", "one_hot", "linear"]


class ActionEncoding(nn.Module):
    """Maps actions (..., A) in [-1, 1] to vectors (..., A · size); values outside are clamped to the range."""

    size: int

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions."""
        raise NotImplementedError


class TwoHot(ActionEncoding):
    """World4RL, Eq. 5: each value is shared between its two neighbouring bins, so nothing is lost.

    With K bins uniform on [-1, 1] the weights are the hat functions max(0, 1 - |a - b_k| / step).
    """

    bins: Tensor

    def __init__(self, bins: int = 21) -> None:
        super().__init__()
        self.size = bins
        self.register_buffer("bins", torch.linspace(-1, 1, bins))

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions; every group of K entries sums to one."""
        step = 2 / (self.size - 1)
        distance = (action.clamp(-1, 1).unsqueeze(-1) - self.bins).abs() / step
        return (1 - distance).clamp(min=0).flatten(-2)


class OneHot(ActionEncoding):
    """The nearest of K bins, uniform on [-1, 1]."""

    def __init__(self, bins: int = 21) -> None:
        super().__init__()
        self.size = bins

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions."""
        index = ((action.clamp(-1, 1) + 1) / 2 * (self.size - 1)).round().long()
        return nn.functional.one_hot(index, self.size).to(action.dtype).flatten(-2)


class Linear(ActionEncoding):
    """The clamped action itself; the network's first layer does the rest."""

    size = 1

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions."""
        return action.clamp(-1, 1)


def action_encoding(name: ActionEncodingName, bins: int = 21) -> ActionEncoding:
    """Build the encoding called `name`; `bins` is K and does not concern `linear`."""
    if name == "linear":
        return Linear()
    return TwoHot(bins) if name == "two_hot" else OneHot(bins)
