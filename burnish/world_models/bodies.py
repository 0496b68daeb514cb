"""Distances between bodies: whether a hand touches an object is a matter of a centimetre between two coordinates that
each range over a metre, so models see the difference besides, magnified near zero."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.data import STATE, Dataset


class BodyDifferences(nn.Module):
    """Differences x_i - x_j of chosen pairs of state dimensions, in units of their root mean square over the data."""

    left: Tensor
    right: Tensor
    scale: Tensor

    def __init__(self, pairs: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__()
        self.pairs = pairs
        self.register_buffer("left", torch.tensor([i for i, _ in pairs], dtype=torch.long))
        self.register_buffer("right", torch.tensor([j for _, j in pairs], dtype=torch.long))
        self.register_buffer("scale", torch.ones(len(pairs)))

    @torch.no_grad()
    def fit(self, frames: Float[Tensor, "F D"]) -> None:
        """Take the scale from `frames` (in the data's units).

        Root mean square, not deviation: zero must stay zero, and two bodies may keep a constant distance.
        """
        if self.pairs:
            self.scale.copy_(self.raw(frames).square().mean(0).sqrt().clamp(min=1e-4))

    def raw(self, frames: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch P"]:
        """The differences in the data's units."""
        return frames[..., self.left] - frames[..., self.right]

    def forward(self, frames: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch P"]:
        """The scaled differences of frames in the data's units."""
        return self.raw(frames) / self.scale

    def magnified(self, frames: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch P2"]:
        """The scaled differences as they are, and with the neighbourhood of zero, where contact happens, magnified."""
        if not self.pairs:
            return frames[..., :0]
        scaled = self(frames)
        return torch.cat([scaled, (5 * scaled).tanh()], dim=-1)


MANY_BODIES = 5


def position_differences(dataset: Dataset, ignored: tuple[str, ...] = ()) -> tuple[tuple[int, int], ...]:
    """Pairs of dimensions that are coordinates of two bodies along one axis, by their names (`hand_x`, `goal_x`, …).

    Bodies that are absent (zero throughout), or whose names begin with one of `ignored`, are left out; a data set
    without names gives no pairs. From `MANY_BODIES` on only the first one, the hand, is compared with each of the
    others: all pairs would drown the rest of the state.
    """
    names = dataset.info.state_names or ()
    present = dataset.observations[STATE].abs().amax(0) > 0
    index = {name: i for i, name in enumerate(names)}
    bodies = [name[:-2] for name in names if name.endswith("_x") and not name.startswith(ignored)]
    bodies = [body for body in bodies if all(f"{body}_{axis}" in index for axis in "xyz")]
    bodies = [body for body in bodies if any(present[index[f"{body}_{axis}"]] for axis in "xyz")]
    pairs = itertools.combinations(bodies, 2) if len(bodies) < MANY_BODIES else [(bodies[0], b) for b in bodies[1:]]
    return tuple((index[f"{a}_{axis}"], index[f"{b}_{axis}"]) for a, b in pairs for axis in "xyz")
