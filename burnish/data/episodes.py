"""One recorded episode, checked when it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from burnish.data.checks import bad_input

STATE = "observation.state"
"""LeRobot's key of the state observation."""

ACTION = "action"
"""LeRobot's key of the action."""

IMAGES = "observation.images."
"""Prefix of LeRobot's keys of camera pictures."""


def image_key(camera: str) -> str:
    """LeRobot's key of a camera's pictures."""
    return IMAGES + camera


def is_image_key(key: str) -> bool:
    """Whether an observation's key names camera pictures."""
    return key.startswith(IMAGES)


@dataclass(frozen=True)
class Episode:
    """One recorded episode: T >= 2 frames, so T - 1 transitions.

    Attributes:
        observation: LeRobot's keys to float32 arrays (T, ...); the state is `observation.state`, (T, D). The pictures
            of a camera are `observation.images.<camera>`: uint8 (T, H, W, 3), RGB, right side up. Empty where all that
            is seen lies elsewhere (`Recording.stored`).
        action: float32 (T, A): the action chosen at each frame (the outcome of the last one is not recorded);
            in [-1, 1] in everything that Burnish collects, else in the data's own units.
        success: bool (T,): does the frame itself show success.
        source: who acted: `expert`, `noisy_expert`, `policy`, `random`, or any other word.
        seed: the seed that reproduces this episode; -1 when unknown.
        task: the task's name, for instance `drawer-open-v3`.
        reward: float32 (T,): received on arriving at each frame, 0 at the first one; None where none was recorded.
        terminated: bool (T,): did the episode end by itself on arriving at the frame; None where nobody said.

    Raises:
        InputError: a wrong type, shape or length, a value that is not finite, or a reward at the first frame.
    """

    observation: dict[str, np.ndarray]
    action: np.ndarray
    success: np.ndarray
    source: str
    seed: int
    task: str
    reward: np.ndarray | None = None
    terminated: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._check_array(ACTION, self.action, np.float32, dims=2)
        if len(self) < 2:
            raise bad_input("an episode", f"{len(self)} frames", "at least 2 frames, that is one transition")
        self._check_array("success", self.success, np.bool_, dims=1)
        self._check_reward()
        for key, values in self.observation.items():
            self._check_key(key)
            if is_image_key(key):
                self._check_array(key, values, np.uint8, dims=4)
                if values.shape[3] != 3:
                    expected = "(T, H, W, 3): RGB, channels last"
                    raise bad_input("an episode", f"shape {values.shape}", expected, field=key)
            else:
                self._check_array(key, values, np.float32, dims=2 if key == STATE else None)
        for field in ("source", "task"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise bad_input("an episode", repr(getattr(self, field)), "a word", field=field)
        if not isinstance(self.seed, int) or not -(2**63) <= self.seed < 2**63:
            raise bad_input("an episode", repr(self.seed), "a whole number of 64 bits", field="seed")

    def __len__(self) -> int:
        """The number of frames, T."""
        return len(self.action)

    @property
    def succeeded(self) -> bool:
        """Whether any frame shows success."""
        return bool(self.success.any())

    def _check_reward(self) -> None:
        for field, dtype in (("reward", np.float32), ("terminated", np.bool_)):
            values = getattr(self, field)
            if values is not None:
                self._check_array(field, values, dtype, dims=1)
                if values[0]:
                    expected = "0: nothing was done yet that led there"
                    raise bad_input("an episode", f"{values[0]} at frame 0", expected, field=field)

    @staticmethod
    def _check_key(key: str) -> None:
        if not isinstance(key, str) or not key.startswith("observation.") or "/" in key:
            raise bad_input("an episode", repr(key), "a key like 'observation.state', without '/'", field="observation")
        # A camera's name becomes the name of a folder of videos.
        if is_image_key(key) and not re.fullmatch(r"[^\\{}\x00]+", key[len(IMAGES) :]):
            expected = f"a camera's name after '{IMAGES}', without braces and backslashes"
            raise bad_input("an episode", repr(key), expected, field="observation")

    def _check_array(self, field: str, values: np.ndarray, dtype: type, dims: int | None) -> None:
        if not isinstance(values, np.ndarray) or values.dtype != dtype:
            found = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
            raise bad_input("an episode", found, f"a NumPy array of {np.dtype(dtype)}", field=field)
        wrong_dims = values.ndim != dims if dims is not None else values.ndim < 2
        if wrong_dims or 0 in values.shape[1:]:
            expected = f"{dims or 'at least 2'} dimensions, frames first, none of them empty"
            raise bad_input("an episode", f"shape {values.shape}", expected, field=field)
        if len(values) != len(self.action):
            raise bad_input("an episode", f"{len(values)} frames", f"{len(self.action)} like the action", field=field)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            frame = int(np.argwhere(~np.isfinite(values))[0][0])
            raise bad_input("an episode", f"a value that is not finite at frame {frame}", "finite values", field=field)


def check_same_shapes(first: Episode, episode: Episode, index: int, where: object) -> None:
    """Check that an episode has the same columns, observations and action size as the first one.

    Raises:
        InputError: it has not; names the episode, the field and both shapes.
    """
    if set(episode.observation) != set(first.observation):
        found, expected = sorted(episode.observation), sorted(first.observation)
        raise bad_input(where, f"{found}", f"{expected} as in episode 0", field="observation", episode=index)
    for name in ("reward", "terminated"):
        if (getattr(episode, name) is None) != (getattr(first, name) is None):
            found, expected = ("nothing", "values") if getattr(episode, name) is None else ("values", "nothing")
            raise bad_input(where, found, f"{expected} as in episode 0", field=name, episode=index)
    pairs = {key: (values, first.observation[key]) for key, values in episode.observation.items()}
    pairs["action"] = (episode.action, first.action)
    for key, (values, reference) in pairs.items():
        if values.shape[1:] != reference.shape[1:]:
            found, expected = f"shape {values.shape[1:]}", f"{reference.shape[1:]} as in episode 0"
            raise bad_input(where, found, expected, field=key, episode=index)
