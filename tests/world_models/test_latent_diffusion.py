"""LaDi-WM's world model: its sampler by hand, and what it learns of a system whose law is known."""

import math

import pytest
import torch

from burnish.components import frozen, load, save
from burnish.data import STATE, Windows
from burnish.errors import InputError
from burnish.networks import Denoised, InteractiveDiTConfig
from burnish.training import TrainingConfig, fit
from burnish.world_models import HistoryConfig, LatentDiffusion, LatentDiffusionConfig, ObservationHistory
from tests.world_models.linear_system import linear_system

HISTORY = HistoryConfig(frames=2, feature_frames=2, inertia=False)
SMALL = LatentDiffusionConfig(
    frames=3, sampling_steps=3, context_noise=0.0, network=InteractiveDiTConfig(width=32, depth=2, heads=2)
)


def model_of(dataset, config=SMALL, streams=((1, 2), (2, 1))):
    torch.manual_seed(0)
    history = ObservationHistory(dataset.observation_dim, dataset.action_dim, HISTORY).fit(dataset)
    return LatentDiffusion(history, streams, config).fit(dataset)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dataset = linear_system(60, seed=1)
    model = model_of(dataset)
    config = TrainingConfig(steps=250, batch_size=64, learning_rate=4e-3, log_every=100)
    metrics = fit(model, Windows(dataset, 2, 3), config, tmp_path_factory.mktemp("latent_diffusion"), seed=0)
    assert math.isfinite(metrics["loss"])
    return model.requires_grad_(False).eval()


def features_of(model, dataset, count=200):
    windows = Windows(dataset, 2, 3)
    batch = windows.sample(count, torch.Generator().manual_seed(0))
    frames = model.normaliser.normalise(batch.observation[STATE])
    return frames[:, :2], batch.action[:, 1:-1], frames[:, 2:]


class Exact(torch.nn.Module):
    """Knows that all that is clean is `point`, and so what the noise is."""

    def __init__(self, point):
        super().__init__()
        self.point, self.levels = point, []

    def memory(self, past):
        return past

    def forward(self, x, level, action, memory):
        self.levels.append(float(level))
        return Denoised(self.point, self.point.expand_as(x), (x - (1 - level) * self.point) / level)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_sample_goes_straight_from_noise_to_what_is_clean(steps):
    dataset = linear_system(4)
    model = model_of(dataset, LatentDiffusionConfig(frames=3, sampling_steps=steps))
    model.network = exact = Exact(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    found = model.changes(torch.zeros(5, 2, 4), torch.zeros(5, 3, 2), torch.randn(5, 3, 4))
    torch.testing.assert_close(found, exact.point.expand(5, 3, 4))
    assert exact.levels == pytest.approx([1 - index / steps for index in range(steps)])


def test_what_is_learned_is_the_law_of_the_system(trained):
    """Two of four dimensions move, by 0.1 of the action; a tenth of the change is left unexplained at most."""
    past, action, following = features_of(trained, linear_system(40, seed=2))
    with torch.no_grad():
        changes = trained.foresee(past.flatten(1), action, deterministic=True)
    ends = past[:, -1:] + (trained.delta_std * changes).cumsum(1)
    moving = (following - past[:, -1:])[..., :2]
    for frame in range(3):
        left = (ends - following)[:, frame, :2].square().mean() / moving[:, frame].square().mean()
        assert left < 0.1, frame
    wrong = trained.foresee(past.flatten(1), action.roll(1, 0), deterministic=True)
    assert (wrong - changes)[..., :2].square().mean() > 0.3, "other actions, other futures"


def test_one_step_is_the_first_of_several(trained):
    dataset = linear_system(6, seed=3)
    state = trained.recorded(dataset).rows(torch.arange(1, 9))
    action = dataset.actions[1:9]
    one = trained.imagine(state, action, torch.Generator().manual_seed(0))
    start = torch.randn(8, 1, 4, generator=torch.Generator().manual_seed(0))
    change = trained.changes(state.observation, action[:, None], start)[:, 0]
    frame = state.observation[:, -1] + trained.delta_std * change
    torch.testing.assert_close(one.observation[:, -1], frame.clamp(trained.low, trained.high))
    torch.testing.assert_close(one.observation[:, 0], state.observation[:, 1])
    assert one.valid[:, -1].all()


def test_imagination_stays_in_the_range_of_the_data(trained):
    state = trained.recorded(linear_system(6, seed=3))
    count = len(state.valid)
    for _ in range(30):
        state = trained.imagine(state, torch.ones(count, 2), torch.Generator().manual_seed(0))
    newest = state.observation[:, -1]
    assert (newest <= trained.high).all() and (newest >= trained.low).all()


def test_observed_is_recorded_and_features_are_all_frames(trained):
    dataset = linear_system(3, seed=4)
    state = trained.initial(1)
    for frame in range(5):
        led = dataset.actions[frame - 1 : frame] if frame else None
        state = trained.observe(state, led, {STATE: dataset.observations[STATE][frame : frame + 1]})
    torch.testing.assert_close(trained.features(state), trained.features(trained.recorded(dataset))[4:5])
    assert trained.features(state).shape == (1, trained.feature_dim) == (1, 8)


def test_what_was_saved_imagines_the_same(trained, tmp_path):
    save(tmp_path, trained)
    loaded, dataset = frozen(load(tmp_path, LatentDiffusion)), linear_system(3, seed=4)
    state, action = trained.recorded(dataset), dataset.actions
    one, two = (m.imagine(state, action, torch.Generator().manual_seed(0)).observation for m in (trained, loaded))
    assert torch.equal(one, two)


def test_what_does_not_fit_is_refused(trained):
    dataset = linear_system(3)
    with pytest.raises(InputError, match="streams of 5 numbers together, expected the 4 latents"):
        model_of(dataset, streams=((1, 2), (1, 3)))
    history = ObservationHistory(4, 2, HistoryConfig(frames=3, feature_frames=1))
    with pytest.raises(InputError, match="found feature_frames 1, expected 3 as `frames`"):
        LatentDiffusion(history, ((1, 4),), SMALL)
    with pytest.raises(InputError, match="found 4 actions, expected at most frames = 3"):
        trained.foresee(torch.zeros(1, 8), torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="windows have 3 frames, expected 2 and 3"):
        trained.loss(Windows(dataset, 2, 1).sample(2, torch.Generator()))
