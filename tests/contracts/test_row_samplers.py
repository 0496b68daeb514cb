"""What every sampler promises whose rows can be gathered alone: any part has the bits that it has within the whole."""

import importlib
import pkgutil
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

import burnish.recipes
import burnish.world_models
from burnish.data import STATE, Dataset, DatasetInfo, Episode, RowSampler, Streams, Windows
from burnish.recipes.stages.latent_actions import Pairs
from burnish.recipes.stages.transitions import MovedWindows
from burnish.training import Processes
from burnish.world_models import ReturnWindows, TrajectoryConfig, TrajectoryWindows
from burnish.world_models.disagreement import BootstrapWindows
from burnish.world_models.forecasts import Forecasts, GRUEnsembleConfig
from burnish.world_models.guided_diffusion import WeightedWindows
from burnish.world_models.inverse_dynamics import RecordedActions
from burnish.world_models.latent_ensemble import BootstrapTransitions, LatentTransitions

BATCH, PROCESSES = 12, 3


def _episode(index: int, length: int) -> Episode:
    rng = np.random.default_rng(index)
    state, action = rng.normal(size=(length, 3)).astype(np.float32), rng.normal(size=(length, 2)).astype(np.float32)
    over = np.zeros(length, bool)
    over[-1] = index % 2 == 0
    reward = np.append(0, state[1:, 0]).astype(np.float32)
    return Episode({STATE: state}, action, rng.random(length) < 0.3, "play", index, "t", reward, over)


DATA = Dataset.from_episodes([_episode(index, 14 + index) for index in range(6)], DatasetInfo(fps=10))
FRAMES = torch.arange(DATA.num_frames)


def _weighted() -> WeightedWindows:
    found = WeightedWindows(DATA, 2, 3)
    found.weight = torch.rand(DATA.num_frames, generator=torch.Generator().manual_seed(1))
    return found


def _latent() -> BootstrapTransitions:
    made = LatentTransitions(DATA.observations[STATE], FRAMES[:, None], DATA.episode_of_frame)
    return BootstrapTransitions(made, 3, 0)


SAMPLERS = {
    Windows: lambda: Windows(DATA, 3, 2),
    Streams: lambda: Streams(DATA, 5),
    MovedWindows: lambda: MovedWindows(Windows(DATA, 3, 2), torch.device("cpu")),
    Pairs: lambda: Pairs(DATA.observations[STATE], DATA.actions),
    ReturnWindows: lambda: ReturnWindows(DATA, 3),
    TrajectoryWindows: lambda: TrajectoryWindows(DATA, TrajectoryConfig(horizon=4)),
    BootstrapWindows: lambda: BootstrapWindows(DATA, 2, 3, 0),
    BootstrapTransitions: _latent,
    WeightedWindows: _weighted,
    RecordedActions: lambda: RecordedActions(DATA),
    Forecasts: lambda: Forecasts(DATA, GRUEnsembleConfig(members=2, history=3, forecast=2), 0),
}


def _tensors(value):
    """All tensors in a batch by their place."""
    if isinstance(value, torch.Tensor):
        return {"": value}
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    return {f"{name}.{rest}": found for name, each in value.items() for rest, found in _tensors(each).items()}


def test_all_of_them_are_here():
    for package in (burnish.recipes, burnish.world_models):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    assert {kind for kind in _below(RowSampler) if kind.__module__.startswith("burnish.")} == set(SAMPLERS)


def _below(kind):
    return {each for direct in kind.__subclasses__() for each in {direct, *_below(direct)}}


@pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.__name__)
def test_processes_gather_their_own_rows_of_the_same_batch(kind):
    whole = _tensors(SAMPLERS[kind]().sample(BATCH, torch.Generator().manual_seed(0)))
    assert whole and {len(tensor) % BATCH for tensor in whole.values()} == {0}
    for rank in range(PROCESSES):
        this, sampler = Processes(rank, PROCESSES), SAMPLERS[kind]()
        drawn = sampler.draw(BATCH, torch.Generator().manual_seed(0))
        found = _tensors(sampler.gather(this.rows(drawn, BATCH)))
        assert found.keys() == whole.keys()
        for name, tensor in whole.items():
            assert len(found[name]) == len(tensor) // PROCESSES
            assert torch.equal(found[name], this.rows(tensor, BATCH)), name
