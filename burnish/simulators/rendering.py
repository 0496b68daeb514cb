"""Pictures of Meta-World on a machine without a screen or GPU."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from burnish.data.depth import coloured_camera, pack_depth
from burnish.errors import InputError, RunError
from burnish.simulators.light_meshes import with_light_meshes
from burnish.simulators.metaworld import CAMERAS, UPSIDE_DOWN, MetaWorldEnv
from burnish.simulators.off_screen import PACKAGES, choose_backend

SUPERSAMPLING = 2


class MetaWorldRenderer:
    """Draws what an environment shows now, on the fast path: no shadows, reflections or anti-aliasing.

    That is about 15 times as fast as Meta-World's own `render()` and looks a little different from it. Call
    `close()` when done; the environment must outlive the renderer.

    Args:
        env: the environment to draw.
        size: pixels, or (height, width).
        camera: one of `CAMERAS`.

    Raises:
        InputError: no such camera, or a size below 1.
        RunError: no off-screen OpenGL on this machine; the message names the system packages.
    """

    def __init__(self, env: MetaWorldEnv, size: int | tuple[int, int] = 240, camera: str = "corner2") -> None:
        if camera not in CAMERAS:
            raise InputError(f"unknown camera '{camera}'; the cameras are: {', '.join(CAMERAS)}")
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise InputError(f"the picture's size must be at least 1 pixel, not {height}×{width}")
        self._env = env
        self._camera = camera
        self._renderer = _make_renderer(env.simulator.model, height, width)

    def render(self) -> np.ndarray:
        """The current picture, right side up: uint8 (H, W, 3)."""
        return _picture(self._renderer, self._env, self._camera)

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()

    def __enter__(self) -> MetaWorldRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MetaWorldPainter:
    """The fast path with light meshes: square pictures for learning, of any environment of one task.

    Every pixel is the mean of four (`SUPERSAMPLING`): in 64 pixels a hand moves by fractions of a pixel, which edges
    without grey levels would not show. Two to three times as fast again as `MetaWorldRenderer`. Only the meshes are
    lighter; where everything is comes from the environment that is drawn, so one OpenGL context and one set of meshes
    serve all environments of a process.

    Args:
        env: any environment of the task.
        size: height and width in pixels.

    Raises:
        InputError: a size below 1, or fast-simplification is not installed.
        RunError: no off-screen OpenGL on this machine; the message names the system packages.
    """

    def __init__(self, env: MetaWorldEnv, size: int) -> None:
        if size < 1:
            raise InputError(f"image_size is {size}, expected at least 1 pixel")
        drawn = SUPERSAMPLING * size
        self._size = size
        self._renderer = _make_renderer(with_light_meshes(env.simulator.model), drawn, drawn)

    def draw(self, env: MetaWorldEnv, camera: str) -> np.ndarray:
        """What `env` shows now, right side up: uint8 (size, size, 3); of a camera `NAME_depth` its depth, packed."""
        coloured = coloured_camera(camera)
        if coloured is not None:
            return self._depth(env, coloured)
        fine = _picture(self._renderer, env, camera).astype(np.uint16)
        fine = fine.reshape(self._size, SUPERSAMPLING, self._size, SUPERSAMPLING, 3)
        return ((fine.sum((1, 3)) + SUPERSAMPLING**2 // 2) // SUPERSAMPLING**2).astype(np.uint8)

    def _depth(self, env: MetaWorldEnv, camera: str) -> np.ndarray:
        # The nearest of the four: a mean of two surfaces is none.
        self._renderer.enable_depth_rendering()
        try:
            fine = _picture(self._renderer, env, camera)
        finally:
            self._renderer.disable_depth_rendering()
        return pack_depth(fine.reshape(self._size, SUPERSAMPLING, self._size, SUPERSAMPLING).min((1, 3)))

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()


def _picture(renderer: Any, env: MetaWorldEnv, camera: str) -> np.ndarray:
    renderer.update_scene(env.simulator.data, camera=camera)
    picture = renderer.render()
    return np.ascontiguousarray(picture[::-1] if camera in UPSIDE_DOWN else picture)


def _make_renderer(model: Any, height: int, width: int) -> Any:
    """MuJoCo's renderer of a model, on the fast path."""
    choose_backend()
    # All three are read when the renderer is made.
    model.vis.quality.offsamples = 0
    model.vis.global_.offheight = height
    model.vis.global_.offwidth = width
    mujoco = importlib.import_module("mujoco")
    try:
        renderer = mujoco.Renderer(model, height, width)
    except Exception as error:
        # Backends raise whatever they like (ImportError, GLError, AttributeError) when a driver is missing.
        raise RunError(f"off-screen rendering failed ({type(error).__name__}: {error}); try: {PACKAGES}") from error
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        renderer.scene.flags[flag] = 0
    return renderer
