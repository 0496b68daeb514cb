"""Demonstrations are tried for as long as it takes, and are those of all tries."""

import numpy as np
import pytest

from burnish.errors import RunError
from burnish.pipeline import StageContext
from burnish.recipes.recording import Recorder
from burnish.simulators.collect import CollectJob
from burnish.simulators.counter import simulator_use
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig

STEPS = 8


class Sometimes:
    """Pushes the point to the origin with one seed of `every`, else not at all."""

    def __init__(self, every):
        self.every = every

    def begin(self, env, seeds):
        self.helps = ((np.array(seeds) + 1) % self.every == 0)[:, None]

    def act(self, observation):
        return np.where(self.helps, -5 * observation["observation.state"][:, :2], 0)


class Expert(Recorder):
    """The suite of Gymnasium's environments has no expert."""

    every = 3

    def expert(self, count, noise):
        return [CollectJob("expert", Sometimes, self._seeds(0, count), {"every": self.every})]


@pytest.fixture
def recorder():
    return Expert("tests.recipes.toy_env:make", 0, SimulatorConfig(max_steps=STEPS), WorkerPool(0))


def seeds(episodes):
    return [episode.seed for episode in episodes]


@pytest.mark.parametrize(("count", "tried"), [(2, 10), (6, 20), (9, 30)], ids=["one-round", "two", "three"])
def test_no_more_tries_than_it_takes(count, tried, recorder, tmp_path):
    context = StageContext("stage", tmp_path / "stage", {}, "identity")
    everything = recorder.record(recorder.expert(4 * count + 10, 0), 0, context)
    expected = [episode.seed for episode in everything if episode.succeeded][:count]
    before = simulator_use()
    found = recorder.record_demonstrations(count, 0.0, recorder.random_motion(3), 0, context)
    used = simulator_use() - before
    assert seeds(found[:count]) == expected and all(episode.succeeded for episode in found[:count])
    assert [episode.source for episode in found[count:]] == ["random"] * 3
    assert used.resets == tried + 3 and context.outputs["simulator_steps"] == used.control_steps


def test_an_expert_that_fails_too_often(recorder, tmp_path):
    context = StageContext("stage", tmp_path / "stage", {}, "identity")
    recorder.every, before = 10**9, simulator_use()
    with pytest.raises(RunError, match="succeeded in 0 of 18 episodes, 2 demonstrations are needed"):
        recorder.record_demonstrations(2, 0.0, recorder.random_motion(3), 0, context)
    assert (simulator_use() - before).resets == 18  # of the others nothing was played
