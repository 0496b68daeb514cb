"""The state observation: CALVIN's robot_obs and scene_obs with continuous rotations, and where the handles are."""

from __future__ import annotations

import numpy as np

ROBOT_DIM, SCENE_DIM = 15, 24
"""CALVIN's own: position 3, Euler angles 3, gripper width, joints 7, gripper action; and slide, drawer, button, switch,
bulb, green light, three blocks with position 3 and Euler angles 3."""
BLOCKS = ("block1", "block2", "block3")
"""Red, blue and pink, in the order of `scene_obs`."""


def _xyz(body: str) -> tuple[str, ...]:
    return tuple(f"{body}_{axis}" for axis in "xyz")


def _rotation(body: str) -> tuple[str, ...]:
    return tuple(f"{body}_rot{k}" for k in range(1, 7))


STATE_NAMES: tuple[str, ...] = (
    *_xyz("hand"),
    *_rotation("hand"),
    "gripper_opening",
    *(f"joint{k}" for k in range(1, 8)),
    "gripper_action",
    *("slider_joint", "drawer_joint", "button_joint", "switch_joint", "lightbulb_on", "led_on"),
    *(name for block in BLOCKS for name in (*_xyz(block), *_rotation(block))),
    *(name for body in ("slider_handle", "drawer_handle", "button", "switch") for name in _xyz(body)),
)
"""Names of the 63 state values: 18 of the robot, 33 of the scene, 12 of the handles."""

ACTION_NAMES: tuple[str, ...] = (
    *("delta_x", "delta_y", "delta_z"),
    *("delta_roll", "delta_pitch", "delta_yaw"),
    "gripper",
)

# Scene D: where each handle is with its joint at 0, and how it moves with the joint (measured on the table's collision
# meshes). Row k belongs to scene_obs[k]: slide, drawer, button, switch.
_HANDLES = np.array([[0.040, 0.015, 0.570], [0.180, -0.250, 0.360], [-0.120, -0.120, 0.484], [0.300, 0.018, 0.529]])
_AXES = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.5, 0.8660254]])
_ORDER = (0, 1, 2, 3)


def handle_positions(scene_obs: np.ndarray) -> np.ndarray:
    """Where the slider's handle, the drawer's handle, the button and the switch of scene D are.

    Args:
        scene_obs: (..., 24).

    Returns:
        Positions in metres, (..., 4, 3).
    """
    joints = np.asarray(scene_obs, np.float64)[..., :4]
    return _HANDLES + joints[..., None] * _AXES


def rotation_6d(euler: np.ndarray) -> np.ndarray:
    """The first two columns of the rotation matrix, one after the other: continuous where Euler angles jump.

    Args:
        euler: (..., 3) roll, pitch and yaw in radians about fixed axes, as in pybullet.

    Returns:
        (..., 6).
    """
    angles = np.asarray(euler, np.float64)
    (sr, sp, sy), (cr, cp, cy) = np.moveaxis(np.sin(angles), -1, 0), np.moveaxis(np.cos(angles), -1, 0)
    first = (cy * cp, sy * cp, -sp)
    second = (cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, cp * sr)
    return np.stack([*first, *second], axis=-1)


def state_vector(robot_obs: np.ndarray, scene_obs: np.ndarray) -> np.ndarray:
    """The state observation.

    Args:
        robot_obs: (..., 15), CALVIN's.
        scene_obs: (..., 24), CALVIN's, in scene D.

    Returns:
        float32 (..., 63), in the order of `STATE_NAMES`.
    """
    robot, scene = np.asarray(robot_obs, np.float64), np.asarray(scene_obs, np.float64)
    blocks = scene[..., 6:].reshape(*scene.shape[:-1], 3, 6)
    poses = np.concatenate([blocks[..., :3], rotation_6d(blocks[..., 3:])], axis=-1)
    handles = handle_positions(scene)
    parts = [
        *(robot[..., :3], rotation_6d(robot[..., 3:6]), robot[..., 6:]),
        *(scene[..., :6], poses.reshape(*scene.shape[:-1], 27), handles.reshape(*scene.shape[:-1], 12)),
    ]
    return np.concatenate(parts, axis=-1).astype(np.float32)
