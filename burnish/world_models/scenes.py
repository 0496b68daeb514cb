"""Pictures with depth as sets of 3-D Gaussians: unprojected, and what never moves told apart and kept once."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from burnish.components import check_allowed
from burnish.config import within
from burnish.data import Camera, Dataset, check_depth, depth_camera, image_key, unpack_depth, view_tensors
from burnish.data.checks import bad_input
from burnish.errors import InputError
from burnish.networks import NUMBERS, Gaussians, View

_SAMPLE = 400
"""Frames from which the background is told."""
_FARTHEST = 0.9
"""A pixel's background is about the farthest that it shows: this quantile, since depth has outliers."""
_OPACITY = 0.95
_SIZE = 0.6
"""Standard deviation of a pixel's Gaussian, in widths of the pixel there."""

Maker = Callable[[Mapping[str, Tensor]], Float[Tensor, "B V S S 14"]]
"""Pictures (B, S, S, 3) uint8 by camera to a Gaussian for every pixel of every view, in the world's metres."""


@dataclass(frozen=True)
class SceneConfig:
    """Which views a scene is made of, and how."""

    views: tuple[str, ...] = ("corner3",)
    """Cameras that stand still and see depth, too (GWM: a pair). What one does not see another may."""
    image_size: int = within(48, 8)
    points: int = within(160, 1)
    """The most Gaussians of a set: an even choice of the pixels that show what moves."""
    tolerance: float = within(0.02, 0, open_low=True)
    """Metres by which something has to stand before the background to be no part of it."""
    workspace: tuple[float, ...] | None = None
    """x, y and z, from and to: what lies elsewhere is no part of the sets."""
    most_holes: float = within(0.3, 0, 1)
    """The largest share of holes in a view's depth; single holes are left out of the sets."""
    maker: str | None = None
    """`module:factory` of your own (Splatt3R, say) in the place of unprojection: called without arguments, it gives a
    function from pictures {camera: uint8 (B, S, S, 3)} to (B, views, S, S, 14), a Gaussian for every pixel, in the
    world of the cameras. Then no depth is recorded."""

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) != len(self.views):
            raise InputError(f"scene: found the views {self.views}, expected one or more different cameras")
        box = self.workspace
        if box is not None and (
            len(box) != 6 or any(low >= high for low, high in zip(box[::2], box[1::2], strict=True))
        ):
            raise InputError(f"scene: found the workspace {box}, expected x, y and z, each from and to")

    @property
    def cameras(self) -> tuple[str, ...]:
        """All whose pictures are looked at: each view's colours, then its depth."""
        if self.maker is not None:
            return self.views
        return tuple(name for view in self.views for name in (view, depth_camera(view)))


class Scenes(nn.Module):
    """Reads pictures as sets, given where the cameras stand and what the background is."""

    rotation: Tensor
    position: Tensor
    focal: Tensor
    centre: Tensor
    still: Tensor
    """The background's Gaussians, (V, S, S, 14)."""
    distance: Tensor
    """The background's depth, (V, S, S); infinite where nothing is known of it."""
    low: Tensor
    high: Tensor

    def __init__(self, config: SceneConfig) -> None:
        super().__init__()
        self.config = config
        views, size = len(config.views), config.image_size
        shapes = {"rotation": (3, 3), "position": (3,), "focal": (2,), "centre": (2,)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(views, *shape))
        self.register_buffer("still", torch.zeros(views, size, size, NUMBERS))
        self.register_buffer("distance", torch.full((views, size, size), torch.inf))
        self.register_buffer("low", -torch.ones(3))
        self.register_buffer("high", torch.ones(3))

    def place(self, cameras: tuple[Camera, ...]) -> Self:
        """Say where the cameras of the views stand."""
        for number, camera in enumerate(cameras):
            for buffer, value in zip(
                (self.rotation, self.position, self.focal, self.centre), view_tensors(camera), strict=True
            ):
                buffer[number] = value
        return self

    def view(self, number: int) -> View:
        """The camera of a view."""
        return View(self.rotation[number], self.position[number], self.focal[number], self.centre[number])

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        size = self.config.image_size
        return {image_key(name): (size, size, 3) for name in self.config.cameras}

    @torch.no_grad()
    def fit(self, dataset: Dataset) -> float:
        """Learn the background and the bounds of what moves; the share of holes in the depth.

        Raises:
            InputError: depth in other units, with too many holes or with a frame without any; or nothing moves.
        """
        step = -(-dataset.num_frames // _SAMPLE)
        some = {key: dataset.observations[key][::step] for key in self._present(dataset.observations)}
        holes = self._checked_depth(some)
        every, depth = self.gaussians(some)
        known = depth > 0
        far = torch.where(known, depth, torch.nan).nanquantile(_FARTHEST, dim=0)
        # Seen there at times only: the background itself is too far away to be measured.
        self.distance.copy_(torch.where(known.float().mean(0) > 0.5, far, torch.inf))
        nearest = (torch.where(known, depth, torch.inf) - far.nan_to_num(0)).abs().argmin(0)
        self.still.copy_(every.gather(0, nearest[None, ..., None].expand(1, *every.shape[1:]))[0])
        self.still[..., -1] *= self.distance.isfinite()
        box = self.config.workspace
        if box is not None:
            self.low.copy_(torch.tensor(box[::2]))
            self.high.copy_(torch.tensor(box[1::2]))
        else:
            self.low.fill_(-torch.inf)
            self.high.fill_(torch.inf)
        moving = every[self.moving(every, depth)][:, :3]
        if len(moving) < len(every):
            raise InputError(
                f"scenes of {', '.join(self.config.views)}: found {len(moving)} pixels in {len(every)} frames that "
                f"stand {self.config.tolerance} m before the background inside the workspace, expected one a frame and "
                "more (--config.autoencoder.scene.workspace, .tolerance)"
            )
        if box is None:
            moving = moving[:: 1 + len(moving) // 1_000_000]
            low, high = moving.quantile(torch.tensor([0.002, 0.998], device=moving.device), dim=0)
            margin = (0.05 * (high - low).max()).clamp(min=self.config.tolerance)
            self.low.copy_(low - margin)
            self.high.copy_(high + margin)
        return holes

    def read(self, observation: Mapping[str, Tensor]) -> tuple[Gaussians, Bool[Tensor, "B N"], Bool[Tensor, "B V S S"]]:
        """What moves: the set (B, N, 14), which of its rows are there at all, and the pixels that show it."""
        every, depth = self.gaussians(observation)
        moving = self.moving(every, depth)
        index, there = evenly(moving.flatten(1), self.config.points)
        points = every.flatten(1, 3).gather(1, index.unsqueeze(-1).expand(-1, -1, NUMBERS))
        return Gaussians(points * there.unsqueeze(-1)), there, moving

    def moving(self, every: Float[Tensor, "B V S S 14"], depth: Float[Tensor, "B V S S"]) -> Bool[Tensor, "B V S S"]:
        """The pixels that show something before the background, in the workspace."""
        place = every[..., :3]
        inside = ((place >= self.low) & (place <= self.high)).all(-1)
        return (depth > 0) & (depth < self.distance - self.config.tolerance) & inside

    def gaussians(
        self, observation: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "B V S S 14"], Float[Tensor, "B V S S"]]:
        """One for every pixel of every view, and its depth there; 0 in a hole."""
        self._present(observation)
        colours = {name: observation[image_key(name)] for name in self.config.views}
        if self.config.maker is not None:
            made = _maker(self.config.maker)(colours)
            expected = (*(len(next(iter(colours.values()))), len(colours)), *self.distance.shape[1:], NUMBERS)
            if not isinstance(made, Tensor) or tuple(made.shape) != expected or not made.isfinite().all():
                found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
                raise bad_input(f"the scenes of '{self.config.maker}'", str(found), f"finite numbers {expected}")
            depth = [self.view(k).seen(made[:, k, ..., :3])[..., 2] for k in range(len(colours))]
            return made, torch.stack(depth, 1).clamp(min=0) * (made[..., 13] > 0)
        made, depths = [], []
        for number, name in enumerate(self.config.views):
            view, depth = self.view(number), unpack_depth(observation[image_key(depth_camera(name))])
            width = _SIZE * depth / (view.focal.abs().mean() * self.config.image_size)
            turn = torch.tensor([1.0, 0, 0, 0], device=depth.device).expand(*depth.shape, 4)
            parts = [view.unproject(depth), width.unsqueeze(-1).expand(*depth.shape, 3), turn]
            parts += [colours[name].float() / 255, torch.full_like(depth, _OPACITY).unsqueeze(-1)]
            made.append(torch.cat(parts, -1))
            depths.append(depth)
        return torch.stack(made, 1), torch.stack(depths, 1)

    def background(self) -> Gaussians:
        """What never moves, (1, V·S·S, 14)."""
        return Gaussians(self.still.flatten(0, 2).unsqueeze(0))

    def _checked_depth(self, observation: Mapping[str, Tensor]) -> float:
        if self.config.maker is not None:
            return 0.0
        shares = []
        for name in self.config.views:
            where = f"the data set, field '{image_key(depth_camera(name))}'"
            shares.append(check_depth(observation[image_key(depth_camera(name))], where, self.config.most_holes))
        return sum(shares) / len(shares)

    def _present(self, observation: Mapping[str, Tensor]) -> list[str]:
        """The keys of the pictures, all of them checked."""
        for key, shape in self.observation_shapes.items():
            if key not in observation:
                raise InputError(f"found no '{key}' among {sorted(observation)}, expected these pictures of a camera")
            found = observation[key]
            if found.dtype != torch.uint8 or tuple(found.shape[-3:]) != shape:
                raise InputError(
                    f"field '{key}': found pictures of {found.dtype} and shape {tuple(found.shape[-3:])}, expected "
                    f"torch.uint8 and {shape}: height, width, RGB (depth: 16 bits of millimetres in two channels)"
                )
        return list(self.observation_shapes)


def evenly(chosen: Bool[Tensor, "B P"], most: int) -> tuple[Int[Tensor, "B most"], Bool[Tensor, "B most"]]:
    """The places of at most `most` chosen ones of each row, evenly spread over them, and which of them there are."""
    count = chosen.sum(1, keepdim=True)
    rank = chosen.cumsum(1) - 1
    slot = torch.where(count > most, rank * most // count.clamp(min=1), rank)
    before = torch.cat([torch.full_like(slot[:, :1], -1), slot[:, :-1]], 1)
    first = chosen & (slot != before)
    index = torch.zeros(len(chosen), most + 1, dtype=torch.long, device=chosen.device)
    places = torch.arange(chosen.shape[1], device=chosen.device).expand_as(slot)
    index.scatter_(1, torch.where(first, slot, most), places)
    there = torch.arange(most, device=chosen.device) < count.clamp(max=most)
    return index[:, :most] * there, there


_MADE: dict[str, Any] = {}


def _maker(source: str) -> Maker:
    """The user's own function; made once.

    Raises:
        InputError: nobody allowed it, or there is none.
    """
    check_allowed(source)
    if source not in _MADE:
        module, _, name = source.partition(":")
        try:
            _MADE[source] = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"the scenes of '{source}': {error}; expected an importable 'module:factory'") from error
    return _MADE[source]
