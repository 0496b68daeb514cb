"""ADEPT on a point with dense rewards: adapted, refined, gated, measured; killed and resumed; refused where it must."""

import json
import re

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import read_dataset
from burnish.policies import Agent, SquashedPolicy
from burnish.recipes.stages.adapting import ADAPTED, endless_worst
from burnish.rl import Adapting
from burnish.world_models import GuidedDiffusion
from tests.recipes.small_data import write_rewarded_data
from tests.recipes.small_runs import own_data_command


def command(data, out, *more):
    return own_data_command(data, out, *more, name="adept")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rewarded_data(tmp_path_factory.mktemp("adept") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("adept") / "run"
    assert main(command(data, out)) == 0
    return out


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_is_refined_gated_and_measured_by_returns(run):
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "adept" and report["simulator_steps"]["refinement"] == 0
    assert report["return"]["refined"]["episodes"] == 6 and report["gate"]["measure"] == "return"
    assert report["gate"]["reasons"] and report["chosen_iteration"] == 6
    policy = load(run / "refined", Agent).policy
    assert isinstance(policy, SquashedPolicy)
    start = load(run / "policy", Agent).policy.state_dict()
    assert not all(torch.equal(tensor, start[name]) for name, tensor in policy.state_dict().items())
    likelihood = json.loads((run / "behaviour/stage.json").read_text())["outputs"]["log_likelihood"]
    assert all(isinstance(value, float) for value in likelihood.values())


def test_the_adapted_world_is_kept_beside_the_first_one(run):
    first, adapted = load(run / "world_model", GuidedDiffusion), load(run / "refined" / ADAPTED, GuidedDiffusion)
    assert torch.equal(first.threshold, adapted.threshold) and first.threshold.isfinite()
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), adapted.parameters(), strict=True))
    weighted = [row for row in rows(run / "refined") if "weights/effective" in row]
    assert [row["iteration"] for row in weighted] == [3, 5]
    assert all(0.49 < row["weights/effective"] <= 1.0001 and 0 < row["weights/exponent"] <= 1 for row in weighted)


def test_a_killed_stage_ends_with_the_same_bits(run, data, tmp_path, monkeypatch):
    """The refinement is killed after its fourth iteration, in another folder."""
    whole, count = Adapting.update, []

    def stopping(self, *arguments):
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    out = tmp_path / "run"
    more = ["--config.refine.checkpoint-seconds", "0"]
    monkeypatch.setattr(Adapting, "update", stopping)
    assert main(command(data, out, *more)) != 0 and len(count) == 5
    monkeypatch.setattr(Adapting, "update", whole)
    assert main(["refine", str(out), "--trust-code"]) == 0 and len(rows(out / "refined")) == 7
    for name in ("refined", f"refined/{ADAPTED}"):
        one, other = (folder / name / "model.safetensors" for folder in (run, out))
        assert one.read_bytes() == other.read_bytes(), name


def test_the_worst_that_goes_on_for_ever(data):
    """Returns over their actions, the lowest; times 1 / (1 - γ)."""
    dataset = read_dataset(data)
    rates = [float(r) / (int(n) - 1) for r, n in zip(dataset.episode_return, dataset.lengths, strict=True) if n > 1]
    assert endless_worst(dataset, 0.9) == pytest.approx(10 * min(rates), rel=1e-5)
    assert endless_worst(dataset, 1.0) == pytest.approx(float(dataset.episode_return.min()))


@pytest.mark.parametrize(
    "made, more, told",
    [
        ({"constant": True}, [], r"no reward that varies"),
        ({"reward": False}, [], r"reward"),
        ({}, ["--config.policy.chunk", "2"], r"policy\.chunk is 2, expected 1"),
        ({}, ["--config.imagination.pessimism.use", "distance"], r"pessimism\.use.*deviation"),
        ({}, ["--policy", "nowhere"], r"--policy: this recipe takes no policy that was made elsewhere"),
    ],
    ids=["constant-reward", "no-reward", "chunk", "other-uncertainty", "given-policy"],
)
def test_what_teaches_nothing_is_refused_before_training(made, more, told, tmp_path, capsys):
    data = write_rewarded_data(tmp_path / "data", **made)
    assert main(command(data, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))
