"""Masks in an environment's observations: a camera of their own, counted where they are lost, in any suite."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from burnish.errors import InputError
from burnish.masks import MaskConfig, MaskedObservation
from burnish.simulators.counter import SimulatorUse, simulator_use
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import SimulatorVectorEnv

TASK = "tests.masks.test_masked_observation:make"
SIZE = 32
MASK = "observation.images.eye_mask"


class Square(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A red square that an action moves sideways, and that leaves the picture at the right."""

    observation_space = spaces.Dict(
        {"x": spaces.Box(-1, 99, (1,), np.float32), "eye": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)}
    )
    action_space = spaces.Box(-8.0, 8.0, (1,), np.float32)

    def __init__(self, sentence: str | None = "push the red cube") -> None:
        self.sentence = sentence

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = float(self.np_random.integers(4, 10))
        told = {} if self.sentence is None else {"instruction": self.sentence}
        return self._shown(), told

    def step(self, action: Any) -> Any:
        self.at += float(action[0])
        return self._shown(), 0.0, False, False, {"success": self.at > 60}

    def _shown(self) -> dict[str, np.ndarray]:
        eye = np.full((SIZE, SIZE, 3), 150, np.uint8)
        eye[10:16, round(self.at) : round(self.at) + 6] = (200, 30, 30)
        return {"x": np.array([self.at], np.float32), "eye": eye}


def make(sentence: str | None = "push the red cube", provider: str = "tracker", camera: str = "eye") -> gymnasium.Env:
    return MaskedObservation(Square(sentence), MaskConfig(provider=provider), camera)  # type: ignore[arg-type]


def test_masks_are_pictures_of_a_camera_of_their_own():
    settings = SimulatorConfig(cameras=("eye", "eye_mask"), image_size=SIZE, max_steps=9)
    env, before = SimulatorVectorEnv(TASK, 2, settings), simulator_use()
    observation, _ = env.reset(seed=3)
    for _ in range(2):
        eye, mask = observation["observation.images.eye"], observation[MASK]
        assert mask.dtype == np.uint8 and mask.shape == (2, SIZE, SIZE, 3)
        assert np.array_equal(mask[..., 0] == 255, eye[..., 1] == 30) and not mask[..., 1:].any()
        observation, *_ = env.step(np.full((2, 1), 0.25, np.float32))
    assert simulator_use() - before == SimulatorUse(4, 2, tracked_pictures=4, lost_tracks=0)


def test_a_lost_track_is_counted_and_leaves_an_empty_mask():
    settings = SimulatorConfig(cameras=("eye", "eye_mask"), image_size=SIZE, max_steps=9, action_repeat=2)
    env = SimulatorVectorEnv(TASK, 1, settings)
    env.reset(seed=3)
    before = simulator_use()
    for _ in range(3):
        observation, *_ = env.step(np.ones((1, 1), np.float32))
    use = simulator_use() - before
    assert not observation[MASK].any() and use.tracked_pictures == 6 and 2 <= use.lost_tracks <= 4


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"sentence": "push the green cube"}, "names 'green cube', which is not to be seen"),
        ({"sentence": "lift the red cube"}, "begins with 'lift'"),
        ({"sentence": None}, "need a sentence: the environment's info has .*, not 'instruction'"),
        ({"provider": "truth"}, "need a segmentation"),
        ({"camera": "nose"}, "masks need a picture: .* expected a Dict with 'nose'"),
    ],
    ids=["invisible", "verb", "no-sentence", "no-segments", "no-camera"],
)
def test_what_cannot_be_masked_is_said(arguments, told):
    with pytest.raises(InputError, match=told):
        make(**arguments).reset(seed=0)
