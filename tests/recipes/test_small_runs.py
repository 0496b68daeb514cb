"""The small runs that tests and the soak go through: of every recipe one, each with settings that it has."""

import pytest

from burnish.cli import main
from burnish.recipes.catalogue import cards
from tests.recipes.small_runs import ON_DATA, RUNS, command, own_data_command


def test_every_recipe_has_a_small_run():
    assert {recipe for recipe, *_ in RUNS.values()} == {card.name for card in cards()}
    assert set(ON_DATA) <= set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_every_small_run_can_be_begun(name, tmp_path, capsys):
    if name in ON_DATA:
        arguments = own_data_command(ON_DATA[name](tmp_path / "data"), tmp_path / "run", name=name)
    else:
        arguments = command(tmp_path / "run", name=name)
    assert main([*arguments, "--dry-run"]) == 0
    assert RUNS[name][0] in capsys.readouterr().out and not (tmp_path / "run").exists()
