"""calvin_env's robot and table in a bullet world of their own, made anew for every episode."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from burnish_calvin.install import configuration
from burnish_calvin.state import SCENE_DIM

PHYSICS_RATE, CONTROL_RATE = 240, 30
_SUBSTEPS = PHYSICS_RATE // CONTROL_RATE
_SETTLING = 48  # physics steps before the first observation: the blocks come to rest
_IK_ROUNDS, _POSE_ERROR = 40, 0.003


class CalvinWorld:
    """One table with its robot: the physics of calvin_env's `PlayTableSimEnv`, without its cameras.

    Bullet keeps state that no reset of positions reaches (contacts, impulses of the last step), and calvin_env's
    objects remember whether the button was down. So `load` empties the world and builds it again, which takes about
    40 ms and makes every episode bitwise the same as in a new process.
    """

    def __init__(self) -> None:
        self._settings = configuration()
        bullet = _imported("pybullet_utils.bullet_client")
        with _quiet():
            self.client: Any = bullet.BulletClient(_imported("pybullet").DIRECT)
        # Also where nobody calls close: a client that outlives the interpreter's modules complains.
        self._disconnect = weakref.finalize(self, _disconnect, self.client)
        self.robot: Any = None
        self.scene: Any = None

    def load(self, rng: np.random.Generator) -> None:
        """Empty the world and build it; `rng` places the blocks."""
        client = self.client
        client.resetSimulation()
        client.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        client.setTimeStep(1.0 / PHYSICS_RATE)
        client.setGravity(0, 0, -9.8)
        module = _imported("calvin_env.robot.robot")
        self.robot = module.Robot(cid=client._client, **self._settings["robot"])
        scene_class = _imported("calvin_env.scene.play_table_scene").PlayTableScene
        settings = dict(self._settings["scene"])
        settings["objects"] = _imported("omegaconf").OmegaConf.create(settings["objects"])
        # The scene tells bullet where the meshes are, the robot's too.
        self.scene = scene_class(p=client, cid=client._client, np_random=rng, **settings)
        # Some of the robot's calls name no client and would reach whichever was connected first.
        original, module.p = module.p, client
        try:
            self.robot.load()
        finally:
            module.p = original
        self.scene.load()

    def start(self, scene_values: np.ndarray, poses: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        """Put the scene and the robot where an episode starts.

        Args:
            scene_values: (6,) slide, drawer, button, switch, bulb and green light.
            poses: positions (3,) and Euler angles (3,) of the hand; the first is taken that the arm can reach without
                touching anything.
        """
        scene = self.scene
        scene.reset_movable_objects()
        now = scene.get_obs()
        now[:6] = scene_values
        assert len(now) == SCENE_DIM
        scene.reset(now)
        for position, euler in poses:
            if not self._reach(position, euler):
                continue
            for _ in range(_SETTLING):
                self.client.stepSimulation()
            if not self.client.getContactPoints(bodyA=self.robot.robot_uid):
                return
            # The arm may have pushed a block away.
            scene.reset(now)

    def control_step(self, action: np.ndarray) -> None:
        """One control period: a relative action (7,), the gripper's sign being what counts."""
        self.robot.apply_action([*(float(value) for value in action[:6]), 1 if action[6] >= 0 else -1])
        for _ in range(_SUBSTEPS):
            self.client.stepSimulation()
        self.scene.step()

    @property
    def robot_obs(self) -> np.ndarray:
        """CALVIN's robot_obs, float64 (15,)."""
        return self.robot.get_observation()[0]

    @property
    def scene_obs(self) -> np.ndarray:
        """CALVIN's scene_obs, float64 (24,)."""
        return self.scene.get_obs()

    @property
    def oracle_info(self) -> dict[str, Any]:
        """What calvin_env's task oracle reads for doors and lights: a part of its info."""
        doors = {door.name: door.get_info() for door in self.scene.doors}
        lights = {light.name: light.get_info() for light in self.scene.lights}
        return {"scene_info": {"doors": doors, "lights": lights}}

    def close(self) -> None:
        """Disconnect from bullet."""
        self._disconnect()

    def _reach(self, position: np.ndarray, euler: np.ndarray) -> bool:
        """Put the arm where the hand has this pose; False where inverse kinematics finds no way."""
        robot, client = self.robot, self.client
        robot.reset()
        target = client.getQuaternionFromEuler(euler.tolist())
        for _ in range(_IK_ROUNDS):
            joints = robot.mixed_ik.get_bullet_ik(position.tolist(), target)
            for joint, value in zip(robot.arm_joint_ids, joints, strict=True):
                client.resetJointState(robot.robot_uid, joint, value)
            state = client.getLinkState(robot.robot_uid, robot.tcp_link_id, computeForwardKinematics=1)
            far = np.abs(np.subtract(state[0], position)).max()
            turned = 1.0 - abs(float(np.dot(state[1], target)))
            if far < _POSE_ERROR and turned < _POSE_ERROR:
                break
        else:
            return False
        # Through the robot's own reset, which holds the joints there and takes the pose for its target.
        observation = robot.get_observation()[0]
        robot.reset(observation)
        return True


def _disconnect(client: Any) -> None:
    client.disconnect()
    client._client = -1  # its destructor would disconnect once more


def _imported(name: str) -> Any:
    # Imported late: Burnish works without calvin_env. (Any: it has no stubs.)
    with _quiet():
        return importlib.import_module(name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep bullet's C code from printing into the standard output, which may be somebody's data."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
        libc.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
