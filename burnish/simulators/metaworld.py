"""One seeded Meta-World v3 environment with state observations."""

from __future__ import annotations

import copy
import functools
import importlib
import math
import warnings
from typing import Any

import numpy as np

from burnish.data.depth import Camera, depth_camera
from burnish.errors import InputError
from burnish.simulators.base import STATE, ControlStep, Expert, Observation, Painter, Renderer, SimulatorEnv
from burnish.simulators.metaworld_tasks import metaworld_tasks, task_class
from burnish.simulators.quaternions import with_sign_of
from burnish.simulators.suite import Suite, TaskSpec

CONTROL_STEP_LIMIT = 500
"""Meta-World refuses to step further than this within one episode."""
STATE_NAMES: tuple[str, ...] = (
    "hand_x",
    "hand_y",
    "hand_z",
    "gripper_opening",
    *(f"object{k}_{part}" for k in (1, 2) for part in ("x", "y", "z", "quat_a", "quat_b", "quat_c", "quat_d")),
    "goal_x",
    "goal_y",
    "goal_z",
)
"""Names of the 21 state values. The order inside a quaternion is the task's own (most give w, x, y, z)."""
ACTION_NAMES: tuple[str, ...] = ("delta_x", "delta_y", "delta_z", "gripper_effort")
CAMERAS = ("corner2", "corner", "corner3", "corner4", "topview", "behindGripper", "gripperPOV")
_STILL = CAMERAS[:5]
UPSIDE_DOWN = ("corner", "corner2", "corner3", "corner4")
"""Cameras whose pictures Meta-World turns over."""

# The scripted policies say this whenever they ask for full speed.
warnings.filterwarnings("ignore", message="Constant\\(s\\) may be too high")

_QUATERNIONS = (slice(7, 11), slice(14, 18))
_CURRENT = 18  # Meta-World's 39 values: 18 now, 18 of the previous control step, 3 of the goal


class MetaWorldEnv(SimulatorEnv):
    """One Meta-World environment in which `reset(seed)` alone decides how an episode starts.

    The observation is `{"observation.state": float32 (21,)}`: the 18 current values (hand, gripper, two objects with
    quaternions, zero where a task has fewer) and the 3 of the goal. Meta-World's own 39 values repeat the previous
    control step's 18 as well; they are left out because history is the business of windows. `raw_observation`
    keeps all 39 for the scripted experts. Within an episode a quaternion's sign is continuous; Meta-World's own is not
    in tasks that compute it from a rotation matrix (soccer's ball flips it in three of four episodes).

    Meta-World ignores `reset(seed=)`, draws the start twice per reset (in several tasks the first observation then
    shows the first draw and the physics the second), may return a first observation that is out of date, and carries
    body positions over from the previous episode. Here every reset restores the model and all attributes to those of a
    new environment, draws the start once and freezes it; so the same seed and actions give bitwise the same episode,
    whatever was played before.

    Args:
        task: one of `metaworld_tasks()`.
        action_repeat: control steps per env step.

    Raises:
        InputError: unknown task, Meta-World not installed, or an action repeat below 1.
    """

    def __init__(self, task: str, action_repeat: int = 1) -> None:
        super().__init__(task, action_repeat)
        self._env = _build(task)
        self._pristine = _attributes(self._env)
        self._body_pos = self._env.model.body_pos.copy()
        self._site_pos = self._env.model.site_pos.copy()
        self._raw = np.zeros(0)
        self._state = np.zeros(len(STATE_NAMES))

    @property
    def raw_observation(self) -> np.ndarray:
        """Meta-World's own observation, float64 (39,)."""
        if not self._playing:
            raise RuntimeError("call reset before reading observations")
        return self._raw

    @property
    def simulator(self) -> Any:
        """Meta-World's own environment (for rendering); stepping it directly is not counted."""
        return self._env

    def _start(self, seed: int) -> None:
        env = self._env
        self._restore()
        env._freeze_rand_vec = False
        env.seed(seed)
        env.reset_model()
        # The second reset of the same start is needed: several tasks read site positions that only the next
        # simulation step brings up to date.
        env._freeze_rand_vec = True
        env.reset()
        self._state[:] = 0
        self._see(_start_observation(env))

    def _control_step(self, action: np.ndarray) -> ControlStep:
        raw, reward, _, _, info = self._env.step(action)
        self._see(raw)
        return ControlStep(float(reward), success=bool(info["success"]), info=info)

    def _observe(self) -> Observation:
        return {STATE: self._state.astype(np.float32)}

    def close(self) -> None:
        """Release Meta-World's environment."""
        self._env.close()

    def _see(self, raw: np.ndarray) -> None:
        """Take over Meta-World's observation, with each quaternion's sign as it was the step before."""
        state = np.concatenate([raw[:_CURRENT], raw[-3:]])
        for part in _QUATERNIONS:
            state[part] = with_sign_of(self._state[part], state[part])
        self._raw, self._state = raw, state

    def _restore(self) -> None:
        """Make the simulator and its Python object equal to new ones."""
        mujoco = _mujoco()
        env = self._env
        for name in set(vars(env)) - set(self._pristine) - set(_KEPT):
            delattr(env, name)
        vars(env).update(_copied(self._pristine))
        env.model.body_pos[:] = self._body_pos
        env.model.site_pos[:] = self._site_pos
        mujoco.mj_resetData(env.model, env.data)


def _start_observation(env: Any) -> np.ndarray:
    """The 39 values of an episode's first frame, float64."""
    mujoco = _mujoco()
    # Meta-World moves bodies and joints without updating positions (window-close starts 0.2 m off in its own first
    # observation). Kinematics alone leaves the dynamics untouched.
    mujoco.mj_kinematics(env.model, env.data)
    current = env._get_curr_obs_combined_no_goal()
    env._prev_obs = current
    space = env.sawyer_observation_space
    return np.clip(np.hstack([current, current, env._get_pos_goal()]), space.low, space.high)


def _mujoco() -> Any:
    # Imported late: Burnish works without a simulator on a user's own data set. (Any: its stubs are incomplete.)
    return importlib.import_module("mujoco")


# Attributes that hold no episode's state, or are expensive or wrong to copy.
_KEPT = ("model", "data", "mujoco_renderer", "sawyer_observation_space", "observation_space", "action_space")


def _attributes(env: Any) -> dict[str, Any]:
    return _copied({name: value for name, value in vars(env).items() if name not in _KEPT})


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    # Views into the simulator's own memory (Meta-World keeps two) must stay views.
    views = {k: v for k, v in attributes.items() if isinstance(v, np.ndarray) and v.base is not None}
    return {**copy.deepcopy({k: v for k, v in attributes.items() if k not in views}), **views}


def _build(task: str) -> Any:
    """Meta-World's environment with an unlimited number of seeded starts and a visible goal."""
    env = _copying_class(task)()
    env._partially_observable = False
    env._set_task_called = True
    env.seeded_rand_vec = True
    # Computed while the goal was still hidden; deleting it makes Meta-World rebuild it with the goal's bounds.
    del env.sawyer_observation_space
    env.observation_space = env.sawyer_observation_space
    return env


@functools.cache
def _copying_class(task: str) -> Any:
    """The task's class, reading its XML and meshes once per process instead of once per environment."""
    cls = task_class(task)
    models: list[Any] = []

    class Copying(cls):  # pyright: ignore[reportGeneralTypeIssues]
        def _initialize_simulation(self) -> tuple[Any, Any]:
            if not models:
                models.append(super()._initialize_simulation()[0])
            model = copy.copy(models[0])
            return model, _mujoco().MjData(model)

    Copying.__name__ = cls.__name__
    return Copying


class _ScriptedExpert:
    """Meta-World's own scripted policy."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def act(self, env: MetaWorldEnv) -> np.ndarray:
        return self._policy.get_action(env.raw_observation)


def _make_expert(task: str, seed: int, noise: float) -> Expert:
    from metaworld.policies import ENV_POLICY_MAP

    policy: Any = ENV_POLICY_MAP[task]
    return _ScriptedExpert(policy())


def _make_renderer(env: MetaWorldEnv, size: int | tuple[int, int], camera: str | None) -> Renderer:
    from burnish.simulators.rendering import MetaWorldRenderer

    return MetaWorldRenderer(env, size, camera or CAMERAS[0])


def _make_painter(env: MetaWorldEnv, size: int) -> Painter:
    from burnish.simulators.rendering import MetaWorldPainter

    return MetaWorldPainter(env, size)


def calibrate(env: MetaWorldEnv, camera: str) -> Camera:
    """A camera that stands still, as its pictures show it: right side up.

    Raises:
        InputError: there is none of this name, or it moves with the robot.
    """
    if camera not in _STILL:
        raise InputError(f"Meta-World's camera '{camera}' does not stand still, expected one of {', '.join(_STILL)}")
    model = env.simulator.model
    number = model.camera(camera).id
    focal = 0.5 / math.tan(math.radians(float(model.cam_fovy[number])) / 2)
    # MuJoCo's cameras look along -z, with y up.
    rotation = model.cam_mat0[number].reshape(3, 3) * [1, -1, -1]
    turned = -1 if camera in UPSIDE_DOWN else 1
    return Camera.of((focal, turned * focal), rotation, model.cam_pos[number])


SPEC = TaskSpec(
    action_names=ACTION_NAMES,
    state_names=STATE_NAMES,
    control_rate=80,
    robot_type="sawyer",
    cameras=(*CAMERAS, *map(depth_camera, _STILL)),
    action_repeat=2,
    max_steps=100,
    control_step_limit=CONTROL_STEP_LIMIT,
)
METAWORLD = Suite(
    name="metaworld",
    title="Meta-World",
    check_task=task_class,
    describe=lambda task, settings: SPEC,
    make_env=lambda task, settings: MetaWorldEnv(task, SPEC.repeat(settings)),
    tasks=metaworld_tasks,
    chunk_episodes=10,
    make_expert=_make_expert,
    make_play=_make_expert,
    make_renderer=_make_renderer,
    make_painter=_make_painter,
    calibrate=calibrate,
)
