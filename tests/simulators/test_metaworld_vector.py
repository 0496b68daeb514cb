"""The vector environment: masks, freezing, autoreset, ends of episodes."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from burnish.errors import InputError
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import ExpertActor
from burnish.simulators.metaworld import STATE
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import SimulatorVectorEnv

TASK = "drawer-open-v3"


def play(env, actor, seeds, steps):
    """All that an expert's wave shows, one tuple per step."""
    observation, _info = env.reset(seed=seeds)
    actor.begin(env, seeds)
    shown = []
    for _ in range(steps):
        outcome = env.step(actor.act(observation))
        observation = outcome[0]
        shown.append(outcome)
    return shown


def test_spaces_and_shapes():
    env = SimulatorVectorEnv(TASK, 3, SimulatorConfig(action_repeat=1, max_steps=5))
    assert isinstance(env, VectorEnv)
    observation, info = env.reset(seed=4)
    assert env.observation_space.contains(observation)
    assert observation[STATE].shape == (3, 21)
    assert info["seed"].tolist() == [4, 5, 6]
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == info["success"].shape == (3,)
    assert terminated.dtype == truncated.dtype == info["success"].dtype == bool
    assert env.metadata["autoreset_mode"] == AutoresetMode.DISABLED


def test_seeds_alone_decide_the_starts():
    env = SimulatorVectorEnv(TASK, 3, SimulatorConfig(action_repeat=1, max_steps=5))
    listed, _ = env.reset(seed=[9, 4, 9])
    assert np.array_equal(listed[STATE][0], listed[STATE][2])
    assert not np.array_equal(listed[STATE][0], listed[STATE][1])
    counted, _ = env.reset(seed=8)
    assert np.array_equal(counted[STATE][1], listed[STATE][0])


def test_later_resets_draw_new_distinct_reproducible_seeds():
    def drawn(seed):
        env = SimulatorVectorEnv(TASK, 2, SimulatorConfig(action_repeat=1, max_steps=5))
        env.reset(seed=seed)
        return [tuple(env.reset()[1]["seed"]) for _ in range(3)]

    first = drawn(0)
    assert first == drawn(0)
    flat = [seed for pair in first for seed in pair]
    assert len(set(flat)) == 6
    assert not set(flat) & {seed for pair in drawn(50) for seed in pair}


def test_truncation_at_the_time_limit_then_frozen_until_reset():
    env = SimulatorVectorEnv(TASK, 2, SimulatorConfig(action_repeat=2, max_steps=3))
    env.reset(seed=0)
    action = np.full((2, 4), 0.5, np.float32)
    for step in range(3):
        observation, _, terminated, truncated, info = env.step(action)
        assert truncated.tolist() == [step == 2] * 2
        assert not terminated.any()
        assert info["stepped"].all()
    before = simulator_use()
    again, reward, terminated, truncated, info = env.step(-action)
    assert simulator_use() == before, "a finished environment is not touched"
    assert np.array_equal(again[STATE], observation[STATE])
    assert truncated.all()
    assert reward.tolist() == [0.0, 0.0]
    assert not info["stepped"].any()

    after, info = env.reset(seed=[None, 7], options={"reset_mask": np.array([False, True])})
    assert np.array_equal(after[STATE][0], observation[STATE][0])
    assert info["seed"].tolist() == [0, 7]
    _, _, terminated, truncated, info = env.step(action)
    assert truncated.tolist() == [True, False]
    assert info["stepped"].tolist() == [False, True]


def test_success_terminates_and_is_no_truncation():
    # The clean expert opens this drawer after about 45 steps of two control steps.
    env = SimulatorVectorEnv(TASK, 2, SimulatorConfig(action_repeat=2, max_steps=100))
    shown = play(env, ExpertActor(TASK), [0, 3], 60)
    terminated = np.stack([s[2] for s in shown])
    success = np.stack([s[4]["success"] for s in shown])
    reward = np.stack([s[1] for s in shown])
    assert terminated[-1].all()
    assert not np.stack([s[3] for s in shown]).any()
    assert np.array_equal(terminated, success)
    # Meta-World's own reward, 0 to 10 for each of up to two control steps, which grows on the way.
    ends = terminated.argmax(0)
    assert (reward[0] > 0).all() and (reward[ends, [0, 1]] > 8).all()
    assert not reward[max(ends) + 1 :].any(), "a finished environment gives none"


def test_frames_after_success():
    plain = play(
        SimulatorVectorEnv(TASK, 1, SimulatorConfig(action_repeat=2, max_steps=100)), ExpertActor(TASK), [3], 60
    )
    longer = play(
        SimulatorVectorEnv(TASK, 1, SimulatorConfig(action_repeat=2, max_steps=100), frames_after_success=4),
        ExpertActor(TASK),
        [3],
        60,
    )
    end = int(np.stack([s[2] for s in plain]).argmax())
    assert int(np.stack([s[2] for s in longer]).argmax()) == end + 4
    assert [bool(s[4]["stepped"][0]) for s in longer[: end + 7]] == [True] * (end + 5) + [False] * 2
    assert np.array_equal(longer[end][0][STATE], plain[end][0][STATE])


def test_returned_arrays_are_the_callers_own():
    env = SimulatorVectorEnv(TASK, 1, SimulatorConfig(action_repeat=1, max_steps=5))
    first, info = env.reset(seed=0)
    kept = first[STATE].copy()
    env.step(np.ones((1, 4), np.float32))
    assert np.array_equal(first[STATE], kept)
    first[STATE][:] = 99.0
    info["success"][:] = True
    observation, _, _, _, info = env.step(np.ones((1, 4), np.float32))
    assert observation[STATE].max() < 99
    assert not info["success"].any()


def test_wrong_use_is_refused():
    env = SimulatorVectorEnv(TASK, 2, SimulatorConfig(action_repeat=1, max_steps=5))
    with pytest.raises(InputError, match="call reset"):
        env.step(np.zeros((2, 4)))
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"\(2, 4\)"):
        env.step(np.zeros((2, 3)))
    with pytest.raises(InputError, match="environment 1 is not finite"):
        env.step(np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]))
    with pytest.raises(InputError, match="3 seeds for 2"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(InputError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([1, 0])})
    with pytest.raises(InputError, match="1000 control steps"):
        SimulatorVectorEnv(TASK, 1, SimulatorConfig(action_repeat=2, max_steps=500))
