"""LaDi-WM on a square that is pushed about: each part of the method; resumed; refused where it must."""

import json
import re

import pytest
import torch

from burnish.cli import main
from burnish.components import load, save
from burnish.policies import Agent, ImaginingPolicy
from burnish.world_models import Encoded, FeatureStreams, LatentDiffusion, SelfSupervised, SelfSupervisedConfig
from tests.recipes.small_runs import own_data_command, write_viewed_data
from tests.recipes.test_adaworld import still


def command(data, out, *more):
    return own_data_command(data, out, *more, name="ladiwm")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_viewed_data(tmp_path_factory.mktemp("ladiwm") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("ladiwm") / "run"
    assert main(command(data, out)) == 0
    return out


def test_a_run_leaves_each_part_of_the_method(run):
    encoder, world = load(run / "encoder", FeatureStreams), load(run / "world_model", LatentDiffusion)
    assert list(encoder.encoders) == ["geometry", "semantics"] and world.streams == encoder.streams == (
        (1, 16),
        (1, 16),
    )
    policy, refined = load(run / "policy", Agent), load(run / "refined", Agent)
    for agent in (policy, refined):
        assert isinstance(agent.observer, Encoded) and isinstance(agent.policy, ImaginingPolicy)
        assert agent.policy.world is agent.observer.inner
        one, two = (each.state_dict() for each in (agent.policy.world, world))
        assert all(torch.equal(one[name], two[name]) for name in one), "it imagines in the world model of the run"
    moved = zip(policy.policy.denoiser.network.parameters(), refined.policy.denoiser.network.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in moved)
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "ladiwm" and report["simulator_steps"]["refinement"] == 0
    told = json.loads((run / "policy/stage.json").read_text())["outputs"]
    assert len(told["spread_by_rounds"]) == 2 and all(each > 0 for each in told["spread_by_rounds"])


@pytest.mark.slow
def test_encoders_of_another_run_are_taken_over(run, data, tmp_path):
    out = tmp_path / "run"
    assert main(command(data, out, "--config.encoders-from", str(run / "encoder"))) == 0
    one, two = (load(folder / "encoder", FeatureStreams).state_dict() for folder in (run, out))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not (out / "geometry").exists() and not (out / "semantics").exists()


@pytest.mark.slow
def test_a_killed_world_model_ends_with_the_same_bits(run, data, tmp_path, monkeypatch):
    whole, count = LatentDiffusion.loss, []

    def stopping(self, *arguments):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    out = tmp_path / "run"
    monkeypatch.setattr(LatentDiffusion, "loss", stopping)
    assert main(command(data, out, "--config.world-model-training.checkpoint-seconds", "0")) != 0 and len(count) == 3
    monkeypatch.setattr(LatentDiffusion, "loss", whole)
    assert main(["pretrain", str(out)]) == 0
    for name in ("world_model", "policy"):
        one, two = (folder / name / "model.safetensors" for folder in (run, out))
        assert one.read_bytes() == two.read_bytes(), name


@pytest.mark.parametrize(
    "make, more, told",
    [
        (still, [], r"no pixel changes by more than 8 of 255.*expected pictures in which something moves"),
        (None, ["--config.history.feature-frames", "1"], r"feature_frames 1, expected no inertia, and 2 as `frames`"),
        (None, ["--config.policy.denoiser.chunk", "9"], r"chunk is 9, expected at most config.world_model.frames = 4"),
        (None, ["--config.policy.executed", "5"], r"executed is 5, expected at most denoiser.chunk = 4"),
        (None, ["--config.semantics.image-size", "64"], r"geometry sees pictures of 32 pixels.*semantics of 64"),
    ],
    ids=["no-motion", "features", "too-far", "executed", "sizes"],
)
def test_what_cannot_work_is_refused(make, more, told, data, tmp_path, capsys):
    place = data if make is None else make(tmp_path / "data")
    assert main(command(place, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)


@pytest.mark.parametrize("wrong", ["camera", "constant"])
def test_encoders_that_do_not_fit_are_refused(wrong, data, tmp_path, capsys):
    camera = "other" if wrong == "camera" else "view"
    encoder = SelfSupervised(SelfSupervisedConfig((camera,), 32, latent_dim=4, width=8, hidden=16, expanded=8))
    if wrong == "constant":
        torch.nn.init.zeros_(encoder.encoder.head[-1].weight)
    save(tmp_path / "encoder", FeatureStreams({"semantics": encoder}))
    more = ["--config.encoders-from", str(tmp_path / "encoder")]
    assert main(command(data, tmp_path / "run", *more)) == 2
    told = {
        "camera": r"see 'observation.images.other'.*found no such pictures",
        "constant": r"the same features in all",
    }
    assert re.search(told[wrong], capsys.readouterr().err, re.S)
    assert not (tmp_path / "run/world_model/model.safetensors").exists()
