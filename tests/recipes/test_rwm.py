"""RWM-O on a point with dense rewards: learned, refined under a penalty, gated, measured; killed and resumed."""

import json
import re
from pathlib import Path

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import read_dataset
from burnish.imagination import ImaginationConfig, ImaginedEnv, StartConfig
from burnish.policies import Agent
from burnish.recipes.base import Models
from burnish.recipes.presets.rwm import RECIPE
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import start_states
from burnish.training import TrainingConfig, fit
from burnish.world_models import Forecasts, GRUEnsemble
from tests.recipes.small_data import write_commanded_data, write_rewarded_data
from tests.recipes.small_runs import DENSE_TASK, own_data_command


def command(data: Path, out: Path, *more: str) -> list[str]:
    return own_data_command(data, out, *more, name="rwm")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rewarded_data(tmp_path_factory.mktemp("rwm") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("rwm") / "run"
    assert main(command(data, out)) == 0
    return out


def test_it_is_refined_gated_and_measured_by_returns(run):
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "rwm" and report["simulator_steps"]["refinement"] == 0
    assert {name: report["return"][name]["episodes"] for name in ("pretrained", "refined")} == {
        "pretrained": 6,
        "refined": 6,
    }
    assert report["gate"]["measure"] == "return" and report["gate"]["reasons"]
    world, policy = load(run / "world_model", GRUEnsemble), load(run / "refined", Agent)
    assert world.threshold.isfinite() and world.end_threshold <= 1
    assert torch.equal(policy.observer.normaliser.mean, world.normaliser.mean)
    stage = json.loads((run / "world_model/stage.json").read_text())["outputs"]
    assert stage["termination"]["positives"] > 0 and stage["threshold"]["transitions"] > 0


def test_its_world_is_its_own_uncertainty(run, data):
    """One pass tells the next state and the spread; every episode follows one member, and the penalty is λ spreads."""
    dataset = read_dataset(data)
    world, head = load(run / "world_model"), load(run / "classifier")
    rules = {}
    for weight in (0.0, 2.0):
        config = RECIPE.preset("tiny").imagination
        config = ImaginationConfig(
            num_envs=8, pessimism=type(config.pessimism)("penalty", weight), member_share=1.0, starts=StartConfig()
        )
        models = imagined(Models(world, head), config.pessimism, dataset)
        assert models.pessimism.uncertainties == (world,)
        env = ImaginedEnv(models, start_states(config.starts, dataset, world), 2, config, 0)
        env.reset(seed=0)
        state, member = env._state, env._model
        action = torch.full((8, 2), 0.5)
        _, reward, terminated, _, info = env.step(action)
        spread, believed = world.predict_member(state, action, member)
        torch.testing.assert_close(info["final_obs"], world.features(believed))
        torch.testing.assert_close(info["disagreement"], spread / world.threshold)
        assert (member >= 0).all() and torch.equal(terminated, world.ended(believed))
        rules[weight] = reward, info["disagreement"].clamp(0, 10)
    torch.testing.assert_close(rules[0.0][0] - rules[2.0][0], 2 * rules[2.0][1])


def test_two_steps_killed_and_resumed_are_two_steps(data, tmp_path):
    """The ensemble's training goes on from its checkpoint to the same bits."""
    dataset, config = read_dataset(data), RECIPE.preset("tiny").world_model

    def train(folder: Path, steps: int, stop: bool = False) -> GRUEnsemble:
        torch.manual_seed(0)
        world = GRUEnsemble(dataset.observation_dim, dataset.action_dim, config).fit(dataset)
        training = TrainingConfig(steps=steps, batch_size=8, ema_decay=None, checkpoint_seconds=0.0, log_every=1)

        def stopping(step, metrics):
            if stop and step == 2:
                raise KeyboardInterrupt

        try:
            fit(world, Forecasts(dataset, config, 0), training, folder, 0, on_step=stopping)
        except KeyboardInterrupt:
            assert stop
        return world

    whole = train(tmp_path / "whole", 2)
    train(tmp_path / "parts", 2, stop=True)
    again = train(tmp_path / "parts", 2)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_commands_are_held_and_drawn_anew_in_a_whole_run(tmp_path):
    """The policy reads a velocity that is asked for; imagination asks for others, the world does not predict them."""
    data, out = write_commanded_data(tmp_path / "data"), tmp_path / "run"
    asked = ["--config.world-model.commands", "command", "--config.imagination.disturbances.command-steps", "4", "8"]
    pushed = ["--config.imagination.disturbances.pushed", "velocity", "--config.imagination.disturbances.push", "0.2"]
    task = "tests.recipes.toy_env:make_commanded"
    arguments = command(data, out, *asked, *pushed)
    arguments[arguments.index("--task") + 1] = task
    assert main(arguments) == 0
    world = load(out / "world_model", GRUEnsemble)
    assert world.commands.tolist() == [True, False] and world.config.commands == ("command",)
    report = json.loads((out / "report.json").read_text())
    assert report["return"]["refined"]["episodes"] == 6 and report["gate"]["reasons"]


@pytest.mark.parametrize(
    "made, more, told",
    [
        ({"constant": True}, [], r"no reward that varies"),
        (
            {},
            ["--config.world-model.commands", "goal"],
            r"world_model.commands: no state dimension.*'goal'",
        ),
        ({}, ["--config.imagination.disturbances.pushed", "goal"], r"disturbances.pushed: no state dimension.*'goal'"),
        ({"length": 4}, ["--config.world-model.forecast", "8"], r"world_model.forecast: found 8 steps.*than 4 frames"),
    ],
    ids=["constant-reward", "no-such-command", "nothing-to-push", "long-forecast"],
)
def test_data_that_teach_nothing_are_refused_before_training(made, more, told, tmp_path, capsys):
    data = write_rewarded_data(tmp_path / "data", **made)
    assert main(command(data, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))


def test_other_recipes_push_nothing(data, tmp_path, capsys):
    pushed = ["--config.imagination.disturbances.pushed", "state.0"]
    assert main(own_data_command(data, tmp_path / "run", *pushed, name="adept")) == 2
    assert "this recipe's imagined states cannot be pushed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_rewards_or_data_there_is_one_sentence(tmp_path, capsys):
    data = write_rewarded_data(tmp_path / "data", reward=False)
    assert main(command(data, tmp_path / "run")) == 2
    assert "reward" in capsys.readouterr().err
    assert main(["run", "rwm", "--task", DENSE_TASK, "--out", str(tmp_path / "other")]) == 2
    assert "--dataset" in capsys.readouterr().err
