"""Sets of 3-D Gaussians: 14 numbers each, as arXiv 2308.04079 has them with colours that do not depend on the view."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NUMBERS = 14
"""Position 3, scale 3, rotation 4 (a unit quaternion w, x, y, z), colour 3 in [0, 1], opacity 1 in [0, 1]."""
_PARTS = (3, 3, 4, 3, 1)


@dataclass(frozen=True)
class Gaussians:
    """N of them for each of B scenes; an opacity of 0 is none at all. Order means nothing."""

    numbers: Float[Tensor, "*batch N 14"]

    @property
    def position(self) -> Float[Tensor, "*batch N 3"]:
        """Centres, metres."""
        return self.numbers[..., :3]

    @property
    def colour(self) -> Float[Tensor, "*batch N 3"]:
        """Red, green, blue."""
        return self.numbers[..., 10:13]

    @property
    def opacity(self) -> Float[Tensor, "*batch N"]:
        """At the centre."""
        return self.numbers[..., 13]

    def covariance(self) -> Float[Tensor, "*batch N 3 3"]:
        """R S Sᵀ Rᵀ, square metres."""
        shape = rotations(self.numbers[..., 6:10]) * self.numbers[..., None, 3:6]
        return shape @ shape.transpose(-1, -2)

    def __add__(self, other: "Gaussians") -> "Gaussians":
        """Both sets together."""
        return Gaussians(torch.cat([self.numbers, other.numbers], dim=-2))


def activated(
    raw: Float[Tensor, "*batch N 14"], middle: Float[Tensor, "3"], reach: Float[Tensor, "3"], scale: float
) -> Gaussians:
    """A network's outputs as Gaussians: around `middle`, within about twice `reach`, about `scale` large."""
    position, size, rotation, colour, opacity = raw.split(_PARTS, dim=-1)
    # Zeros are a Gaussian as good as any: round, grey, half there.
    whole = rotation + torch.tensor([1.0, 0, 0, 0], device=raw.device)
    return Gaussians(
        torch.cat(
            [
                middle + reach * 2 * torch.tanh(position / 2),
                scale * size.clamp(-3, 3).exp(),
                torch.nn.functional.normalize(whole, dim=-1, eps=1e-6),
                colour.sigmoid(),
                opacity.sigmoid(),
            ],
            dim=-1,
        )
    )


def rotations(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrices of unit quaternions (w, x, y, z)."""
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def chamfer(
    found: Float[Tensor, "B N 3"],
    true: Float[Tensor, "B M 3"],
    here: Bool[Tensor, "B N"] | None = None,
    there: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, " B"]:
    """The mean distance of a point to the nearest one of the other set, both ways, averaged; 0 with an empty set.

    Args:
        found: one set.
        true: the other one.
        here: which points of `found` count; None: all.
        there: the same of `true`.
    """
    here = torch.ones_like(found[..., 0], dtype=torch.bool) if here is None else here
    there = torch.ones_like(true[..., 0], dtype=torch.bool) if there is None else there
    with torch.no_grad():
        square = found.square().sum(-1, keepdim=True) + true.square().sum(-1).unsqueeze(-2)
        square = torch.baddbmm(square, found, true.transpose(-1, -2), alpha=-2)
        square.masked_fill_(~here.unsqueeze(-1), torch.inf).masked_fill_(~there.unsqueeze(-2), torch.inf)
        nearest = square.argmin(-1), square.argmin(-2)
    both = (here.any(-1) & there.any(-1)).unsqueeze(-1)
    ways = []
    for own, other, index, counts in ((found, true, nearest[0], here), (true, found, nearest[1], there)):
        offset = own - other.gather(1, index.unsqueeze(-1).expand_as(own))
        # Not the root of zero: its slope is infinite.
        distance = (offset.square().sum(-1) + 1e-12).sqrt()
        ways.append((distance * (counts & both)).sum(-1) / counts.sum(-1).clamp(min=1))
    return (ways[0] + ways[1]) / 2
