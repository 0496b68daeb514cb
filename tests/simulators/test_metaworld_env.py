"""One Meta-World environment: seeding, observations, action repeat, errors."""

import sys

import numpy as np
import pytest

from burnish.errors import InputError
from burnish.simulators.counter import SimulatorUse, simulator_use
from burnish.simulators.metaworld import METAWORLD, STATE, STATE_NAMES, MetaWorldEnv
from burnish.simulators.metaworld_tasks import metaworld_tasks, task_class
from burnish.simulators.settings import SimulatorConfig

TASKS = (
    "drawer-open-v3",
    "coffee-pull-v3",
    "peg-insert-side-v3",
    "basketball-v3",
    "soccer-v3",
    "hammer-v3",
    "window-close-v3",
    "stick-pull-v3",
)


def play(env: MetaWorldEnv, seed: int, steps: int = 25) -> np.ndarray:
    """Raw observations of a seeded random episode that pushes down, so that contacts happen."""
    generator = np.random.default_rng(seed)
    env.reset(seed)
    frames = [env.raw_observation]
    for _ in range(steps):
        env.step(generator.uniform(-1, 1, 4) + [0.0, 0.5, -0.7, 0.0])
        frames.append(env.raw_observation)
    return np.stack(frames)


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_depends_on_its_seed_alone(task):
    used, fresh = MetaWorldEnv(task), MetaWorldEnv(task)
    first = play(used, 5)
    play(used, 6)
    play(used, 7, steps=40)
    again = play(used, 5)
    assert np.array_equal(first, again)
    assert np.array_equal(first, play(fresh, 5))


@pytest.mark.parametrize("task", TASKS)
def test_distinct_seeds_give_distinct_starts(task):
    env = MetaWorldEnv(task)
    starts = {env.reset(seed)[STATE].tobytes() for seed in range(10)}
    assert len(starts) == 10


def test_the_seeded_start_is_the_one_that_metaworld_itself_makes_from_the_same_draw():
    import metaworld.env_dict

    env = MetaWorldEnv("peg-insert-side-v3")
    env.reset(11)
    theirs = metaworld.env_dict.ENV_CLS_MAP["peg-insert-side-v3"]()
    theirs._partially_observable = False
    theirs._set_task_called = True
    theirs._freeze_rand_vec = True
    theirs._last_rand_vec = env.simulator._last_rand_vec.copy()
    del theirs.sawyer_observation_space
    theirs.reset()
    generator = np.random.default_rng(0)
    for _ in range(20):
        action = generator.uniform(-1, 1, 4).astype(np.float32)
        env.step(action)
        assert np.array_equal(theirs.step(action)[0], env.raw_observation)


@pytest.mark.parametrize("task", ["window-close-v3", "drawer-open-v3", "handle-pull-v3"])
def test_the_first_observation_is_up_to_date(task):
    # Without the update window-close's window jumps by 0.2 m between its first two frames.
    env = MetaWorldEnv(task)
    start = env.reset(3)[STATE]
    after, *_ = env.step(np.zeros(4))
    assert np.abs(after[STATE][4:7] - start[4:7]).max() < 0.01


def test_the_state_is_metaworlds_current_values_and_the_goal():
    env = MetaWorldEnv("drawer-open-v3")
    env.reset(0)
    observation, _, _, _, info = env.step(np.array([1.0, 0.0, 0.0, 1.0]))
    raw = env.raw_observation
    assert raw.shape == (39,)
    assert observation[STATE].shape == (21,) == (len(STATE_NAMES),)
    assert observation[STATE].dtype == np.float32
    assert np.array_equal(observation[STATE], np.concatenate([raw[:18], raw[36:]]).astype(np.float32))
    assert np.any(observation[STATE][18:] != 0), "the goal is visible"
    assert info["success"] is False


def test_action_repeat_holds_the_action():
    one, three = MetaWorldEnv("drawer-open-v3", 1), MetaWorldEnv("drawer-open-v3", 3)
    one.reset(2)
    three.reset(2)
    action = np.array([0.3, 0.5, -0.4, 1.0])
    rewards = [one.step(action)[1] for _ in range(3)]
    _, reward, terminated, truncated, info = three.step(action)
    assert reward == sum(rewards) > 0
    assert not terminated and not truncated
    assert np.array_equal(one.raw_observation, three.raw_observation)
    assert info["control_steps"] == 3


def test_actions_are_clipped():
    one, two = MetaWorldEnv("push-v3"), MetaWorldEnv("push-v3")
    one.reset(2)
    two.reset(2)
    one.step(np.array([7.0, -9.0, 0.5, 3.0]))
    two.step(np.array([1.0, -1.0, 0.5, 1.0]))
    assert np.array_equal(one.raw_observation, two.raw_observation)


def test_repeating_stops_at_the_first_success_only():
    from metaworld.policies import ENV_POLICY_MAP

    task = "drawer-open-v3"
    fine, coarse = MetaWorldEnv(task, 1), MetaWorldEnv(task, 7)
    policy = ENV_POLICY_MAP[task]()
    fine.reset(1)
    coarse.reset(1)
    control_steps = 0
    for _ in range(60):
        action = policy.get_action(coarse.raw_observation)
        *_, info = coarse.step(action)
        success = info["success"]
        for k in range(info["control_steps"]):
            assert fine.step(action)[-1]["success"] == (success and k == info["control_steps"] - 1)
        control_steps += info["control_steps"]
        if success:
            break
    assert success
    assert info["control_steps"] < 7, "choose another seed: here success must come in mid-repeat"
    *_, info = coarse.step(action)
    assert info["control_steps"] == 7, "after success an env step is a whole one again"


def test_every_control_step_and_reset_is_counted():
    env = MetaWorldEnv("drawer-open-v3", 2)
    before = simulator_use()
    env.reset(0)
    for _ in range(5):
        env.step(np.zeros(4))
    assert simulator_use() - before == SimulatorUse(control_steps=10, resets=1)


def test_all_fifty_tasks_are_there():
    assert len(metaworld_tasks()) == 50
    assert task_class("lever-pull-v3").__name__ == "SawyerLeverPullEnvV3"


@pytest.mark.parametrize("name", ["drawer-open-v2", "drawer_open", "drawr-open-v3", "Drawer-Open"])
def test_an_unknown_task_names_near_matches(name):
    with pytest.raises(InputError, match=f"unknown Meta-World task '{name}'; did you mean.*drawer-open-v3"):
        MetaWorldEnv(name)


def test_a_task_like_none_lists_all():
    with pytest.raises(InputError, match=r"the tasks are: assembly-v3, .*window-open-v3"):
        task_class("qqqqqq")


def test_missing_metaworld_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[metaworld\]'"):
        task_class("drawer-open-v3")


def test_an_episode_must_fit_into_metaworlds_limit():
    task = "drawer-open-v3"
    whole = SimulatorConfig(action_repeat=2, max_steps=250)
    assert METAWORLD.resolve(task, whole).max_steps == 250
    assert METAWORLD.resolve(task, SimulatorConfig()) == SimulatorConfig(2, 100, success_key="success")
    assert METAWORLD.resolve(task, SimulatorConfig(action_repeat=5)).max_steps == 40, "the same time"
    with pytest.raises(InputError, match="502 control steps"):
        METAWORLD.resolve(task, SimulatorConfig(2, 251))
    with pytest.raises(InputError, match="at least 1"):
        METAWORLD.resolve(task, SimulatorConfig(0, 10))
    with pytest.raises(InputError, match="no env_kwargs"):
        METAWORLD.resolve(task, SimulatorConfig(env_kwargs=("a=1",)))


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed"):
        MetaWorldEnv("drawer-open-v3").reset(-1)
