"""Pictures of the CALVIN table on demand, by bullet's software renderer."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from burnish.errors import InputError
from burnish_calvin.env import CalvinEnv
from burnish_calvin.install import calvin_root

CAMERAS = ("static", "gripper")


class CalvinRenderer:
    """Draws what an environment shows now with one of CALVIN's two cameras, without shadows.

    calvin_env itself draws with shadows; textures and edges differ a little from its pictures.

    Args:
        env: the environment to draw; it must have been reset.
        size: pixels, or (height, width). (CALVIN's data: static 200, gripper 84.)
        camera: one of `CAMERAS`.

    Raises:
        InputError: no such camera, or a size below 1.
    """

    def __init__(self, env: CalvinEnv, size: int | tuple[int, int] = 200, camera: str = "static") -> None:
        if camera not in CAMERAS:
            raise InputError(f"unknown camera '{camera}'; the cameras are: {', '.join(CAMERAS)}")
        self._height, self._width = (size, size) if isinstance(size, int) else size
        if self._height < 1 or self._width < 1:
            raise InputError(f"the picture's size must be at least 1 pixel, not {self._height}×{self._width}")
        self._env = env
        self._camera = camera

    def render(self) -> np.ndarray:
        """The current picture: uint8 (H, W, 3)."""
        return _picture(self._env, self._camera, self._height, self._width)

    def close(self) -> None:
        """Nothing to release: bullet draws in the environment's own world."""

    def __enter__(self) -> CalvinRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class CalvinPainter:
    """The same pictures, square, of any environment: those of observations.

    Args:
        size: height and width in pixels, at least 1.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def draw(self, env: CalvinEnv, camera: str) -> np.ndarray:
        """What `env` shows now: uint8 (size, size, 3)."""
        return _picture(env, camera, self._size, self._size)

    def close(self) -> None:
        """Nothing to release."""


def _picture(env: CalvinEnv, camera: str, height: int, width: int) -> np.ndarray:
    client, settings = env.world.client, _camera_settings()[camera]
    # The aspect is CALVIN's own, 1: other shapes of picture show the same field of view stretched.
    projection = client.computeProjectionMatrixFOV(
        fov=settings["fov"], aspect=settings["aspect"], nearVal=settings["nearval"], farVal=settings["farval"]
    )
    picture = client.getCameraImage(
        width=width,
        height=height,
        viewMatrix=_view(env, camera, settings),
        projectionMatrix=projection,
        shadow=0,
        flags=client.ER_NO_SEGMENTATION_MASK,
        renderer=client.ER_TINY_RENDERER,
    )
    return np.reshape(picture[2], (height, width, 4))[..., :3].astype(np.uint8)


def _view(env: CalvinEnv, camera: str, settings: dict[str, Any]) -> Any:
    client, robot = env.world.client, env.world.robot.robot_uid
    if camera == "static":
        return client.computeViewMatrix(settings["look_from"], settings["look_at"], settings["up_vector"])
    names = (client.getJointInfo(robot, i)[12].decode() for i in range(client.getNumJoints(robot)))
    link = list(names).index("gripper_cam")
    position, orientation = client.getLinkState(robot, link)[:2]
    axes = np.reshape(client.getMatrixFromQuaternion(orientation), (3, 3))
    # The camera looks along its link's y axis, with z downwards.
    return client.computeViewMatrix(position, (np.asarray(position) + axes[:, 1]).tolist(), (-axes[:, 2]).tolist())


@functools.cache
def _camera_settings() -> dict[str, dict[str, Any]]:
    """calvin_env's own settings of both cameras."""
    omega: Any = importlib.import_module("omegaconf").OmegaConf
    folder = calvin_root() / "conf" / "cameras" / "cameras"
    return {name: omega.to_container(omega.load(folder / f"{name}.yaml")) for name in CAMERAS}
