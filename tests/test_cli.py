"""The command line, as far as it needs no run."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import yaml

import burnish
from burnish.cli import COMMANDS, main
from burnish.config import from_dict
from burnish.recipes.catalogue import CATALOGUE, entry
from burnish.recipes.runs import STAGES


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


def test_unknown_command_names_near_ones(capsys):
    assert main(["refin"]) == 2
    assert "unknown command 'refin'; did you mean refine" in capsys.readouterr().err
    assert main(["xyz"]) == 2
    assert "train-world-model" in capsys.readouterr().err


def test_recipes(capsys):
    assert main(["recipes"]) == 0
    output = capsys.readouterr().out
    assert "world4rl" in output
    assert "2509.19080" in output and "2508.03645" in output


@pytest.mark.parametrize("name", ["demo", "recipes", "compare", *STAGES])
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"burnish {name}" in capsys.readouterr().out


def test_help_of_demo_names_its_options(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    output = capsys.readouterr().out
    for option in ("--out", "--seed", "--threads", "drawer-open"):
        assert option in output


def test_help_of_run(capsys):
    assert main(["run", "--help"]) == 0
    assert "world4rl" in capsys.readouterr().out
    assert main(["run"]) == 2


@pytest.mark.parametrize("recipe", ["world4rl", "diwa"])
def test_help_of_a_recipe(recipe, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", recipe, "--help"])
    assert stopped.value.code == 0
    output = capsys.readouterr().out
    for option in (
        "--task",
        "--dataset",
        "--success-last-frames",
        "--config.ppo.clip",
        "--dry-run",
        "Presets: default",
    ):
        assert option in output


@pytest.mark.parametrize(("recipe", "name"), [(e.name, name) for e in CATALOGUE for name in e.presets])
def test_dry_run_prints_the_configuration_and_creates_nothing(recipe, name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--task", "hammer-v3", "--seed", "7", "--preset", name, "--config.ppo.clip", "0.125", "--dry-run"]
    assert main(["run", recipe, *arguments]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert (found["recipe"], found["task"], found["seed"]) == (recipe, "hammer-v3", 7)
    assert found["config"].pop("dataset") is None
    config = from_dict(entry(recipe).config_class, found["config"], "the dry run")
    assert config.ppo.clip == 0.125
    assert config.collect == entry(recipe).preset(name).collect
    assert config.world_model_training == entry(recipe).preset(name).world_model_training
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_is_this_one():
    (script,) = entry_points(group="console_scripts", name="burnish")
    assert script.load() is main


def test_help_imports_nothing_slow():
    program = (
        "import sys, burnish.cli as c; c.main(['--help']); "
        "sys.exit(bool({'torch', 'metaworld', 'mujoco', 'tyro', 'gymnasium'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0


def test_python_m_burnish():
    done = subprocess.run([sys.executable, "-m", "burnish", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"burnish {burnish.__version__}\n")
