"""Episodes played by a cluster's workers: the same bits however they are divided, and none is played twice."""

import numpy as np
import pytest

from burnish.errors import RunError
from burnish.pipeline import ExecutorConfig, StageContext
from burnish.pipeline.executors import LocalExecutor
from burnish.pipeline.on_ray import RayExecutor
from burnish.pipeline.spread import Spread
from burnish.pipeline.worker import Asked
from burnish.recipes.stages.shards import SpreadPool, pool_in
from burnish.simulators.collect import Chunk, CollectJob, collect
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from tests.recipes.toy_actors import DiesOnce

TASK = "tests.recipes.toy_env:make"
JOBS = [CollectJob("random", RandomActor, range(34)), CollectJob("other", RandomActor, [40, 41])]  # five chunks
SETTINGS = SimulatorConfig(max_steps=8)


class Counting(LocalExecutor):
    """Two workers, and how much they were asked to do."""

    def __init__(self):
        super().__init__(2)
        self.shares = []

    def submit(self, function, calls):
        self.shares += [len(pieces) for _, pieces, *_ in calls]
        return super().submit(function, calls)


@pytest.fixture
def executor():
    opened = Counting()
    yield opened
    opened.close()


def spread(executor, folder, shares):
    folder.mkdir(exist_ok=True)
    return Spread(executor, Asked.by_this_process(ExecutorConfig(jobs=shares)), folder, folder / "stage")


def everything(episode):
    arrays = {name: getattr(episode, name) for name in ("action", "success", "reward", "terminated")}
    return {**episode.observation, **arrays}, (episode.source, episode.seed, episode.task)


def assert_same(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        (arrays, said), (expected, meant) = everything(one), everything(other)
        assert said == meant and arrays.keys() == expected.keys()
        for name, values in expected.items():
            assert arrays[name].dtype == values.dtype and np.array_equal(arrays[name], values), name


def test_any_number_of_shards_has_the_same_bits(tmp_path, executor):
    expected = collect(TASK, JOBS, SETTINGS, workers=0)
    for shares, sizes in ((1, [5]), (2, [2, 3]), (3, [1, 2, 2])):
        before, seen = simulator_use(), []
        pool = SpreadPool(spread(executor, tmp_path / str(shares), shares))
        found = collect(TASK, JOBS, SETTINGS, workers=pool, progress=lambda *counts, to=seen: to.append(counts))
        assert_same(found, expected)
        assert executor.shares == sizes
        executor.shares.clear()
        use = simulator_use() - before
        assert (use.control_steps, use.resets) == (36 * 8, 36), "the workers' use is counted here"
        assert seen[-1] == (36, 36)


def test_what_was_played_is_not_played_again(tmp_path, executor):
    work = spread(executor, tmp_path / "run", 2)
    first = collect(TASK, JOBS, SETTINGS, workers=SpreadPool(work))
    sorted(work.folder.iterdir())[0].unlink()
    executor.shares.clear()
    assert_same(collect(TASK, JOBS, SETTINGS, workers=SpreadPool(work)), first)
    assert executor.shares == [1]
    work.clear()
    assert not work.folder.exists()


class Dies:
    """Ends its process."""

    def begin(self, env, seeds):
        import os

        os._exit(1)


def test_a_lost_worker_costs_what_it_had_not_finished(tmp_path, executor):
    work = spread(executor, tmp_path / "run", 1)
    with pytest.raises(RunError, match="run the same command again to resume"):
        collect(TASK, [JOBS[1], CollectJob("dies", Dies, [1])], SETTINGS, workers=SpreadPool(work))
    assert len(list(work.folder.glob("*.safetensors"))) == 1


@pytest.mark.slow
def test_nodes_of_ray_play_the_same_bits(tmp_path, cluster):
    """However the seeds are divided among its nodes, and where a worker is killed in between."""
    cluster.add_node(num_cpus=1)
    expected = collect(TASK, JOBS, SETTINGS, workers=0)
    for shares in (1, 3):
        executor = RayExecutor(ExecutorConfig("ray", shares))
        try:
            pool = SpreadPool(spread(executor, tmp_path / str(shares), shares))
            assert_same(collect(TASK, JOBS, SETTINGS, workers=pool), expected)
        finally:
            executor.close()
    executor, marker = RayExecutor(ExecutorConfig("ray", 2)), tmp_path / "died"
    fragile = CollectJob("other", DiesOnce, [40, 41], {"marker": marker})
    try:
        found = collect(
            TASK, [JOBS[0], fragile], SETTINGS, workers=SpreadPool(spread(executor, tmp_path / "killed", 2))
        )
    finally:
        executor.close()
    assert marker.exists()
    assert_same(found, expected)


def test_a_digest_tells_policies_in_one_place_apart(tmp_path):
    def digest(**more):
        settings = {"task": TASK, "settings": SETTINGS, "frames_after_success": 0, "seeds": (1, 2), "modules": ()}
        job = CollectJob("policy", RandomActor, (), {"folder": tmp_path, "models": [tmp_path / "world"]})
        return Chunk(**{**settings, "job": job, **more}).digest()

    (tmp_path / "world").mkdir()
    (tmp_path / "weights").write_bytes(b"one")
    first = digest()
    assert digest() == first and digest(seeds=(1, 3)) != first
    (tmp_path / "weights").write_bytes(b"two")
    second = digest()
    (tmp_path / "world" / "weights").write_bytes(b"three")
    assert len({first, second, digest()}) == 3


def test_without_a_cluster_episodes_are_played_as_before(tmp_path):
    context = StageContext("stage", tmp_path / "stage", {}, "identity")
    usual = WorkerPool(0)
    assert pool_in(context, usual) is usual
