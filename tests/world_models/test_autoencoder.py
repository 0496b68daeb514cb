"""The compact latent of pictures, and the models behind it."""

import pytest
import torch

from burnish.data import Dataset, DatasetInfo, Windows, image_key
from burnish.errors import InputError
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    LATENT,
    Autoencoder,
    AutoencoderConfig,
    Encoded,
    HistoryConfig,
    ObservationHistory,
    as_states,
    with_latents,
)

TINY = AutoencoderConfig(cameras=("front", "wrist"), image_size=16, latent_dim=4, width=8, hidden=32)
SIZE = TINY.image_size


def moving_square(episodes: int = 6, length: int = 12) -> Dataset:
    """A bright square that moves by one pixel along x or y as the action says; the wrist camera sees it mirrored."""
    generator = torch.Generator().manual_seed(0)
    frames, actions = [], []
    for _ in range(episodes):
        place = torch.randint(2, SIZE - 5, (2,), generator=generator)
        for _ in range(length):
            action = torch.randint(-1, 2, (2,), generator=generator)
            picture = torch.full((SIZE, SIZE, 3), 40, dtype=torch.uint8)
            picture[place[1] : place[1] + 3, place[0] : place[0] + 3, 1] = 220
            frames.append(picture)
            actions.append(action.float())
            place = (place + action).clamp(0, SIZE - 3)
    front = torch.stack(frames)
    lengths = torch.full((episodes,), length)
    return Dataset(
        observations={image_key("front"): front, image_key("wrist"): front.flip(2)},
        actions=torch.stack(actions),
        success=torch.zeros(len(front), dtype=torch.bool),
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
        sources=("random",) * episodes,
        seeds=tuple(range(episodes)),
        tasks=("square",) * episodes,
        info=DatasetInfo(fps=10),
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return moving_square()


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory) -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(2, TINY).fit(dataset)
    settings = TrainingConfig(steps=400, batch_size=16, learning_rate=3e-3, ema_decay=None)
    fit(model, Windows(dataset, history=1, horizon=2), settings, tmp_path_factory.mktemp("autoencoder"), seed=0)
    return model.eval()


def test_it_learns_to_draw_what_moves(dataset, trained):
    fresh = Autoencoder(2, TINY).fit(dataset).eval()
    assert trained.psnr(dataset) > fresh.psnr(dataset) + 6


def test_the_mean_picture_and_the_weights_come_from_the_data(dataset):
    model = Autoencoder(2, TINY).fit(dataset)
    expected = dataset.observations[image_key("front")].float().mean(0).movedim(-1, 0) / 127.5 - 1
    torch.testing.assert_close(model.mean[:3], expected, atol=1e-5, rtol=0)
    for camera in (slice(0, 3), slice(3, 6)):  # each counts the same: a loss of one for drawing the mean picture
        frames = dataset.observations[image_key("front" if camera.start == 0 else "wrist")].movedim(-1, 1).float()
        error = 2 * (frames / 127.5 - 1 - model.mean[camera])
        assert (error.square() * model.weight[camera]).mean() == pytest.approx(1, abs=1e-4)
    green, red = model.weight[1], model.weight[0]
    assert red.min() == red.max()  # never changes
    assert green.max() > 3 * red.max()


def test_pictures_come_back_in_their_places(dataset, trained):
    keys = list(dataset.observations)
    real = {key: frames[:5] for key, frames in dataset.observations.items()}
    drawn = trained.decode(trained.encode(real))
    assert list(drawn) == keys
    for key in keys:
        assert drawn[key].dtype == torch.uint8 and drawn[key].shape == real[key].shape
        own = (drawn[key].float() - real[key].float()).square().mean()
        other = (drawn[key].float() - real[keys[1 - keys.index(key)]].float()).square().mean()
        assert own < other


def test_a_picture_alone_has_the_code_that_it_has_among_others(dataset, trained):
    all_at_once = trained.encode_dataset(dataset)
    alone = trained.encode({key: frames[3:4] for key, frames in dataset.observations.items()})
    torch.testing.assert_close(alone, all_at_once[3:4], atol=1e-4, rtol=1e-4)


def test_training_resumes_to_the_same_weights(dataset, tmp_path):
    settings = TrainingConfig(steps=4, batch_size=4, log_every=1, checkpoint_seconds=0)
    windows = Windows(dataset, history=1, horizon=2)

    def weights(folder, stop=None):
        def interrupt(step, metrics):
            if step == stop:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        model = Autoencoder(2, TINY).fit(dataset)
        fit(model, windows, settings, folder, seed=0, on_step=interrupt)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    whole = weights(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        weights(tmp_path / "killed", stop=3)
    assert torch.equal(weights(tmp_path / "killed"), whole)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda o: o.pop(image_key("wrist")), "found no 'observation.images.wrist'"),
        (lambda o: o.update({image_key("front"): o[image_key("front")].float()}), "torch.float32"),
        (lambda o: o.update({image_key("front"): o[image_key("front")].movedim(-1, 1)}), r"\(3, 16, 16\)"),
        (lambda o: o.update({image_key("front"): o[image_key("front")][:, ::2]}), r"\(8, 16, 3\)"),
    ],
)
def test_wrong_pictures_are_named(dataset, spoil, words):
    observation = {key: frames[:2] for key, frames in dataset.observations.items()}
    spoil(observation)
    with pytest.raises(InputError, match=words):
        Autoencoder(2, TINY).encode(observation)


def test_impossible_settings_are_named():
    with pytest.raises(InputError, match="found no camera"):
        Autoencoder(2, AutoencoderConfig(cameras=()))
    with pytest.raises(InputError, match="found pictures of 48 pixels"):
        Autoencoder(2, AutoencoderConfig(image_size=48))


def test_an_observer_behind_it_reads_latents_whichever_way_they_come(dataset, trained):
    inner = ObservationHistory(4, 2, HistoryConfig(frames=3))
    latents = with_latents(dataset, trained.encode_dataset(dataset))
    inner.fit(as_states(latents))
    observer = Encoded(trained, inner)
    from_pictures, from_latents = observer.recorded(dataset), observer.recorded(latents)
    torch.testing.assert_close(observer.features(from_pictures), observer.features(from_latents))
    start = {key: frames[dataset.starts] for key, frames in dataset.observations.items()}
    seen = observer.observe(observer.initial(len(dataset.starts)), None, start)
    torch.testing.assert_close(
        observer.features(seen), observer.features(from_latents.rows(dataset.starts)), atol=1e-4, rtol=1e-4
    )
    decoded = observer.decode(seen)
    torch.testing.assert_close(decoded[LATENT], latents.observations[LATENT][dataset.starts], atol=1e-4, rtol=1e-4)
    assert decoded[image_key("wrist")].shape == (6, SIZE, SIZE, 3)


def test_a_model_of_another_size_is_refused(trained):
    with pytest.raises(InputError, match="4 latents, the model behind reads 7"):
        Encoded(trained, ObservationHistory(7, 2, HistoryConfig()))


def test_a_data_set_without_latents_is_refused(dataset):
    with pytest.raises(InputError, match="encode the data set first"):
        as_states(dataset)
