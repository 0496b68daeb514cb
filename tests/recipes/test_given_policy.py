"""Runs that start from a policy that was brought along."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from checkpoints import policy_of

import burnish
from burnish.cli import main
from burnish.components import save
from burnish.data import STATE, image_key, read_dataset
from burnish.deploy.lerobot import write_checkpoint
from burnish.errors import InputError
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig, load_agent
from burnish.policies.given import AroundPolicy, OwnPolicy, read_checkpoint
from burnish.world_models import RSSM, Autoencoder, AutoencoderConfig, Encoded, HistoryConfig, ObservationHistory
from tests.recipes.small_runs import flags, own_data_command, redone, stage_files, write_point_data

SHORT = [
    "--config.refine.no-preflight",
    *flags(
        {
            "gate.worlds": 0,
            "world-model-training.steps": 40,
            "ensemble-training.steps": 20,
            "classifier-training.steps": 20,
            "refine.iterations": 2,
            "refine.evaluate-every": 2,
            "ppo.critic-warmup": 0,
            "ppo.epochs": 1,
        }
    ),
]


class Centre:
    """Goes to where the state is zero."""

    def act_batch(self, observation):
        return -3 * observation[STATE][:, :2]

    def act(self, observation):
        return self.act_batch({key: each[None] for key, each in observation.items()})[0]


def test_act_of_lerobot_is_refined_as_a_whole(tmp_path, capfd):
    """Its weights change, and it is exported as what it was; what is brought is not touched."""
    data, out = write_point_data(tmp_path / "data"), tmp_path / "run"
    size = read_dataset(data).observation_dim
    base = policy_of("act", {STATE: size})
    write_checkpoint(base, base.chunk, tmp_path / "act")
    before = {path.name: path.read_bytes() for path in (tmp_path / "act").iterdir()}
    arguments = own_data_command(data, out, *SHORT, "--policy", str(tmp_path / "act"))
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "act").iterdir()} == before
    pretrained, refined = (load_agent(out / name).policy for name in ("policy", "refined"))
    assert isinstance(refined, AroundPolicy) and refined.learns_whole
    state = torch.randn(4, 1, size)
    torch.testing.assert_close(pretrained.base.plan({STATE: state}), base.plan({STATE: state}))
    assert not torch.equal(refined.base.network.action_head.weight, pretrained.base.network.action_head.weight)
    assert yaml.safe_load((out / "recipe.yaml").read_text())["config"]["run"]["policy"] == str(tmp_path / "act")
    # Again: done. And what changes in the checkpoint is noticed.
    stages = stage_files(out)
    assert main(arguments) == 0 and redone(stages, stage_files(out)) == set()
    for name in before:
        (tmp_path / "act" / name).unlink()
    loaded = burnish.load(out)
    assert loaded.env(4).reset(seed=0)[0].shape == (4, size) and loaded.policy.act({STATE: np.zeros(size)}).shape == (
        2,
    )
    assert main(["export", str(out), "--to", "lerobot", str(tmp_path / "exported")]) == 0
    exported = read_checkpoint(tmp_path / "exported")
    assert torch.equal(exported.network.action_head.weight, refined.base.network.action_head.weight)
    assert "type 'act'" in capfd.readouterr().out


def test_a_function_gets_a_residual_and_an_own_policy_is_taken_again(tmp_path, capfd):
    data, out, place = write_point_data(tmp_path / "data"), tmp_path / "run", f"{__name__}:Centre"
    assert main(own_data_command(data, out, *SHORT, "--policy", place)) == 0
    agent = load_agent(out / "refined")
    assert not agent.policy.learns_whole and agent.policy.base.source == place
    # The folder names code: whoever opens it again has to say that it may be called.
    assert main(["report", str(out)]) == 2 and "--trust-code" in capfd.readouterr().err
    assert main(["report", str(out), "--trust-code"]) == 0
    # A policy of Burnish's own, on data of other ranges.
    other = write_point_data(tmp_path / "other", episodes=12)
    again = [*SHORT, "--policy", str(out / "refined"), "--config.refine.iterations", "1"]
    assert main(own_data_command(other, tmp_path / "again", *again)) == 0
    assert isinstance(load_agent(tmp_path / "again" / "refined").policy, type(agent.policy))
    assert json.loads((tmp_path / "again" / "report.json").read_text())["imagined_steps"] > 0
    assert isinstance(load_agent(tmp_path / "again" / "policy").policy.base, OwnPolicy | type(agent.policy.base))


@pytest.mark.slow
def test_diwa_refines_a_policy_that_reads_what_its_world_model_remembers(tmp_path):
    data, out = write_point_data(tmp_path / "data", strays=4), tmp_path / "run"
    short = [each for each in SHORT if not each.startswith(("--config.world-model-training", "--config.ppo"))]
    arguments = own_data_command(data, out, *short, "--policy", _checkpoint(tmp_path / "act", 4), name="diwa")
    assert main(arguments) == 0
    pretrained, refined = (load_agent(out / name) for name in ("policy", "refined"))
    assert isinstance(refined.observer, RSSM) and refined.policy.view.observer is refined.observer
    weights = [agent.policy.base.network.action_head.weight for agent in (pretrained, refined)]
    assert not torch.equal(*weights)
    policy = burnish.load(out).policy
    assert policy.act({STATE: np.zeros(4)}).shape == (2,)
    stage = json.loads((out / "policy/stage.json").read_text())["outputs"]
    assert stage["given"] == "LeRobotACT" and 0 < stage["acts_apart"] < 2


@pytest.mark.slow
def test_pixels_refine_a_policy_of_pictures(tmp_path):
    """From another run, with its own encoder; the data have no state at all."""
    data, out = write_point_data(tmp_path / "data", camera="front", strays=4, state=False), tmp_path / "run"
    more = [*SHORT, *flags({"autoencoder.cameras": "front", "autoencoder-training.steps": 40})]
    arguments = own_data_command(data, out, *more, "--policy", _pictures(tmp_path / "given"), name="pixels")
    assert main(arguments) == 0
    pretrained, refined = (load_agent(out / name) for name in ("policy", "refined"))
    assert isinstance(refined.observer, Encoded) and refined.policy.view.observer is refined.observer
    brought, before, after = (
        agent.policy.network.head.weight
        for agent in (load_agent(tmp_path / "given"), pretrained.policy.base.agent, refined.policy.base.agent)
    )
    assert torch.equal(brought, before) and not torch.equal(before, after)
    encoders = [agent.observer.autoencoder.state_dict() for agent in (refined, refined.policy.base.agent)]
    assert not torch.equal(encoders[0]["mean"], encoders[1]["mean"]), "each has its own"
    policy = burnish.load(out).policy
    assert policy.act({image_key("front"): np.zeros((32, 32, 3), np.uint8)}).shape == (2,)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("world4rl", lambda folder: "nowhere", "no such folder"),
        ("world4rl", lambda folder: str(folder), "found no config.json"),
        ("world4rl", lambda folder: _checkpoint(folder, 3), "reads observation.state \\(3\\); the data's state has"),
        ("diwa", lambda folder: _checkpoint(folder, 3), "reads observation.state \\(3\\); the data's state has"),
        ("diwa", lambda folder: _pictures(folder), "looks at 'observation.images.front' .*models at no pictures"),
        ("s5wm", lambda folder: _checkpoint(folder, 4), "expected world4rl or diwa"),
        ("world4rl", lambda folder: "no_such_module:Policy", "no_such_module"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_done(name, make, said, tmp_path, capfd):
    data, out = write_point_data(tmp_path / "data"), tmp_path / "run"
    (tmp_path / "policy").mkdir()
    assert main(own_data_command(data, out, "--policy", make(tmp_path / "policy"), name=name)) == 2
    error = capfd.readouterr().err
    assert re.search(said, error) and len(error.strip().splitlines()[-1]) < 500
    assert not out.exists()


def _checkpoint(folder, size):
    policy = policy_of("act", {STATE: size})
    write_checkpoint(policy, policy.chunk, folder)
    return str(folder)


def _pictures(folder):
    """A policy of Burnish's own that looks at one camera, with arbitrary weights."""
    torch.manual_seed(1)
    autoencoder = Autoencoder(2, AutoencoderConfig(("front",), image_size=32, latent_dim=5, width=4, hidden=16))
    observer = Encoded(autoencoder, ObservationHistory(5, 2, HistoryConfig(frames=2, feature_frames=2)))
    save(folder, Agent(observer, GaussianPolicy(10, 2, GaussianPolicyConfig(hidden=(8,))), "centre"))
    return str(folder)


def test_policies_through_python():
    with pytest.raises(InputError, match="no such folder"):
        burnish.run("world4rl", "drawer-open-v3", preset="tiny", policy="nowhere")
