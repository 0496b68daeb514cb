"""The trust gate in a finished run: what its stages leave, what held-out worlds never saw, and when there are none."""

import json
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from burnish.recipes.gating import (
    ACCEPTED,
    WORLDS,
    accept,
    gate_starts,
    held_out_splits,
    held_out_worlds,
    judge,
    lacking,
    plays,
    recorded_success,
    time_limit,
    train_held_out_worlds,
)
from burnish.recipes.views import StateView

from burnish.cli import main
from burnish.components import load
from burnish.data import Dataset, Windows, folds, read_dataset, write_dataset
from burnish.evaluation.gate import Recorded
from burnish.imagination import imagined_play
from burnish.pipeline import StageContext
from burnish.policies import load_agent
from burnish.recipes import gating
from burnish.recipes.catalogue import entry
from burnish.recipes.recording import Recorder
from burnish.recipes.runs import recipe_steps, reopen
from burnish.storage import load_tensors, read_json
from burnish.world_models import DiffusionWorldModel
from tests.data.support import INFO, make_episode
from tests.recipes.small_runs import TASK, finish, redone, stage_files, start, wait_for

PARTS = ("world_model", "ensemble", "ensemble/support", "classifier")


@pytest.fixture(scope="module")
def data(finished):
    return read_dataset(finished / "dataset", cameras=())


@pytest.fixture(scope="module")
def gate(finished):
    return reopen(finished).config.gate


def weights(folder):
    return load_tensors(folder / "model.safetensors")[0]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def stage(folder, run, *inputs, **others):
    """A context for a stage outside of the run, which reads stages of it."""
    return StageContext(folder.name, folder, {**{name: run / name for name in inputs}, **others}, "x")


def with_successes(dataset, count, others=20):
    """The first `count` successful episodes, and others that are not."""
    episodes = [number for number, success in enumerate(dataset.episode_success.tolist()) if success][:count]
    episodes += [number for number, success in enumerate(dataset.episode_success.tolist()) if not success][:others]
    return dataset.subset(episodes)


# -- what a run leaves -------------------------------------------------------------------------------------------------


def test_every_world_is_another_one(finished, gate):
    """Different weights and thresholds, from each other and from the run's own models."""
    folders = [finished, *(finished / WORLDS / f"world_{number}" for number in range(gate.worlds))]
    assert sorted(path.name for path in (finished / WORLDS).glob("world_*")) == ["world_0", "world_1"]
    for part in PARTS:
        found = [weights(folder / part) for folder in folders]
        for number, one in enumerate(found):
            assert not any(same(one, other) for other in found[:number]), part
    assert len(held_out_worlds(finished / WORLDS)) == 2
    assert list((finished / WORLDS).rglob("resume.safetensors")) == []


def test_worlds_are_of_another_kind_than_the_runs_own(finished):
    """The run's world model starts from inertia; theirs do not, unless the configuration says so."""
    assert reopen(finished).config.history.inertia
    assert load(finished / "world_model", DiffusionWorldModel).space.inertia.linear
    for world in held_out_worlds(finished / WORLDS):
        assert not any(each.space.inertia.linear for each in (world.world_model, *world.pessimism.uncertainties))
    resolved = reopen(finished)
    same_kind = replace(resolved, config=replace(resolved.config, held_out_inertia=True))
    with Recorder(TASK, 0, resolved.config.simulator, workers=1) as recorder:
        step = next(step for step in recipe_steps(same_kind, recorder) if step.name == WORLDS)
    assert step.config["history"] == resolved.config.history


def test_worlds_are_trained_for_their_share_of_the_steps(finished, gate):
    """300, 40 and 40 steps of the run itself, half of them here."""
    for part, steps in (("world_model", 150), ("ensemble", 20), ("classifier", 20)):
        lines = (finished / WORLDS / "world_1" / part / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["step"] == steps == gate.training_share * (300 if part == "world_model" else 40)


def test_no_world_learned_from_what_is_held_out(finished, data, gate):
    """A world's support keeps every window that it was trained on; of the held-out ones it has none."""
    for world, (training, held_out) in zip(
        held_out_worlds(finished / WORLDS), folds(data, gate.worlds, seed=0), strict=True
    ):
        near = []
        for part in (training, held_out):
            windows = Windows(part, history=world.pessimism.uncertainties[1].space.config.frames, horizon=1)
            states = world.world_model.recorded(part).rows(windows.present_frames)
            # A distance is a difference of large squares: what is the same is at 0.01, at most.
            near.append(
                float(
                    (world.pessimism.uncertainties[1](states, part.actions[windows.present_frames]) < 0.02)
                    .float()
                    .mean()
                )
            )
        assert near == [1, 0]


def test_worlds_get_their_folds_and_seeds_and_fewer_steps(data, gate, finished, tmp_path):
    calls = []
    config = reopen(finished).config
    context = stage(tmp_path / "worlds", finished)
    train_held_out_worlds(config, gate, 5, data, lambda *call: calls.append(call), context)
    for (shorter, _, split, part), expected, number in zip(calls, folds(data, 2, seed=5), range(2), strict=True):
        assert split[0].seeds == expected[0].seeds and split[1].seeds == expected[1].seeds
        assert part.folder == tmp_path / "worlds" / f"world_{number}"
        assert shorter.world_model_training.steps == 150 and shorter.classifier_training.steps == 20
        assert shorter.ensemble_training == replace(config.ensemble_training, steps=20)
        assert shorter.pretraining == config.pretraining
    assert len({seed for _, seed, _, _ in calls} | {5}) == 3


def test_the_policy_that_is_handed_out(finished):
    """The refined one or the pretrained one, as gate.json and the stage's manifest say."""
    found = read_json(finished / ACCEPTED / "gate.json")
    assert stage_files(finished)[ACCEPTED]["outputs"]["accepted"] is found["accepted"]
    chosen, other = ("refined", "policy") if found["accepted"] else ("policy", "refined")
    assert same(weights(finished / ACCEPTED), weights(finished / chosen))
    assert not same(weights(finished / ACCEPTED), weights(finished / other))
    assert load_agent(finished / ACCEPTED, TASK).policy.action_dim == 4
    assert found["accepted"] == all(check["passed"] for check in found["checks"]) and found["reasons"]


def judged(finished, data, gate):
    """What the gate finds, from the run's files alone."""
    pretrained, refined = (load_agent(finished / name, TASK) for name in ("policy", "refined"))
    return judge(gate, 0, data, pretrained, refined, held_out_worlds(finished / WORLDS))


def test_the_decision_can_be_taken_again(finished, data, gate):
    """Bit for bit, whatever the global generator was at."""
    torch.manual_seed(99)
    found = judged(finished, data, gate).to_dict()
    written = json.loads((finished / ACCEPTED / "gate.json").read_text(), parse_constant=pytest.fail)
    assert json.loads(json.dumps(found, allow_nan=False)) == written


@pytest.mark.parametrize("accepted", [True, False])
def test_either_decision_hands_out_its_policy(accepted, finished, data, gate, tmp_path, monkeypatch):
    """The stage itself, on the run's models; the verdict alone is turned."""
    monkeypatch.setattr(gating, "judge", lambda *given: replace(judge(*given), accepted=accepted))
    context = stage(tmp_path / "accepted", finished, "dataset", "policy", "refined", WORLDS)
    accept(replace(gate, episodes=4), 0, StateView(), TASK, context)
    chosen = finished / ("refined" if accepted else "policy")
    assert same(weights(context.folder), weights(chosen))
    assert read_json(context.folder / "gate.json")["accepted"] is accepted
    assert context.outputs["accepted"] is accepted


# -- what is played ----------------------------------------------------------------------------------------------------


def starting(*in_success, length=4):
    """Episodes that begin in success, or reach it at their end."""
    made = [make_episode(length, seed=n, success_at=0 if won else -1) for n, won in enumerate(in_success)]
    return Dataset.from_episodes(made, INFO)


def test_plays_start_where_episodes_did_but_not_in_success():
    data = starting(False, True, False, False, True, False)
    assert gate_starts(data, 100, seed=0).sort().values.tolist() == [0, 8, 12, 20], "as far as they go"
    drawn = [tuple(gate_starts(data, 2, seed).tolist()) for seed in range(20)]
    assert all(len(set(frames)) == 2 for frames in drawn) and len(set(drawn)) > 3
    assert gate_starts(data, 2, seed=7).equal(gate_starts(data, 2, seed=7))


def test_the_time_limit_is_the_simulators_or_the_longest_episode():
    data = starting(False, False, length=7)
    assert time_limit(data) == 100
    assert time_limit(replace(data, info=replace(data.info, max_steps=None))) == 7


def test_both_policies_play_from_the_same_starts_in_each_world(finished, data):
    """Each world has a seed of its own, the same for both policies."""
    worlds, agent = held_out_worlds(finished / WORLDS), load_agent(finished / "policy", TASK)
    one, other = (plays(agent, worlds, data, 3, seed=2) for _ in range(2))
    assert len(one) == 2 and all(torch.equal(a.doubt, b.doubt) for a, b in zip(one, other, strict=True))
    frames = gate_starts(data, 3, seed=2)
    starts = worlds[1].world_model.recorded(data).rows(frames)
    seen = {key: values[frames] for key, values in data.observations.items()}
    alone = imagined_play(agent, worlds[1], starts, seen, time_limit(data), seed=3)
    assert torch.equal(alone.doubt, one[1].doubt)


def test_held_out_splits_are_those_of_the_training(data):
    assert [part.seeds for part in held_out_splits(data, 2, 5)] == [part.seeds for _, part in folds(data, 2, 5)]


def test_recorded_success_counts_the_policys_own_episodes(finished, data):
    """Rollouts without noise are the policy's; demonstrations and random motion are not."""
    agent = load_agent(finished / "policy", TASK)
    noiseless = recorded_success(agent, data)
    rollouts = data.with_sources(["policy"])
    assert noiseless is not None and 1 <= noiseless.episodes <= rollouts.num_episodes
    assert noiseless == recorded_success(agent, rollouts)
    assert noiseless.successes <= int(rollouts.episode_success.sum())
    assert recorded_success(agent, data.with_sources(["expert", "random"])) is None
    assert isinstance(noiseless, Recorded)


# -- too little data, or no gate ---------------------------------------------------------------------------------------


def test_what_the_data_lacks(data):
    successful = int(data.episode_success.sum())
    assert lacking(data, 2, seed=0) is None
    assert lacking(with_successes(data, 1), 2, 0) == "the data has 1 successful episodes, too few for 2 held-out worlds"
    assert lacking(with_successes(data, 0), 2, 0) == "the data has 0 successful episodes, too few for 2 held-out worlds"
    assert lacking(data, 11, 0) == f"the data has {successful} successful episodes, too few for 11 held-out worlds"
    assert lacking(data, 12, 0) == "the data has 11 episodes, too few for 12 held-out worlds"
    assert "do not begin in success" in lacking(starting(True, True, False), 2, 0)
    assert lacking(starting(True, False, False), 2, 0) is None


@pytest.mark.parametrize("left", [{"count": 1}, {"count": 1, "others": 0}], ids=["successes", "episodes"])
def test_too_little_data_is_a_reason_and_no_error(left, finished, data, gate, tmp_path):
    """No world is trained, the pretrained policy is handed out, and gate.json says why."""
    few = with_successes(data, **left)
    write_dataset(tmp_path / "few", few.to_episodes(), few.info)
    worlds = stage(tmp_path / "worlds", finished)
    train_held_out_worlds(reopen(finished).config, gate, 0, few, lambda *call: pytest.fail("trained"), worlds)
    assert list(worlds.folder.iterdir()) == []
    inputs = {"dataset": tmp_path / "few", WORLDS: worlds.folder}
    context = stage(tmp_path / "accepted", finished, "policy", "refined", **inputs)
    accept(gate, 0, StateView(), TASK, context)
    found = read_json(context.folder / "gate.json")
    assert found == {"accepted": False, "reasons": [lacking(few, 2, 0)]} and "too few for 2" in found["reasons"][0]
    assert context.outputs["accepted"] is False
    assert same(weights(context.folder), weights(finished / "policy"))


class _NoSimulator:
    """Stages ask for a recorder only when they are done."""


@pytest.mark.parametrize("recipe", ["world4rl", "diwa"])
def test_without_held_out_worlds_there_is_no_gate(recipe):
    config = entry(recipe).preset("tiny")

    def names(worlds):
        changed = replace(config, gate=replace(config.gate, worlds=worlds))
        return [step.name for step in entry(recipe).steps(changed, TASK, 0, _NoSimulator())]

    with_gate = names(2)
    place = with_gate.index(WORLDS)
    assert with_gate[place - 1 : place + 3] == ["refined", WORLDS, ACCEPTED, "evaluation"]
    assert names(0) == [name for name in with_gate if name not in (WORLDS, ACCEPTED)]


def test_confidence_is_no_reason_to_train_again(copy):
    before = stage_files(copy)
    # A command for a stage takes no settings, so the run's own are changed.
    recipe = (copy / "recipe.yaml").read_text()
    assert "confidence: 0.95" in recipe
    (copy / "recipe.yaml").write_text(recipe.replace("confidence: 0.95", "confidence: 0.9"))
    assert main(["gate", str(copy), "--threads", "1"]) == 0
    assert redone(before, stage_files(copy)) == {ACCEPTED}
    assert read_json(copy / ACCEPTED / "gate.json")["confidence"] == 0.9


# -- interrupted -------------------------------------------------------------------------------------------------------


def test_kill_9_in_the_second_world_changes_no_weights(finished, copy):
    """What the first world has is kept; the second one goes on where it was."""
    for name in (WORLDS, ACCEPTED):
        shutil.rmtree(copy / name)
    partial = copy / ".partial" / WORLDS
    process = start(["gate", str(copy), "--threads", "1"])
    try:
        wait_for(process, (partial / "world_1/world_model/resume.safetensors").exists)
    finally:
        process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    done = json.loads(partial.with_suffix(".json").read_text())["outputs"]
    assert [key for key in done if key.endswith("/done")] == [
        f"world_0/{part}/done" for part in ("world_model", "ensemble", "classifier")
    ]
    stamp = (partial / "world_0/world_model/model.safetensors").stat().st_mtime_ns
    assert main(["gate", str(copy), "--threads", "1"]) == 0
    assert (copy / WORLDS / "world_0/world_model/model.safetensors").stat().st_mtime_ns == stamp
    for world in ("world_0", "world_1"):
        for part in PARTS:
            name = f"{WORLDS}/{world}/{part}/model.safetensors"
            assert (copy / name).read_bytes() == (finished / name).read_bytes(), name
    for name in ("gate.json", "model.safetensors"):
        assert (copy / ACCEPTED / name).read_bytes() == (finished / ACCEPTED / name).read_bytes(), name
