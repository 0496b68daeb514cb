"""Scenes as sets of Gaussians: what they hold, how they are encoded and drawn, what imagines them, what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from burnish.components import allow, load, save
from burnish.data import STATE, Windows, unpack_depth
from burnish.errors import InputError
from burnish.networks import TokenDiTConfig, chamfer
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    DenoisedFeatures,
    Encoded,
    HistoryConfig,
    SceneAutoencoder,
    SceneAutoencoderConfig,
    SceneConfig,
    Scenes,
    TokenDiffusion,
    TokenDiffusionConfig,
    TransitionSpace,
    as_states,
    learned_dimensions,
    with_latents,
)
from burnish.world_models.scenes import evenly
from tests.world_models.moving_block import BLOCK, CAMERA, COLOURS, DEPTH, SIZE, VIEW, WALL, moving_block, pictures

SCENE = SceneConfig(views=(VIEW,), image_size=SIZE, points=24)
SMALL = SceneAutoencoderConfig(
    scene=SCENE, gaussians=16, tokens=2, token_dim=3, width=32, heads=2, drawn=2, drawn_size=16
)


@pytest.fixture(scope="module")
def data():
    return moving_block(8)


def fitted(data, config=SCENE):
    scenes = Scenes(config).place((CAMERA,))
    scenes.fit(data)
    return scenes


def autoencoder(data, config=SMALL, seed=0):
    torch.manual_seed(seed)
    made = SceneAutoencoder(2, config)
    made.fit(data, (CAMERA,))
    return made


# What a set holds -----------------------------------------------------------------------------------------------------


def test_the_block_is_the_set_and_the_wall_is_not(data):
    scenes = fitted(data)
    torch.testing.assert_close(scenes.distance, torch.full((1, SIZE, SIZE), WALL))
    found, there, moving = scenes.read(pictures(np.array([[0.1875, -0.1875]])))
    assert there.sum() == moving.sum() == 16
    points = found.numbers[0, there[0]]
    torch.testing.assert_close(points[:, :3].mean(0), torch.tensor([0.1875, -0.1875, BLOCK]), atol=1e-4, rtol=0)
    torch.testing.assert_close(points[0, 10:13], torch.tensor([220.0, 30, 30]) / 255)
    assert not found.numbers[0, ~there[0]].any()


def test_what_is_still_is_kept_once(data):
    wall = fitted(data).background()
    assert wall.numbers.shape == (1, SIZE**2, 14)
    torch.testing.assert_close(wall.position[..., 2], torch.full((1, SIZE**2), WALL))
    torch.testing.assert_close(wall.colour, torch.full((1, SIZE**2, 3), 90 / 255))


def test_single_holes_are_left_out(data):
    scenes, seen = fitted(data), pictures(np.array([[0.1875, -0.1875]]))
    block = unpack_depth(seen[DEPTH])[0] < 1.8
    row, column = torch.nonzero(block)[0].tolist()
    seen[DEPTH][0, row, column] = 0
    assert int(scenes.read(seen)[1].sum()) == 15


def test_a_workspace_cuts(data):
    scenes = fitted(data, dataclasses.replace(SCENE, workspace=(0.0, 1.0, -1.0, 1.0, 1.0, 3.0)))
    found, there, _ = scenes.read(pictures(np.array([[0.0, 0.0]])))
    assert there.sum() == 8 and (found.position[0, there[0], 0] > 0).all()


def test_an_even_choice_by_hand():
    """Of six the first of each third; of one that one."""
    chosen = torch.tensor([[1, 1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 0], [0] * 7], dtype=torch.bool)
    index, there = evenly(chosen, 3)
    assert index.tolist() == [[0, 3, 5], [5, 0, 0], [0, 0, 0]]
    assert there.tolist() == [[True] * 3, [True, False, False], [False] * 3]


# The autoencoder ------------------------------------------------------------------------------------------------------


def test_the_order_of_a_set_changes_nothing(data):
    made = autoencoder(data)
    found, there, _ = made.scenes.read({key: data.observations[key][:4] for key in (COLOURS, DEPTH)})
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = dataclasses.replace(found, numbers=found.numbers[:, order])
    one, other = made._posterior(found, there)[0], made._posterior(shuffled, there[:, order])[0]
    torch.testing.assert_close(one, other)


def test_an_empty_scene_has_a_code(data):
    made, wall = autoencoder(data), pictures(np.array([[9.0, 9.0]]))
    assert made.encode(wall).isfinite().all()
    assert made.decode(made.encode(wall))[COLOURS].shape == (1, SIZE, SIZE, 3)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Some seconds of learning."""
    made, config = autoencoder(data), TrainingConfig(steps=250, batch_size=16, learning_rate=5e-3, log_every=50)
    before = made.distance(moving_block(3, seed=5))
    fit(made, Windows(data, history=1, horizon=2), config, tmp_path_factory.mktemp("sets"), 0)
    return before, made.eval().requires_grad_(False)


def test_sets_and_pictures_come_back(trained):
    before, made = trained
    fresh = moving_block(3, seed=5)
    assert made.distance(fresh) < 0.5 * before and made.distance(fresh) < 0.12
    still = made.scenes.still[0, ..., 10:13] * 255
    hidden = (fresh.observations[COLOURS].float() - still).square().mean()
    drawn = made.decode(made.encode_dataset(fresh))
    assert (drawn[COLOURS].float() - fresh.observations[COLOURS].float()).square().mean() < 0.7 * hidden
    assert drawn[DEPTH].dtype == torch.uint8 and not drawn[DEPTH][..., 2].any()
    assert made.psnr(fresh) > 15


def test_gradients_reach_everything_that_learns(data):
    made = autoencoder(data)
    windows = Windows(data, history=1, horizon=2)
    loss, metrics = made.loss(windows.gather(windows.present_frames[:3]))
    loss.backward()
    assert set(metrics) == {"chamfer", "predicted_chamfer", "kl", "drawn"}
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_it_is_saved_whole(trained, tmp_path, data):
    save(tmp_path, trained[1])
    again = load(tmp_path, SceneAutoencoder)
    some = {key: data.observations[key][:3] for key in (COLOURS, DEPTH)}
    assert torch.equal(again.encode(some), trained[1].encode(some))
    assert torch.equal(again.decode(again.encode(some))[COLOURS], trained[1].decode(trained[1].encode(some))[COLOURS])


# The dynamics ---------------------------------------------------------------------------------------------------------

TOKENS = TokenDiffusionConfig(transformer=TokenDiTConfig(tokens=2, width=32, depth=2, heads=2))


def latent_world(made, data, config=TOKENS):
    states = as_states(with_latents(data, made.encode_dataset(data)))
    history = HistoryConfig(frames=2, inertia=False)
    space = TransitionSpace(states.observation_dim, 2, learned_dimensions(states), history)
    space.normaliser.fit(states.observations[STATE])
    torch.manual_seed(0)
    return TokenDiffusion(space.fit(states), config), states


def test_pushes_are_foreseen(trained, tmp_path):
    """On pushes that nobody has seen: less than half of the distance of a set that is taken to stay where it is."""
    made, seen = trained[1], moving_block(40, seed=1)
    world, states = latent_world(made, seen)
    config = TrainingConfig(steps=250, batch_size=64, learning_rate=3e-3, log_every=50)
    fit(world, Windows(states, history=2, horizon=2), config, tmp_path, 0)
    world.requires_grad_(False)
    fresh = moving_block(10, seed=9)
    model = Encoded(made, world)
    states, present = model.recorded(fresh), fresh.starts + 2
    state, generator = states.rows(present), torch.Generator().manual_seed(0)
    for step in range(5):
        state = model.imagine(state, fresh.actions[present + step], generator)
    now, then = (
        made.scenes.read({key: fresh.observations[key][rows] for key in (COLOURS, DEPTH)})
        for rows in (present, present + 5)
    )
    imagined = made.moving(world.decode(state)[STATE])
    foreseen = chamfer(imagined.position, then[0].position, there=then[1]).mean()
    copied = chamfer(now[0].position, then[0].position, now[1], then[1]).mean()
    assert copied > 0.15 and foreseen < 0.5 * copied


def test_at_birth_nothing_is_predicted_and_actions_are_looked_at(trained, data):
    world, states = latent_world(trained[1], data)
    windows = Windows(states, history=2, horizon=0)
    state = world.space.window_state(windows.gather(windows.present_frames[:4]))
    noise, level = torch.randn(4, 6), torch.zeros(1)

    def found(action):
        return world.network(noise, level, world.network.embed_context(world.space.context(state, action)))

    assert not found(torch.zeros(4, 2)).any()
    with torch.no_grad():
        for parameter in world.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert not torch.allclose(found(torch.zeros(4, 2)), found(torch.ones(4, 2)))
    assert found(torch.zeros(4, 2)).shape == (4, 6)


def test_policies_may_read_the_first_denoising_step(trained, data, tmp_path):
    """The features stay those of the source, whatever world imagines; they come from the state alone."""
    source, states = latent_world(trained[1], data)
    world, _ = latent_world(trained[1], data)
    with torch.no_grad():
        for network in (source.network, world.network):
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    both, alone = DenoisedFeatures(world, source), DenoisedFeatures(source, source)
    state = both.recorded(states).rows(torch.arange(4))
    features = both.features(state)
    assert features.shape == (4, both.feature_dim) == (4, world.feature_dim + 32)
    assert torch.equal(features, alone.features(state)) and torch.equal(features, both.features(state))
    assert torch.equal(features[:, : world.feature_dim], world.features(state))
    imagined = both.imagine(state, states.actions[:4], torch.Generator().manual_seed(0))
    expected = world.imagine(state, states.actions[:4], torch.Generator().manual_seed(0))
    assert torch.equal(imagined.observation, expected.observation)
    save(tmp_path, Encoded(trained[1], both))
    model = load(tmp_path, Encoded)
    assert torch.equal(model.features(state), features)
    shown = model.shown(features)[COLOURS]
    assert shown.shape == (4, 1, SIZE, SIZE, 3)


def test_tokens_have_to_fit(trained, data):
    with pytest.raises(InputError, match=r"6 and 4 tokens.*transformer\.tokens"):
        latent_world(trained[1], data, TokenDiffusionConfig(transformer=TokenDiTConfig(tokens=4)))


# What is refused ------------------------------------------------------------------------------------------------------


def changed(data, **observations):
    return dataclasses.replace(data, observations={**data.observations, **observations})


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda d: changed(d, **{DEPTH: torch.zeros_like(d.observations[DEPTH])}), "holes .*100%.*most-holes"),
        (lambda d: changed(d, **{DEPTH: d.observations[COLOURS]}), "third channel"),
        (
            lambda d: changed(d, **{DEPTH: d.observations[DEPTH][:1].expand(len(d.actions), -1, -1, -1)}),
            "found 0 pixels",
        ),
        (lambda d: changed(d, **{DEPTH: d.observations[DEPTH][:, :8]}), r"shape \(8, 16, 3\)"),
        (lambda d: dataclasses.replace(d, observations={COLOURS: d.observations[COLOURS]}), f"found no '{DEPTH}'"),
    ],
    ids=["holes", "grey", "still", "size", "missing"],
)
def test_depth_that_is_of_no_use_is_refused(data, change, told):
    with pytest.raises(InputError, match=told):
        fitted(change(data))


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"views": ()}, "one or more different cameras"),
        ({"workspace": (0.0, 1.0)}, "each from and to"),
        ({"workspace": (1.0, 0.0, 0.0, 1.0, 0.0, 1.0)}, "each from and to"),
    ],
    ids=["no-view", "short", "turned"],
)
def test_scenes_that_make_no_sense(settings, told):
    with pytest.raises(InputError, match=told):
        dataclasses.replace(SCENE, **settings)


def test_pictures_are_drawn_in_a_divisor_of_their_size():
    with pytest.raises(InputError, match="drawn_size 5"):
        dataclasses.replace(SMALL, drawn_size=5)


# Somebody else's front end --------------------------------------------------------------------------------------------


def maker():
    """A Gaussian for each pixel, as red as the pixel, at the block's depth where it is very red, else at the wall's."""

    def made(seen):
        red = seen[VIEW][..., 0].float() / 255
        depth = torch.where(red > 0.5, BLOCK, WALL)
        numbers = torch.ones(len(red), 1, SIZE, SIZE, 14)
        ray = ((torch.arange(SIZE) + 0.5) / SIZE - 0.5).expand(len(red), SIZE, SIZE)
        numbers[:, 0, ..., 0], numbers[:, 0, ..., 1] = ray * depth, ray.transpose(1, 2) * depth
        numbers[:, 0, ..., 2] = depth
        return numbers

    return made


def wrong_maker():
    return lambda seen: torch.zeros(1, 14)


PLUGGED = dataclasses.replace(SCENE, maker=f"{__name__}:maker")


def test_a_maker_stands_in_for_depth(data, monkeypatch):
    assert PLUGGED.cameras == (VIEW,)
    colours = dataclasses.replace(data, observations={COLOURS: data.observations[COLOURS]})
    monkeypatch.setenv("BURNISH_ALLOWED_POLICIES", "")
    with pytest.raises(InputError, match="--trust-code"):
        fitted(colours, PLUGGED)
    allow(str(PLUGGED.maker))
    found, there, _ = fitted(colours, PLUGGED).read({COLOURS: pictures(np.array([[0.1875, -0.1875]]))[COLOURS]})
    assert there.sum() == 16
    middle = found.position[0, there[0]].mean(0)
    torch.testing.assert_close(middle, torch.tensor([0.1875, -0.1875, BLOCK]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name, told", [("wrong_maker", r"\(1, 14\), expected"), ("nobody", "module:factory")])
def test_a_maker_of_something_else_is_refused(data, name, told):
    allow(f"{__name__}:{name}")
    with pytest.raises(InputError, match=told):
        fitted(data, dataclasses.replace(SCENE, maker=f"{__name__}:{name}"))
