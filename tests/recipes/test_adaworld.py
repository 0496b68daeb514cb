"""AdaWorld on a square that is pushed about: pretrained on video, adapted, refined; resumed; refused where it must."""

import json
import re

import numpy as np
import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import STATE, DatasetInfo, Episode, image_key, read_dataset, write_dataset
from burnish.networks import ActionAdapter
from burnish.policies import Agent
from burnish.world_models import LatentActions, PixelDiffusion
from tests.recipes.small_runs import own_data_command, write_viewed_data


def command(data, out, *more):
    return own_data_command(data, out, *more, name="adaworld")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_viewed_data(tmp_path_factory.mktemp("adaworld") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("adaworld") / "run"
    assert main(command(data, out)) == 0
    return out


def test_a_run_leaves_each_part_of_the_method(run):
    latent, video = load(run / "latent_actions", LatentActions), load(run / "video_model", PixelDiffusion)
    world, agent = load(run / "world_model", PixelDiffusion), load(run / "refined", Agent)
    assert video.history.action_dim == latent.latent_dim == 8 and not isinstance(video.encode, ActionAdapter)
    assert world.history.action_dim == agent.policy.action_dim == 2 and isinstance(world.encode, ActionAdapter)
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "adaworld" and report["simulator_steps"]["refinement"] == 0
    told = json.loads((run / "world_model/stage.json").read_text())["outputs"]
    assert len(told["adapter_r2"]) == latent.latent_dim and all(isinstance(each, float) for each in told["adapter_r2"])
    assert (run / "world_model/adapter/metrics.jsonl").exists()


def test_adaptation_begins_with_the_network_that_learned_from_video(run):
    video, world = load(run / "video_model", PixelDiffusion), load(run / "world_model", PixelDiffusion)
    pairs = list(zip(video.network.parameters(), world.network.parameters(), strict=True))
    first, moved = (torch.cat([each.detach().flatten() for each in part]) for part in zip(*pairs, strict=True))
    assert 0 < (moved - first).norm() < 0.1 * first.norm()


@pytest.mark.slow
def test_no_action_but_the_labelled_ones_is_learned_from(run, data, tmp_path):
    """The other episodes' actions are scrambled: every weight is the same."""
    known = set(read_dataset(run / "labelled").seeds)
    assert 0 < len(known) < read_dataset(data).num_episodes - 2
    out, generator, episodes = tmp_path / "data", np.random.default_rng(5), []
    for episode in read_dataset(data).to_episodes():
        action = episode.action
        if episode.seed not in known:
            action = generator.permutation(action)
        episodes.append(Episode(episode.observation, action, episode.success, episode.source, episode.seed, "center"))
    write_dataset(out, episodes, DatasetInfo(fps=20, robot_type="point", simulator=None))
    other = tmp_path / "run"
    assert main(command(out, other)) == 0
    for name in ("latent_actions", "video_model", "world_model", "policy", "classifier", "refined"):
        one, two = (folder / name / "model.safetensors" for folder in (run, other))
        assert one.read_bytes() == two.read_bytes(), name


@pytest.mark.slow
def test_a_killed_adaptation_ends_with_the_same_bits(run, data, tmp_path, monkeypatch):
    whole, count = PixelDiffusion.loss, []

    def stopping(self, *arguments):
        if isinstance(self.encode, ActionAdapter):
            count.append(1)
            if len(count) == 5:
                raise KeyboardInterrupt
        return whole(self, *arguments)

    out = tmp_path / "run"
    more = ["--config.adaptation.checkpoint-seconds", "0"]
    monkeypatch.setattr(PixelDiffusion, "loss", stopping)
    assert main(command(data, out, *more)) != 0 and len(count) == 5
    monkeypatch.setattr(PixelDiffusion, "loss", whole)
    assert main(["train-world-model", str(out), "--trust-code"]) == 0
    one, two = (folder / "world_model/model.safetensors" for folder in (run, out))
    assert one.read_bytes() == two.read_bytes()


def still(folder):
    """Pictures in which nothing happens."""
    episodes = []
    for seed in range(8):
        pictures = np.full((12, 32, 32, 3), 70, np.uint8)
        success = np.arange(12) > 8 if seed % 2 else np.zeros(12, bool)
        action = np.random.default_rng(seed).uniform(-1, 1, (12, 2)).astype(np.float32)
        observation = {image_key("view"): pictures, STATE: action}
        episodes.append(Episode(observation, action, success, "teleoperation", seed, "center"))
    write_dataset(folder, episodes, DatasetInfo(fps=20, simulator=None))
    return folder


@pytest.mark.parametrize(
    "make, more, told",
    [
        (still, [], r"no pixel changes by more than 8 of 255.*expected pictures in which something moves"),
        (None, ["--config.labelled-steps", "4000"], r"labelled_steps.*steps with an action.*at least 4000"),
        (None, ["--config.history.frames", "30"], r"clips of 20 frames at most, expected 31 or more.*history\.frames"),
        (None, ["--config.history.action-encoding", "two_hot"], r"action_encoding is 'two_hot', expected linear"),
        (None, ["--config.latent-actions.cameras", "other"], r"latent_actions sees other.*history view"),
        (
            None,
            ["--config.adapter.kind", "codebook", "--config.adapter.codes", "3"],
            r"\d+ different actions.*codes = 3.*mlp",
        ),
        (None, ["--config.classifier.imagined-share", "0.5"], r"imagined_share: expected 0"),
    ],
    ids=["no-motion", "too-few-labels", "short-clips", "encoding", "cameras", "continuous-codebook", "imagined-frames"],
)
def test_what_cannot_work_is_refused(make, more, told, data, tmp_path, capsys):
    place = data if make is None else make(tmp_path / "data")
    assert main(command(place, tmp_path / "run", *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))
