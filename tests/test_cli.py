"""The command line, as far as it needs no run."""

import subprocess
import sys
from dataclasses import fields
from importlib.metadata import entry_points

import pytest

import burnish
from burnish.cli import COMMANDS, main
from burnish.flags import settings
from burnish.recipes.catalogue import cards, entry
from burnish.recipes.comparing import NewComparison
from burnish.recipes.runs import NewRun, reopen

CARDS = list(cards())


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"burnish {burnish.__version__}\n"


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_names_every_command(flag, capsys):
    assert main([flag]) == 0
    output = capsys.readouterr().out
    assert set(COMMANDS) <= set(output.split())
    assert "Exit codes: 0 done" in output


def test_no_command_shows_the_help_and_fails(capsys):
    assert main([]) == 2
    assert "usage: burnish COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["refin"], "unknown command 'refin'; did you mean refine"),
        (["xyz"], "unknown command 'xyz'; the commands are: demo, run, "),
        (["refine"], "which run folder? burnish refine RUN"),
        (["refine", "a", "b"], "found 'b', expected nothing more"),
        (["refine", "a", "--sed", "1"], "unknown option '--sed'; burnish refine --help-all lists all options"),
        (["demo", "--sed", "1"], "unknown option '--sed'; did you mean --seed?"),
        (["run", "--task", "x"], "which recipe? "),
        (["run", "world4lr", "--help"], "unknown recipe 'world4lr'; did you mean world4rl"),
        (["run", "world4rl", "--sed", "1"], "unknown option '--sed'; did you mean --seed?"),
        (["run", "world4rl", "--sed=1"], "unknown option '--sed'; did you mean --seed?"),
        (["run", "world4rl", "--gamma", "1"], "unknown option '--gamma'; did you mean --config.ppo.gamma"),
        (
            ["run", "world4rl", "--config.ppo.clipp", "1"],
            "unknown option '--config.ppo.clipp'; did you mean --config.ppo.cl",
        ),
        (["run", "world4rl", "--seed", "x"], "--seed is 'x', expected a whole number, 0 or more"),
        (["run", "world4rl", "--seed"], "--seed needs a value, expected a whole number, 0 or more"),
        (["run", "world4rl", "--threads", "1.5"], "--threads is '1.5', expected a whole number or None, 1 or more"),
        (
            ["run", "world4rl", "--config.policy.hidden", "a"],
            "--config.policy.hidden is 'a', expected values, each a wh",
        ),
        (
            ["run", "diwa", "--config.policy.process", "x"],
            "--config.policy.process is 'x', expected one of diffusion, flow",
        ),
        (["run", "world4rl", "reach-v3"], "found 'reach-v3', expected nothing more"),
        (["run", "world4rl", "--seed", "-1"], "seed is -1, expected 0 or more (--seed)"),
        (["compare", "--seeds", "0", "-1"], "seeds is (0, -1), expected 0 or more (--seeds)"),
    ],
)
def test_errors_are_one_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"burnish: error: {message}")


def test_recipes(capsys):
    assert main(["recipes"]) == 0
    output = capsys.readouterr().out
    assert "world4rl" in output
    assert "2509.19080" in output and "2508.03645" in output


def test_tasks(capsys):
    assert main(["tasks"]) == 0
    assert "metaworld" in capsys.readouterr().out
    assert main(["tasks", "metaworld"]) == 0
    assert "drawer-open-v3" in capsys.readouterr().out
    assert main(["tasks", "metawrold"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [["run"], *(["run", recipe.name] for recipe in CARDS), *([name] for name in COMMANDS if name != "run")],
)
def test_every_help_fits_on_a_screen(arguments, capsys):
    assert main([*arguments, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: burnish {' '.join(arguments)}")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 120 or arguments == ["run"]
    assert main([*arguments, "-h"]) == 0
    if arguments[0] not in ("run", "compare"):
        assert main([*arguments, "--help-all"]) == 0


@pytest.mark.parametrize("recipe", CARDS, ids=lambda recipe: recipe.name)
def test_help_of_a_recipe_names_its_options(recipe, capsys):
    main(["run", recipe.name, "--help"])
    output = capsys.readouterr().out
    for setting in settings(NewRun(config=entry(recipe.name).preset())):
        assert setting.flag in output or setting.flag.startswith("--config.")
    assert ", ".join(entry(recipe.name).presets) in " ".join(output.split())


def test_help_of_compare_names_its_options(capsys):
    main(["compare", "--help"])
    output = capsys.readouterr().out
    named = [field.name.replace("_", "-") for field in fields(NewComparison) if field.name != "reading"]
    assert all(f"--{name}" in output for name in named)


def test_help_all_lists_every_setting(capsys):
    assert main(["run", "world4rl", "--preset", "tiny", "--help-all"]) == 0
    output = capsys.readouterr().out
    default = NewRun(config=entry("world4rl").preset("tiny"))
    assert all(f"  {setting.flag} " in output for setting in settings(default))
    assert "--config.ppo.gamma 0.99  (a number from 0 to 1)" in output
    assert "--config.refine.iterations 10  (a whole number, 1 or more)" in output
    assert "--config.held-out 0.1  (a number, more than 0 and less than 1)\n      Share of the episodes" in output


@pytest.mark.parametrize(
    ("recipe", "flag", "value", "expected"),
    [
        ("world4rl", "ppo.anchor-weight", "-5", "0 or more"),
        ("world4rl", "ppo.gamma", "2", "a number from 0 to 1"),
        ("world4rl", "ppo.gamma", "nan", "a number from 0 to 1"),
        ("world4rl", "imagination.num-envs", "0", "1 or more"),
        ("world4rl", "world-model-training.learning-rate", "-1", "more than 0"),
        ("world4rl", "pretraining.batch-size", "0", "1 or more"),
        ("world4rl", "simulator.max-steps", "1", "2 or more"),
        ("world4rl", "history.frames", "0", "1 or more"),
        ("world4rl", "held-out", "1.5", "more than 0 and less than 1"),
        ("world4rl", "evaluation.episodes", "0", "1 or more"),
        ("world4rl", "support.halt-quantile", "1.1", "more than 0 and at most 1"),
        ("world4rl", "policy.hidden", "0", "1 or more"),
        ("diwa", "policy.chunk", "0", "1 or more"),
        ("diwa", "world-model.kl-balance", "1.5", "a number from 0 to 1"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_settings_out_of_range_are_refused_before_anything(recipe, flag, value, expected, more, capsys, tmp_path):
    out = tmp_path / "run"
    arguments = ["--task", "drawer-open-v3", "--out", str(out), f"--config.{flag}", value, *more]
    assert main(["run", recipe, *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    name = f"config.{flag.replace('-', '_')}"
    found = f"({value},)" if flag.endswith("hidden") else value
    assert line == f"burnish: error: {name} is {found}, expected {expected} (--config.{flag})"
    assert captured.out == "" and not out.exists()


def test_a_place_that_cannot_be_written_is_wrong_input(capsys):
    assert main(["run", "world4rl", "--task", "drawer-open-v3", "--out", "/proc/nope"]) == 2
    assert "/proc/nope: the run folder cannot be made or written" in capsys.readouterr().err


@pytest.mark.parametrize(("recipe", "name"), [(card.name, name) for card in CARDS for name in card.presets])
def test_dry_run_prints_the_configuration_and_creates_nothing(recipe, name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--task", "hammer-v3", "--seed", "7", "--preset", name, "--config.refine.margin", "0.125", "--dry-run"]
    assert main(["run", recipe, *arguments]) == 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "recipe.yaml").write_text(capsys.readouterr().out)
    found = reopen(tmp_path)
    assert (found.run.recipe, found.run.task, found.run.seed) == (recipe, "hammer-v3", 7)
    config = found.config
    assert config.refine.margin == 0.125
    preset = entry(recipe).preset(name)
    # A recipe that learns from given data alone records none.
    assert getattr(config, "collect", None) == getattr(preset, "collect", None)
    assert config.world_model_training == preset.world_model_training


def test_the_installed_command_is_this_one():
    (script,) = entry_points(group="console_scripts", name="burnish")
    assert script.load() is main


SLOW = ["matplotlib", "lightning_fabric", "tensorboard", "torch._dynamo"]


@pytest.mark.parametrize(
    ("arguments", "slow"),
    [
        (["--help"], ["tyro", "torch", "numpy"]),
        (["recipes"], ["tyro", "torch", "numpy"]),
        (["run", "world4rl", "--help"], ["tyro", "torch", "numpy"]),
        (["compare", "--help"], ["tyro", "torch", "numpy"]),
        (["refine", "--help"], ["tyro", "torch", "numpy"]),
        (
            ["run", "world4rl", "--help-all"],
            ["matplotlib", "lightning_fabric", "tensorboard", "torch._dynamo", "mujoco"],
        ),
        (
            ["run", "world4rl", "--task", "drawer-open-v3", "--dry-run"],
            ["matplotlib", "lightning_fabric", "tensorboard"],
        ),
        (["tasks"], ["matplotlib", "lightning_fabric", "tensorboard"]),
    ],
    ids=" ".join,
)
def test_what_is_slow_to_import_waits_until_it_is_needed(arguments, slow):
    program = (
        "import sys, burnish.cli\nassert burnish.cli.main(sys.argv[1].split()) == 0\n"
        "print([name for name in sys.argv[2].split() if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, " ".join(arguments), " ".join(slow)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (0, ["[]"])


def test_python_m_burnish():
    done = subprocess.run([sys.executable, "-m", "burnish", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"burnish {burnish.__version__}\n")
