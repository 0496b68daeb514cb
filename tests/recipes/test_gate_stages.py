"""The trust gate in a finished run: what its stages leave, what held-out worlds never saw, and when there are none."""

import json
from dataclasses import replace

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import Dataset, Windows, folds, read_dataset, write_dataset
from burnish.evaluation.agreement import ReturnTest
from burnish.evaluation.gate import Recorded
from burnish.evaluation.handing_out import OVER_FILTERED, handed_out
from burnish.imagination import imagined_play
from burnish.pipeline import Absent, StageContext
from burnish.policies import load_agent
from burnish.recipes import base
from burnish.recipes.runs import reopen
from burnish.recipes.stages import gate as stages
from burnish.recipes.stages.data import fold, lacking
from burnish.recipes.stages.gate import accept, gate_starts, judge, plays, recorded_outcome
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import time_limit
from burnish.rewards import RewardConfig
from burnish.storage import load_tensors, read_json
from tests.data.support import INFO, make_episode
from tests.recipes.small_runs import TASK, redone, stage_files

PARTS = ("world_model", "ensemble", "support", "classifier")


@pytest.fixture(scope="module")
def data(finished):
    return read_dataset(finished / "dataset", cameras=())


@pytest.fixture(scope="module")
def gate(finished):
    return reopen(finished).config.gate


@pytest.fixture(scope="module")
def worlds(finished):
    """What the gate's stages left, as the stage of the decision gets it."""
    return [models(finished / "gate" / f"world_{number}") for number in range(2)]


def models(folder):
    world, ensemble, support, classifier = (load(folder / part) for part in PARTS)
    return base.Models(world, classifier, (ensemble, support))


def weights(folder):
    return load_tensors(folder / "model.safetensors")[0]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def with_successes(dataset, count, others=20):
    """The first `count` successful episodes, and others that are not."""
    episodes = [number for number, success in enumerate(dataset.episode_success.tolist()) if success][:count]
    episodes += [number for number, success in enumerate(dataset.episode_success.tolist()) if not success][:others]
    return dataset.subset(episodes)


# -- what a run leaves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["world4rl", "diwa"])
def test_every_world_is_another_one(name, runs):
    """Different weights and thresholds, from each other and from the run's own models; recurrent worlds, too."""
    run, parts = runs(name), PARTS if name == "world4rl" else ("world_model", "ensemble", "classifier")
    folders = [run, *(run / "gate" / f"world_{number}" for number in range(2))]
    assert sorted(path.name for path in (run / "gate").iterdir()) == ["world_0", "world_1"]
    for part in parts:
        found = [weights(folder / part) for folder in folders]
        for number, one in enumerate(found):
            assert not any(same(one, other) for other in found[:number]), part
    assert list((run / "gate").rglob("resume.safetensors")) == []


def test_worlds_are_of_another_kind_than_the_runs_own(finished, worlds):
    """The run's world model starts from inertia; theirs do not, unless the configuration says so."""
    assert models(finished).world.space.inertia.linear
    for world in worlds:
        assert not any(each.space.inertia.linear for each in (world.world, *world.uncertainties))
    resolved = reopen(finished)
    for inertia in (False, True):
        plan = replace(resolved, config=replace(resolved.config, held_out_inertia=inertia)).plan
        assert plan.models.world.arguments["history"].inertia
        assert plan.accepted.arguments["worlds"][1].world.arguments["history"].inertia is inertia


def test_no_world_learned_from_what_is_held_out(data, worlds):
    """A world's support keeps every window that it was trained on; of the held-out ones it has none."""
    for world, (training, held_out) in zip(worlds, folds(data, 2, seed=0), strict=True):
        near = []
        for part in (training, held_out):
            support = world.uncertainties[1]
            windows = Windows(part, history=support.space.config.frames, horizon=1)
            states = world.world.recorded(part).rows(windows.present_frames)
            # A distance is a difference of large squares: what is the same is at 0.01, at most.
            found = support(states, part.actions[windows.present_frames]) < 0.02
            near.append(float(found.float().mean()))
        assert near == [1, 0]


def test_worlds_have_their_folds_and_seeds_and_fewer_steps(finished, data):
    """200, 40 and 40 steps of the run itself, half of them here."""
    resolved = reopen(finished)
    plan = replace(resolved, run=replace(resolved.run, seed=5)).plan
    found = plan.accepted.arguments["worlds"]
    for number, (world, expected) in enumerate(zip(found, folds(data, 2, seed=5), strict=True)):
        assert world.world.name == f"gate/world_{number}/world_model"
        for each, steps in ((world.world, 100), (world.reward, 20), (world.uncertainties[0], 20)):
            reading = each.arguments["data"]
            assert reading.function is fold and each.arguments["training"].steps == steps
            split = reading.function(finished / "dataset", **reading.settings)
            assert [part.seeds for part in split] == [part.seeds for part in expected]
    assert len({world.world.arguments["seed"] for world in found} | {5}) == 3
    log = (finished / "gate/world_1/world_model/metrics.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["step"] == 100


@pytest.mark.parametrize("name", ["world4rl", "diwa"])
def test_the_policy_that_is_handed_out(name, runs):
    """The refined, the filtered or the pretrained one, as gate.json and the stage's manifest say."""
    run = runs(name)
    found = json.loads((run / "accepted/gate.json").read_text(), parse_constant=pytest.fail)
    assert stage_files(run)["accepted"]["outputs"]["accepted"] is found["accepted"]
    folders = {"pretrained": "policy", "filtered": "filtered", "refined": "refined"}
    chosen = folders.pop(found["handed_out"])
    assert found["accepted"] is (chosen == "refined")
    assert same(weights(run / "accepted"), weights(run / chosen))
    assert not any(same(weights(run / "accepted"), weights(run / other)) for other in folders.values())
    assert load_agent(run / "accepted", TASK).policy.action_dim == 4
    assert found["accepted"] <= all(check["passed"] for check in found["checks"]) and found["reasons"]
    assert set(found["filtered"]) == {"accepted", "estimate", "low", "high", "confidence", "reasons"}
    assert len(found["refined"]["per_world"]) == 2
    assert found["back_test"]["both"] + found["back_test"]["only_real"] > 0


@pytest.fixture(scope="module")
def decision(finished, data, gate, worlds):
    """What the gate finds, asked once more."""
    torch.manual_seed(99)
    return judge(gate, 0, data, agents(finished), worlds)[0]


def agents(run):
    folders = {"pretrained": "policy", "filtered": "filtered", "refined": "refined"}
    return {name: load_agent(run / folder) for name, folder in folders.items()}


def test_the_decision_can_be_taken_again(decision, finished):
    """Bit for bit, whatever the global generator was at."""
    found = json.loads(json.dumps(handed_out(decision, fallback=True), allow_nan=False))
    written = read_json(finished / "accepted/gate.json")
    teach = written.pop("teach")
    assert found == written
    assert all(len(set(each["outcomes"])) > 1 and each["source"] in ("expert", "policy", "random") for each in teach)


@pytest.mark.parametrize(
    ("accepted", "gains", "over", "handed"),
    [
        ((), (0.0, -0.1), 0.0, "pretrained"),
        ((), (0.0, 0.0), 0.0, "filtered"),
        (("refined",), (0.3, 0.1), 0.2, "refined"),
        (("filtered",), (0.0, 0.2), -0.2, "filtered"),
        (("refined", "filtered"), (0.3, 0.2), 0.1, "refined"),
        (("refined", "filtered"), (0.2, 0.3), -0.1, "filtered"),
    ],
)
def test_every_decision_hands_out_its_policy(
    accepted, gains, over, handed, decision, finished, data, gate, tmp_path, monkeypatch
):
    """The stage itself, whatever the gate finds in worlds that know the task."""
    found = {
        name: replace(decision[name], accepted=name in accepted, estimate=gain, knowledge="know")
        for name, gain in zip(("refined", "filtered"), gains, strict=True)
    }
    found[OVER_FILTERED] = replace(decision[OVER_FILTERED], estimate=over)
    monkeypatch.setattr(stages, "judge", lambda *given: (found, []))
    context, policies = StageContext("accepted", tmp_path / "accepted", {}, "x"), agents(finished)
    assert accept(context, (), data, policies, gate, seed=0) is policies[handed]
    written = read_json(context.folder / "gate.json")
    assert written["handed_out"] == handed and written["reasons"]
    assert written["accepted"] is (handed == "refined") is context.outputs["accepted"]
    assert written["vouched"] is bool(accepted)


@pytest.mark.parametrize(
    ("knowledge", "measure", "fallback", "handed"),
    [
        ("do not know", "success", True, "filtered"),
        ("half know", "success", True, "pretrained"),
        ("do not know", "success", False, "pretrained"),
        ("do not know", "return", True, "pretrained"),
    ],
)
def test_where_the_worlds_vouch_for_none(knowledge, measure, fallback, handed, decision):
    """All successes, cloned, unless worlds that know something expect less of it, or the policy was brought along."""
    scores = torch.arange(4.0)
    tested = decision["filtered"].back_test if measure == "success" else ReturnTest.of(scores, scores)
    found = {
        name: replace(each, accepted=False, estimate=-0.1, knowledge=knowledge, back_test=tested)
        for name, each in decision.items()
    }
    told = handed_out(found, fallback)
    assert (told["handed_out"], told["vouched"], told["accepted"]) == (handed, False, False)


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


def test_both_policies_play_from_the_same_starts_in_each_world(finished, data, worlds):
    """Each world has a seed of its own, the same for both policies."""
    frozen, agent = [imagined(each) for each in worlds], load_agent(finished / "policy", TASK)
    one, other = (plays(agent, frozen, data, 3, seed=2) for _ in range(2))
    assert len(one) == 2 and all(torch.equal(a.distance, b.distance) for a, b in zip(one, other, strict=True))
    frames = gate_starts(data, 3, seed=2)
    starts = frozen[1].world_model.recorded(data).rows(frames)
    seen = {key: values[frames] for key, values in data.observations.items()}
    alone = imagined_play(agent, frozen[1], starts, seen, time_limit(data), seed=3)
    assert torch.equal(alone.distance, one[1].distance)


def test_recorded_success_counts_the_policys_own_episodes(finished, data):
    """Rollouts without noise are the policy's; demonstrations and random motion are not."""
    agent = load_agent(finished / "policy", TASK)
    noiseless = recorded_outcome(agent, data, "success")
    rollouts = data.with_sources(["policy"])
    assert isinstance(noiseless, Recorded) and 1 <= noiseless.episodes <= rollouts.num_episodes
    assert noiseless == recorded_outcome(agent, rollouts, "success")
    assert noiseless.successes <= int(rollouts.episode_success.sum())
    assert recorded_outcome(agent, data.with_sources(["expert", "random"]), "success") is None


# -- too little data, or no gate ---------------------------------------------------------------------------------------


def test_what_the_data_lacks(data):
    successful = int(data.episode_success.sum())
    assert lacking(data, 2, seed=0) is None
    assert lacking(with_successes(data, 1), 2, 0) == "the data has 1 successful episodes, too few for 2 held-out worlds"
    none = with_successes(data, 0)
    assert lacking(none, 2, 0) is None, "returns tell, too"
    none = replace(none, reward=None)
    assert lacking(none, 2, 0) == "the data has 0 successful episodes, too few for 2 held-out worlds"
    assert lacking(data, 11, 0) == f"the data has {successful} successful episodes, too few for 11 held-out worlds"
    assert lacking(data, 12, 0) == "the data has 11 episodes, too few for 12 held-out worlds"
    assert "cannot be tested: every recorded episode succeeds" in lacking(with_successes(data, 6, others=0), 2, 0)
    assert "do not begin in success" in lacking(starting(True, True, False), 2, 0)
    assert "cannot be tested" in lacking(starting(True, False, False), 2, 0), "they succeed at their ends"


@pytest.mark.parametrize("left", [{"count": 1}, {"count": 1, "others": 0}], ids=["successes", "episodes"])
def test_too_little_data_is_a_reason_and_no_error(left, finished, data, gate, tmp_path):
    """No world gets its fold, the pretrained policy is handed out, and gate.json says why."""
    few = with_successes(data, **left)
    write_dataset(tmp_path / "few", few.to_episodes(), few.info)
    with pytest.raises(Absent, match="too few for 2") as reason:
        fold(tmp_path / "few", 0, 2, 0, cameras=(), states=True, reward=RewardConfig())
    context = StageContext("accepted", tmp_path / "accepted", {}, "x")
    policies, missing = agents(finished), base.Models(reason.value, reason.value)
    assert accept(context, (missing, missing), few, policies, gate, seed=0) is policies["pretrained"]
    found = read_json(context.folder / "gate.json")
    assert found == {"accepted": False, "handed_out": "pretrained", "vouched": False, "reasons": [lacking(few, 2, 0)]}
    assert context.outputs["accepted"] is False


def test_without_held_out_worlds_there_is_no_gate(finished):
    resolved = reopen(finished)
    assert "accepted" in resolved.plan.report.arguments["stages"]
    without = replace(resolved, config=replace(resolved.config, gate=replace(resolved.config.gate, worlds=0)))
    assert without.plan.accepted is None and without.plan.commands["gate"] == ()


def test_confidence_is_no_reason_to_train_again(copy):
    before = stage_files(copy)
    # A command for a stage takes no settings, so the run's own are changed.
    recipe = (copy / "recipe.yaml").read_text()
    assert "confidence: 0.95" in recipe
    (copy / "recipe.yaml").write_text(recipe.replace("confidence: 0.95", "confidence: 0.9"))
    assert main(["gate", str(copy), "--threads", "1"]) == 0
    assert redone(before, stage_files(copy)) == {"accepted"}
    assert read_json(copy / "accepted/gate.json")["confidence"] == 0.9
