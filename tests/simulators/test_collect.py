"""Recording episodes, here and in worker processes."""

import numpy as np
import pytest

from burnish.errors import InputError
from burnish.simulators.collect import CollectJob, collect, run_wave
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.metaworld import METAWORLD, STATE, MetaWorldEnv
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import SimulatorVectorEnv

TASK = "drawer-open-v3"
JOBS = [
    CollectJob("noisy_expert", ExpertActor, range(12), {"task": TASK, "noise": 0.2}),
    CollectJob("random", RandomActor, [40, 41]),
]
SETTINGS = SimulatorConfig(action_repeat=2, max_steps=12)


def same(one, other):
    return (
        np.array_equal(one.observation[STATE], other.observation[STATE])
        and np.array_equal(one.action, other.action)
        and np.array_equal(one.success, other.success)
        and np.array_equal(one.reward, other.reward)
        and np.array_equal(one.terminated, other.terminated)
        and (one.source, one.seed, one.task) == (other.source, other.seed, other.task)
    )


def test_episodes_do_not_depend_on_the_number_of_workers():
    here = collect(TASK, JOBS, SETTINGS, workers=0)
    reported = []
    before = simulator_use()
    two = collect(TASK, JOBS, SETTINGS, workers=2, progress=lambda *counts: reported.append(counts))
    use = simulator_use() - before
    assert [e.seed for e in here] == [*range(12), 40, 41]
    assert [e.source for e in here] == ["noisy_expert"] * 12 + ["random"] * 2
    assert len(here) == len(two)
    assert all(same(a, b) for a, b in zip(here, two, strict=True))
    assert (use.control_steps, use.resets) == (14 * 12 * 2, 14), "the workers' use is counted here"
    assert sorted(n for n, _ in reported)[-1] == 14
    assert {total for _, total in reported} == {14}
    assert len(JOBS[0].seeds) > METAWORLD.chunk_episodes, "or the chunks are not tested"


def test_an_episode_replays_from_its_seed_and_actions():
    episode = collect(TASK, [CollectJob("random", RandomActor, [3])], SETTINGS, workers=0)[0]
    env = MetaWorldEnv(TASK, 2)
    frames = [env.reset(3)[STATE]]
    frames += [env.step(action)[0][STATE] for action in episode.action[:-1]]
    assert np.array_equal(np.stack(frames), episode.observation[STATE])
    assert episode.reward[0] == 0 and len(set(episode.reward[1:])) > 5, (
        "Meta-World's own reward, from the second frame on"
    )
    assert len(episode) == 13, "the start and one frame for each of 12 steps"
    assert np.any(episode.action[-1] != 0), "the last frame has the action that would come next"


def test_frames_and_success_line_up():
    env = SimulatorVectorEnv(TASK, 2, SimulatorConfig(action_repeat=2, max_steps=100), frames_after_success=2)
    episodes = run_wave(env, ExpertActor(TASK), [3, 6], "expert")
    for episode in episodes:
        first = int(episode.success.argmax())
        assert not episode.success[:first].any()
        assert len(episode) == first + 3
        assert episode.terminated.tolist() == [False] * (first + 2) + [True]
        # drawer-open: success is the handle within 3 cm of the goal.
        state = episode.observation[STATE]
        distance = np.linalg.norm(state[:, 4:7] - state[:, 18:], axis=1)
        assert np.array_equal(episode.success, distance <= 0.03)


def test_the_last_action_is_what_the_expert_would_do_there():
    env = SimulatorVectorEnv(TASK, 1, SimulatorConfig(action_repeat=2, max_steps=5))
    actor = ExpertActor(TASK)
    episode = run_wave(env, actor, [3], "expert")[0]
    assert np.array_equal(episode.action[-1], actor.act({})[0])
    assert not np.array_equal(episode.action[-1], episode.action[-2])


def test_recorded_actions_are_the_executed_ones():
    class Wild:
        def begin(self, env, seeds):
            pass

        def act(self, observation):
            return np.full((1, 4), 5.0)

    env = SimulatorVectorEnv(TASK, 1, SimulatorConfig(action_repeat=1, max_steps=3))
    assert np.array_equal(run_wave(env, Wild(), [0], "policy")[0].action, np.ones((4, 4), np.float32))


def test_bad_jobs_are_refused_before_anything_starts():
    before = simulator_use()
    with pytest.raises(InputError, match="repeat"):
        collect(TASK, [CollectJob("random", RandomActor, [1, 1])])
    with pytest.raises(InputError, match="did you mean"):
        collect("drawer-opn-v3", JOBS)
    with pytest.raises(InputError, match="control steps"):
        collect(TASK, JOBS, SimulatorConfig(action_repeat=3, max_steps=500))
    assert simulator_use() == before
