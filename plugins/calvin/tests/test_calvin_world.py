"""CALVIN beside calvin_env itself: the same physics, the same success. Skipped where calvin_env is not installed."""

import importlib
import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("calvin_env") is None or importlib.util.find_spec("pybullet") is None:
    pytest.skip("calvin_env is not installed (docs/calvin.md)", allow_module_level=True)

from burnish_calvin.env import CalvinEnv
from burnish_calvin.install import calvin_root, configuration
from burnish_calvin.skills import JOINT_RANGES, SKILLS, achieved
from burnish_calvin.state import handle_positions, rotation_6d
from burnish_calvin.world import CalvinWorld

_FROM = ((0, 0, 1), (0, -1, 0))


@pytest.fixture(scope="module")
def world():
    world = CalvinWorld()
    world.load(np.random.default_rng(0))
    yield world
    world.close()


def test_the_physics_is_that_of_calvin_envs_own_environment():
    for name in ("gym", "hydra", "cv2"):
        pytest.importorskip(name, reason="calvin_env's own environment needs it")
    hydra = importlib.import_module("hydra")
    with hydra.initialize_config_dir(str(calvin_root() / "conf"), version_base="1.1"):
        settings = hydra.compose("config_data_collection", overrides=["use_vr=False", "env.use_egl=False"])
    try:
        theirs = hydra.utils.instantiate(settings.env, show_gui=False, use_scene_info=True)
    except Exception as error:
        # It wants to lie in a git repository, for one.
        pytest.skip(f"calvin_env's own environment does not start here: {type(error).__name__}")
    ours = CalvinEnv("calvin:open_drawer")
    ours.reset(3)
    robot, scene = ours.world.robot_obs, ours.world.scene_obs
    theirs.reset(robot, scene)
    ours.world.load(np.random.default_rng(0))
    ours.world.scene.reset(scene)
    ours.world.robot.reset(robot)
    ours.world.client.stepSimulation()
    rng = np.random.default_rng(1)
    for _ in range(40):
        action = rng.uniform(-1, 1, 7).astype(np.float32)
        action[6] = np.sign(action[6])
        observation, *_ = theirs.step(np.array([*action[:6].astype(float), int(action[6])]))
        ours.world.control_step(action)
        assert np.allclose(observation["robot_obs"], ours.world.robot_obs, atol=1e-5)
        assert np.allclose(observation["scene_obs"], ours.world.scene_obs, atol=1e-4)
    ours.close()


def test_the_rule_on_states_is_calvin_envs_oracle(world):
    oracle = importlib.import_module("calvin_env.envs.tasks").Tasks(configuration()["tasks"])
    rng = np.random.default_rng(2)
    scenes, infos = [], []
    for _ in range(30):
        scene = world.scene_obs
        scene[:6] = [*rng.uniform(0, [0.28, 0.22]), 0, 0, *rng.integers(2, size=2)]
        world.scene.reset(scene)
        scenes.append(world.scene_obs)
        infos.append(world.oracle_info)
    seen = set()
    for start, start_info in zip(scenes, infos, strict=True):
        for now, info in zip(scenes, infos, strict=True):
            expected = oracle.get_task_info_for_set(start_info, info, set(SKILLS))
            assert {name for name in SKILLS if achieved(name, start, now)} == expected
            seen |= expected
    assert seen == set(SKILLS), "or some skill was not tested"


def test_rotations_agree_with_bullet(world):
    for euler in np.random.default_rng(0).uniform(-3.1, 3.1, (20, 3)):
        quaternion = world.client.getQuaternionFromEuler(euler.tolist())
        matrix = np.reshape(world.client.getMatrixFromQuaternion(quaternion), (3, 3))
        assert np.allclose(rotation_6d(euler), matrix[:, :2].T.ravel(), atol=1e-6)


def test_handles_move_with_their_joints(world):
    # The handle's known place follows its link, which bullet moves.
    table, client = world.scene.fixed_objects[0].uid, world.client
    links = {client.getJointInfo(table, i)[1].decode(): i for i in range(client.getNumJoints(table))}
    order = ["base__slide", "base__drawer", "base__button", "base__switch"]

    def at(fraction):
        scene = world.scene_obs
        for part, length in JOINT_RANGES.items():
            scene[part] = fraction * length
        world.scene.reset(scene)
        frames = [client.getLinkState(table, links[name], computeForwardKinematics=1)[4] for name in order]
        return np.array(frames), handle_positions(scene)

    (links_0, handles_0), (links_1, handles_1) = at(0.0), at(1.0)
    assert np.allclose(links_1 - links_0, handles_1 - handles_0, atol=1e-5)
    # And it is on the table's own shapes: a ray towards it hits that very link.
    client.performCollisionDetection()
    for position, name in zip(handles_1, order, strict=True):
        ends = [position - np.multiply(away, 0.02) for away in _FROM]
        begins = [position + np.multiply(away, 0.08) for away in _FROM]
        hits = [client.rayTest(a.tolist(), b.tolist())[0] for a, b in zip(begins, ends, strict=True)]
        assert (table, links[name]) in {hit[:2] for hit in hits}, name
