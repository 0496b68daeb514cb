"""DAWM on a point with dense rewards: synthesised, learned, gated, measured; the other learner; killed and resumed."""

import json
import re
import shutil
import signal

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import read_dataset
from burnish.policies import Agent, GaussianPolicy, TanhPolicy
from burnish.recipes.stages.offline import advantage_unit
from burnish.recipes.stages.synthesis import TRANSITIONS_FILE, as_transitions
from burnish.rl import TransitionBatch
from burnish.storage import load_tensors
from burnish.world_models import InverseDynamics, InverseDynamicsConfig, ReturnDiffusion, Trajectory
from tests.recipes.small_data import write_rewarded_data
from tests.recipes.small_runs import (
    DAWM,
    DENSE_TASK,
    finish,
    flags,
    own_data_command,
    redone,
    stage_files,
    start,
    wait_for,
    weights,
)


def command(data, out, *more):
    return own_data_command(data, out, *more, name="dawm")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rewarded_data(tmp_path_factory.mktemp("dawm") / "data", episodes=40)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("dawm") / "run"
    assert main(command(data, out)) == 0
    return out


def outputs(run, name):
    return json.loads((run / name / "stage.json").read_text())["outputs"]


def test_a_policy_is_learned_gated_and_measured_by_returns(run):
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "dawm" and report["simulator_steps"]["refinement"] == 0
    assert report["return"]["refined"]["episodes"] == 6 and report["chosen_iteration"] == 300
    assert report["gate"]["measure"] == "return" and report["gate"]["reasons"]
    assert report["return"]["refined"]["mean"] > report["return"]["pretrained"]["mean"], "it gets nearer than the clone"
    agent = load(run / "refined", Agent)
    assert isinstance(agent.policy, TanhPolicy)
    world = load(run / "world_model", ReturnDiffusion)
    assert torch.equal(agent.observer.normaliser.mean, world.normaliser.mean)


def test_what_inverse_dynamics_explain_is_told(run):
    found = outputs(run, "inverse_dynamics")["held_out"]
    assert found["r2"] > 0.85 and len(found["r2_each"]) == 2 and found["transitions"] > 0
    page = (run / "report.html").read_text()
    assert f"R² = {found['r2']:.3f}" in page and "Synthetic transitions" in page


def test_synthetic_transitions_are_like_the_real_ones(run, data):
    """The point moves by a fifth of its action and earns minus its distance, in what was made as well."""
    tensors, _ = load_tensors(run / "synthetic" / TRANSITIONS_FILE)
    made, noted = TransitionBatch(**tensors), outputs(run, "synthetic")["synthetic"]
    assert noted["transitions"] == len(made.reward) and 256 < len(made.reward) <= 256 * 4
    assert noted["terminal"] == int(made.terminal.sum()) and made.action.abs().max() <= 1
    moved = made.next_features[:, :2] - made.features[:, :2]
    assert (moved - 0.2 * made.action).square().mean() < 0.3 * moved.square().mean()
    # Where no episode has ended; the few ends of these data are more than so short a training learns.
    inside = made.next_features[:, :2].abs().amax(1) < 1.5
    off = (made.reward + made.next_features[:, :2].norm(dim=1))[inside]
    assert off.square().mean() < 0.6 * read_dataset(data).reward.var()
    assert noted["return_met"] == pytest.approx(noted["return_asked"], abs=0.5)


def test_transitions_end_with_their_trajectory():
    """Three steps of which the second is the last of the first row; the given action stays, the others are told."""
    observation = torch.arange(8.0).view(2, 4, 1)
    ended = torch.tensor([[False, True, True], [False, False, False]])
    made = Trajectory(observation, torch.tensor([[1.0, 2, 3], [4, 5, 6]]), ended)
    inverse = InverseDynamics(1, 1, InverseDynamicsConfig((4,)))
    with torch.no_grad():
        found = as_transitions(made, torch.tensor([[0.25], [-0.5]]), inverse)
    assert found.features[:, 0].tolist() == [0, 1, 4, 5, 6] and found.next_features[:, 0].tolist() == [1, 2, 5, 6, 7]
    assert found.reward.tolist() == [1, 2, 4, 5, 6] and found.terminal.tolist() == [False, True, False, False, False]
    told = inverse(torch.tensor([[1.0]]), torch.tensor([[2.0]])).item()
    assert found.action[0].item() == 0.25 and found.action[2].item() == -0.5
    assert found.action[1].item() == pytest.approx(told)


def test_another_learner_uses_what_is_there(run, data, tmp_path):
    """IQL and another share: no model is trained again."""
    copy = shutil.copytree(run, tmp_path / "copy")
    before = stage_files(copy)
    assert main(command(data, copy, "--config.learner", "iql", "--config.synthetic-share", "0.25")) == 0
    assert redone(before, stage_files(copy)) == {"refined", "evaluation", "accepted", "report"}
    assert isinstance(load(copy / "refined", Agent).policy, GaussianPolicy)
    assert "25% were synthetic" in (copy / "report.html").read_text()


def test_the_unit_of_advantages(data):
    """A thousandth of the spread of the returns, as if they were scaled to a thousand."""
    dataset = read_dataset(data)
    returns = [float(r.sum()) for r in dataset.reward.split(dataset.lengths.tolist())]
    assert advantage_unit(dataset) == pytest.approx((max(returns) - min(returns)) / 1000, rel=1e-4)


@pytest.mark.slow
def test_kill_9_changes_no_bits(data, tmp_path):
    """The learner goes on from its checkpoint, on the same mixed batches; without a simulator."""
    settings = {**DAWM, "learners.training.steps": 900}
    given = ["run", "dawm", "--dataset", str(data), "--preset", "tiny", "--threads", "1", *flags(settings)]
    whole, out = tmp_path / "whole", tmp_path / "parts"
    process = start([*given, "--out", str(out)])
    try:
        wait_for(process, (out / ".partial/refined/resume.safetensors").exists)
    finally:
        process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    for folder in (out, whole):
        code, output = finish(start([*given, "--out", str(folder)]))
        assert code == 0, output
    assert weights(out) == weights(whole)
    assert (out / "refined/metrics.jsonl").read_bytes() == (whole / "refined/metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("made", "more", "told"),
    [
        ({"constant": True}, [], "no reward that varies"),
        ({"reward": False}, [], "next.reward"),
        ({"length": 4}, ["--config.world-model.horizon", "8"], r"world_model.horizon: found 8 steps.*than 4 frames"),
        ({}, ["--config.synthetic-share", "1"], "synthetic.share"),
        ({}, ["--config.synthetic-share", "-0.5"], "synthetic.share"),
    ],
    ids=["constant-reward", "no-reward", "long-horizon", "all-synthetic", "negative-share"],
)
def test_what_teaches_nothing_is_refused_before_training(made, more, told, tmp_path, capsys):
    source = write_rewarded_data(tmp_path / "data", **made)
    assert main(command(source, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))


def test_without_data_there_is_one_sentence(tmp_path, capsys):
    assert main(["run", "dawm", "--task", DENSE_TASK, "--out", str(tmp_path / "run")]) == 2
    assert "--dataset" in capsys.readouterr().err
