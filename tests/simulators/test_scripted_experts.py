"""Scripted experts, their noise, and random motion."""

import numpy as np
import pytest

from burnish.errors import InputError
from burnish.simulators.collect import run_wave
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.metaworld import STATE
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import SimulatorVectorEnv


class Constant:
    """Stands for a script: the same action at every frame."""

    def act(self, env):
        return np.zeros(4)


class Blank:
    """Stands for K environments."""

    action_dim = 4

    def __init__(self, count):
        self.envs = [None] * count


def noise_of(actor, seeds, frames):
    """The noise alone (frames, K, 4), around an expert that does nothing."""
    actor._make = lambda task, seed, noise: Constant()
    actor.begin(Blank(len(seeds)), seeds)
    return np.stack([actor.act({}) for _ in range(frames)])


@pytest.mark.parametrize("task", ["drawer-open-v3", "coffee-pull-v3", "push-v3"])
def test_the_clean_expert_succeeds(task):
    env = SimulatorVectorEnv(task, 3, SimulatorConfig(action_repeat=2, max_steps=100))
    episodes = run_wave(env, ExpertActor(task), [0, 1, 2], "expert")
    assert [bool(e.success[-1]) for e in episodes] == [True] * 3


def test_noise_has_the_stated_deviation_and_correlation():
    noise = noise_of(ExpertActor("push-v3", noise=0.2, correlation=0.8), range(400), 40)
    # Standard errors with 400 × 4 independent sequences: about 0.004 and 0.01.
    assert noise[0].std() == pytest.approx(0.2, abs=0.015)
    assert noise[-1].std() == pytest.approx(0.2, abs=0.015)
    assert np.corrcoef(noise[20].ravel(), noise[21].ravel())[0, 1] == pytest.approx(0.8, abs=0.04)
    assert np.corrcoef(noise[20].ravel(), noise[23].ravel())[0, 1] == pytest.approx(0.8**3, abs=0.08)
    assert abs(np.corrcoef(noise[20, :, 0], noise[20, :, 1])[0, 1]) < 0.2, "dimensions are independent"


def test_noise_without_correlation_is_white():
    noise = noise_of(ExpertActor("push-v3", noise=0.2, correlation=0.0), range(400), 3)
    assert abs(np.corrcoef(noise[1].ravel(), noise[2].ravel())[0, 1]) < 0.1


def test_noise_belongs_to_the_episode_and_not_to_its_neighbours():
    together = noise_of(ExpertActor("push-v3", noise=0.3), [5, 6, 7], 10)
    alone = noise_of(ExpertActor("push-v3", noise=0.3), [6], 10)
    assert np.array_equal(together[:, 1], alone[:, 0])
    assert not np.array_equal(together[:, 0], together[:, 1])


def test_noise_is_around_the_clipped_expert_and_stays_in_range():
    class Strong(Constant):
        def act(self, env):
            return np.array([30.0, -30.0, 0.0, 1.0])

    actor = ExpertActor("push-v3", noise=0.3)
    actor._make = lambda task, seed, noise: Strong()
    actor.begin(Blank(200), range(200))
    actions = actor.act({})
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1
    # About half of the noise pulls a saturated action back into the range.
    assert 0.3 < (actions[:, 0] < 1).mean() < 0.7


def test_noisy_experts_wander_and_yet_the_wave_is_reproducible():
    def wave(noise):
        env = SimulatorVectorEnv("drawer-open-v3", 2, SimulatorConfig(action_repeat=2, max_steps=20))
        return run_wave(env, ExpertActor("drawer-open-v3", noise=noise), [0, 1], "noisy_expert")

    noisy, again, clean = wave(0.5), wave(0.5), wave(0.0)
    assert np.array_equal(noisy[0].action, again[0].action)
    assert np.array_equal(noisy[1].observation[STATE], again[1].observation[STATE])
    assert np.abs(noisy[0].observation[STATE][-1, :3] - clean[0].observation[STATE][-1, :3]).max() > 0.01


def test_random_actions_are_uniform():
    actor = RandomActor()
    actor.begin(Blank(500), range(500))
    actions = np.stack([actor.act({}) for _ in range(2)])
    # Uniform on [-1, 1]: mean 0 and deviation 1/sqrt(3).
    assert actions.mean() == pytest.approx(0, abs=0.03)
    assert actions.std() == pytest.approx(3**-0.5, abs=0.02)
    assert np.abs(actions).max() <= 1


def test_random_actions_are_new_at_every_frame():
    actor = RandomActor()
    actor.begin(Blank(2), [0, 1])
    assert not np.array_equal(actor.act({}), actor.act({}))


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="noise"):
        ExpertActor("push-v3", noise=-0.1)
    with pytest.raises(InputError, match="correlation"):
        ExpertActor("push-v3", noise=0.1, correlation=1.0)
    with pytest.raises(InputError, match="push-v3"):
        ExpertActor("push-v2")
