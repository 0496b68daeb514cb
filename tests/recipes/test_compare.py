"""`burnish compare` at a tiny size: the table, what a second call does, and what it refuses."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from burnish.cli import main
from burnish.errors import InputError
from burnish.evaluation.actor import PlanningActor
from burnish.evaluation.frozen import load_frozen
from burnish.imagination import Models
from burnish.pipeline import ExecutorConfig, ordered
from burnish.pipeline.manifest import versions
from burnish.pipeline.worker import Asked
from burnish.policies import GaussianPolicy, TanhPolicy, load_agent
from burnish.recipes.ablations import PARTS, without
from burnish.recipes.base import RunSpec
from burnish.recipes.catalogue import entry
from burnish.recipes.columns import Column, columns
from burnish.recipes.comparing import NewComparison
from burnish.recipes.methods import (
    BASELINES,
    BaselineConfig,
    baseline_preset,
    check_method,
    default_methods,
    measured,
    method_names,
)
from burnish.recipes.pairs import do_pair_there, read_comparison
from burnish.rewards import SuccessReward
from burnish.rl import PlanningConfig
from burnish.storage import load_tensors, read_json
from burnish.world_models import DiffusionWorldModel
from tests.recipes.small_data import write_rewarded_data
from tests.recipes.small_runs import DENSE_TASK, RWM, TASK, WORLD4RL, flags, start, wait_for

SMALL = ["--preset", "tiny", *flags(WORLD4RL)]
METHODS = ("bc", "td3_bc")


def command(out, *more, methods=METHODS, task=TASK):
    return ["compare", "--tasks", task, "--seeds", "0", "--methods", *methods, "--out", str(out), *SMALL, *more]


@pytest.fixture(scope="module")
def compared(restored, tmp_path_factory):
    """The folder of a comparison, and what was printed."""
    out = tmp_path_factory.mktemp("compare") / "out"
    assert main(command(out)) == 0
    return out


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}


def test_the_results_hold_what_the_table_shows(compared):
    rows = [json.loads((compared / f"results/{TASK}-0-{name}.json").read_text()) for name in METHODS]
    for row, name in zip(rows, METHODS, strict=True):
        assert (row["recipe"], row["task"], row["seed"], row["method"]) == ("world4rl", TASK, 0, name)
        assert len(row["outcomes"]) == row["success"]["episodes"] == 4
        assert sum(row["outcomes"]) == row["success"]["successes"]
        assert row["evaluation_steps"] > 0 and row["imagined_steps"] == 0
        assert all(seconds > 0 for seconds in row["seconds"].values())
    assert rows[0]["real_steps"] < rows[1]["real_steps"], "bc has the demonstrations, the other one the rollouts, too"
    text, page = ((compared / f"compare.{kind}").read_text() for kind in ("md", "html"))
    for row in rows:
        shown = f"{100 * row['success']['rate']:.0f}"
        assert f"| {row['method']} | {shown} | {shown} |" in text
        assert f'<td>{row["method"]}</td><td class="number">{shown}</td>' in page
    assert "burnish compare --tasks drawer-open-v3" in text


def test_only_what_a_method_needs_is_done(compared):
    stages = {path.parent.name for path in (compared / f"{TASK}-0").glob("*/stage.json")}
    assert stages == {"demonstrations", "policy", "dataset", "td3_bc", "bc_success", "td3_bc_success"}
    agent = load_agent(compared / f"{TASK}-0/td3_bc", TASK)
    assert isinstance(agent.policy, TanhPolicy) and not agent.policy.normaliser.mean.eq(0).all()
    starts = [json.loads((compared / f"{TASK}-0/{name}_success/success.json").read_text())["seeds"] for name in METHODS]
    assert starts[0] == starts[1]


def test_the_same_command_again_does_nothing(compared, capfd):
    before = stamps(compared)
    started = time.monotonic()
    assert main(command(compared)) == 0
    assert time.monotonic() - started < 10
    assert stamps(compared) == before
    assert "1 of 1 pairs of a task and a seed are up to date" in capfd.readouterr().err


def test_a_changed_setting_of_a_method_redoes_that_method(compared):
    before = stamps(compared)
    assert main(command(compared, "--baselines.td3-bc-training.steps", "310")) == 0
    redone = {path.relative_to(compared).as_posix() for path, stamp in stamps(compared).items() if path in before}
    redone = {name for name in redone if before[compared / name] != (compared / name).stat().st_mtime_ns}
    assert f"results/{TASK}-0-td3_bc.json" in redone and f"results/{TASK}-0-bc.json" not in redone
    assert {name.split("/")[1] for name in redone if "/stage.json" in name} == {"td3_bc", "td3_bc_success"}


def test_a_failure_is_shown_and_the_others_are_done(compared, tmp_path, capfd):
    """A learning rate that no training survives."""
    out = shutil.copytree(compared, tmp_path / "out")
    (out / f"results/{TASK}-0-bc.json").unlink()
    assert main(command(out, "--baselines.td3-bc-training.learning-rate", "1e30", "--workers", "1")) == 1
    assert "failed on drawer-open-v3 0" in capfd.readouterr().err
    assert "failed: td3_bc: the training loss is" in (out / "compare.md").read_text()
    assert json.loads((out / f"results/{TASK}-0-bc.json").read_text())["success"]["episodes"] == 4
    assert main(command(out)) == 0, "and tried again with another one"
    assert "failed" not in (out / "compare.md").read_text()


# -- data sets of one's own, and other recipes -------------------------------------------------------------------------


OWN_METHODS = ("bc", "dawm")
DENSE = ["compare", "--recipe", "rwm", "--preset", "tiny", *flags(RWM), "--seeds", "0", "--workers", "1"]


@pytest.fixture(scope="module")
def compared_sets(tmp_path_factory):
    """Two data sets of one task; the comparison's folder."""
    folder = tmp_path_factory.mktemp("sets")
    sets = [write_rewarded_data(folder / "pulled" / name, episodes) for name, episodes in (("a", 16), ("b", 12))]
    words = [*DENSE, "--datasets", *map(str, sets), "--tasks", DENSE_TASK, "--out", str(folder / "out")]
    assert main([*words, "--methods", *OWN_METHODS]) == 0
    return folder / "out", words


def test_recipes_and_baselines_on_data_sets_of_ones_own(compared_sets):
    out, _ = compared_sets
    rows = {(data, name): json.loads((out / f"results/{data}-0-{name}.json").read_text())
            for data in "ab" for name in OWN_METHODS}  # fmt: skip
    for (data, name), row in rows.items():
        assert (row["column"], row["task"], row["method"]) == (data, DENSE_TASK, name)
        assert row["success"] is None and row["return"]["episodes"] == 6 and row["real_steps"] == 0
        assert (row["imagined_steps"] > 0) == (name == "dawm"), "which alone imagines"
    text = (out / "compare.md").read_text()
    assert "| method | a | b | mean |" in text and f"{rows['a', 'dawm']['return']['mean']:.1f} in 6" in text
    folders = {path.name for path in out.iterdir() if (path / "recipe.yaml").exists()}
    assert folders == {f"{data}-0{recipe}" for data in "ab" for recipe in ("", "-dawm")}
    levels = {data: read_json(out / f"{data}-0/bc_success/success.json")["returns"] for data in "ab"}
    assert levels["a"] != levels["b"], "each from its own data"


def test_data_that_changed_are_read_again(compared_sets, capfd):
    out, words = compared_sets
    assert main([*words, "--methods", *OWN_METHODS]) == 0
    assert "2 of 2 pairs of a data set and a seed are up to date" in capfd.readouterr().err
    with (out.parent / "pulled/b/meta/info.json").open("a") as file:
        file.write(" ")
    assert main([*words, "--methods", *OWN_METHODS]) == 0
    assert "1 of 2 pairs of a data set and a seed are up to date" in capfd.readouterr().err


def test_every_recipe_that_learns_from_rewards_fits_in_one_table(compared_sets, tmp_path):
    """Each with its own kind of reward, and judged alike."""
    out, _ = compared_sets
    sets, recipes = (out.parent / "pulled/a",), ("rwm", "adept", "dawm", "polygrad")
    config = entry("rwm").preset("tiny")
    new = NewComparison(config=config, recipe="rwm", tasks=(DENSE_TASK,), datasets=sets, methods=recipes, preset="tiny")
    found = new.resolve()
    assert set(found.others) == set(recipes[1:])
    assert all(each.evaluation == config.evaluation for each in found.others.values())
    assert found.others["polygrad"].reward == entry("polygrad").preset("tiny").reward
    said = tmp_path / "others.yaml"
    said.write_text("polygrad: {refine: {iterations: 7}}\n")
    other = replace(new, others=said).resolve().others
    assert other["polygrad"] == replace(
        found.others["polygrad"], refine=replace(found.others["polygrad"].refine, iterations=7)
    )
    assert {**other, "polygrad": None} == {**found.others, "polygrad": None}, "the others are as they were"
    for text, named in (
        ("polygrad: {refine: {iterations: many}}", "others.yaml: polygrad: field 'refine.iterations': expected int"),
        ("polygrad: {refine: {iteration: 7}}", "others.yaml: polygrad: .*iteration"),
        ("polygrad: 7", "others.yaml: polygrad: expected a mapping"),
        ("diwa: {}", "found diwa, expected the other recipes among --methods: adept dawm polygrad"),
    ):
        said.write_text(text)
        with pytest.raises(InputError, match=named):
            replace(new, others=said).resolve()


@pytest.mark.slow
def test_another_recipe_learns_from_what_the_first_one_recorded(compared, tmp_path):
    out = shutil.copytree(compared, tmp_path / "out")
    assert main(command(out, methods=("bc", "dawm"))) == 0
    row = read_json(out / f"results/{TASK}-0-dawm.json")
    assert row["success"]["episodes"] > 0 and row["real_steps"] == 0
    assert (
        read_json(out / f"{TASK}-0-dawm/dataset/meta/info.json")["total_frames"]
        == (read_json(out / f"{TASK}-0/dataset/meta/info.json")["total_frames"])
    )


def test_names_of_columns(tmp_path):
    """As short as they may be; one task for all data sets, or one for each."""
    paths = [tmp_path / name for name in ("hopper/medium", "ant/medium", "ant/random")]
    for path in paths:
        path.mkdir(parents=True)
    found = columns(["gym:Hopper-v5", "gym:Ant-v5", "gym:Ant-v5"], paths)
    assert [(each.name, each.task) for each in found] == [
        ("hopper/medium", "gym:Hopper-v5"), ("ant/medium", "gym:Ant-v5"), ("random", "gym:Ant-v5")
    ]  # fmt: skip
    assert [each.task for each in columns(["gym:Ant-v5"], paths)] == ["gym:Ant-v5"] * 3
    assert [each.folder for each in found] == ["hopper-medium", "ant-medium", "random"]
    for tasks, wrong, named in (
        (["gym:Ant-v5", "gym:Hopper-v5"], paths, "found 2 for 3 data sets"),
        (["gym:Ant-v5"], [paths[0], paths[0]], "named twice"),
        (["gym:Ant-v5"], [tmp_path / "none"], "found no folder"),
    ):
        with pytest.raises(InputError, match=named):
            columns(tasks, wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--datasets", "nowhere"], "expected the one where policies are judged"),
        (["--datasets", "nowhere", "--tasks", "gym:Ant-v5"], "found no folder"),
        (["--recipe", "rwm", "--tasks", "drawer-open-v3"], "found no --dataset"),
        (["--methods", "bc", "cql"], "expected some of: bc, filtered_bc, td3_bc, iql, planning, world4rl"),
        (["--methods", "world4rl-no-luck"], "world4rl-no-halting"),
        (["--methods", "bc", "bc"], "twice"),
        (["--tasks", "drawr-open-v3"], "did you mean drawer-open-v3"),
        (["--workers", "0"], "workers is 0, expected 1 or more"),
        (["--baselines.planning.elites", "0"], "elites"),
        (["--executor-options", "robots=1"], "executor options and GPUs are for slurm and ray"),
    ],
)
def test_wrong_names_are_refused(wrong, named, tmp_path, capfd):
    assert main(["compare", "--out", str(tmp_path / "out"), *wrong]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert named in "\n".join(lines)
    assert not (tmp_path / "out").exists()


def test_kill_and_resume(compared, tmp_path):
    """The process of a pair ends with the command, so that the same command again finds the run free."""
    out = shutil.copytree(compared, tmp_path / "out")
    long = ["--baselines.td3-bc-training.steps", "100000", "--baselines.td3-bc-training.checkpoint-seconds", "0.1"]
    process = start(command(out, *long))
    folder = out / f"{TASK}-0"
    wait_for(process, lambda: (folder / ".partial/td3_bc/resume.safetensors").exists())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    limit = time.monotonic() + 20
    while main(command(out, methods=("bc", "filtered_bc"))) and time.monotonic() < limit:
        time.sleep(0.5)  # the process that was left behind needs a moment to notice
    assert (out / f"results/{TASK}-0-filtered_bc.json").exists()
    assert isinstance(load_agent(folder / "filtered", TASK).policy, GaussianPolicy)
    assert os.path.getsize(out / "compare.html") > 1000


@pytest.mark.slow
def test_pairs_are_jobs_of_a_cluster(compared, tmp_path, capfd):
    pytest.importorskip("submitit")
    cluster = ["--executor", "slurm", "--executor-options", "cluster=local", "timeout_min=10"]
    out = tmp_path / "out"
    assert main(command(out, *cluster, methods=("bc",))) == 0
    assert f"{TASK} 0: done" in capfd.readouterr().err
    here, there = (json.loads((each / f"results/{TASK}-0-bc.json").read_text()) for each in (compared, out))
    assert there["outcomes"] == here["outcomes"] and there["identity"] == here["identity"]
    one, two = (each / f"{TASK}-0/policy/model.safetensors" for each in (compared, out))
    assert one.read_bytes() == two.read_bytes()
    assert "policy" in (out / f"logs/{TASK}-0.log").read_text()


def test_a_worker_that_differs_does_no_pair(compared):
    asked = Asked(ExecutorConfig(), (), (), {**versions(), "torch": "1.0"})
    with pytest.raises(InputError, match=r"has other versions .*: torch .*, expected 1.0"):
        do_pair_there(str(compared), TASK, 0, asked)


# -- names, settings and ablations, without a run ----------------------------------------------------------------------


def test_what_is_noted_is_what_was_asked_for(compared):
    found = read_comparison(compared)
    assert (found.columns, found.seeds, found.methods) == ((Column(TASK, TASK),), (0,), METHODS)
    assert found.config.evaluation.episodes == 4 and found.baselines.planning == baseline_preset("tiny").planning


def test_the_default_is_table_ii():
    new = NewComparison(config=entry("world4rl").preset("default"))
    resolved = new.resolve()
    assert resolved.methods == default_methods("world4rl", new.config) and set(BASELINES) < set(resolved.methods)
    assert len(resolved.columns) == 6 and len(resolved.pairs) == 18
    for recipe in ("world4rl", "diwa", "s5wm"):
        methods = default_methods(recipe, entry(recipe).preset())
        assert set(methods) < set(method_names(recipe))
        assert f"{recipe}-no-anchor" in methods
        for method in methods:
            check_method(method, recipe, entry(recipe).preset())


def test_a_result_depends_on_its_own_settings():
    resolved = NewComparison(config=entry("world4rl").preset("tiny")).resolve()
    other = replace(resolved, baselines=replace(resolved.baselines, planning=PlanningConfig(horizon=3)))
    changed = {name for name in method_names("world4rl") if _identity(resolved, name) != _identity(other, name)}
    assert changed == {"planning"}
    recipe = replace(resolved, config=entry("world4rl").preset("default"))
    assert all(_identity(resolved, name) != _identity(recipe, name) for name in method_names("world4rl"))


def _identity(comparison, name):
    return comparison.identity(Column(TASK, TASK), 0, name)


@pytest.mark.parametrize("recipe", ["world4rl", "diwa"])
@pytest.mark.parametrize("part", PARTS)
def test_ablations_change_refinement_alone(recipe, part):
    """Of all that the run has done before, nothing is done again; a part that a recipe lacks is refused."""
    found, config = entry(recipe), entry(recipe).preset("default")
    run = RunSpec(recipe, TASK, 0, None, TASK)

    def played(method):
        return measured(f"{recipe}{method}", found, config, run, BaselineConfig())

    if recipe == "diwa" and part in ("distance", "members"):
        with pytest.raises(InputError, match="to take away"):
            played(f"-no-{part}")
        return
    whole, without = (ordered([played(method)]) for method in ("", f"-no-{part}"))
    assert [each.name for each in whole[-2:]] == ["refined", f"{recipe}_success"]
    assert [each.name for each in without[-2:]] == [f"{recipe}_no_{part}", f"{recipe}_no_{part}_success"]
    before = {each.name: each.describe() for each in whole[:-2]}
    left_out = {"filtered", "start"} if part == "filtered" else set()
    assert {each.name: each.describe() for each in without[:-2]} == {
        name: said for name, said in before.items() if name not in left_out
    }
    assert whole[-2].describe() != without[-2].describe()


def test_an_uncertainty_without_a_vote():
    config = entry("world4rl").preset("tiny")
    rules = {name: without(name, config).imagination.pessimism for name in ("disagreement", "distance", "halting")}
    assert rules["disagreement"].use == ("distance",) and rules["distance"].use == ("disagreement",)
    assert rules["halting"].rule == "none" and rules["distance"].rule == "halt"


# -- planning on a finished run ----------------------------------------------------------------------------------------


ENV = SimpleNamespace(units=None)  # as far as a planner looks at it


def test_planning_plays_with_the_models_of_a_run(finished):
    """It starts from the policy's plan, so with nothing to search it acts as the policy does."""
    folders = {"world": finished / "world_model", "reward": finished / "classifier"}
    folders["uncertainties"] = (finished / "ensemble", finished / "support")
    models = load_frozen(**folders)
    assert isinstance(models.world_model, DiffusionWorldModel) and len(models.pessimism.uncertainties) == 2
    config = PlanningConfig(horizon=3, iterations=1, samples=8, policy_samples=2, elites=2, judged=1, noise=1.0)
    actor = PlanningActor(finished / "policy", **folders, config=config)
    policy = load_agent(finished / "policy", TASK)
    size = policy.observer.observation_dim
    observation = {"observation.state": policy.observer.normaliser.mean.expand(3, size).numpy().copy()}
    played = []
    for seeds in ((7, 8, 9), (7, 8, 9), (1, 2, 3)):
        actor.begin(ENV, seeds)  # type: ignore[arg-type]
        played.append([actor.act(observation) for _ in range(3)])
    assert all((a == b).all() for a, b in zip(played[0], played[1], strict=True)), "the seeds decide"
    assert all(action.shape == (3, policy.policy.action_dim) and abs(action).max() <= 1 for action in played[0])
    world = models.world_model
    actor.planner.models = Models(world, SuccessReward(world, _Never()))
    actor.begin(ENV, (7, 8, 9))  # type: ignore[arg-type]
    policy.begin(3)
    expected = policy.act({key: torch.from_numpy(value) for key, value in observation.items()})
    torch.testing.assert_close(torch.from_numpy(actor.act(observation)), expected)


class _Never:
    def probability(self, features):
        return torch.zeros(len(features))


@pytest.mark.slow
def test_all_methods_of_world4rl(tmp_path):
    out = tmp_path / "out"
    assert main(command(out, methods=method_names("world4rl"), task=TASK)) == 0
    rows = [json.loads(path.read_text()) for path in (out / "results").glob("*.json")]
    assert {row["method"] for row in rows} == set(method_names("world4rl"))
    imagined = {row["method"]: row["imagined_steps"] for row in rows}
    assert imagined["planning"] > 0 and imagined["world4rl"] == imagined["world4rl-no-anchor"] == 8 * 16 * 32
    weights = {
        name: load_tensors(out / f"{TASK}-0" / name / "model.safetensors")[0]["policy.network.head.weight"]
        for name in ("refined", "world4rl_no_anchor", "world4rl_no_halting", "filtered", "iql")
    }
    values = list(weights.values())
    assert not any(torch.equal(one, other) for i, one in enumerate(values) for other in values[:i])
