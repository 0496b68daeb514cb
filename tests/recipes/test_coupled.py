"""Coupled worlds on a point with dense rewards: refined, gated, measured; killed and resumed; refused where it must."""

import json
import re

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import read_dataset
from burnish.imagination import LocalModel
from burnish.policies import Agent, SquashedPolicy
from burnish.recipes.base import Models
from burnish.recipes.stages.coupling import REFRESHED, as_features, earned
from burnish.report.section import read_sections
from burnish.rl import Refreshing
from burnish.world_models import RSSM, LocalDynamics
from tests.recipes.small_data import write_rewarded_data
from tests.recipes.small_runs import DENSE_TASK

_SMALL = """
    --preset tiny --threads 1 --config.world-model.width 32 --config.world-model-training.steps 60
    --config.local-training.steps 40 --config.pretraining.steps 60 --config.ensemble-training.steps 30
    --config.ensemble.members 2 --config.classifier-training.steps 60 --config.imagination.num-envs 16
    --config.imagination.horizon 6 --config.refine.iterations 6 --config.refine.evaluate-every 3
    --config.refine.margin=-1 --config.refine.imagined-episodes 8 --config.evaluation.episodes 6
    --config.evaluation.curve-points 0 --config.evaluation.videos 0 --config.gate.episodes 8
    --config.learner.policy.critic-warmup 1 --config.learner.first-steps 4 --config.learner.steps 2
"""


def command(data, out, *more):
    return ["run", "coupled", "--dataset", str(data), "--task", DENSE_TASK, "--out", str(out), *_SMALL.split(), *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rewarded_data(tmp_path_factory.mktemp("coupled") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("coupled") / "run"
    assert main(command(data, out)) == 0
    return out


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_is_refined_gated_and_measured_by_returns(run):
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "coupled" and report["simulator_steps"]["refinement"] == 0
    assert report["return"]["refined"]["episodes"] == 6 and report["gate"]["measure"] == "return"
    assert report["gate"]["reasons"] and report["chosen_iteration"] == 6
    policy = load(run / "refined", Agent).policy
    assert isinstance(policy, SquashedPolicy)
    learned = [row for row in rows(run / "refined") if "gradient/norm" in row]
    assert [row["iteration"] for row in learned] == [2, 3, 4, 5, 6]
    assert all(row["gradient/norm"] > 0 and row["gradient/left_out"] == 0 for row in learned)
    assert rows(run / "refined")[-1]["imagined_steps"] == 6 * 8 * 16


def test_the_local_model_is_refreshed_and_its_gradients_are_in_the_report(run):
    first, refreshed = load(run / "local_model", LocalModel), load(run / "refined" / REFRESHED, LocalModel)
    assert isinstance(first.dynamics, LocalDynamics) and torch.equal(first.reward.scale, refreshed.reward.scale)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), refreshed.parameters(), strict=True))
    found = json.loads((run / "refined/stage.json").read_text())["outputs"]["gradient_agreement"]
    assert set(found) == {"pretrained", "refreshed"}
    for by_steps in found.values():
        assert set(by_steps) == {"1", "4"} and all(-1 <= each["cosine"] <= 1 for each in by_steps.values())
    (section,) = [each for each in read_sections(run / "refined") if each.key == "gradients"]
    assert [row[:2] for row in section.tables[0].rows][:2] == [("pretrained", "1"), ("pretrained", "4")]


def test_the_local_reward_learns_what_the_global_one_says(run, data):
    """Of every recorded transition, with features that the world model makes of it."""
    dataset = read_dataset(data)
    models = Models(load(run / "world_model"), load(run / "classifier"))
    found, seen = earned(dataset, models), as_features(dataset, models.world)
    assert len(found.reward) == dataset.num_frames - dataset.num_episodes
    head, frames = models.reward, seen.observations["observation.state"]
    expected = head(frames[:1], dataset.actions[:1], frames[1:2])[0]
    torch.testing.assert_close(found.reward[:1], expected)


def test_a_killed_stage_ends_with_the_same_bits(run, data, tmp_path, monkeypatch):
    """The refinement is killed after its fourth iteration, in another folder."""
    whole, count = Refreshing.update, []

    def stopping(self, *arguments):
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    out = tmp_path / "run"
    monkeypatch.setattr(Refreshing, "update", stopping)
    assert main(command(data, out, "--config.refine.checkpoint-seconds", "0")) != 0 and len(count) == 5
    monkeypatch.setattr(Refreshing, "update", whole)
    assert main(["refine", str(out), "--trust-code"]) == 0 and len(rows(out / "refined")) == 7
    for name in ("refined", f"refined/{REFRESHED}"):
        one, other = (folder / name / "model.safetensors" for folder in (run, out))
        assert one.read_bytes() == other.read_bytes(), name


@pytest.mark.slow
def test_a_latent_local_model(data, tmp_path):
    """The preset `rssm`, with small sizes."""
    more = ["--preset", "rssm", "--config.local-model.deterministic", "16", "--config.local-model.hidden", "16"]
    assert main(command(data, tmp_path / "run", *more, "--config.gate.worlds", "0")) == 0
    assert isinstance(load(tmp_path / "run/refined" / REFRESHED, LocalModel).dynamics, RSSM)


@pytest.mark.parametrize(
    "made, more, told",
    [
        ({"constant": True}, [], r"no reward that varies"),
        ({"reward": False}, [], r"reward"),
        ({}, ["--config.local-model.hidden", "12"], r"local_model\.hidden: found 12, expected a multiple of 8"),
        ({}, ["--config.learner.capacity", "100"], r"learner\.capacity is 100, expected at least 256"),
        ({}, ["--config.imagination.pessimism.use", "deviation"], r"pessimism\.use"),
    ],
    ids=["constant-reward", "no-reward", "groups", "capacity", "other-uncertainty"],
)
def test_what_teaches_nothing_is_refused_before_training(made, more, told, tmp_path, capsys):
    data = write_rewarded_data(tmp_path / "data", **made)
    assert main(command(data, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))
