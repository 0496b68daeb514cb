"""Masks as a further picture in a Gymnasium environment's observations."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from burnish.errors import InputError
from burnish.masks.base import View, mask_camera
from burnish.masks.settings import MaskConfig
from burnish.simulators.counter import LOST_TRACKS


class MaskedObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds the picture `CAMERA_mask` to observations that have `CAMERA`.

    `info["instruction"]` of a reset is the sentence; `segments` and `labels` of any info are the simulator's truth. How
    many things were lost in a picture is added to `info`, and counted (`simulators.counter`).

    Args:
        env: its observations are a dictionary with a picture.
        config: who makes the masks.
        camera: the picture's name.

    Raises:
        InputError: it has no such picture; when it is reset: it tells no sentence, or one that names nothing visible.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], config: MaskConfig, camera: str) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or camera not in space.spaces:
            raise InputError(f"masks need a picture: found {space}, expected a Dict with '{camera}'")
        self.masking, self.camera = config.make(), camera
        shape = space[camera].shape
        self.observation_space = spaces.Dict({**space, mask_camera(camera): spaces.Box(0, 255, shape, np.uint8)})

    def reset(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode: things are looked for by name."""
        shown, info = self.env.reset(**arguments)
        if "instruction" not in info:
            raise InputError(f"masks need a sentence: the environment's info has {sorted(info)}, not 'instruction'")
        mask = self.masking.begin(self._view(shown, info), info["instruction"])
        return {**shown, mask_camera(self.camera): mask}, {**info, LOST_TRACKS: 0}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a step: things are followed."""
        shown, reward, terminated, truncated, info = self.env.step(action)
        mask = self.masking.follow(self._view(shown, info))
        shown = {**shown, mask_camera(self.camera): mask}
        return shown, float(reward), terminated, truncated, {**info, LOST_TRACKS: self.masking.lost}

    def _view(self, shown: dict[str, Any], info: dict[str, Any]) -> View:
        return View(shown[self.camera], info.get("segments"), info.get("labels", ()))
