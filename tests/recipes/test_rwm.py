"""RWM-O on a point with dense rewards: learned, refined under a penalty, gated, measured; killed and resumed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import STATE, DatasetInfo, Episode, read_dataset, write_dataset
from burnish.imagination import ImaginationConfig, ImaginedEnv, StartConfig
from burnish.policies import Agent
from burnish.recipes.base import Models
from burnish.recipes.rwm import RECIPE
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import start_states
from burnish.training import TrainingConfig, fit
from burnish.world_models import Forecasts, GRUEnsemble

TASK = "toy_env:make_dense"
_SMALL = """
    --preset tiny --threads 1 --config.world-model-training.steps 60 --config.pretraining.steps 60
    --config.classifier-training.steps 60 --config.refine.iterations 4 --config.refine.evaluate-every 2
    --config.ppo.critic-warmup 1 --config.refine.margin=-1 --config.evaluation.episodes 6
    --config.evaluation.curve-points 0 --config.gate.episodes 8
"""


def written(folder: Path, episodes: int = 16, length: int = 16, constant: bool = False, reward: bool = True) -> Path:
    """A point that is pulled to the origin more or less; an episode ends by itself where it leaves the square."""
    generator, made = np.random.default_rng(0), []
    for index in range(episodes):
        position, states, actions = generator.uniform(-1, 1, 2), [], []
        for _ in range(length):
            action = np.clip((index % 3 - 1) * 0.5 * position + generator.normal(0, 0.4, 2), -1, 1)
            states.append(np.append(position, actions[-1] if actions else [0, 0]))
            actions.append(action)
            if np.abs(position).max() > 1.5 and not constant:
                break
            position = position + 0.2 * action
        state = np.array(states, np.float32)
        ended = (np.abs(state[:, :2]).max(1) > 1.5) & (not constant)
        earned = np.append(0, np.ones(len(state) - 1) if constant else -np.linalg.norm(state[1:, :2], axis=1))
        rewards = {"reward": earned.astype(np.float32), "terminated": ended} if reward else {}
        never = np.zeros(len(state), bool)
        made.append(Episode({STATE: state}, np.array(actions, np.float32), never, "play", index, "center", **rewards))
    names = tuple(f"state.{index}" for index in range(4))
    write_dataset(folder, made, DatasetInfo(fps=30, simulator="gym", max_steps=16, state_names=names))
    return folder


def command(data: Path, out: Path, *more: str) -> list[str]:
    return ["run", "rwm", "--dataset", str(data), "--task", TASK, "--out", str(out), *_SMALL.split(), *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return written(tmp_path_factory.mktemp("rwm") / "data")


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


@pytest.mark.parametrize(
    "made, more, told",
    [
        ({"constant": True}, [], r"no reward that varies"),
        ({"length": 4}, ["--config.world-model.forecast", "8"], r"world_model.forecast: found 8 steps.*than 4 frames"),
    ],
    ids=["constant-reward", "long-forecast"],
)
def test_data_that_teach_nothing_are_refused_before_training(made, more, told, tmp_path, capsys):
    data = written(tmp_path / "data", **made)
    assert main(command(data, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))


def test_without_rewards_or_data_there_is_one_sentence(tmp_path, capsys):
    data = written(tmp_path / "data", reward=False)
    assert main(command(data, tmp_path / "run")) == 2
    assert "reward" in capsys.readouterr().err
    assert main(["run", "rwm", "--task", TASK, "--out", str(tmp_path / "other")]) == 2
    assert "--dataset" in capsys.readouterr().err
