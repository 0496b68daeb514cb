"""Data with rewards and no success, and the environment that they come from as the judge: learned, gated, measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from burnish.cli import main
from burnish.components import load
from burnish.data import DatasetInfo, read_dataset, write_dataset
from burnish.rewards import RewardHead
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.noise import CorrelatedNoise

TASK = "toy_env:make_dense"
NAMES = tuple(f"state.{index}" for index in range(4))
_SMALL = """
    --preset tiny --threads 1 --config.pretraining.steps 200 --config.pretraining.batch-size 64
    --config.world-model.width 64 --config.world-model-training.steps 300 --config.world-model-training.batch-size 64
    --config.ensemble.members 2 --config.ensemble-training.steps 60 --config.ensemble-training.batch-size 64
    --config.classifier-training.steps 300 --config.classifier-training.batch-size 64
    --config.imagination.num-envs 32 --config.imagination.horizon 20 --config.refine.iterations 6
    --config.refine.imagined-episodes 32 --config.refine.evaluate-every 3 --config.ppo.critic-warmup 2
    --config.refine.margin=-1 --config.evaluation.episodes 10 --config.evaluation.curve-points 1
    --config.evaluation.curve-episodes 2 --config.evaluation.videos 0
"""
SMALL = _SMALL.split()


class Pull:
    """Pulls to the origin more or less, with noise."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def begin(self, env, seeds) -> None:
        self.noise = CorrelatedNoise(0.4, 0.5, 2, seeds)

    def act(self, observation) -> np.ndarray:
        return (-self.strength * observation["observation.state"][:, :2] + self.noise.next()).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense") / "data"
    jobs = [CollectJob(f"pull_{k}", Pull, range(100 * k, 100 * k + 8), {"strength": k / 3}) for k in range(3)]
    info = DatasetInfo(fps=30, simulator="gym", max_steps=20, state_names=NAMES)
    write_dataset(folder, collect(TASK, jobs, workers=0), info)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dense") / "run"
    assert main(["run", "world4rl", "--dataset", str(data), "--task", TASK, "--out", str(out), *SMALL]) == 0
    return out


def test_a_reward_is_learned_from_the_data(run):
    assert isinstance(load(run / "classifier"), RewardHead)
    found = json.loads((run / "classifier/reward.json").read_text())
    assert found["r2"] > 0.5 and found["terminations"] == 0


def test_refinement_and_gate_go_by_the_return(data, run):
    refined = json.loads((run / "refined/stage.json").read_text())["outputs"]
    assert list(refined["imagined"]) == ["return"] and refined["score_pretrained"] < 0
    assert refined["simulator_steps"] == 0
    gate = json.loads((run / "accepted/gate.json").read_text())
    assert gate["measure"] == "return" and gate["back_test"]["episodes"] == 24
    assert gate["back_test"]["real"] == pytest.approx(float(read_dataset(data).episode_return.mean()), abs=1e-3)


def test_true_returns_are_measured_start_by_start(run):
    report = json.loads((run / "report.json").read_text())
    before, after = (report["return"][name] for name in ("pretrained", "refined"))
    assert report["success"] is None and report["imagined_success"] is None and report["gate"]["measure"] == "return"
    assert before["episodes"] == 10 and before["mean"] < 0
    assert report["return_difference"]["difference"] == pytest.approx(after["mean"] - before["mean"])
    assert before["ci95"][0] < before["mean"] < before["ci95"][1]
    page = (run / "report.html").read_text()
    assert "Learned reward" in page and "points of real success" not in page


def test_a_written_reward_needs_no_recorded_one(data, tmp_path, capsys):
    settings = ["--config.reward.kind", "function", "--config.reward.function", "toy_env:closer"]
    command = ["run", "world4rl", "--dataset", str(data), "--task", TASK, "--out", str(tmp_path / "run")]
    assert main([*command, *SMALL, *settings, "--config.gate.worlds", "0"]) == 0
    found = json.loads((tmp_path / "run/evaluation/outcomes.json").read_text())["policies"]["refined"]
    # The way toward the origin cannot sum up to more than the distance that there was: 0.7 to 1.5.
    assert found["success"] == [] and len(found["returns"]) == 10
    assert all(-2 < value < 1.5 for value in found["returns"])


def test_without_an_expert_and_without_data_there_is_nothing_to_learn_from(tmp_path, capsys):
    assert main(["run", "world4rl", "--task", TASK, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "no scripted expert" in told and "--dataset" in told
    assert not (tmp_path / "run").exists()
