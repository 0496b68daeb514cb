"""Rounds with a simulator: real steps counted, models that learn on, killed and resumed to the same bits; refusals."""

import itertools
import json
import re
from pathlib import Path

import pytest
import torch

from burnish.cli import main
from burnish.components import load, save
from burnish.config import to_dict
from burnish.data import STATE, ActionScaling, Dataset, read_dataset
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig
from burnish.recipes.stages.data import SCALING_FILE, recorded_scaling, split
from burnish.recipes.stages.online import as_recorded, grown_split, play_on
from burnish.recipes.stages.recording import Real
from burnish.rewards import RewardConfig
from burnish.rl import A2C
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import write_json
from burnish.world_models import GRUEnsemble, HistoryConfig, ObservationHistory, TrajectoryDenoiser
from tests.recipes.small_data import write_rewarded_data
from tests.recipes.small_runs import DENSE_TASK, own_data_command

ROUNDS, EPISODES, STEPS = 2, 3, 20
"""And the actions of a real episode."""
SIZES = {"rounds": ROUNDS, "episodes": EPISODES, "world-model-steps": 20}
SEEN = {"cameras": (), "states": True, "reward": RewardConfig(kind="learned")}


def online(name: str, *more: str) -> list[str]:
    settings = {
        **{f"online.{key}": value for key, value in SIZES.items()},
        "world-model-training.steps": 40,
        "refine.iterations": 3,
        "refine.imagined-episodes": 8,
        "refine.evaluate-every": 10,
        "refine.margin": 1e9,
        "gate.worlds": 0,
        "evaluation.episodes": 2,
    }
    return [*(f"--config.{key}={value}" for key, value in settings.items()), *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rewarded_data(tmp_path_factory.mktemp("online") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("online") / "run"
    assert main(own_data_command(data, out, *online("polygrad"), name="polygrad")) == 0
    return out


def outputs(folder: Path) -> dict:
    return json.loads((folder / "stage.json").read_text())["outputs"]


def test_real_steps_are_counted_and_the_data_grow(run, data):
    report = json.loads((run / "report.json").read_text())
    assert report["simulator_steps"]["collection"] == ROUNDS * EPISODES * STEPS
    assert report["simulator_steps"]["refinement"] == 0
    first, grown = read_dataset(data), read_dataset(run / "dataset")
    assert grown.num_episodes == first.num_episodes + ROUNDS * EPISODES
    assert torch.equal(grown.actions[: first.num_frames], first.actions)
    assert grown.sources[first.num_episodes :] == ("online_1",) * EPISODES + ("online_2",) * EPISODES
    own = torch.arange(grown.num_frames) >= first.num_frames
    assert bool((grown.actions[own].abs() <= 1).all()) and len(set(grown.seeds[first.num_episodes :])) == 6
    # The reward is that of the simulator: minus the distance to the origin that the state shows.
    later = own.clone()
    later[grown.starts] = False
    assert grown.reward is not None
    distance = grown.observations[STATE][later][:, :2].norm(dim=1)
    torch.testing.assert_close(grown.reward[later], -distance, atol=1e-5, rtol=1e-5)


def test_each_round_goes_on_from_the_last(run):
    worlds = [load(run / name / "world_model", TrajectoryDenoiser) for name in ("round_0", "round_1", ".")]
    for before, after in itertools.pairwise(worlds):
        assert torch.equal(before.normaliser.mean, after.normaliser.mean)
        assert bool((after.low <= before.low).all()) and bool((after.high >= before.high).all())
        assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    # Twenty steps with a warmed-up rate of 2e-3 leave the weights near to where the last round left them.
    one, two = (torch.cat([p.detach().flatten() for p in world.parameters()]) for world in worlds[:2])
    assert float((one - two).norm()) < 0.3 * float(one.norm())
    policies = [load(run / name, Agent).policy for name in ("policy", "round_0/refined", "round_1/refined", "refined")]
    assert [_differ(a, b) for a, b in itertools.pairwise(policies)] == [True, True, False]
    report = json.loads((run / "report.json").read_text())
    refined = [outputs(run / name) for name in ("round_0/refined", "round_1/refined", "refined")]
    # The newest plays; in the last round a margin that nothing passes keeps what it began with.
    assert [each["iteration"] for each in refined] == [3, 3, 0] and report["chosen_iteration"] == 6
    assert report["imagined_steps"] == sum(each["imagined_steps"] for each in refined)
    told = report["imagined_return"]
    assert told["pretrained"] == pytest.approx(refined[0]["imagined"]["return"]["pretrained"], abs=1e-3)
    assert told["refined"] == pytest.approx(refined[-1]["imagined"]["return"]["refined"], abs=1e-3)


def _differ(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_what_a_model_learned_from_is_never_held_out(run):
    first, grown = run / "round_0/dataset", run / "dataset"
    held = {name: set(split(first, 0.1, **SEEN)[index].seeds) for index, name in enumerate(("learned", "held_out"))}
    learned, held_out = grown_split(grown, 0.1, (EPISODES,) * ROUNDS, **SEEN)
    assert held["learned"] <= set(learned.seeds) and held["held_out"] <= set(held_out.seeds)
    assert learned.num_episodes + held_out.num_episodes == read_dataset(grown).num_episodes
    for number in (1, 2):
        assert [part.sources.count(f"online_{number}") for part in (learned, held_out)] == [EPISODES - 1, 1]


def test_stopped_in_later_rounds_it_ends_with_the_same_bits(run, data, tmp_path, monkeypatch):
    """First while the policy learns in the first round's models, then while the world model learns on in the last."""
    out = tmp_path / "run"
    whole = own_data_command(data, out, *online("polygrad"), name="polygrad")
    command = [each for each in whole if "checkpoint-seconds" not in each]
    command += [f"--config.{part}.checkpoint-seconds=0" for part in ("world-model-training", "refine")]
    update, loss, count = A2C.update, TrajectoryDenoiser.loss, {"loss": 0, "update": 0}

    def stopped(self, *arguments):
        count["update"] += 1
        if count["update"] == 5:
            raise KeyboardInterrupt
        return update(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(A2C, "update", stopped)
        assert main(command) != 0
    assert (out / "round_0/refined").is_dir() and not (out / "round_1/refined").is_dir()

    def losing(self, batch):
        count["loss"] += 1
        if count["loss"] == 12:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TrajectoryDenoiser, "loss", losing)
        assert main(command) != 0
    assert (out / "round_1/refined").is_dir() and not (out / "world_model").is_dir()
    assert main(command) == 0
    for name in ("round_1/world_model", "round_1/refined", "world_model"):
        one, other = (folder / name / "model.safetensors" for folder in (run, out))
        assert one.read_bytes() == other.read_bytes(), name


def test_the_ensemble_of_rwm_learns_on_and_needs_no_data_set(tmp_path):
    """From random motion: the same rounds, with thresholds made anew."""
    out = tmp_path / "run"
    more = ["--config.online.rounds=1", "--config.online.random-episodes=8", "--config.classifier-training.steps=20"]
    whole = own_data_command(tmp_path, out, *online("rwm", *more), name="rwm")
    assert main([each for each in whole if each not in ("--dataset", str(tmp_path))]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["simulator_steps"]["collection"] == (8 + EPISODES) * STEPS
    assert read_dataset(out / "dataset").sources == ("random",) * 8 + ("online_1",) * EPISODES
    first, last = (load(out / name / "world_model", GRUEnsemble) for name in ("round_0", "."))
    assert torch.equal(first.normaliser.mean, last.normaliser.mean) and not torch.equal(first.threshold, last.threshold)


def test_real_actions_join_data_in_units_of_their_own(tmp_path):
    """The simulator's pushes reach from 0 to 10, the data's from 2 to 8; the state shows what was pushed, unscaled."""
    earlier = write_rewarded_data(tmp_path / "earlier", episodes=2)
    first = read_dataset(earlier)
    scaling = ActionScaling((2.0, 2.0), (8.0, 8.0))
    write_json(earlier / SCALING_FILE, to_dict(scaling))
    torch.manual_seed(0)
    policy = GaussianPolicy(4, 2, GaussianPolicyConfig(hidden=(8,)))
    save(tmp_path / "agent", Agent(ObservationHistory(4, 2, HistoryConfig(frames=1)), policy, "point", scaling))
    context = StageContext("dataset", tmp_path / "run/dataset", {}, "identity")
    real, reward = Real(DENSE_TASK, 0, SimulatorConfig(max_steps=9)), RewardConfig(kind="learned")
    made = play_on(context, real, earlier, tmp_path / "agent", 2, 1, "point", reward)
    joined = Dataset.from_episodes(made.episodes, made.info)
    assert joined.num_episodes == 4 and joined.tasks[2:] == ("point", "point")
    assert torch.equal(joined.actions[: first.num_frames], first.actions)
    assert recorded_scaling(context.folder) == scaling and context.outputs["simulator_steps"] == 2 * 9
    for start, length in zip(joined.starts[2:].tolist(), joined.lengths[2:].tolist(), strict=True):
        actions, state = (values[start : start + length] for values in (joined.actions, joined.observations[STATE]))
        torch.testing.assert_close(state[1:, 2:], actions[:-1] / 5 - 1, atol=1e-5, rtol=1e-5)
        assert float(actions.min()) >= 2 - 1e-5 and float(actions.max()) <= 8 + 1e-5 and float(actions.std()) > 0.1


def test_what_the_simulator_does_not_show_is_refused(data):
    dataset = read_dataset(data)
    episode = dataset.to_episodes()[0]
    more = {**dataset.observations, "observation.force": torch.zeros(dataset.num_frames, 1)}
    with pytest.raises(InputError, match=r"does not show 'observation\.force'.*online\.rounds 0"):
        as_recorded(episode, Dataset(**{**vars(dataset), "observations": more}), DENSE_TASK)
    without = Dataset(**{**vars(dataset), "reward": None, "terminated": None})
    joined = as_recorded(episode, without, "another")
    assert joined.reward is None and joined.terminated is None and joined.task == "another"


@pytest.mark.parametrize(
    ("name", "left_out", "more", "told"),
    [
        ("polygrad", "--task", [], r"online\.rounds: found 2 rounds.*no simulator.*--task"),
        ("rwm", "--task", [], r"online\.rounds: found 2 rounds.*no simulator.*--task"),
        ("polygrad", "--dataset", ["--config.online.rounds=0"], r"no --dataset.*--config\.online\.rounds"),
        ("rwm", "", ["--config.world-model.privileged=observation.state"], r"privileged.*online\.rounds"),
    ],
    ids=["polygrad-no-simulator", "rwm-no-simulator", "no-data-no-rounds", "privileged"],
)
def test_where_nothing_can_be_played_it_says_so(name, left_out, more, told, data, tmp_path, capsys):
    command = own_data_command(data, tmp_path / "run", *online(name, *more), name=name)
    if left_out:
        at = command.index(left_out)
        command = command[:at] + command[at + 2 :]
    assert main(command) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))
