"""Latent actions on a square that is moved about: what is said is the move, and not what the picture shows anyway."""

import dataclasses

import numpy as np
import pytest
import torch

from burnish.components import load, save
from burnish.data import Dataset, DatasetInfo, Episode, Windows, image_key, unlabelled_video
from burnish.errors import InputError
from burnish.evaluation.probes import linear_probe
from burnish.training import TrainingConfig, fit
from burnish.world_models import LatentActionConfig, LatentActions, with_latent_actions
from burnish.world_models.latent_actions import gaussian_divergence, recoloured

VIEW, SIZE = image_key("view"), 16
CONFIG = LatentActionConfig(("view",), SIZE, latent_dim=4, beta=0.003, width=8, hidden=32, recolour=False, condition=32)


def squares(episodes, seed=0, length=12):
    """A square of five pixels is pushed by up to three pixels, in a random direction at each frame."""
    generator, found = np.random.default_rng(seed), []
    for number in range(episodes):
        place, frames, actions = generator.uniform(3, 8, 2), [], []
        for _ in range(length):
            picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
            row, column = place.round().astype(int)
            picture[row : row + 5, column : column + 5] = 220
            push = generator.uniform(-1, 1, 2)
            moved = (place + 3 * push).clip(0, SIZE - 5)
            push, place = (moved - place) / 3, moved
            frames.append(picture)
            actions.append(push)
        action = np.array(actions, np.float32)
        found.append(Episode({VIEW: np.stack(frames)}, action, np.zeros(length, bool), "random", number, "push"))
    return Dataset.from_episodes(found, DatasetInfo(fps=10))


def trained(tmp_path, config=CONFIG, steps=300):
    video = unlabelled_video(squares(40))
    torch.manual_seed(0)
    latent = LatentActions(config).fit(video)
    how = TrainingConfig(steps=steps, batch_size=32, learning_rate=4e-3, ema_decay=None)
    told = fit(latent, Windows(video, 1, 1), how, tmp_path, seed=0)
    return latent.settle(video), told


@pytest.fixture(scope="module")
def latent(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("latent"))


def probe(latent):
    pairs = []
    for part in (squares(40), squares(15, seed=1)):
        followed = torch.ones(part.num_frames, dtype=torch.bool)
        followed[part.starts + part.lengths - 1] = False
        pairs.append((latent.of_dataset(part)[followed], part.actions[followed]))
    (x, y), (held_x, held_y) = pairs
    return linear_probe(x, y, held_x, held_y)["mean"]


def test_the_divergence_by_hand():
    """N(1, 1): ½ of the squared mean; N(0, e²): ½ (e² - 2 - 1); N(0, 1): nothing."""
    found = gaussian_divergence(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5 * (np.e**2 - 3), 0.0]], dtype=torch.float32))


def test_the_loss_by_hand():
    """A decoder that draws no change errs by the change itself: one in the video's units, whatever its size."""
    video = unlabelled_video(squares(6))
    latent = LatentActions(CONFIG).fit(video)
    windows = Windows(video, 1, 1)
    _, told = latent.loss(windows.gather(windows.present_frames))
    assert float(told["unexplained"]) == pytest.approx(1.0, rel=1e-4)
    pictures = video.observations[VIEW].float() / 127.5 - 1
    present = windows.present_frames
    change = (pictures[present + 1] - pictures[present]).square().mean()
    assert float(latent.change) == pytest.approx(float(change), rel=1e-4)


def test_other_colours_are_the_same_pictures():
    """Every row's three channels are those of before in some order, all negated or none; both frames alike."""
    generator = torch.Generator().manual_seed(0)
    before, after = torch.rand(2, 40, 6, 2, 2, generator=generator)
    torch.manual_seed(1)
    one, two = recoloured(before, after)
    signs = one.flatten(1)[:, 0].sign()
    assert {-1.0, 1.0} == set(signs.tolist())
    for row, sign in enumerate(signs):
        for camera in (slice(0, 3), slice(3, 6)):
            order = [
                next(k for k in range(3) if torch.equal(sign * each, before[row, camera][k]))
                for each in one[row, camera]
            ]
            assert sorted(order) == [0, 1, 2] and torch.equal(sign * two[row, camera], after[row, camera][order])


def test_moves_are_said_and_can_be_read_off(latent):
    model, told = latent
    assert told["unexplained"] < 0.5 and told["used"] >= 2
    assert probe(model) > 0.8


def test_a_bottleneck_that_is_too_tight_says_nothing(latent, tmp_path):
    model, told = trained(tmp_path, dataclasses.replace(CONFIG, beta=30.0), steps=100)
    assert told["nats"] < 0.05 * latent[1]["nats"] and told["used"] == 0
    assert probe(model) < probe(latent[0]) - 0.3


def test_latent_actions_are_actions_of_an_ordinary_data_set(latent):
    video = unlabelled_video(squares(3))
    seen = with_latent_actions(video, latent[0])
    assert seen.actions.shape == (36, 4) and float(seen.actions.abs().max()) <= 1
    last = video.starts + video.lengths - 1
    assert bool((seen.actions[last] == 0).all()) and float(seen.actions.std()) > 0.15
    before, after = ({VIEW: video.observations[VIEW][at]} for at in (slice(3, 5), slice(4, 6)))
    torch.testing.assert_close(latent[0].between(before, after), seen.actions[3:5])


def test_what_a_latent_action_does_is_drawn(latent):
    """The decoder's second frame is nearer to the true one than the first frame is."""
    video = unlabelled_video(squares(4, seed=9))
    windows = Windows(video, 1, 1).present_frames
    before, after = (video.observations[VIEW][at] for at in (windows, windows + 1))
    drawn = latent[0].draw({VIEW: before}, latent[0].between({VIEW: before}, {VIEW: after}))[VIEW]
    errors = [(each.float() - after.float()).square().mean() for each in (drawn, before)]
    assert drawn.dtype == torch.uint8 and errors[0] < 0.6 * errors[1]


def test_saved_is_loaded(latent, tmp_path):
    save(tmp_path / "latent", latent[0])
    again, video = load(tmp_path / "latent", LatentActions), unlabelled_video(squares(2))
    assert torch.equal(again.of_dataset(video), latent[0].of_dataset(video))


@pytest.mark.parametrize(
    "camera, size, told",
    [("other", SIZE, r"no 'observation\.images\.other'"), ("view", 32, r"expected torch\.uint8 and \(32, 32, 3\)")],
    ids=["camera", "size"],
)
def test_other_pictures_are_refused(camera, size, told):
    with pytest.raises(InputError, match=told):
        LatentActions(LatentActionConfig((camera,), size)).fit(unlabelled_video(squares(2)))
