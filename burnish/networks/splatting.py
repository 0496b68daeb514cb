"""A small differentiable renderer of 3-D Gaussians: elliptical splats, sorted by depth, blended front to back.

Every pixel looks at every Gaussian (arXiv 2308.04079, Eqs. 3 to 6, without tiles): for tiny pictures and some hundred
Gaussians on a processor. On a GPU, where `gsplat` is installed, that draws instead; this path has not been run here.
"""

import importlib.util
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.networks.gaussians import Gaussians

NEAR = 0.05
"""Metres before the camera within which nothing is drawn."""
_BLUR = 0.3
"""Square pixels that every splat is wider, so that none falls between pixels (as in the reference renderer)."""
_MOST = 0.99
"""The most that one splat covers, as there."""


class View(NamedTuple):
    """A pinhole camera: R from its axes (x right, y down, z forward) to the world's, metres, widths and heights."""

    rotation: Float[Tensor, "3 3"]
    position: Float[Tensor, "3"]
    focal: Float[Tensor, "2"]
    centre: Float[Tensor, "2"]

    def seen(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World to camera."""
        return (points - self.position) @ self.rotation

    def unproject(self, depth: Float[Tensor, "*batch S S"]) -> Float[Tensor, "*batch S S 3"]:
        """The points of the world that pixels at these depths along the axis show; pixels count in their middle."""
        rows, columns = depth.shape[-2:]
        v, u = torch.meshgrid(
            (torch.arange(rows, device=depth.device) + 0.5) / rows,
            (torch.arange(columns, device=depth.device) + 0.5) / columns,
            indexing="ij",
        )
        ray = torch.stack([*((torch.stack([u, v], -1) - self.centre) / self.focal).unbind(-1), torch.ones_like(u)], -1)
        return (ray * depth.unsqueeze(-1)) @ self.rotation.T + self.position


class Picture(NamedTuple):
    """What is drawn. Colours and depths of what is there, times its opacity: nothing stands behind."""

    colour: Float[Tensor, "B S S 3"]
    depth: Float[Tensor, "B S S"]
    opacity: Float[Tensor, "B S S"]


def render(scene: Gaussians, view: View, size: int) -> Picture:
    """Square pictures of B scenes (B, N, 14) of `size` pixels, differentiable in all 14 numbers.

    Gaussians are sorted, so their order changes nothing.
    """
    if scene.numbers.device.type == "cuda" and importlib.util.find_spec("gsplat") is not None:
        return _with_gsplat(scene, view, size)
    place = view.seen(scene.position)
    order = place[..., 2].detach().argsort(-1)
    scene = Gaussians(scene.numbers.gather(1, order.unsqueeze(-1).expand_as(scene.numbers)))
    place = place.gather(1, order.unsqueeze(-1).expand_as(place))
    depth = place[..., 2].clamp(min=NEAR)
    middle, inverse = _splats(scene, view, place[..., :2], depth, size)
    pixel = (torch.arange(size, device=depth.device) + 0.5).to(depth.dtype)
    # (B, S·S, N): offsets of every pixel from every splat, in pixels.
    x = (pixel.view(1, 1, -1, 1) - middle[:, None, None, :, 0]).expand(-1, size, -1, -1).flatten(1, 2)
    y = (pixel.view(1, -1, 1, 1) - middle[:, None, None, :, 1]).expand(-1, -1, size, -1).flatten(1, 2)
    xx, xy, yy = (part.unsqueeze(1) for part in inverse.unbind(-1))
    falloff = (-0.5 * (xx * x * x + 2 * xy * x * y + yy * y * y)).exp()
    opacity = scene.opacity * (place[..., 2] > NEAR)
    alpha = (opacity.unsqueeze(1) * falloff).clamp(max=_MOST)
    through = (1 - alpha).cumprod(-1)
    weight = alpha * torch.cat([torch.ones_like(through[..., :1]), through[..., :-1]], -1)
    drawn = weight @ torch.cat([scene.colour, depth.unsqueeze(-1)], -1)
    drawn = drawn.unflatten(1, (size, size))
    return Picture(drawn[..., :3], drawn[..., 3], (1 - through[..., -1]).unflatten(1, (size, size)))


def _splats(
    scene: Gaussians, view: View, across: Float[Tensor, "B N 2"], depth: Float[Tensor, "B N"], size: int
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 3"]]:
    """Middles in pixels, and the inverse covariances (xx, xy, yy) of the projections, linear around each middle."""
    focal = view.focal * size
    middle = focal * across / depth.unsqueeze(-1) + view.centre * size
    # Far outside the picture the linear projection is of no use, as in the reference renderer: its slope is limited.
    slope = (across / depth.unsqueeze(-1)).clamp(-2, 2)
    zero = torch.zeros_like(depth)
    jacobian = torch.stack(
        [
            torch.stack([focal[0] / depth, zero, -focal[0] * slope[..., 0] / depth], -1),
            torch.stack([zero, focal[1] / depth, -focal[1] * slope[..., 1] / depth], -1),
        ],
        -2,
    )
    project = jacobian @ view.rotation.T
    covariance = project @ scene.covariance() @ project.transpose(-1, -2)
    xx, xy, yy = covariance[..., 0, 0] + _BLUR, covariance[..., 0, 1], covariance[..., 1, 1] + _BLUR
    determinant = xx * yy - xy * xy
    return middle, torch.stack([yy, -xy, xx], -1) / determinant.unsqueeze(-1)


def _with_gsplat(scene: Gaussians, view: View, size: int) -> Picture:
    """The same by `gsplat.rasterization`, which takes one scene of N at a time; a mirrored picture is turned after."""
    from gsplat import rasterization  # pyright: ignore[reportMissingImports]

    device, (fx, fy), (cx, cy) = scene.numbers.device, view.focal.tolist(), view.centre.tolist()
    mirrored = [axis for axis, focal in ((-1, fx), (-2, fy)) if focal < 0]
    cx, cy = 1 - cx if fx < 0 else cx, 1 - cy if fy < 0 else cy
    intrinsics = torch.tensor(
        [[abs(fx) * size, 0, cx * size], [0, abs(fy) * size, cy * size], [0, 0, 1]], device=device
    )
    to_camera = torch.eye(4, device=device)
    to_camera[:3, :3] = view.rotation.T
    to_camera[:3, 3] = -view.rotation.T @ view.position
    drawn, opacity = [], []
    for numbers in scene.numbers:
        position, scale, rotation, colour, there = numbers.split((3, 3, 4, 3, 1), dim=-1)
        pictures, alpha, _ = rasterization(
            *(position, rotation, scale, there.squeeze(-1), colour),
            *(to_camera[None], intrinsics[None], size, size),
            near_plane=NEAR,
            eps2d=_BLUR,
            render_mode="RGB+D",
        )
        drawn.append(pictures[0])
        opacity.append(alpha[0, ..., 0])
    stacked, covered = torch.stack(drawn), torch.stack(opacity)
    stacked = stacked.flip([axis - 1 for axis in mirrored]) if mirrored else stacked
    covered = covered.flip(mirrored) if mirrored else covered
    return Picture(stacked[..., :3], stacked[..., 3], covered)
