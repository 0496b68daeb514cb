"""CALVIN as a simulator: seeds, starts, experts, play, recording. Skipped where calvin_env is not installed."""

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("calvin_env") is None or importlib.util.find_spec("pybullet") is None:
    pytest.skip("calvin_env is not installed (docs/calvin.md)", allow_module_level=True)

from burnish.data import STATE, image_key, read_dataset
from burnish.errors import InputError, RunError
from burnish.evaluation.filming import film
from burnish.recipes.recording import Recorder
from burnish.simulators.collect import CollectJob, collect, run_wave
from burnish.simulators.counter import SimulatorUse, simulator_use
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import check_task
from burnish.simulators.vector import SimulatorVectorEnv
from burnish_calvin.env import CalvinEnv
from burnish_calvin.experts import PlayExpert
from burnish_calvin.play import write_play
from burnish_calvin.rendering import CalvinRenderer
from burnish_calvin.skills import SKILLS, achieved, feasible
from burnish_calvin.state import STATE_NAMES
from burnish_calvin.suite import SPEC, SUITE

TASK = "calvin:open_drawer"


@pytest.fixture(scope="module")
def env():
    env = CalvinEnv(TASK)
    yield env
    env.close()


def play(env: CalvinEnv, seed: int, steps: int = 50) -> np.ndarray:
    """States of a seeded episode that pushes onto the table, so that contacts happen."""
    rng = np.random.default_rng(seed)
    frames = [env.reset(seed)[STATE]]
    for _ in range(steps):
        frames.append(env.step(rng.uniform(-1, 1, 7) - [0, 0, 0.6, 0, 0, 0, 0])[0][STATE])
    return np.stack(frames)


def test_an_episode_depends_on_its_seed_alone(env):
    fresh = CalvinEnv(TASK)
    first = play(env, 5)
    play(env, 6)
    play(env, 7, steps=80)
    assert np.array_equal(first, play(env, 5))
    assert np.array_equal(first, play(fresh, 5))
    fresh.close()


@pytest.mark.parametrize("skill", SKILLS)
def test_starts_are_distinct_and_meet_the_precondition(skill):
    env = CalvinEnv(f"calvin:{skill}")
    hands, scenes = [], []
    for seed in range(8):
        env.reset(seed)
        hands.append(env.world.robot_obs[:3])
        scenes.append(env.world.scene_obs)
        assert feasible(skill, scenes[-1])
        assert scenes[-1][SKILLS[skill].part] == pytest.approx(SKILLS[skill].before, abs=0.01)
        assert not env.world.client.getContactPoints(bodyA=env.world.robot.robot_uid), "the arm touches nothing"
    env.close()
    # Every start has a hand and blocks of its own, and what the skill does not need varies.
    assert len({hand.round(3).tobytes() for hand in hands}) == 8
    assert len({scene[6:9].round(3).tobytes() for scene in scenes}) == 8
    others = [part for part in (0, 1, 4, 5) if part != SKILLS[skill].part]
    assert all(np.ptp([scene[part] for scene in scenes]) > 0.1 for part in others)


def test_the_state_is_named_and_follows_the_world(env):
    state = env.reset(0)[STATE]
    assert state.shape == (63,) == (len(STATE_NAMES),)
    assert state.dtype == np.float32
    named = dict(zip(STATE_NAMES, state, strict=True))
    assert np.allclose([named[f"hand_{a}"] for a in "xyz"], env.world.robot_obs[:3], atol=1e-6)
    assert named["drawer_joint"] == pytest.approx(0.0, abs=1e-4)
    assert named["gripper_opening"] == pytest.approx(0.08, abs=0.005)
    before = state
    for _ in range(10):
        observation, reward, terminated, truncated, info = env.step(np.array([0, -1.0, 0, 0, 0, 0, -1]))
        state = observation[STATE]
    after = dict(zip(STATE_NAMES, state, strict=True))
    assert info == {"control_steps": 1, "success": False}
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert after["hand_y"] - before[1] == pytest.approx(-0.2, abs=0.06)
    assert after["gripper_opening"] < 0.01
    assert after["gripper_action"] == -1.0


def test_actions_are_clipped_and_repeated_and_counted():
    one, three = CalvinEnv(TASK, 1), CalvinEnv(TASK, 3)
    one.reset(2)
    before = simulator_use()
    three.reset(2)
    three.step(np.array([0.3, 5.0, -0.4, 0, 0, 0, 0.2]))
    assert simulator_use() - before == SimulatorUse(control_steps=3, resets=1)
    for _ in range(3):
        one.step(np.array([0.3, 1.0, -0.4, 0, 0, 0, 1.0]))
    assert np.array_equal(one.observation[STATE], three.observation[STATE])
    one.close()
    three.close()


def test_wrong_use_is_refused(env):
    with pytest.raises(InputError, match="seed"):
        env.reset(-1)
    with pytest.raises(InputError, match="at least 1"):
        CalvinEnv(TASK, 0)
    with pytest.raises(InputError, match="did you mean calvin:open_drawer"):
        check_task("calvin:open_draw")
    with pytest.raises(RuntimeError, match="reset"):
        CalvinEnv(TASK).step(np.zeros(7))


@pytest.mark.parametrize("skill", SKILLS)
def test_the_clean_expert_does_every_skill(skill):
    task = f"calvin:{skill}"
    env = SimulatorVectorEnv(task, 3, SimulatorConfig(action_repeat=1, max_steps=72), frames_after_success=2)
    episodes = run_wave(env, ExpertActor(task), [0, 1, 2], "expert")
    env.close()
    for episode in episodes:
        assert episode.succeeded, f"seed {episode.seed}"
        assert episode.action.shape[1] == 7
        # The oracle's rule on joints and lights, which the state has.
        columns = [STATE_NAMES.index(n) for n in ("slider_joint", "drawer_joint", "button_joint", "switch_joint")]
        columns += [STATE_NAMES.index(n) for n in ("lightbulb_on", "led_on")]
        scene = episode.observation[STATE][:, columns]
        assert np.array_equal(achieved(skill, scene[0], scene), episode.success)


def test_noise_makes_the_expert_worse():
    jobs = [
        CollectJob("expert", ExpertActor, range(8), {"task": "calvin:move_slider_left", "noise": n}) for n in (0.0, 0.5)
    ]
    episodes = collect("calvin:move_slider_left", jobs, SimulatorConfig(1, 60), workers=0)
    clean, noisy = (sum(e.succeeded for e in part) for part in (episodes[:8], episodes[8:]))
    assert clean == 8
    assert noisy < 6


def test_play_does_many_different_skills(env):
    done = set()
    for seed in range(3):
        env.reset(seed)
        player = PlayExpert(np.random.default_rng(seed))
        scene = env.world.scene_obs
        for _ in range(400):
            env.step(player.act(env))
            now = env.world.scene_obs
            found = {name for name in SKILLS if achieved(name, scene, now)}
            if found:
                done |= found
                scene = now
    assert len(done) >= 6, done


JOBS = [
    CollectJob("noisy_expert", ExpertActor, range(6), {"task": TASK, "noise": 0.3, "play": True}),
    CollectJob("random", RandomActor, [40, 41]),
]


def same(one, other):
    arrays = (
        (one.observation[STATE], other.observation[STATE]),
        (one.action, other.action),
        (one.success, other.success),
    )
    return all(np.array_equal(a, b) for a, b in arrays) and (one.source, one.seed) == (other.source, other.seed)


def test_episodes_do_not_depend_on_the_number_of_workers():
    assert len(JOBS[0].seeds) > SUITE.chunk_episodes, "or the chunks are not tested"
    here = collect(TASK, JOBS, SimulatorConfig(1, 30), workers=0)
    there = collect(TASK, JOBS, SimulatorConfig(1, 30), workers=1)
    assert len(here) == len(there) == 8
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


def test_an_episode_can_be_filmed_and_a_changed_one_cannot():
    jobs = [CollectJob("expert", ExpertActor, [3], {"task": TASK})]
    episode = collect(TASK, jobs, SimulatorConfig(1, 40), workers=0)[0]
    pictures = film(episode, SimulatorConfig(1), 32)
    assert pictures.shape == (len(episode), 32, 32, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures[-1].astype(int) - pictures[0]).max() > 50
    episode.action[2] += 0.1
    with pytest.raises(RunError, match="did not repeat"):
        film(episode, SimulatorConfig(1), 16, "gripper")


def test_drawing_does_not_change_the_episode(env):
    plain = play(env, 9, steps=10)
    rng = np.random.default_rng(9)
    env.reset(9)
    with CalvinRenderer(env, (20, 30), "gripper") as renderer:
        for _ in range(10):
            env.step(rng.uniform(-1, 1, 7) - [0, 0, 0.6, 0, 0, 0, 0])
            picture = renderer.render()
    assert picture.shape == (20, 30, 3)
    assert np.array_equal(env.observation[STATE], plain[-1])
    with pytest.raises(InputError, match="static, gripper"):
        CalvinRenderer(env, 64, "corner2")


def test_episodes_carry_the_pictures_of_both_cameras():
    jobs = [CollectJob("expert", ExpertActor, [3, 4], {"task": TASK})]
    settings = SimulatorConfig(1, 5, ("static", "gripper"), 24)
    here, there = (collect(TASK, jobs, settings, workers=workers) for workers in (0, 1))
    plain = collect(TASK, jobs, SimulatorConfig(1, 5), workers=0)
    for one, other, bare in zip(here, there, plain, strict=True):
        assert np.array_equal(one.observation[STATE], bare.observation[STATE]), "drawing changes nothing"
        for camera in SPEC.cameras:
            pictures = one.observation[image_key(camera)]
            assert pictures.shape == (6, 24, 24, 3)
            assert np.array_equal(pictures, other.observation[image_key(camera)])
            assert not np.array_equal(pictures[0], pictures[-1])
    assert np.array_equal(film(here[1], settings, 24, "gripper"), here[1].observation[image_key("gripper")])
    with pytest.raises(InputError, match="CALVIN has no camera 'corner2'; the cameras are: static, gripper"):
        collect(TASK, jobs, SimulatorConfig(cameras=("corner2",)))


def test_pictures_are_right_side_up(env):
    """The hand rises: what changes in the static camera's picture moves up."""
    env.reset(0)
    painter = SUITE.make_painter(env, 64)
    pictures, heights = [], []
    for up, steps in ((-1.0, 5), (1.0, 12)):
        for _ in range(steps):
            env.step(np.array([0, 0, up, 0, 0, 0, 1.0]))
        pictures.append(painter.draw(env, "static").astype(int))
        heights.append(env.world.robot_obs[2])
    assert heights[1] > heights[0] + 0.05
    # The arm is white and the wall behind it brown.
    white = [p.min(-1) > 150 for p in pictures]
    left, arrived = white[0] & ~white[1], white[1] & ~white[0]
    assert np.argwhere(arrived)[:, 0].mean() < np.argwhere(left)[:, 0].mean() - 0.5


class Stage:
    """Stands for a stage: no progress bar, and it keeps what is recorded."""

    def __init__(self):
        self.kept = {}

    def progress(self, total, unit):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def set(self, done):
        pass

    def record(self, name, value):
        self.kept[name] = value


def test_the_recorder_serves_calvin():
    stage = Stage()
    recorder = Recorder(TASK, 0, SimulatorConfig(action_repeat=1, max_steps=40), WorkerPool(0))
    jobs = recorder.expert(2, 0.0) + recorder.random_motion(1) + recorder.noisy_experts(2, (0.1, 0.3))
    episodes = recorder.record(jobs, 2, stage)
    info = recorder.info
    assert [e.source for e in episodes] == ["expert", "expert", "random", "noisy_expert", "noisy_expert"]
    assert all(e.succeeded for e in episodes[:2])
    assert stage.kept["simulator_steps"] == sum(len(e) - 1 for e in episodes)
    assert (info.fps, info.robot_type, info.simulator, info.max_steps) == (30, "panda", "calvin", 40)
    assert info.state_names == STATE_NAMES


def test_play_is_written_as_a_dataset(tmp_path):
    write_play(tmp_path / "play", TASK, 3, steps=20, levels=(0.0, 0.2), workers=0)
    dataset = read_dataset(tmp_path / "play")
    assert (dataset.num_episodes, dataset.num_frames, dataset.action_dim) == (3, 63, 7)
    assert set(dataset.sources) == {"play"}
    assert sorted(dataset.seeds) == [0, 1, 2]
    with pytest.raises(InputError, match="exists"):
        write_play(tmp_path / "play", TASK, 3)
    with pytest.raises(InputError, match="seeds"):
        write_play(tmp_path / "other", TASK, 3, first_seed=999_999)


def test_nothing_is_printed_on_standard_output(capfd):
    CalvinEnv(TASK).close()
    assert capfd.readouterr().out == ""
