"""Pictures of the simulator."""

import numpy as np
import pytest

from burnish.errors import InputError, RunError
from burnish.simulators import off_screen, rendering
from burnish.simulators.metaworld import MetaWorldEnv


@pytest.fixture(scope="module")
def env():
    return MetaWorldEnv("drawer-open-v3")


def test_pictures_are_right_side_up_and_show_what_moves(env):
    env.reset(0)
    with rendering.MetaWorldRenderer(env, (48, 64)) as renderer:
        first = renderer.render()
        assert first.shape == (48, 64, 3)
        assert first.dtype == np.uint8
        # In corner2 the even grey background is above, the table and the tiled floor below.
        assert first[:6].reshape(-1, 3).std(0).max() < 3
        assert first[-6:].reshape(-1, 3).std(0).min() > 20
        for _ in range(10):
            env.step(np.array([1.0, 0.0, 0.0, 0.0]))
        moved = renderer.render()
    assert np.abs(moved.astype(int) - first).max() > 50


def test_the_same_state_gives_the_same_picture(env):
    with rendering.MetaWorldRenderer(env, 32, "gripperPOV") as renderer:
        env.reset(4)
        first = renderer.render()
        env.reset(5)
        other = renderer.render()
        env.reset(4)
        assert np.array_equal(first, renderer.render())
        assert not np.array_equal(first, other)


def test_an_unknown_camera_or_size_is_refused(env):
    with pytest.raises(InputError, match="corner2"):
        rendering.MetaWorldRenderer(env, 64, "corner9")
    with pytest.raises(InputError, match="size"):
        rendering.MetaWorldRenderer(env, 0)


def test_missing_opengl_names_the_packages(env, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(off_screen, "_loads", lambda library: False)
    with pytest.raises(RunError, match=r"libegl1 libgl1-mesa-dri.*libosmesa6"):
        rendering.MetaWorldRenderer(env, 64)
