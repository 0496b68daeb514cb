"""What holds for every suite: seeds decide, all is counted, shapes are what was said; and how suites are found."""

import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from burnish.data import Dataset, DatasetInfo
from burnish.errors import InputError
from burnish.evaluation.real import RealSuccess
from burnish.recipes.recording import Recorder
from burnish.simulators import tasks
from burnish.simulators.base import STATE, SimulatorEnv
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.counter import SimulatorUse, simulator_use
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import as_table, check_task, resolve, suite_names, suite_of
from burnish.simulators.vector import SimulatorVectorEnv

TOY = "tests.simulators.toy_envs:make_reach"
TASKS = ("drawer-open-v3", "gym:Pendulum-v1", "gym:Reacher-v5", "gym:MountainCarContinuous-v0", TOY)


def played(env: SimulatorEnv, seed: int, steps: int = 12) -> list[np.ndarray]:
    """All that a seeded episode of random actions gives, until it ends."""
    generator = np.random.default_rng(seed)
    shown = [env.reset(seed)[STATE]]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(generator.uniform(-1, 1, DIMS[env.task]))
        shown.append(np.array([*observation[STATE], reward, terminated, truncated, info["success"]]))
        if terminated or truncated:
            break
    return shown


DIMS = {"drawer-open-v3": 4, "gym:Pendulum-v1": 1, "gym:Reacher-v5": 2, "gym:MountainCarContinuous-v0": 1, TOY: 2}


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_decides_the_episode_and_it_is_counted(task):
    suite, settings = suite_of(task), resolve(task, SimulatorConfig(action_repeat=2))
    used, fresh = suite.make_env(task, settings), suite.make_env(task, settings)
    before = simulator_use()
    first = played(used, 5)
    assert simulator_use() - before == SimulatorUse(control_steps=2 * (len(first) - 1), resets=1)
    played(used, 6)
    assert same(first, played(used, 5))
    assert same(first, played(fresh, 5))
    assert not np.array_equal(first[0], used.reset(6)[STATE]) or "Mountain" in task
    with pytest.raises(InputError, match="seed"):
        used.reset(-1)
    with pytest.raises(RuntimeError, match="reset"):
        suite.make_env(task, settings).step(np.zeros(DIMS[task]))
    with pytest.raises(InputError, match="at least 1"):
        suite.make_env(task, SimulatorConfig(action_repeat=0))
    used.close()


@pytest.mark.parametrize("task", TASKS)
def test_repeating_adds_up_the_own_reward(task):
    suite = suite_of(task)
    one, three = (suite.make_env(task, SimulatorConfig(action_repeat=n)) for n in (1, 3))
    action = np.full(DIMS[task], 0.1)
    one.reset(3)
    three.reset(3)
    alone = [one.step(action) for _ in range(3)]
    observation, reward, *_ = three.step(action)
    assert reward == pytest.approx(sum(step[1] for step in alone))
    assert np.array_equal(observation[STATE], alone[-1][0][STATE])


@pytest.mark.parametrize("task", TASKS)
def test_spaces_are_what_was_said_and_gymnasiums_wrappers_work(task):
    spec, settings = suite_of(task).describe(task, SimulatorConfig()), SimulatorConfig(action_repeat=1, max_steps=4)
    env = SimulatorVectorEnv(task, 2, settings)
    assert isinstance(env, VectorEnv)
    wrapped = RecordEpisodeStatistics(env)
    observation, info = wrapped.reset(seed=3)
    assert env.single_observation_space[STATE].shape == (len(spec.state_names),)
    assert env.single_action_space.shape == (spec.action_dim,) == (len(spec.action_names),) == (DIMS[task],)
    assert np.all(env.single_action_space.low == -1) and np.all(env.single_action_space.high == 1)
    rewards = []
    for _ in range(4):
        observation, reward, terminated, truncated, info = wrapped.step(np.zeros((2, DIMS[task])))
        assert env.observation_space.contains(observation)
        rewards.append(reward)
    assert truncated.all() and not terminated.any()
    assert info["success"].dtype == bool
    np.testing.assert_allclose(info["episode"]["r"], np.sum(rewards, 0), rtol=1e-6)
    assert len(set(spec.state_names)) == len(spec.state_names)


@pytest.mark.parametrize("task", ["gym:Reacher-v5", TOY])
def test_episodes_do_not_depend_on_the_number_of_workers(task):
    jobs, settings = [CollectJob("random", RandomActor, range(12))], SimulatorConfig(max_steps=6)
    resolve(task, settings)  # the tries of an unknown environment come once, before
    before = simulator_use()
    here = collect(task, jobs, settings, workers=0)
    middle = simulator_use()
    there = collect(task, jobs, settings, workers=2)
    assert middle - before == simulator_use() - middle == SimulatorUse(sum(len(e) - 1 for e in here), 12)
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one.observation[STATE], other.observation[STATE])
        assert np.array_equal(one.reward, other.reward) and np.array_equal(one.action, other.action)
    outcome = RealSuccess.of(here)
    assert outcome.returns[3] == pytest.approx(here[3].reward.sum()) and len(outcome.success) == 12


def test_a_suite_without_scripts_says_what_to_do():
    with pytest.raises(InputError, match=r"Gymnasium has no scripted expert.*--dataset PATH"):
        ExpertActor("gym:Pendulum-v1")
    recorder = Recorder("gym:Pendulum-v1", 0, SimulatorConfig(max_steps=5), WorkerPool(0))
    assert recorder.suite.abilities == ("videos", "pictures")
    assert recorder.simulator == SimulatorConfig(1, 5)
    info = recorder.info
    assert (info.fps, info.simulator, info.max_steps, info.robot_type) == (30, "gym", 5, None)
    assert [job.source for job in recorder.random_motion(2)] == ["random"]
    assert recorder.noisy_experts(0, (0.1,)) == [] and recorder.expert(0, 0.0)[0].seeds == []
    with pytest.raises(InputError, match=r"no scripted expert.*--dataset"):
        recorder.expert(2, 0.0)
    with pytest.raises(InputError, match=r"no scripted play.*--dataset"):
        recorder.noisy_experts(2, (0.1,))


def test_a_name_chooses_the_suite():
    assert suite_of("drawer-open-v3") is suite_of("metaworld:drawer-open-v3")
    assert check_task("metaworld:drawer-open-v3") == check_task("drawer-open-v3") == "drawer-open-v3"
    assert SimulatorVectorEnv("metaworld:drawer-open-v3", 1).task == "drawer-open-v3"
    assert suite_of("gym:Pendulum-v1") is suite_of(TOY)
    named = ("drawer-open-v3", "metaworld:drawer-open-v3", "gym:Pendulum-v1", "gym:gym_pusht/PushT-v0")
    assert not any(map(tasks.names_code, named))
    assert tasks.names_code(TOY) and tasks.names_code("gym:numpy:Pendulum-v1")
    with pytest.raises(InputError, match=r"did you mean drawer-open-v3"):
        check_task("metaworld:drawer-opn-v3")
    with pytest.raises(InputError, match=r"unknown suite 'gim' of the task 'gim:Pendulum-v1': the suites are meta"):
        check_task("gim:Pendulum-v1")
    with pytest.raises(InputError, match=r"unknown suite 'subprocess'"):
        check_task("subprocess:run")


def test_a_table_of_all_suites_and_of_one():
    whole = as_table()
    assert "metaworld (Meta-World): experts, play, videos, pictures" in whole
    assert "gym (Gymnasium): videos, pictures" in whole and "module:function" in whole
    one = as_table("metaworld").splitlines()
    assert len(one) == 51 and one[-1] == "  window-open-v3"
    assert "  gym:Pendulum-v1" in as_table("gym").splitlines()
    with pytest.raises(InputError, match="unknown suite 'mars'; the suites are: metaworld, gym"):
        as_table("mars")


PLUGIN = """
from burnish.simulators.suite import Suite, TaskSpec
from tests.simulators.test_suites import Still

SPEC = TaskSpec(("push",), ("where",), 10.0, max_steps=3)
SUITE = Suite("still", "Still life", lambda task: None, lambda t, s: SPEC, lambda t, s: Still(t, SPEC.repeat(s)))
OTHER = 7
"""


class Still(SimulatorEnv):
    """The least that a suite's environment is."""

    def _start(self, seed):
        self.seed = seed

    def _control_step(self, action):
        from burnish.simulators.base import ControlStep

        return ControlStep(reward=float(action[0]))

    def _observe(self):
        return {STATE: np.float32([self.seed])}

    def close(self):
        pass


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Three suites that an installed package announces: one that works, and two that do not."""
    (tmp_path / "still_life.py").write_text(PLUGIN)
    info = tmp_path / "still_life-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: still-life\nVersion: 1.0\n")
    names = "still = still_life:SUITE\nbroken = nowhere_at_all:SUITE\nodd = still_life:OTHER\n"
    (info / "entry_points.txt").write_text(f"[{tasks.GROUP}]\n{names}")
    monkeypatch.syspath_prepend(tmp_path)
    tasks._suite.cache_clear()
    yield
    tasks._suite.cache_clear()
    sys.modules.pop("still_life", None)


def test_packages_bring_suites_of_their_own(plugin):
    assert suite_names()[:2] == ("metaworld", "gym") and {"broken", "odd", "still"} <= set(suite_names())
    jobs = [CollectJob("random", RandomActor, [3, 4])]
    for workers in (0, 1):
        episodes = collect("still:life", jobs, workers=workers)
        assert [len(e) for e in episodes] == [4, 4]
        assert episodes[1].observation[STATE].tolist() == [[4]] * 4
        assert np.array_equal(episodes[0].reward[1:], episodes[0].action[:-1, 0])
    with pytest.raises(InputError, match=r"'broken' of still-life \(nowhere_at_all:SUITE\) does not load"):
        check_task("broken:task")
    with pytest.raises(InputError, match=r"found a int, expected a burnish Suite"):
        check_task("odd:task")
    with pytest.raises(InputError, match="Still life has no camera 'front'; it draws no pictures"):
        resolve("still:life", SimulatorConfig(cameras=("front",)))
    table = as_table()
    assert "still (Still life): plays tasks only" in table and "broken: not usable" in table


def test_a_data_set_fits_a_task_or_not():
    jobs = [CollectJob("random", RandomActor, [1])]
    episodes = {task: collect(task, jobs, SimulatorConfig(max_steps=3), workers=0) for task in TASKS[1:]}
    data = {task: Dataset.from_episodes(found, DatasetInfo(fps=30)) for task, found in episodes.items()}
    spec = suite_of("gym:Pendulum-v1").describe("gym:Pendulum-v1", SimulatorConfig())
    spec.check_data("gym:Pendulum-v1", data["gym:Pendulum-v1"])
    with pytest.raises(InputError, match=r"state of 3 numbers \(state.0, state.1, state.2\), the data set has 2"):
        spec.check_data("gym:Pendulum-v1", data["gym:MountainCarContinuous-v0"])
    with pytest.raises(InputError, match="takes 1 numbers as an action, the data set has 2"):
        replace(spec, state_names=tuple("abcde")).check_data("gym:Pendulum-v1", data[TOY])
    # A recording's joints have names, a Box's numbers have places alone; two names, or two places, must agree.
    pendulum = data["gym:Pendulum-v1"]
    named = replace(pendulum, info=replace(pendulum.info, state_names=("cos", "sin", "speed")))
    spec.check_data("gym:Pendulum-v1", named)
    turned = replace(pendulum, info=replace(pendulum.info, state_names=("state.1", "state.0", "state.2")))
    with pytest.raises(InputError, match=r"calls number 0 of its state 'state.0', the data set 'state.1'"):
        spec.check_data("gym:Pendulum-v1", turned)
    with pytest.raises(InputError, match="calls number 1 of its state 'sine', the data set 'sin'"):
        replace(spec, state_names=("cos", "sine", "speed")).check_data("gym:Pendulum-v1", named)


def test_gymnasium_itself_agrees_with_the_suite():
    """The same seed and actions in Gymnasium's own environment give the same numbers."""
    ours = suite_of("gym:Pendulum-v1").make_env("gym:Pendulum-v1", SimulatorConfig())
    theirs = gymnasium.make("Pendulum-v1")
    start = ours.reset(11)[STATE]
    assert np.array_equal(start, theirs.reset(seed=11)[0])
    for value in (-1.0, 0.25, 1.0, 0.0):
        observation, reward, *_ = ours.step(np.float32([value]))
        expected = theirs.step(np.float32([2 * value]))
        assert np.array_equal(observation[STATE], expected[0]) and reward == expected[1]
