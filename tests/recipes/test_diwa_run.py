"""DiWA's recipe on Meta-World and on the user's data: a whole small run, killed and resumed, and what it refuses."""

import json
import shutil

import pytest
import torch
from burnish.recipes.diwa_config import CONFIG, OBSERVATIONS, PRESETS

from burnish.cli import main
from burnish.components import load
from burnish.data import STATE, read_dataset
from burnish.errors import InputError
from burnish.policies import Agent, DiffusionPolicy, GaussianPolicy, check_same_features, load_agent
from burnish.report.contract import validate_report
from burnish.storage import load_tensors
from burnish.world_models import RSSM
from tests.recipes.small_runs import finish, start, wait_for, write_point_data

TASK = "drawer-open-v3"
SMALL = {
    "collect.demonstrations": 3,
    "collect.play-episodes": 8,
    "collect.random-episodes": 2,
    "world-model-training.steps": 120,
    "world-model-training.batch-size": 8,
    "world-model-training.checkpoint-seconds": 0.1,
    "pretraining.steps": 120,
    "pretraining.batch-size": 64,
    "ensemble.members": 2,
    "ensemble-training.steps": 40,
    "classifier-training.steps": 40,
    "imagination.num-envs": 32,
    "refine.iterations": 6,
    "ppo.rollout-steps": 8,
    "ppo.critic-warmup": 1,
    "refine.evaluate-every": 3,
    # The last judged iterate is to be the chosen one: see small_runs.
    "refine.margin": -1.0,
    "refine.checkpoint-seconds": 0.0,
    "evaluation.episodes": 4,
    "evaluation.imagined-episodes": 16,
    "evaluation.curve-episodes": 2,
    "evaluation.videos": 0,
}
HELD_OUT = [f"held_out_worlds/world_{n}/{part}" for n in range(2) for part in ("world_model", "ensemble", "classifier")]


def command(out, *more, data=None):
    """The arguments of a small run."""
    source = ["--dataset", str(data), "--task", "center"] if data else ["--task", TASK]
    settings = [word for name, value in SMALL.items() for word in (f"--config.{name}", str(value))]
    return ["run", "diwa", *source, "--preset", "tiny", "--threads", "1", "--out", str(out), *settings, *more]


@pytest.fixture(scope="module")
def finished(restored, tmp_path_factory):
    out = tmp_path_factory.mktemp("diwa") / "run"
    assert main(command(out)) == 0
    return out


def test_the_report_holds_the_contract(finished):
    report = json.loads((finished / "report.json").read_text())
    validate_report(report)
    assert (report["recipe"], report["task"]) == ("diwa", TASK)
    assert report["simulator_steps"]["refinement"] == 0 < report["simulator_steps"]["collection"]
    assert report["imagined_steps"] == 6 * 8 * 32 * 4  # iterations, decisions, environments, actions of a decision
    assert report["chosen_iteration"] == 6


def test_what_each_stage_leaves(finished):
    dataset = read_dataset(finished / "dataset")
    assert [dataset.sources.count(source) for source in ("expert", "noisy_expert", "random")] == [3, 8, 2]
    before, after = (load_agent(finished / name, TASK) for name in ("policy", "refined"))
    assert isinstance(after.observer, RSSM) and isinstance(after.policy, DiffusionPolicy)
    for (name, old), new in zip(before.policy.named_parameters(), after.policy.parameters(), strict=True):
        assert torch.equal(old, new) == name.startswith("pretrained"), name
    world = load_tensors(finished / "world_model/model.safetensors")[0]
    kept = load_tensors(finished / "refined/model.safetensors")[0]
    assert all(torch.equal(kept[f"observer.{name}"], tensor) for name, tensor in world.items())


def test_held_out_worlds_and_the_decision(finished):
    """Recurrent worlds with features of their own; the policy keeps the run's observer in them."""
    worlds = [
        load_tensors(finished / name / "model.safetensors")[0] for name in ("world_model", HELD_OUT[0], HELD_OUT[3])
    ]
    name = "cell.gru.bias_ih"
    assert not any(torch.equal(worlds[i][name], worlds[j][name]) for i, j in ((0, 1), (0, 2), (1, 2)))
    found = json.loads((finished / "accepted/gate.json").read_text(), parse_constant=pytest.fail)
    chosen = finished / ("refined" if found["accepted"] else "policy")
    assert (finished / "accepted/model.safetensors").read_bytes() == (chosen / "model.safetensors").read_bytes()
    assert found["back_test"]["both"] + found["back_test"]["only_real"] > 0
    assert len(found["refined"]["per_world"]) == 2


def test_kill_9_changes_no_weights(finished, tmp_path):
    out = tmp_path / "run"
    signs = {"world_model": "", "refined": "", "held_out_worlds": "world_1/world_model"}
    for stage, part in signs.items():
        process = start(command(out))
        try:
            wait_for(process, (out / ".partial" / stage / part / "resume.safetensors").exists)
        finally:
            process.kill()
        finish(process)
        assert not (out / stage).exists()
    code, output = finish(start(command(out)))
    assert code == 0, output
    for name in ("world_model", "policy", "ensemble", "classifier", "refined", "accepted", *HELD_OUT):
        one, two = (folder / name / "model.safetensors" for folder in (out, finished))
        assert one.read_bytes() == two.read_bytes(), name


def test_a_gaussian_policy_in_the_same_world(finished, tmp_path):
    """Only what depends on the policy is done again."""
    out = shutil.copytree(finished, tmp_path / "run")
    kept = (out / "world_model/stage.json").read_text(), (out / "classifier/stage.json").read_text()
    assert main(command(out, "--config.policy", "gaussian")) == 0
    policy = load_agent(out / "refined", TASK).policy
    assert isinstance(policy, GaussianPolicy) and policy.config.chunk == 4
    assert ((out / "world_model/stage.json").read_text(), (out / "classifier/stage.json").read_text()) == kept


def test_own_data_with_a_model_of_action_chunks(tmp_path):
    data = write_point_data(tmp_path / "data")
    out = tmp_path / "run"
    assert main(command(out, "--config.world-model.action-steps", "4", data=data)) == 0
    report = json.loads((out / "report.json").read_text())
    validate_report(report)
    assert report["success"] is None and report["imagined_steps"] > 0


def test_a_world_model_with_other_features_is_refused(finished):
    """Another size, or the same size and other weights: said before any refinement."""
    agent = load_agent(finished / "policy", TASK)
    world = load(finished / "world_model", RSSM)
    observation = {STATE: read_dataset(finished / "dataset").observations[STATE][:5]}
    check_same_features(agent, world, observation)
    with torch.no_grad():
        world.cell.gru.bias_ih.add_(0.1)
    with pytest.raises(InputError, match="another world model"):
        check_same_features(agent, world, observation)
    small = RSSM(world.observation_dim, 4, type(world.config)(deterministic=32))
    with pytest.raises(InputError, match="160 features, the policy reads 128"):
        check_same_features(agent, small, observation)
    with pytest.raises(InputError, match="its observer gives 160"):
        Agent(small, agent.policy)


def test_calvin_from_pictures_looks_through_its_own_cameras():
    """Latents have no names, so none of them can be ignored by name as CALVIN's blocks are in states."""
    states = PRESETS["calvin"](CONFIG())
    pictures = OBSERVATIONS["pixels"](states)
    assert pictures.simulator.cameras == pictures.autoencoder.cameras == ("static", "gripper")
    assert states.world_model.ignored and pictures.world_model.ignored == ()
    assert pictures.simulator.max_steps == 72
