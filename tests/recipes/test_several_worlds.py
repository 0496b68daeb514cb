"""World4RL with several world models as one: trained apart, refined in together, judged by worlds of one each."""

import pytest
import torch

from burnish.cli import main
from burnish.components import load
from burnish.recipes.catalogue import entry
from burnish.recipes.runs import reopen
from burnish.world_models import DiffusionWorldModel, SeveralWorlds
from tests.recipes.small_runs import command


@pytest.mark.slow
def test_a_run_with_two_worlds(finished, copy):
    one = load(finished / "world_model", DiffusionWorldModel)
    assert main(command(copy, "--config.worlds", "2")) == 0
    both, apart = load(copy / "world_model", SeveralWorlds), [copy / "worlds" / f"world_{k}" for k in (0, 1)]
    assert len(both.worlds) == 2
    for world, folder in zip(both.worlds, apart, strict=True):
        ours, theirs = world.state_dict(), load(folder, DiffusionWorldModel).state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    # The first is the run's own world of before, the second learned with other random numbers.
    weights = [world.network.state_dict() for world in (one, *both.worlds)]
    same = [all(torch.equal(value, each[name]) for name, value in weights[0].items()) for each in weights]
    assert same == [True, True, False]
    held_out = load(copy / "gate" / "world_0" / "world_model")
    assert isinstance(held_out, DiffusionWorldModel)
    assert reopen(copy).config.worlds == 2 and entry("world4rl").preset().worlds == 1
