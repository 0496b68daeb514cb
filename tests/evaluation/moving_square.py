"""A world whose pictures are known: a white square on black, pushed along a row by the actions."""

from dataclasses import dataclass

import torch

from burnish.data import STATE, Dataset, DatasetInfo, image_key
from burnish.world_models import State

SIZE, SIDE = 32, 8
CAMERA = "front"
KEY = image_key(CAMERA)


def draw(position: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 32, 32, 3): an 8×8 square whose left edge is at column `position` (B,), rows 12 to 19."""
    column = torch.arange(SIZE) - position.round()[:, None]
    inside = (column >= 0) & (column < SIDE)
    pictures = torch.zeros(len(position), SIZE, SIZE, 3, dtype=torch.uint8)
    pictures[:, 12:20] = 255 * inside[:, None, :, None].to(torch.uint8)
    return pictures


def squares(episodes, lengths=None) -> Dataset:
    """Episodes (source, start, actions): the position is pushed by each action; success at column 20 or beyond."""
    positions, actions = [], []
    for _, start, pushes in episodes:
        pushes = torch.tensor(pushes, dtype=torch.float32)
        actions.append(torch.cat([pushes, torch.zeros(1)]))
        positions.append(start + torch.cat([torch.zeros(1), pushes.cumsum(0)]))
    lengths = torch.tensor([len(position) for position in positions])
    position = torch.cat(positions)
    return Dataset(
        observations={STATE: position[:, None], KEY: draw(position)},
        actions=torch.cat(actions)[:, None],
        success=position >= 20,
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
        sources=tuple(source for source, _, _ in episodes),
        seeds=(-1,) * len(episodes),
        tasks=("push",) * len(episodes),
        info=DatasetInfo(fps=10),
    )


@dataclass(frozen=True)
class SquareState(State):
    position: torch.Tensor


class SquareWorld:
    """`law(position, push, generator)` is the next position; the true one adds the push."""

    feature_dim = 1
    normaliser = None

    def __init__(self, law=lambda position, push, generator: position + push, chunk=1, pictures=True):
        self.law, self.action_steps, self.pictures = law, chunk, pictures
        self.largest_read = 0

    def recorded(self, dataset):
        self.largest_read = max(self.largest_read, dataset.num_frames)
        return SquareState(dataset.observations[STATE][:, 0])

    def imagine(self, state, action, generator):
        return SquareState(self.law(state.position, action.sum(1), generator))

    def features(self, state):
        return state.position[:, None]

    def decode(self, state):
        decoded = {STATE: state.position[:, None]}
        return decoded | {KEY: draw(state.position)} if self.pictures else decoded


def hold(position, push, generator):
    return position


def always_right(position, push, generator):
    return position + 1
