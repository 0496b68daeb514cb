"""Data in units of their own: no unit changes a result, and outside everything is in the data's."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_env import DenseEnv

import burnish
from burnish.cli import main
from burnish.components import notes, save
from burnish.config import to_dict
from burnish.data import STATE, ActionScaling, DatasetInfo, Episode, read_dataset, write_dataset
from burnish.data.formats import ReadingRule
from burnish.deploy.onnx import export_onnx
from burnish.deploy.serve import PolicyServer
from burnish.errors import InputError
from burnish.evaluation.real import play
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig, load_agent
from burnish.recipes.catalogue import entry
from burnish.recipes.how import How
from burnish.recipes.own_data import OwnData
from burnish.recipes.runs import NewRun, run_recipe
from burnish.recipes.stages.data import recorded_scaling, whole
from burnish.rewards import RewardConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import load_tensors, read_json
from burnish.training import TrainingConfig
from burnish.world_models import HistoryConfig, ObservationHistory
from tests.recipes.small_runs import flags, own_data_command, write_point_data

MIXED = np.float32([90, 0.05]), np.float32([45, 3]), np.float32([90, 0.05, 1, 3]), np.float32([5, 0.1, -1, 0])
ONE = np.ones(2, np.float32), np.zeros(2, np.float32), np.ones(4, np.float32), np.zeros(4, np.float32)


def reach(folder: Path, factor, offset, state_factor, state_offset, episodes: int = 24) -> Path:
    """A point is pushed to a goal, or in four of ten episodes beside it: state (position, goal), action (push)."""
    generator, written = np.random.default_rng(0), []
    for _ in range(episodes):
        position, goal = generator.uniform(-1, 1, 2), generator.uniform(-0.5, 0.5, 2)
        aim = goal + (generator.choice([-1, 1], 2) * 0.5 if generator.uniform() < 0.4 else 0)
        states, actions, success = [], [], []
        for _ in range(30 + int(generator.integers(-3, 4))):
            push = np.clip(3 * (aim - position) + 0.1 * generator.normal(size=2), -1, 1)
            states.append([*position, *goal])
            actions.append(push)
            position = position + 0.15 * push
            success.append(np.linalg.norm(position - goal) < 0.12)
        state, action = np.array(states, np.float32), np.array(actions, np.float32)
        state, action = state * state_factor + state_offset, action * factor + offset
        written.append(Episode({STATE: state}, action, np.array(success), "unknown", -1, "reach"))
    write_dataset(folder, written, DatasetInfo(fps=10))
    return folder


def test_a_gripper_is_rounded_where_that_is_asked_for(tmp_path):
    data = reach(tmp_path / "data", np.float32([90, 1]), ONE[1], ONE[2], ONE[3], episodes=4)
    episodes = read_dataset(data).to_episodes()
    write_dataset(
        tmp_path / "gripper",
        [replace(e, action=np.float32([[a, 100.0 * (b > 0)] for a, b in e.action])) for e in episodes],
        DatasetInfo(fps=10),
    )
    rule = ReadingRule(binary_actions="rounded")
    for folder, said in ((data, "found no action in units of its own that has two values"), (tmp_path / "gripper", "")):
        own = OwnData.of(folder, rule)
        if said:
            with pytest.raises(InputError, match=said):
                own.scaling(own.read())
            continue
        found = own.scaling(own.read())
        assert found.switches == (False, True) and found.high[1] == 100
        assert OwnData.of(folder).scaling(own.read()).switches == ()


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """A run up to refinement, on the same motions in some units."""
    root, made = tmp_path_factory.mktemp("units"), {}

    def run(name, factor=ONE[0], offset=ONE[1], state_factor=ONE[2], state_offset=ONE[3]):
        if name not in made:
            tiny, short = entry("world4rl").preset("tiny"), TrainingConfig(steps=40, batch_size=32, ema_decay=None)
            config = replace(
                tiny,
                pretraining=replace(tiny.pretraining, steps=100),
                world_model=replace(tiny.world_model, width=32, depth=1),
                **dict.fromkeys(("world_model_training", "ensemble_training", "classifier_training"), short),
                imagination=replace(tiny.imagination, num_envs=32),
                refine=replace(tiny.refine, iterations=2, evaluate_every=2, margin=-1.0),
            )
            data = reach(root / f"{name}-data", factor, offset, state_factor, state_offset)
            run_recipe(root / name, NewRun(config, dataset=data).resolve("world4rl"), "refine", How(threads=1))
            made[name] = root / name
        return made[name]

    return run


def last(folder: Path) -> dict:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_powers_of_two_change_no_bit(refined):
    """The same numbers inside: the same ensemble and the same refined policy, bit for bit."""
    one, other = refined("one"), refined("small", np.float32(2**-4), np.float32(0), np.float32(8))
    for stage in ("classifier", "refined"):
        found, expected = (load_tensors(run / stage / "model.safetensors")[0] for run in (other, one))
        for name in expected:
            if "normaliser" not in name:
                assert torch.equal(found[name], expected[name]), name
    assert last(other / "ensemble")["mse"] == last(one / "ensemble")["mse"]
    assert last(other / "refined")["eval/success"] == last(one / "refined")["eval/success"]


def test_degrees_metres_and_offsets_change_no_result(refined):
    one = refined("one")
    other = refined("mixed", *MIXED)
    assert last(other / "ensemble")["mse"] == pytest.approx(last(one / "ensemble")["mse"], rel=1e-2)
    for name in ("rmse", "std"):
        assert last(other / "policy")[name] == pytest.approx(last(one / "policy")[name], rel=1e-2)
    for measure in ("pretrained", "refined"):
        found, expected = (
            read_json(run / "refined/stage.json")["outputs"]["imagined"]["success"][measure] for run in (other, one)
        )
        assert found == pytest.approx(expected, abs=0.04)


def test_the_runs_copy_is_exact_and_models_keep_the_scaling(refined):
    run = refined("mixed", *MIXED)
    data = read_dataset(run.parent / "mixed-data")
    kept, inside = read_dataset(run / "dataset"), whole(run / "dataset", (), True, RewardConfig())
    assert torch.equal(kept.actions, data.actions) and torch.equal(kept.observations[STATE], data.observations[STATE])
    scaling = recorded_scaling(run / "dataset")
    assert scaling is not None and inside.info.scaling == scaling
    assert inside.actions.abs().amax(0).tolist() == [1, 1]
    torch.testing.assert_close(scaling.to_data(inside.actions), data.actions, rtol=0, atol=1e-5)
    for stage in ("policy", "world_model", "ensemble", "support", "classifier", "refined"):
        assert notes(run / stage) == {"action_scaling": to_dict(scaling)}, stage
    agent = load_agent(run / "refined")
    assert agent.scaling == scaling
    agent.begin(1)
    action = agent.act({STATE: data.observations[STATE][:1]})[0].tolist()
    assert -45 - 1e-3 <= action[0] <= 135 + 1e-3 and 2.95 - 1e-6 <= action[1] <= 3.05 + 1e-6


def own_agent(folder: Path, low: float, high: float) -> Path:
    """An agent of data in other units that always wants 0.5 of its range, with a scaling of low … high."""
    observer = ObservationHistory(4, 2, HistoryConfig(frames=1))
    policy = GaussianPolicy(4, 2, GaussianPolicyConfig(hidden=(4,)))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
    final = [module for module in policy.modules() if isinstance(module, torch.nn.Linear)][-1]
    limit = GaussianPolicy.MEAN_LIMIT
    with torch.no_grad():
        final.bias[:2] = limit * np.arctanh(0.5 / limit)
    save(folder, Agent(observer, policy, "t", ActionScaling((low, low), (high, high))).eval())
    return folder


def test_a_judge_takes_actions_in_its_own_units(tmp_path, monkeypatch):
    """0.5 of 2 … 6 is 5: that is what an environment of 0 … 10 must get, and 0 in the recorded episode's [-1, 1]."""
    taken = []
    step = DenseEnv.step
    monkeypatch.setattr(DenseEnv, "step", lambda self, action: (taken.append(action.copy()), step(self, action))[1])
    settings = SimulatorConfig(max_steps=3)
    (episode,) = play(own_agent(tmp_path / "agent", 2, 6), "toy_env:make_dense", settings, [0], 0)
    np.testing.assert_allclose(taken[-3:], 5.0, atol=1e-5)
    np.testing.assert_allclose(episode.action, 0.0, atol=1e-6)


def test_a_data_set_that_is_not_in_the_judges_units(tmp_path, capsys):
    data = write_point_data(tmp_path / "data")
    command = own_data_command(data, tmp_path / "run", "--task", "toy_env:make_dense")
    assert main([*command, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "takes 'action.0' from 0 to 10, in the data set it reaches from -" in said and "--action-units" in said
    assert main([*command, "--action-units", "unit", "--dry-run"]) == 0


def test_a_judged_run_in_the_environments_units(tmp_path):
    """Everything at once: own units, a written reward that sees actions, videos' inputs, and the report."""
    generator, episodes = np.random.default_rng(0), []
    for seed in range(12):
        env, strength = DenseEnv(), generator.uniform(0, 1)
        state, _ = env.reset(seed=seed)
        states, actions = [], []
        for _ in range(15):
            action = np.clip(5 - 5 * strength * state[:2] + generator.normal(0, 2, 2), 0, 10)
            states.append(state)
            actions.append(action)
            state, *_ = env.step(action)
        rows = np.float32(states), np.float32(actions)
        episodes.append(Episode({STATE: rows[0]}, rows[1], np.zeros(15, bool), "unknown", -1, "center"))
    names = tuple(f"state.{index}" for index in range(4))
    write_dataset(tmp_path / "data", episodes, DatasetInfo(fps=30, max_steps=15, state_names=names))
    out = tmp_path / "run"
    settings = {"reward.kind": "terms", "gate.worlds": 0, "evaluation.episodes": 4, "refine.iterations": 2}
    settings |= dict.fromkeys(("world-model-training.steps", "pretraining.steps", "ensemble-training.steps"), 20)
    command = own_data_command(tmp_path / "data", out, "--task", "toy_env:make_dense", *flags(settings))
    assert main([*command, "--config.reward.terms", "-1 effort", "--config.evaluation.curve-points", "0"]) == 0
    played = read_json(out / "evaluation/outcomes.json")["policies"]
    # Efforts in the environment's units, 0 … 10: around 2 · 5² for each of 20 actions; in [-1, 1] it were 40 at most.
    assert all(-2 * 20 * 100 <= value < -200 for each in played.values() for value in each["returns"])
    assert "Units of the actions" in (out / "report.html").read_text()


def test_a_run_is_loaded_without_the_data_that_it_came_from(refined, tmp_path):
    run = refined("mixed", *MIXED)
    moved = shutil.copytree(run, tmp_path / "robot")
    recipe = (moved / "recipe.yaml").read_text()
    (moved / "recipe.yaml").write_text(recipe.replace("mixed-data", "elsewhere"))
    loaded = burnish.load(moved)
    state = read_dataset(run / "dataset").observations[STATE][0].numpy()
    action = loaded.policy.act({STATE: state})
    assert loaded.scaling is not None and -45 <= action[0] <= 135 and 2.94 < action[1] < 3.06
    assert loaded.env(4).reset()[0].shape == (4, 4)


def followed(folder: Path, episodes: int = 16) -> Path:
    """Two joints in degrees that follow absolute targets towards a place of their own; 4 of 16 stop short of it."""
    generator, written = np.random.default_rng(0), []
    for number in range(episodes):
        joints, aim = generator.uniform(-80, 80, 2), generator.uniform(-80, 80, 2)
        states, actions, success = [], [], []
        for _ in range(24):
            target = joints + np.clip(aim - joints, -12, 12) + generator.normal(0, 1, 2)
            states.append([*joints, *aim])
            actions.append(target)
            joints = joints + (0.9 if number % 4 else 0.2) * (target - joints)
            success.append(np.abs(joints - aim).max() < 8)
        rows = np.array(states, np.float32), np.array(actions, np.float32)
        written.append(Episode({STATE: rows[0]}, rows[1], np.array(success), "unknown", -1, "follow"))
    names = ("pan", "lift", "pan_aim", "lift_aim")
    write_dataset(folder, written, DatasetInfo(fps=10, state_names=names, action_names=names[:2]))
    return folder


def test_absolute_targets_are_learned_relative_and_given_absolute(tmp_path):
    """The whole run; outside the policy's answer is its difference inside plus where the joints are, frame by frame."""
    data, out = followed(tmp_path / "data"), tmp_path / "run"
    short = flags({"refine.iterations": 2, "gate.worlds": 0, "policy.chunk": 3})
    assert main([*own_data_command(data, out, *short), "--action-targets", "relative"]) == 0
    recorded, inside = read_dataset(data), whole(out / "dataset", (), True, RewardConfig())
    scaling = recorded_scaling(out / "dataset")
    assert scaling is not None and scaling.relative_to == (0, 1) and max(scaling.high) < 30
    torch.testing.assert_close(scaling.to_data(inside.actions, recorded.observations[STATE]), recorded.actions)
    assert "learned as the way there from the state" in (out / "report.html").read_text()
    # One plan of three steps: each is added to the state at its own frame.
    agent = load_agent(out / "refined")
    assert agent.policy.config.chunk == 3
    states = recorded.observations[STATE][:3]
    agent.begin(1)
    given = torch.cat([agent.act({STATE: state[None]}) for state in states])
    agent.begin(1)
    agent.scaling = None
    unit = torch.cat([agent.act({STATE: state[None]}) for state in states])
    low, high = torch.tensor(scaling.low), torch.tensor(scaling.high)
    torch.testing.assert_close(given, states[:, :2] + (low + high) / 2 + (high - low) / 2 * unit, atol=1e-4, rtol=0)
    # Through a server, one frame at a time; a file that knows one state of three cannot say it.
    policy = burnish.load(out).policy
    server = PolicyServer(load_agent(out / "refined"))
    memory = server.memory()
    served = [server.infer(memory, {STATE: state.numpy()})["actions"] for state in states]
    np.testing.assert_allclose(np.concatenate(served), given.numpy(), atol=1e-4)
    assert np.abs(policy.act({STATE: states[0].numpy()}) - states[0, :2].numpy()).max() < 40
    with pytest.raises(InputError, match="chunk 1"):
        export_onnx(load_agent(out / "refined"), tmp_path / "onnx")


def test_relative_is_refused_where_there_is_nothing_to_be_relative_to(tmp_path, capsys):
    command = own_data_command(write_point_data(tmp_path / "data"), tmp_path / "run", "--dry-run")
    for wanted in ("relative", "absolute"):
        assert main([*command, "--action-targets", wanted]) == 2
        assert f"--action-targets {wanted}: found no action that is a target" in capsys.readouterr().err
    followed(tmp_path / "joints")
    command = own_data_command(tmp_path / "joints", tmp_path / "run", "--dry-run")
    assert main([*command, "--action-targets", "absolute"]) == 0
    assert main([*command, "--action-targets", "relative", "--action-units", "unit"]) == 2
