"""Gymnasium's spaces as one vector of numbers and pictures by name, and actions in [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from burnish.errors import InputError

_PICTURE = "pixels"  # the name of the picture where the whole observation is one


@dataclass(frozen=True)
class _Leaf:
    path: tuple[str, ...]
    box: spaces.Box

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_picture(self) -> bool:
        return self.box.dtype == np.uint8 and len(self.box.shape) > 1

    def of(self, value: Any, task: str) -> np.ndarray:
        """This leaf's part of an observation.

        Raises:
            InputError: it is missing, or has another shape than its space says.
        """
        for key in self.path:
            if not isinstance(value, dict) or key not in value:
                raise InputError(f"{task}: an observation has no '{self.name}', which its space promises")
            value = value[key]
        value = np.asarray(value)
        if value.shape != self.box.shape:
            where = f" '{self.name}'" if self.path else ""
            raise InputError(f"{task}: observation{where} has shape {value.shape}, its space says {self.box.shape}")
        return value


class ObservationLayout:
    """How an observation of Boxes, in dictionaries or not, becomes a state with names, and pictures with names.

    Every number has a name: `agent_pos.0`, or `state.0` where there is no dictionary. Boxes of uint8 (H, W, 3) are
    pictures, of the camera that their path names (`pixels`, `pixels.front`).

    Args:
        space: the observations' space.
        task: the task's name, for messages.

    Raises:
        InputError: a space other than Box and Dict, or pictures that are not (H, W, 3).
    """

    def __init__(self, space: spaces.Space[Any], task: str) -> None:
        self._task = task
        leaves = list(_leaves(space, (), f"{task}: the observation space"))
        self._numbers = [leaf for leaf in leaves if not leaf.is_picture]
        self._pictures = {leaf.name or _PICTURE: leaf for leaf in leaves if leaf.is_picture}
        for name, leaf in self._pictures.items():
            if len(leaf.box.shape) != 3 or leaf.box.shape[2] != 3:
                raise InputError(f"{task}: the pictures '{name}' have shape {leaf.box.shape}, expected (H, W, 3)")
        self.state_names = tuple(name for leaf in self._numbers for name in _names(leaf, "state"))
        self.cameras = tuple(self._pictures)

    def state(self, observation: Any) -> np.ndarray:
        """All numbers of an observation, float32 (D,).

        Raises:
            InputError: one is missing or not finite.
        """
        parts = [leaf.of(observation, self._task).ravel() for leaf in self._numbers]
        state = np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)
        if not np.isfinite(state).all():
            name = self.state_names[int(np.argwhere(~np.isfinite(state))[0, 0])]
            raise InputError(f"{self._task}: the environment's observation '{name}' is not a finite number")
        return state

    def picture(self, observation: Any, camera: str) -> np.ndarray:
        """A camera's picture, uint8 (H, W, 3), as it is."""
        return self._pictures[camera].of(observation, self._task)


class ActionScale:
    """Actions in [-1, 1] to the environment's own units and back, value by value.

    Args:
        space: the actions' space: a Box with finite bounds.
        task: the task's name, for messages.

    Raises:
        InputError: another space, or one without bounds.
    """

    def __init__(self, space: spaces.Space[Any], task: str) -> None:
        leaves = list(_leaves(space, (), f"{task}: the action space"))
        if len(leaves) != 1 or leaves[0].path or not np.issubdtype(leaves[0].box.dtype, np.floating):
            raise InputError(f"{task}: the action space is {space}, expected a Box of real numbers")
        self._box = leaves[0].box
        self.names = tuple(_names(leaves[0], "action"))
        low, high = self._box.low.ravel().astype(np.float64), self._box.high.ravel().astype(np.float64)
        bad = ~(np.isfinite(low) & np.isfinite(high) & (low < high))
        if bad.any():
            index = int(np.argwhere(bad)[0, 0])
            raise InputError(
                f"{task}: action {index} lies in [{low[index]}, {high[index]}], expected finite bounds: "
                "wrap the environment (gymnasium.wrappers.ClipAction does not bound it, RescaleAction does) "
                "in a factory of your own, --task module:function"
            )
        self.low, self.high = low, high
        # In this form bounds of -1 and 1 change no bit.
        self._centre, self._half = (low + high) / 2, (high - low) / 2

    def to_environment(self, action: np.ndarray) -> np.ndarray:
        """An action (A,) in [-1, 1] in the environment's own units, shape and type."""
        scaled = np.clip(self._centre + self._half * action.astype(np.float64), self.low, self.high)
        return scaled.astype(self._box.dtype).reshape(self._box.shape)

    def from_environment(self, action: np.ndarray) -> np.ndarray:
        """An action in the environment's own units as float32 (A,) in [-1, 1]."""
        return ((np.ravel(action) - self._centre) / self._half).clip(-1, 1).astype(np.float32)


def _leaves(space: spaces.Space[Any], path: tuple[str, ...], what: str) -> Iterator[_Leaf]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, (*path, str(key)), what)
    elif isinstance(space, spaces.Box):
        yield _Leaf(path, space)
    else:
        where = f" has at '{'.'.join(path)}'" if path else " is"
        raise InputError(f"{what}{where} a {space}, expected Box, or Dict of Box")


def _names(leaf: _Leaf, default: str) -> Iterator[str]:
    stem = leaf.name or default
    for index in np.ndindex(leaf.box.shape):
        yield ".".join([stem, *map(str, index)])
