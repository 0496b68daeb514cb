"""How far a state and action are from everything in the data: a second, independent sign that imagination errs.

An ensemble does not see every error: members that learned from data in which a grasped object always lies between the
fingers agree that it follows the hand from ten centimetres away, too. The distance to the data knows better.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, Windows
from burnish.world_models.history import HistoryState, TransitionSpace


@dataclass(frozen=True)
class SupportConfig:
    """How many recorded windows are kept, and the quantile of held-out distances beyond which imagination halts."""

    references: int = within(4096, 1)
    halt_quantile: float = within(0.985, 0, 1, open_low=True)
    difference_weight: float = within(3.0, 0)
    """Weight of the position differences between bodies, in units of their root mean square."""
    rest_weight: float = within(0.3, 0)
    """Weight of the other learned dimensions, in standard deviations."""
    change_weight: float = within(0.5, 0)
    """Weight of the newest changes, in standard deviations of the changes."""


class DataSupport(Component):
    """Distance of (state, action) to the nearest recorded one, in coordinates in which contacts look alike.

    The coordinates are the position differences between moving bodies, the other learned dimensions, their newest
    changes (each clamped to ±3) and the action. Where the data has no names, and so no differences, the learned
    dimensions take their place.
    """

    name = "distance"
    references: Tensor
    threshold: Tensor

    def __init__(self, space: TransitionSpace, config: SupportConfig) -> None:
        super().__init__()
        self.space, self.config = space, config
        learned = set(space.learned_dims)
        self.pairs = [k for k, pair in enumerate(space.differences) if learned.issuperset(pair)]
        paired = {dim for k in self.pairs for dim in space.differences[k]}
        self.others = [dim for dim in space.learned_dims if dim not in paired]
        size = len(self.pairs) + len(self.others) + len(space.learned_dims) + space.action_dim
        self.register_buffer("references", torch.zeros(config.references, size))
        self.register_buffer("threshold", torch.full((), torch.inf))

    @classmethod
    @torch.no_grad()
    def fit(
        cls, space: TransitionSpace, config: SupportConfig, training: Dataset, held_out: Dataset, seed: int
    ) -> "DataSupport":
        """Keep some windows of `training`; the threshold is a quantile of the distances of `held_out` windows."""
        windows = Windows(training, history=space.config.frames, horizon=1)
        generator = torch.Generator(device=training.device).manual_seed(seed)
        order = torch.randperm(len(windows.present_frames), generator=generator, device=training.device)
        chosen = windows.present_frames[order[: config.references]]
        support = cls(space, replace(config, references=len(chosen))).to(training.device)
        support.references.copy_(support._of_windows(windows, chosen))
        windows = Windows(held_out, history=space.config.frames, horizon=1)
        distance = support._nearest(support._of_windows(windows, windows.present_frames))
        support.threshold.copy_(torch.quantile(distance[: 2**24], config.halt_quantile))
        return support.eval()

    def coordinates(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, "B C"]:
        """Where (state, action) lies."""
        newest, before = state.observation[:, -1], state.observation[:, -2 if state.observation.shape[1] > 1 else -1]
        change = ((newest - before)[:, self.space.learned] / self.space.delta_std).clamp(-3, 3)
        rest = newest[:, self.others].clamp(-3, 3)
        c = self.config
        parts = [c.rest_weight * rest, c.change_weight * change, action]
        if self.pairs:
            parts.append(c.difference_weight * self.space.scaled_differences(newest)[:, self.pairs])
        return torch.cat(parts, dim=1)

    def forward(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Distance to the nearest reference; above `threshold` the data has nothing like it."""
        return self._nearest(self.coordinates(state, action))

    def _nearest(self, coordinates: Tensor) -> Tensor:
        """`torch.cdist(coordinates, references).amin(1)` to the last bit, from |x|² - 2xy + |y|² as that has it.

        The root is taken of the least square alone, and on a CPU of so few rows at once that all their squares stay in
        its cache.
        """
        far = self.references.square().sum(1, keepdim=True)
        right = torch.cat([self.references, torch.ones_like(far), far], 1).T
        size = coordinates.square().sum(1, keepdim=True)
        left = torch.cat([-2 * coordinates, size, torch.ones_like(size)], 1)
        block = 64 if left.device.type == "cpu" else 2048
        nearest = torch.cat([(rows @ right).amin(1) for rows in left.split(block)])
        return nearest.clamp(min=1e-30).sqrt()

    def _of_windows(self, windows: Windows, frames: Tensor) -> Tensor:
        batch = windows.gather(frames)
        return self.coordinates(self.space.window_state(batch), batch.action[:, self.space.config.frames - 1])
