"""PolyGRAD on a point with dense rewards: learned, refined on generated trajectories, gated, measured; bad input."""

import json
import re
from pathlib import Path

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import read_dataset
from burnish.imagination import GuidedConfig, ImaginedEnv
from burnish.imagination.guidance import BAND
from burnish.policies import Agent
from burnish.recipes.base import Models
from burnish.recipes.presets.polygrad import RECIPE
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import experience_of, start_states
from burnish.rl import A2C, A2CConfig, GeneratedExperience
from burnish.training import TrainingConfig, fit
from burnish.world_models import TrajectoryConfig, TrajectoryDenoiser, TrajectoryWindows
from tests.recipes.small_data import write_rewarded_data
from tests.recipes.small_runs import DENSE_TASK, own_data_command


def command(data: Path, out: Path, *more: str) -> list[str]:
    return own_data_command(data, out, *more, name="polygrad")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rewarded_data(tmp_path_factory.mktemp("polygrad") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("polygrad") / "run"
    assert main(command(data, out)) == 0
    return out


def test_it_is_refined_gated_and_measured_by_returns(run):
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "polygrad" and report["simulator_steps"]["refinement"] == 0
    assert {report["return"][name]["episodes"] for name in ("pretrained", "refined")} == {6}
    assert report["gate"]["measure"] == "return" and report["gate"]["reasons"]
    world, policy = load(run / "world_model", TrajectoryDenoiser), load(run / "refined", Agent)
    assert bool(world.ends) and torch.equal(policy.observer.normaliser.mean, world.normaliser.mean)
    rows = [json.loads(line) for line in (run / "refined/metrics.jsonl").read_text().splitlines()]
    learned = [row for row in rows if "change" in row]
    assert len(learned) == 3 and all(row["change"] <= 0.013 for row in learned)
    before = load(run / "policy", Agent).policy.state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in policy.policy.state_dict().items())


def test_what_it_learns_from_is_the_policy_s_own(run, data):
    """Of the tiny run's models, with the policy that was refined: actions standardised to a deviation of about one."""
    dataset, world = read_dataset(data), load(run / "world_model")
    rules = RECIPE.preset("tiny").imagination
    assert isinstance(rules, GuidedConfig)
    models = imagined(Models(world, load(run / "reward")), rules.pessimism, dataset)
    starts, agent = start_states(rules.starts, dataset, world), load(run / "policy", Agent)
    env = ImaginedEnv(models, starts, dataset.action_dim, rules, 0)
    experience = experience_of(A2C(agent.policy, env.feature_dim, A2CConfig()), agent, env, starts, 0)
    assert isinstance(experience, GeneratedExperience) and BAND[0] <= experience.deviation <= BAND[1]
    rollout = experience.rollout(agent.policy, 5, torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, std = agent.policy.distribution(rollout.features.flatten(0, 1))
    assert BAND[0] - 0.1 <= float(((rollout.trace.flatten(0, 1) - mean) / std).std()) <= BAND[1] + 0.1


def test_two_steps_killed_and_resumed_are_two_steps(data, tmp_path):
    """The denoiser's training goes on from its checkpoint to the same bits."""
    dataset, config = read_dataset(data), TrajectoryConfig(horizon=4, width=16, depth=2)

    def train(folder: Path, stop: bool = False) -> TrajectoryDenoiser:
        torch.manual_seed(0)
        world = TrajectoryDenoiser(dataset.observation_dim, dataset.action_dim, config).fit(dataset)
        training = TrainingConfig(steps=2, batch_size=8, checkpoint_seconds=0.0, log_every=1)

        def stopping(step, metrics):
            if stop and step == 2:
                raise KeyboardInterrupt

        try:
            fit(world, TrajectoryWindows(dataset, config), training, folder, 0, on_step=stopping)
        except KeyboardInterrupt:
            assert stop
        return world

    whole = train(tmp_path / "whole")
    train(tmp_path / "parts", stop=True)
    again = train(tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_refinement_that_was_stopped_goes_on_to_the_same_bits(run, data, tmp_path, monkeypatch):
    """Interrupted within refinement, the same command ends with the refined policy of the run that was not."""
    learn, seen = A2C.update, []

    def stopping(self, experience, generator):
        seen.append(0)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return learn(self, experience, generator)

    more = ("--config.refine.checkpoint-seconds", "0")
    with monkeypatch.context() as patch:
        patch.setattr(A2C, "update", stopping)
        assert main(command(data, tmp_path / "run", *more)) != 0
    assert main(command(data, tmp_path / "run", *more)) == 0
    one, two = (load(folder / "refined", Agent).policy.state_dict() for folder in (run, tmp_path / "run"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("made", "more", "told"),
    [
        ({"reward": False}, [], r"no column 'next\.reward'"),
        ({"constant": True}, [], r"no reward that varies|same everywhere"),
        ({"length": 4}, ["--config.world-model.horizon", "8"], r"world_model\.horizon: found 8 steps.*than 4 frames"),
        ({}, ["--config.reward.kind", "auto"], r"expected config\.reward\.kind 'learned'"),
        ({}, ["--config.policy.chunk", "2"], r"policy\.chunk: found 2, expected 1"),
        ({}, ["--config.a2c.rollout-steps", "9"], r"a2c\.rollout_steps: found 9, expected at most world_model"),
        ({}, ["--config.imagination.guidance.scale", "5"], r"guidance\.scale.*5"),
    ],
    ids=["no-reward", "constant-reward", "long-windows", "success", "chunk", "rollout", "guidance"],
)
def test_what_cannot_be_learned_is_refused_before_training(made, more, told, tmp_path, capsys):
    data = write_rewarded_data(tmp_path / "data", **made)
    assert main(command(data, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))


def test_without_data_there_is_one_sentence(tmp_path, capsys):
    assert main(["run", "polygrad", "--task", DENSE_TASK, "--out", str(tmp_path / "other")]) == 2
    assert "--dataset" in capsys.readouterr().err
