"""TPM on a table: masks that come with the data or are made of a sentence; refined, measured, resumed, refused."""

import json
import re
from dataclasses import replace

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.data import image_key, read_dataset
from burnish.errors import InputError
from burnish.masks import MaskConfig
from burnish.pipeline import SharedRun, execute
from burnish.pipeline.run import Run
from burnish.policies import Agent, PicturePolicyConfig, TwoStreamPolicy, TwoStreamPolicyConfig
from burnish.recipes.base import RunSpec
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.tpm import CAMERAS, RECIPE
from burnish.recipes.runs import Resolved
from burnish.recipes.tpm import TPM
from burnish.rl import PPO
from burnish.simulators.experts import RandomActor
from burnish.training import ALONE, TrainingConfig
from tests.recipes.small_data import SENTENCE, write_named_data
from tests.recipes.small_runs import own_data_command


def command(data, out, *more):
    return own_data_command(data, out, *more, name="tpm")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Episodes of the table with masks of the simulator's truth."""
    pytest.importorskip("mujoco")
    from benchmarks.tabletop_env import TASK
    from benchmarks.tabletop_script import ScriptActor
    from benchmarks.tpm import simulator, write
    from burnish.simulators.collect import CollectJob, collect

    jobs = [
        CollectJob("expert", ScriptActor, range(8), {"noise": 0.2}),
        CollectJob("random", RandomActor, range(20, 24)),
    ]
    path = tmp_path_factory.mktemp("tpm") / "data"
    write(path, collect(TASK, jobs, simulator("masks=truth"), frames_after_success=2, workers=0))
    return path, TASK


@pytest.fixture(scope="module")
def run(recorded, tmp_path_factory):
    """On the table, where a tracker makes the masks that the policy sees."""
    data, task = recorded
    out = tmp_path_factory.mktemp("tpm") / "run"
    more = ["--config.simulator.max-steps", "8", "--config.simulator.env-kwargs", "masks=tracker"]
    assert main(command(data, out, "--task", task, *more)) == 0
    return out


@pytest.mark.slow
def test_it_is_refined_and_measured_and_losses_are_counted(run):
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "tpm" and report["simulator_steps"]["refinement"] == 0
    assert report["success"]["refined"]["episodes"] == 4
    outputs = json.loads((run / "evaluation/stage.json").read_text())["outputs"]
    assert outputs["tracked_pictures"] == outputs["simulator_steps"] > 0 and outputs["lost_tracks"] >= 0
    assert "Named things were followed through" in (run / "report.html").read_text()
    start, end = (load(run / name, Agent).policy.state_dict() for name in ("policy", "refined"))
    assert not all(torch.equal(tensor, start[name]) for name, tensor in end.items())


@pytest.mark.slow
def test_a_killed_refinement_ends_with_the_same_bits(run, recorded, tmp_path, monkeypatch):
    data, task = recorded
    whole, count = PPO.update, []

    def stopping(self, *arguments):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    out = tmp_path / "run"
    more = ["--config.simulator.max-steps", "8", "--config.simulator.env-kwargs", "masks=tracker"]
    monkeypatch.setattr(PPO, "update", stopping)
    words = command(data, out, "--task", task, *more, "--config.refine.checkpoint-seconds", "0")
    assert main(words) != 0 and len(count) == 2
    monkeypatch.setattr(PPO, "update", whole)
    assert main(["refine", str(out), "--trust-code"]) == 0
    one, other = (folder / "refined" / "model.safetensors" for folder in (run, out))
    assert one.read_bytes() == other.read_bytes()


def test_masks_of_a_sentence_are_those_that_were_drawn(tmp_path):
    """The tracker's, in the run folder's own data set; the square is lost in the last two pictures of each episode."""
    true = read_dataset(write_named_data(tmp_path / "true", masks=True, hidden=2), cameras=("table", "table_mask"))
    data, out = write_named_data(tmp_path / "data", hidden=2), tmp_path / "run"
    config = small_frames()
    spec = RunSpec("tpm", SENTENCE, 0, OwnData.of(data), None)
    plan = RECIPE.build(config, spec)
    with Run.create(out, "tpm", SENTENCE, 0, Resolved(spec, config).settings()) as opened:
        execute([plan.policy], SharedRun(opened, opened.folder, ALONE))
    made = read_dataset(out / "masked", cameras=("table", "table_mask"))
    key = image_key("table_mask")
    different = (made.observations[key][:] != true.observations[key][:]).any(-1).float().mean()
    assert float(different) < 0.01, "a few pixels at most, where one square lies on the other"
    outputs = json.loads((out / "masked/stage.json").read_text())["outputs"]
    assert outputs["tracked_pictures"] == 12 * 9 and outputs["lost_tracks"] == 12 * 2
    assert "lost 24 times" in (out / "masked/sections.json").read_text()
    agent = load(out / "policy", Agent)
    assert isinstance(agent.policy, TwoStreamPolicy) and agent.observer.config.cameras == CAMERAS


def small_frames():
    c: TPM = RECIPE.preset("frames")
    return replace(
        c,
        simulator=replace(c.simulator, image_size=32),
        history=replace(c.history, image_size=32),
        policy=TwoStreamPolicyConfig(widths=(8, 8), embedding=16, hidden=(16,)),
        pretraining=TrainingConfig(steps=3, batch_size=8, ema_decay=None),
        mask_data=True,
        masks=MaskConfig(skills=("bring", "clear")),
    )


@pytest.mark.parametrize(
    "sentence, told",
    [
        (
            "bring the blue cup to the green pad",
            r"episode 0: the instruction .* names 'blue cup', which is not to be seen",
        ),
        ("lift the red cube", r"episode 0: the instruction 'lift the red cube' begins with 'lift', expected one of"),
        ("bring the cube to the green pad", r"episode 0: 'cube' names no colour"),
    ],
    ids=["invisible", "verb", "no-colour"],
)
def test_a_sentence_that_names_nothing_visible_is_refused_before_training(sentence, told, tmp_path, capsys):
    data, out = write_named_data(tmp_path / "data", sentence), tmp_path / "run"
    more = ["--config.mask-data", "--config.masks.provider", "colour", "--config.masks.skills", "bring", "clear"]
    assert main(command(data, out, *more)) == 2
    assert re.search(told, capsys.readouterr().err, re.S)
    assert not list(out.rglob("metrics.jsonl"))


@pytest.mark.parametrize(
    "words, told",
    [
        ("run tpm --task drawer-open-v3", r"found no --dataset"),
        (
            "run tpm --preset latents --dataset {data} --config.autoencoder.cameras front",
            r"look at front, expected .*mask",
        ),
        ("run tpm --dataset {data}", r"table_mask"),
    ],
    ids=["no-data", "other-camera", "no-masks"],
)
def test_what_cannot_be_is_said(words, told, tmp_path, capsys):
    data = write_named_data(tmp_path / "data")
    assert main([*words.format(data=data).split(), "--out", str(tmp_path / "run")]) == 2
    assert re.search(told, capsys.readouterr().err, re.S)


def test_a_policy_of_frames_has_two_streams():
    with pytest.raises(InputError, match="two streams"):
        replace(RECIPE.preset("frames"), policy=PicturePolicyConfig(channels=6))
