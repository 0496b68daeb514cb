"""Several world models as one: rows stay with their worlds, and nothing else differs."""

import pytest
import torch

from burnish.components import load, save
from burnish.data import STATE
from burnish.errors import InputError
from burnish.world_models import DiffusionConfig, DiffusionWorldModel, HistoryState, SamplerConfig, SeveralWorlds
from tests.world_models.linear_system import fitted_space, linear_system

# One step is the mean, which hangs on no random number.
SMALL = DiffusionConfig(width=16, depth=1, sampler=SamplerConfig(steps=1))


@pytest.fixture(scope="module")
def dataset():
    return linear_system(4, length=10)


@pytest.fixture(scope="module")
def worlds(dataset):
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        world = DiffusionWorldModel(fitted_space(dataset), SMALL).requires_grad_(False)
        for parameter in world.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        made.append(world)
    return tuple(made)


def parts(world, dataset, generator=None):
    states = world.recorded(dataset).rows(torch.arange(8))
    following = world.imagine(states, dataset.actions[:8], generator)
    assert isinstance(following, HistoryState)
    return following.observation[:, -1]


def test_rows_are_shared_evenly_and_each_follows_its_own_world(worlds, dataset):
    """Eight rows, three worlds: rows 0-1, 2-4 and 5-7."""

    def seeded():
        return torch.Generator().manual_seed(0)

    states, actions = worlds[0].recorded(dataset), dataset.actions
    generator = seeded()
    expected = [
        world.imagine(states.rows(slice(a, b)), actions[a:b], generator).observation[:, -1]
        for world, a, b in zip(worlds, (0, 2, 5), (2, 5, 8), strict=True)
    ]
    assert torch.equal(parts(SeveralWorlds(worlds), dataset, seeded()), torch.cat(expected))


def test_one_alone_is_itself(worlds, dataset):
    found = [parts(each, dataset, torch.Generator().manual_seed(3)) for each in (worlds[0], SeveralWorlds(worlds[:1]))]
    assert torch.equal(*found)


def test_fewer_rows_than_worlds(worlds, dataset):
    several = SeveralWorlds(worlds)
    states = several.recorded(dataset).rows(torch.arange(2))
    assert len(several.imagine(states, dataset.actions[:2]).observation) == 2


def test_it_observes_like_the_first_one(worlds, dataset):
    several = SeveralWorlds(worlds)
    assert torch.equal(several.features(several.recorded(dataset)), worlds[0].features(worlds[0].recorded(dataset)))
    decoded = several.decode(several.recorded(dataset))[STATE]
    torch.testing.assert_close(decoded, dataset.observations[STATE])


def test_what_was_saved_imagines_the_same(worlds, dataset, tmp_path):
    save(tmp_path / "worlds", SeveralWorlds(worlds))
    again = load(tmp_path / "worlds", SeveralWorlds)
    assert len(again.worlds) == 3
    found = [parts(each, dataset, torch.Generator().manual_seed(3)) for each in (SeveralWorlds(worlds), again)]
    assert torch.equal(*found)


def test_worlds_that_see_other_things_are_refused(worlds, dataset):
    with pytest.raises(InputError, match="found features and action steps"):
        SeveralWorlds((worlds[0], DiffusionWorldModel(fitted_space(dataset, feature_frames=2), SMALL)))
