"""World-Gymnast: its stages by themselves, on moving dots that two sentences send to different sides."""

import dataclasses
import importlib

import pytest
import torch

from burnish.cli import main
from burnish.components import load, save
from burnish.errors import InputError, RunError
from burnish.imagination import ImaginationConfig, PessimismConfig, StartConfig
from burnish.networks import FrameDiTConfig, InstructedConfig
from burnish.pipeline import StageContext, ordered
from burnish.policies import Agent, TokenPolicyConfig
from burnish.recipes.base import Models, RunSpec
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.world_gymnast import DEFAULT, PRESETS
from burnish.recipes.stages.cloning import Cloning
from burnish.recipes.stages.films import (
    clone_instructed,
    encoded_text,
    fit_judge,
    reach_judge,
    success_so_far,
    train_forcing,
)
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.world_gymnast import WorldGymnast, recipe
from burnish.rewards import EndpointConfig, ScriptedConfig, VideoJudgeConfig, VotesConfig
from burnish.rl import GRPOConfig, PPOConfig, RefineConfig
from burnish.storage import read_json
from burnish.training import TrainingConfig
from burnish.training import loop as training_loop
from burnish.world_models import DiffusionForcingConfig, FilmConfig, PatchLatentsConfig, with_instructions
from tests.recipes.small_data import SIDES, write_sided_data
from tests.recipes.small_runs import own_data_command, write_point_data
from tests.world_models.moving_dot import CAMERA, moving_dot, picture

refining = importlib.import_module("burnish.rl.refine")
SIZE = 32
FILM = FilmConfig((CAMERA,), SIZE, frames=2, film=3, every=4)
FORCING = DiffusionForcingConfig(FrameDiTConfig(width=16, depth=1, heads=2), steps=2)
POLICY = TokenPolicyConfig(
    chunk=3, bins=5, image_size=SIZE, network=InstructedConfig(width=16, depth=1, heads=2), temperature=2.0
)
TRAINING = TrainingConfig(
    steps=6, batch_size=8, learning_rate=1e-3, log_every=1, checkpoint_seconds=0.0, ema_decay=None
)


def context(folder):
    folder.mkdir(exist_ok=True)
    return StageContext(folder.name, folder, {}, "x")


@pytest.fixture(scope="module")
def data():
    """Success is a last position on the side that the sentence says; every third episode is the expert's."""
    found = moving_dot(12)
    position = found.observations["observation.state"]
    tasks = tuple("left" if number % 2 else "right" for number in range(12))
    success = torch.zeros(found.num_frames, dtype=torch.bool)
    for number, task in enumerate(tasks):
        last = 12 * number + 11
        success[last] = bool((position[last, 1] < 0) == (task == "left"))
    pictures = {key: picture(position, SIZE) for key in found.observations if "images" in key}
    found = dataclasses.replace(found, observations=pictures, success=success, tasks=tasks, sources=("policy",) * 12)
    assert {tasks[i] for i in range(12) if success[12 * i + 11]} == {"left", "right"}
    return with_instructions(found)


@pytest.fixture(scope="module")
def agent(data, tmp_path_factory):
    how = Cloning(POLICY, TRAINING, 0.0)
    return clone_instructed(context(tmp_path_factory.mktemp("policy")), data, FILM, how, None, "left", 0)


@pytest.fixture(scope="module")
def world(data, agent, tmp_path_factory):
    here = context(tmp_path_factory.mktemp("world"))
    found = train_forcing(here, data.split(0.34, 0), agent, PatchLatentsConfig(16, 24), FORCING, TRAINING, 0)
    assert here.outputs["latent_psnr"] > 15
    return found


def judged(data, world, folder, config, least_kappa=None, share=0.5, horizon=12):
    return fit_judge(context(folder), data.split(0.34, 0), world, config, TRAINING, share, least_kappa, horizon, 0)


def right_or_left(films, sentences):
    """Where the newest picture is bright."""
    bright = films[:, -1].float().mean((1, 2)).argmax(-1)
    return [
        bool((place < SIZE / 2) == (said == "left")) for place, said in zip(bright.tolist(), sentences, strict=True)
    ]


def the_contrary(films, sentences):
    return [not each for each in right_or_left(films, sentences)]


SEES = ScriptedConfig(f"{__name__}:right_or_left")


def test_success_so_far_is_each_episodes_own(data):
    so_far = success_so_far(data).view(12, 12)
    assert torch.equal(so_far[:, -1], data.episode_success) and not so_far[:, :-1].any()


def test_a_judge_is_measured_by_labels_before_it_is_used(data, world, tmp_path):
    found = judged(data, world, tmp_path, SEES, 0.5)
    kept = read_json(tmp_path / "judge.json")
    assert kept["recorded"]["kappa"] == 1.0 and kept["use"]["asked"] == 4 and found.limit == 11
    with pytest.raises(RunError, match=r"the judge is not to be trusted: .*κ = -.*expected 0.5 or more"):
        judged(data, world, tmp_path, ScriptedConfig(f"{__name__}:the_contrary"), 0.5)


def test_a_video_judge_learns_from_recorded_and_imagined_films(data, world, tmp_path):
    config = VideoJudgeConfig((8, 8), 16, (16,))
    judged(data, world, tmp_path, config)
    kept = read_json(tmp_path / "judge.json")
    assert {"recorded", "imagined"} <= set(kept) and kept["recorded"]["unanswered"] == 0


@pytest.mark.parametrize("judge", ["votes", "scripted"])
def test_a_judge_that_cannot_be_asked_stops_a_run_before_anything_trains(judge, data, tmp_path):
    gone = VotesConfig(EndpointConfig(url="http://127.0.0.1:9/v1", timeout=2.0)), ScriptedConfig("no:where")
    chosen = gone[judge == "scripted"]
    with pytest.raises(InputError, match=r"cannot be reached|expected module:function"):
        reach_judge(context(tmp_path), chosen)
    own = OwnData.of(write_point_data(tmp_path / "data", 2, 6, camera=CAMERA))
    film = dataclasses.replace(DEFAULT.film, cameras=(CAMERA,))
    c = dataclasses.replace(DEFAULT, judge=chosen, film=film)
    plan = recipe(c, RunSpec("world-gymnast", "center", 0, own))
    order = [each.name for each in ordered([plan.refined])]
    assert order.index("reached") < order.index("policy") < order.index("judge")


def test_episodes_must_last_until_they_are_judged(data, world, tmp_path):
    with pytest.raises(InputError, match="horizon is 10, expected the data's time limit or more, 11"):
        judged(data, world, tmp_path, SEES, horizon=10)


def refined(data, agent, world, judge, folder):
    imagination = ImaginationConfig(8, 12, starts=StartConfig(1.0), pessimism=PessimismConfig("none"))
    learner = GRPOConfig(members=4, minibatch_size=16, filter_low=0.0, filter_high=1.0, patience=50)
    settings = RefineConfig(4, 8, 2, margin=-1.0, checkpoint_seconds=0.0)
    save(folder / "agent", agent)
    fresh = load(folder / "agent", Agent)
    here = context(folder / "refined")
    return here, refine_policy(here, fresh, data, Models(world, judge), imagination, learner, settings, 0)


def test_grpo_in_the_world_says_what_the_judge_was_asked(data, agent, world, tmp_path):
    judge = judged(data, world, tmp_path / "judge", SEES)
    before = judge.use.asked
    here, after = refined(data, agent, world, judge, tmp_path)
    assert here.outputs["judge"]["asked"] == judge.use.asked > before + 4 * 8
    assert set(here.outputs["imagined"]) == {"success"} and here.outputs["simulator_steps"] == 0
    pairs = zip(after.policy.parameters(), agent.policy.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


def test_only_grpo_learns_from_a_judge_that_may_not_answer(data, agent, world, tmp_path):
    judge = judged(data, world, tmp_path / "judge", SEES)
    imagination = ImaginationConfig(8, 12, starts=StartConfig(1.0), pessimism=PessimismConfig("none"))
    with pytest.raises(InputError, match="found ScriptedJudge with PPOConfig, expected GRPO"):
        refine_policy(
            context(tmp_path / "x"), agent, data, Models(world, judge), imagination, PPOConfig(), RefineConfig(), 0
        )


class Killed(Exception):
    """The process is gone."""


@pytest.mark.parametrize("stage", ["world", "judge", "refined"])
def test_a_killed_stage_ends_with_the_same_bits(stage, data, agent, world, tmp_path, monkeypatch):
    judge = judged(data, world, tmp_path / "eyes", SEES)

    def work(folder):
        folder.mkdir(exist_ok=True)
        if stage == "world":
            parts = data.split(0.34, 0)
            return train_forcing(context(folder), parts, agent, PatchLatentsConfig(16, 24), FORCING, TRAINING, 0)
        if stage == "judge":
            return judged(data, world, folder, VideoJudgeConfig((8, 8), 16, (16,)))
        return refined(data, agent, world, judge, folder)[1].policy

    whole = work(tmp_path / "whole").state_dict()
    module = refining if stage == "refined" else training_loop
    save_state, count = module.save_state, []

    def stopping(*arguments, **more):
        save_state(*arguments, **more)
        count.append(1)
        if len(count) == 2:
            raise Killed

    monkeypatch.setattr(module, "save_state", stopping)
    with pytest.raises(Killed):
        work(tmp_path / "killed")
    monkeypatch.undo()
    again = work(tmp_path / "killed").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def sentences_as_numbers(sentences):
    return [[float(len(each)), 1.0] for each in sentences]


def nothing(sentences):
    return [1.0]


def test_text_encoders(data, tmp_path):
    how = Cloning(POLICY, TRAINING, 0.0)
    place = f"{__name__}:sentences_as_numbers"
    agent = clone_instructed(context(tmp_path), data, FILM, how, place, "right", 0)
    assert agent.observer.table.tolist() == [[4.0, 1.0], [5.0, 1.0]] and agent.observer.told == 1
    with pytest.raises(InputError, match=r"config.text_encoder: .* returned \(1,\)"):
        encoded_text(f"{__name__}:nothing", ("a", "b"))


def test_an_instruction_that_nobody_followed(data, tmp_path):
    success = data.success.clone()
    success[torch.tensor([task == "left" for task in data.tasks])[data.episode_of_frame]] = False
    how = Cloning(POLICY, TRAINING, 0.0)
    with pytest.raises(InputError, match="the instruction 'left': found no episode to clone"):
        clone_instructed(context(tmp_path), dataclasses.replace(data, success=success), FILM, how, None, "right", 0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_consistent(name):
    assert PRESETS[name].cameras == DEFAULT.cameras


def test_settings_that_contradict_each_other():
    with pytest.raises(InputError, match="a judge sees films of whole episodes"):
        WorldGymnast(imagination=dataclasses.replace(DEFAULT.imagination, starts=StartConfig(0.5)))


@pytest.mark.slow
def test_a_whole_run_learns_from_groups_of_two_sentences(tmp_path):
    data, out = write_sided_data(tmp_path / "data"), tmp_path / "run"
    assert main(own_data_command(data, out, name="world-gymnast")) == 0
    before, after = (load(out / stage, Agent) for stage in ("policy", "refined"))
    assert set(before.observer.names) == set(SIDES) and before.task == SIDES[0]
    pairs = zip(before.policy.parameters(), after.policy.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs), "some group had both outcomes"
    report = read_json(out / "report.json")
    assert report["recipe"] == "world-gymnast" and report["gate"]["reasons"]
