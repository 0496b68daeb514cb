"""Gymnasium environments as tasks: spaces, scaling, success, pictures, arguments, and what is refused."""

import numpy as np
import pytest

from burnish.data import image_key
from burnish.errors import InputError, RunError
from burnish.evaluation.filming import film
from burnish.simulators.base import STATE
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.gym_making import make
from burnish.simulators.gym_spaces import ActionScale
from burnish.simulators.gym_suite import GymEnv
from burnish.simulators.settings import SimulatorConfig, parse_kwargs
from burnish.simulators.tasks import check_task, resolve, suite_of
from burnish.simulators.vector import SimulatorVectorEnv
from tests.simulators import toy_envs

MAKE = "tests.simulators.toy_envs:make_reach"
REGISTERED = "gym:tests.simulators.toy_envs:toys/Reach-v1"


def settings(*arguments, **others):
    return SimulatorConfig(env_kwargs=arguments, **others)


def test_observations_are_flattened_by_name_and_pictures_kept():
    spec = suite_of(MAKE).describe(MAKE, settings())
    assert spec.state_names == ("agent.grip", "agent.pos.0", "agent.pos.1", "goal.0.0", "goal.0.1")
    assert spec.action_names == ("action.0", "action.1")
    assert spec.cameras == ("look", "render")
    assert (spec.action_low, spec.action_high) == ((-2.0, 0.0), (2.0, 1.0))
    assert (spec.control_rate, spec.max_steps) == (20.0, 20)
    env = GymEnv(MAKE, settings())
    start = env.reset(4)[STATE]
    assert start.dtype == np.float32 and np.allclose(start, [0, 0, 0, *env._env.unwrapped.goal[0]])
    moved, *_ = env.step(np.array([0.5, -0.5]))
    assert np.allclose(moved[STATE][:3], [0.25, 0.05 * 1.0, 0]), "1 of [-2, 2] and 0.25 of [0, 1]"


def test_actions_are_scaled_both_ways():
    scale = ActionScale(toy_envs.Reach().action_space, "toy")
    assert scale.to_environment(np.float32([-1, -1])).tolist() == [-2, 0]
    assert scale.to_environment(np.float32([1, 1])).tolist() == [2, 1]
    actions = np.random.default_rng(0).uniform(-1, 1, (100, 2)).astype(np.float32)
    back = np.stack([scale.from_environment(scale.to_environment(action)) for action in actions])
    assert np.abs(back - actions).max() < 1e-6
    unit = ActionScale(toy_envs.spaces.Box(-1, 1, (2, 1), np.float32), "toy")
    assert unit.names == ("action.0.0", "action.1.0")
    assert all(np.array_equal(unit.to_environment(action).ravel(), action) for action in actions), "not a bit changes"


@pytest.mark.parametrize(("task", "wrong"), [(MAKE, name) for name in toy_envs.SPACES])
def test_other_spaces_are_named(task, wrong):
    words = {
        "unbounded action": r"action 0 lies in \[-inf, inf\], expected finite bounds",
        "discrete action": r"action space is a Discrete\(3\), expected Box",
        "whole numbers": "expected a Box of real numbers",
        "grey pictures": r"pictures 'look' have shape \(8, 8\), expected \(H, W, 3\)",
        "text": r"has at 'agent.says' a Text\(.*expected Box, or Dict of Box",
        "tuple": r"observation space is a Tuple\(",
    }
    with pytest.raises(InputError, match=words[wrong]):
        resolve(task, settings(f"wrong={wrong}"))


def test_what_an_environment_gives_must_be_numbers():
    jobs = [CollectJob("random", RandomActor, [3])]
    with pytest.raises(InputError, match=r"observation 'agent.pos.0' is not a finite number"):
        collect(MAKE, jobs, settings("wrong=nan observation"), workers=0)
    with pytest.raises(InputError, match="reward is nan, not a finite number"):
        resolve(MAKE, settings("wrong=nan reward"))
    with pytest.raises(InputError, match=r"observation 'goal' has shape \(3,\), its space says \(1, 2\)"):
        resolve(MAKE, settings("wrong=shapes"))
    with pytest.raises(InputError, match="fails when it plays: ZeroDivisionError: the arm is broken"):
        resolve(MAKE, settings("wrong=crash"))


def test_a_seed_that_decides_nothing_is_noticed(caplog):
    with pytest.raises(InputError, match="does not start the same when it is reset with the same seed"):
        resolve(MAKE, settings("wrong=unseeded"))
    drifting = resolve(MAKE, settings("wrong=drifting"))
    assert "do not give the same episode" in caplog.text
    episode = collect(MAKE, [CollectJob("random", RandomActor, [3])], drifting, workers=0)[0]
    with pytest.raises(RunError, match="did not repeat"):
        film(episode, drifting, 16)


def test_success_is_found_stated_or_absent():
    assert resolve(MAKE, settings()).success_key == "is_success"
    assert resolve(MAKE, settings("key=success")).success_key == "success"
    assert resolve(MAKE, settings("key=is_success", "final=true")).success_key == "is_success", "at the end only"
    assert resolve(MAKE, settings("key=succeed")).success_key is None
    assert resolve(MAKE, settings("key=succeed", success_key="succeed")).success_key == "succeed"
    with pytest.raises(InputError, match="success_key is 'won', but the environment's info has is_success"):
        resolve(MAKE, settings(success_key="won"))
    with pytest.raises(InputError, match="info has nothing"):
        resolve(MAKE, settings("key=", success_key="won"))
    resolved = resolve(MAKE, settings())
    assert resolve(MAKE, resolved) == resolved


def test_success_and_the_environments_own_end_terminate_and_a_limit_truncates():
    env = SimulatorVectorEnv(MAKE, 3, settings(max_steps=15))
    env.reset(seed=[1, 2, 3])
    goals = np.array([one._env.unwrapped.goal[0, 0] for one in env.envs])
    aims = np.stack([np.sign(goals), np.array([1.0, -1.0, -1.0])], 1)  # the first grips, the others never succeed
    aims[1, 0] = 1.0  # leaves the square
    aims[2, 0] = 0.0  # waits
    ends, successes, rewards = [], [], []
    for _ in range(15):
        _, reward, terminated, truncated, info = env.step(aims)
        ends.append((terminated.copy(), truncated.copy()))
        successes.append(info["success"])
        rewards.append(reward)
    assert ends[-1][0].tolist() == [True, True, False] and ends[-1][1].tolist() == [False, False, True]
    assert np.stack(successes)[-1].tolist() == [True, False, False]
    # It left after 11 steps of 0.1; what follows is no reward.
    assert [bool(ended[0][1]) for ended in ends] == [False] * 10 + [True] * 5
    assert np.stack(rewards)[11:, 1].tolist() == [0.0] * 4
    assert np.all(np.stack(rewards)[:11, 1] < 0)


def test_limits_are_the_environments_own_or_the_runs():
    assert resolve(REGISTERED, settings()).max_steps == 20
    assert resolve(REGISTERED, settings(action_repeat=3)).max_steps == 7
    longer = resolve(REGISTERED, settings(max_steps=30))
    env = SimulatorVectorEnv(REGISTERED, 1, longer)
    env.reset(seed=0)
    for step in range(30):
        _, _, terminated, truncated, _ = env.step(np.array([[0.0, -1.0]]))
        assert not terminated.any() and bool(truncated[0]) == (step == 29), "its own limit is not in the way"
    with pytest.raises(InputError, match=r"no time limit of its own: give one with config.simulator.max-steps"):
        resolve("gym:toys/Endless-v0", settings())


def test_pictures_are_resized_and_an_episode_can_be_filmed():
    both = resolve(MAKE, settings(cameras=("look", "render"), image_size=16, max_steps=4))
    jobs = [CollectJob("random", RandomActor, [1])]
    here = collect(MAKE, jobs, both, workers=0)[0]
    look, render = here.observation[image_key("look")], here.observation[image_key("render")]
    assert look.shape == render.shape == (5, 16, 16, 3)
    assert look[0, :2, :2].tolist() == [[[127] * 3] * 2] * 2 and not look[0, 2:].any(), "each pixel became four"
    assert render[0, 4:12].tolist() == [[[128] * 3] * 16] * 8 and not render[0, :4].any(), "60 × 30 fits into 16 × 8"
    assert film(here, both, 24).shape == (5, 24, 24, 3)
    assert np.array_equal(film(here, both, 16, "look"), look)
    with pytest.raises(InputError, match="no camera 'front'; the cameras are: look, render"):
        resolve(MAKE, settings(cameras=("front",)))


def test_mujoco_draws_without_a_screen():
    task, short = "gym:Reacher-v5", settings(max_steps=3)
    episode = collect(task, [CollectJob("random", RandomActor, [1])], short, workers=0)[0]
    pictures = film(episode, short, 48)
    assert pictures.shape == (4, 48, 48, 3) and pictures.std() > 5


@pytest.mark.parametrize("task", ["gym:HalfCheetah-v5", "gym:Hopper-v5"])
def test_what_walks_stays_in_the_picture(task):
    """Far from where it began the robot (orange on a grey floor) is to be seen, unless a camera was asked for."""
    seen = {}
    for arguments in ((), ("camera_id=-1",)):
        env, _ = make(task, settings("width=120", "height=90", *arguments))
        env.reset(seed=0)
        env.render()
        simulated = env.unwrapped
        position = simulated.data.qpos.copy()
        position[0] += 1000
        simulated.set_state(position, 0 * simulated.data.qvel)
        picture = np.asarray(env.render()).astype(int)
        seen[arguments] = int((picture[..., 0] - picture[..., 2] > 40).sum())
        env.close()
    assert seen[()] > 100 and seen["camera_id=-1",] == 0


def test_arguments_are_words_or_json():
    assert parse_kwargs(("a=1", "b=word", 'c=[1, "x"]', "d=true", '{"e": {"f": null}}', "g=1e-3", "h=")) == {
        "a": 1,
        "b": "word",
        "c": [1, "x"],
        "d": True,
        "e": {"f": None},
        "g": 0.001,
        "h": "",
    }
    for words, message in {
        ("a",): "expected key=value",
        ("a=1", "a=2"): "given twice",
        ("{a}",): "JSON object",
    }.items():
        with pytest.raises(InputError, match=message):
            parse_kwargs(words)
    with pytest.raises(InputError, match="expected the name of an argument"):
        parse_kwargs(("1a=3",))
    assert GymEnv(MAKE, settings("size=4")).layout.cameras == ("look",)
    with pytest.raises(InputError, match=r"cannot be made: TypeError: .*'colour'.*env-kwargs: colour=red"):
        resolve(MAKE, settings("colour=red"))
    with pytest.raises(InputError, match="'render_mode' is decided by Burnish"):
        resolve("gym:Pendulum-v1", settings("render_mode=human"))


def test_what_is_not_there_names_what_is_near():
    with pytest.raises(InputError, match=r"'Pendulum-v0' is registered; did you mean gym:Pendulum-v1"):
        check_task("gym:Pendulum-v0")
    with pytest.raises(InputError, match=r"'Reacher' is registered; did you mean gym:Reacher-v5"):
        check_task("gym:Reacher")
    with pytest.raises(InputError, match=r"its package may be missing: pip install gym-nowhere"):
        check_task("gym:gym_nowhere/PushT-v0")
    with pytest.raises(InputError, match=r"pip install ale-py"):
        check_task("gym:ALE/Pong-v5")
    with pytest.raises(InputError, match="no module 'nowhere' is installed"):
        check_task("gym:nowhere:Reach-v0")
    with pytest.raises(InputError, match="burnish tasks gym lists what is"):
        check_task("gym:qqqqqqq")
    with pytest.raises(InputError, match=r"has no 'make_rich'"):
        check_task("tests.simulators.toy_envs:make_rich")
    with pytest.raises(InputError, match="'SEVEN' is a int, expected a factory"):
        check_task("tests.simulators.toy_envs:SEVEN")
    with pytest.raises(InputError, match=r"returned a str, expected a gymnasium.Env"):
        resolve("tests.simulators.toy_envs:no_environment", settings())


def test_a_factory_in_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "own_envs_of_mine.py").write_text("from tests.simulators.toy_envs import Reach\n")
    with pytest.raises(InputError, match="unknown suite 'own_envs_of_mine'"):
        check_task("own_envs_of_mine:Reach")
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.chdir(tmp_path)
    assert check_task("own_envs_of_mine:Reach") == "own_envs_of_mine:Reach"
