"""The simulator beside the world model: the same start, the same actions, and what really comes of them."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from burnish.data import Dataset, image_key
from burnish.errors import BurnishError, InputError
from burnish.recipes.stages.recording import Real
from burnish.simulators.painting import painter_of
from burnish.simulators.tasks import names_code, suite_of

Observation = dict[str, np.ndarray]


def available(real: Real | None) -> str | None:
    """Why a run's simulator cannot be had here; None where it can."""
    if real is None:
        return "the run has none"
    if names_code(real.task):
        return f"'{real.task}' is code of somebody's own, which the studio does not call"
    try:
        real.recorder  # noqa: B018
    except BurnishError as error:
        return str(error)
    return None


def action_names(real: Real) -> tuple[str, ...]:
    """What the simulator calls the dimensions of an action, where it says so without being imported."""
    if names_code(real.task) or real.task.startswith("gym:"):
        return ()
    try:
        return suite_of(real.task).describe(real.task, real.simulator).action_names
    except BurnishError:
        return ()


class Reality:
    """One episode in the simulator at a time; it can be taken back to any step.

    Actions are those of the models, in [-1, 1] of the data.

    Attributes:
        steps: actions since the start, those included that it did not follow any more.
        success: whether the present frame shows success.
        over: why it goes no further; None while it does.
    """

    def __init__(self, real: Real, data: Dataset) -> None:
        recorder = real.recorder
        self.suite, self.settings, self.spec, self.task = (
            recorder.suite,
            recorder.simulator,
            recorder.spec,
            recorder.task,
        )
        self._data, self._scaling = data, data.info.scaling
        self._env = self.suite.make_env(self.task, self.settings)
        self._camera: Any = None
        self.steps, self.success, self.over = 0, False, None
        self._control = 0

    def start(self, beginning: Any) -> Observation:
        """Go to a start, and give its observation.

        A recorded frame is reached by the recorded actions from its episode's seed, bit for bit as it was recorded.

        Raises:
            InputError: the frame's episode has no seed, or does not repeat.
        """
        seed, before = beginning.seed, np.zeros((0, self.spec.action_dim), np.float32)
        if beginning.frame is not None:
            data = self._data
            episode = int(torch.searchsorted(data.starts, beginning.frame, right=True)) - 1
            seed = data.seeds[episode]
            if seed < 0:
                raise InputError("this episode was not recorded in the simulator: it cannot be set to its start")
            before = data.actions[int(data.starts[episode]) : beginning.frame].numpy()
        observation = self._env.reset(seed)
        self.steps, self.success, self.over = 0, False, None
        self._control = 0
        for action in before:
            observation, *_, info = self._env.step(self._own(action))
            self._control += info["control_steps"]
        return self._with_pictures(observation)

    def step(self, action: np.ndarray) -> Observation:
        """One action (A,) further; where the simulator goes no further, the last frame again."""
        self.steps += 1
        limit = self.spec.control_step_limit
        if self.over is None and limit is not None and self._control + self._env.action_repeat > limit:
            self.over = f"the simulator ends after {limit} control steps"
        if self.over is not None:
            return self._with_pictures(self._env.observation)
        observation, _, terminated, truncated, info = self._env.step(self._own(action))
        self._control += info["control_steps"]
        self.success = bool(info["success"])
        if terminated or truncated:
            self.over = "the simulator ended the episode"
        return self._with_pictures(observation)

    def photograph(self, size: int) -> np.ndarray | None:
        """What a camera of the simulator sees, uint8 (size, size, 3); None where nothing can draw here."""
        try:
            if self._camera is None and self.suite.make_renderer is not None:
                self._camera = self.suite.make_renderer(self._env, size, None)
            return None if self._camera is None else self._camera.render()
        except BurnishError:
            return None

    def close(self) -> None:
        """Release the simulator."""
        with suppress(Exception):
            if self._camera is not None:
                self._camera.close()
            self._env.close()

    def _own(self, action: np.ndarray) -> np.ndarray:
        """An action of the models in the environment's [-1, 1]."""
        if self._scaling is None:
            return action
        return self.spec.units.to_unit(self._scaling.to_data(torch.from_numpy(action))).numpy()

    def _with_pictures(self, observation: Observation) -> Observation:
        size, cameras = self.settings.image_size, self.settings.cameras
        found = {key: value.copy() for key, value in observation.items()}
        for camera in cameras:
            found[image_key(camera)] = painter_of(self._env, size).draw(self._env, camera)
        return found
