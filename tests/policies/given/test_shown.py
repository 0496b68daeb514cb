"""Given policies that see what models show them: pictures, and the state as a recurrent world model remembers it."""

import numpy as np
import pytest
import torch
from checkpoints import policy_of

from burnish.components import load, save
from burnish.data import STATE, ActionScaling, Dataset, DatasetInfo, Episode, image_key
from burnish.deploy.lerobot import own_type
from burnish.errors import InputError
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig
from burnish.policies.given import FeatureView, FunctionPolicy, GivenConfig, OwnPolicy, ShownView, allow, refinable
from burnish.policies.given.taking import Seen, Setting, as_given
from burnish.recipes.stages.taking import acts_apart, asked
from burnish.world_models import (
    RSSM,
    RSSM_PRESETS,
    Autoencoder,
    AutoencoderConfig,
    Encoded,
    HistoryConfig,
    ObservationHistory,
    PixelHistory,
    PixelHistoryConfig,
    as_states,
    with_latents,
)

TOP, SIZE, LATENTS = image_key("top"), 32, 6


def data_of(frames=40, size=SIZE, state=True):
    """Pictures of noise, a state of four numbers, actions in half ranges of about 90."""
    rng = np.random.default_rng(0)
    seen = {TOP: rng.integers(0, 256, (frames, size, size, 3), dtype=np.uint8)}
    seen |= {STATE: rng.standard_normal((frames, 4)).astype(np.float32)} if state else {}
    action = (90 * rng.uniform(-1, 1, (frames, 2))).astype(np.float32)
    episode = Episode(seen, action, np.arange(frames) > frames - 5, "unknown", -1, "reach")
    dataset = Dataset.from_episodes([episode], DatasetInfo(fps=10))
    return dataset.scaled(ActionScaling.of(dataset.actions))


def encoded(data, frames=2, size=SIZE):
    """An observer of pictures through an autoencoder with arbitrary weights, and the data as it sees them."""
    torch.manual_seed(0)
    config = AutoencoderConfig(cameras=("top",), image_size=size, latent_dim=LATENTS, width=4, hidden=16)
    autoencoder = Autoencoder(2, config).fit(data).eval()
    latents = as_states(with_latents(data, autoencoder.encode_dataset(data)))
    history = HistoryConfig(frames=4, feature_frames=frames)
    return Encoded(autoencoder, ObservationHistory(LATENTS, 2, history).fit(latents)).eval(), latents


def recurrent(data):
    torch.manual_seed(0)
    return RSSM(4, 2, RSSM_PRESETS["tiny"]).fit(data).eval()


def played(agent, data, frames=5):
    agent.begin(1)
    keys = agent.observer.observation_shapes if hasattr(agent.observer, "observation_shapes") else [STATE]
    rows = [{key: data.observations[key][t : t + 1] for key in keys} for t in range(frames)]
    return torch.cat([agent.act(row) for row in rows])


# ---------------------------------------------------------------------------------------------------------------------
# What observers show.


def test_vectors_are_shown_as_feature_views_have_them():
    data = data_of()
    observer = ObservationHistory(4, 2, HistoryConfig(frames=4, feature_frames=3)).fit(data)
    features = observer.features(observer.recorded(data))
    reads = {STATE: (1, 3), "goal": (3, 4)}
    one = FeatureView(4, 2, 3, reads).fit(observer.normaliser, data.info.scaling).observation(features)
    other = ShownView(observer, 2, reads).in_units(data.info.scaling).observation(features)
    assert one.keys() == other.keys() == reads.keys() and all(torch.equal(one[key], other[key]) for key in reads)
    # Oldest first: the last one is the frame itself.
    torch.testing.assert_close(one[STATE][:, -1], data.observations[STATE][:, 1:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one[STATE][2:, 0], data.observations[STATE][:-2, 1:3], atol=1e-5, rtol=1e-5)


def test_frames_are_shown_as_they_are():
    data = data_of(state=False)
    observer = PixelHistory(2, PixelHistoryConfig(("top",), image_size=SIZE, frames=3, feature_frames=2))
    shown = observer.shown(observer.features(observer.recorded(data)))
    assert list(shown) == [TOP] and torch.equal(shown[TOP][:, 1], data.observations[TOP])
    assert torch.equal(shown[TOP][1:, 0], data.observations[TOP][:-1])


def test_latents_are_shown_as_pictures_and_memory_as_a_state():
    data = data_of()
    observer, _ = encoded(data)
    state = observer.recorded(data)
    shown = observer.shown(observer.features(state))
    assert shown[TOP].shape == (40, 2, SIZE, SIZE, 3) and shown[TOP].dtype == torch.uint8
    assert int((shown[TOP][:, 1].int() - observer.decode(state)[TOP].int()).abs().max()) <= 1
    world = recurrent(data)
    state = world.recorded(data)
    assert torch.equal(world.shown(world.features(state))[STATE][:, 0], world.decode(state)[STATE])


# ---------------------------------------------------------------------------------------------------------------------
# Policies that see it.


class Brightness:
    """Goes by how bright the left and the right half of a picture are."""

    def act(self, observation):
        (key,) = observation
        assert key == TOP and observation[key].shape == (SIZE, SIZE, 3) and observation[key].dtype == np.uint8
        halves = observation[key].reshape(SIZE, 2, SIZE // 2, 3).mean((0, 2, 3))
        return 10 * (halves - 127.5)


def test_a_function_sees_the_pictures_that_models_show_it(tmp_path):
    data, place = data_of(), f"{__name__}:Brightness"
    observer, latents = encoded(data)
    allow(place)
    policy = asked(place, latents, GivenConfig(), Seen.of(observer))
    assert isinstance(policy, FunctionPolicy) and policy.action_dim == 2
    agent = Agent(observer, refinable(policy, GivenConfig(), Setting(latents, observer)), "reach", data.info.scaling)
    pictures = observer.decode(observer.recorded(data))[TOP][:5].numpy()
    low, high = torch.tensor(data.info.scaling.low), torch.tensor(data.info.scaling.high)
    expected = torch.tensor(np.stack([Brightness().act({TOP: picture}) for picture in pictures])).float()
    expected = torch.minimum(torch.maximum(expected, low), high)
    torch.testing.assert_close(played(agent.eval(), data), expected, atol=0.2, rtol=0)
    # Kept with the one observer that both have, and found again.
    save(tmp_path, agent)
    loaded = load(tmp_path, Agent)
    assert loaded.policy.view.observer is loaded.observer
    assert torch.equal(played(loaded, data), played(agent, data))
    # What noise looks like through so small an encoder is far from what it is.
    assert acts_apart(agent, data) > 0.01


def own(observer, data, seed=0, chunk=1):
    policy = GaussianPolicy(observer.feature_dim, 2, GaussianPolicyConfig(hidden=(8,), chunk=chunk))
    torch.nn.init.normal_(policy.network.head.weight, generator=torch.Generator().manual_seed(seed))
    return Agent(observer, policy, "reach", data.info.scaling).eval()


def test_a_policy_of_pictures_from_another_run(tmp_path):
    """With an encoder of its own; it plans what it would do, and its weights learn, not its encoder's."""
    data = data_of()
    agent = own(encoded(data)[0], data)
    given = as_given(agent)
    assert given.inputs == {} and given.pictures == {TOP: (SIZE, SIZE, 3)} and given.frames == 2
    # From pictures of the last two frames it does what the agent does.
    pictures = data.observations[TOP]
    rows = torch.stack([pictures[[max(0, t - 1), t]] for t in range(5)])
    torch.testing.assert_close(given.plan({TOP: rows})[:, 0], played(agent, data), atol=1e-3, rtol=1e-4)
    # On frames as they are, it does the same in another run.
    history = PixelHistory(2, PixelHistoryConfig(("top",), image_size=SIZE, frames=2, feature_frames=2))
    on_frames = Agent(history, refinable(given, GivenConfig(), Setting(data, history)), "reach", data.info.scaling)
    torch.testing.assert_close(played(on_frames.eval(), data), played(agent, data), atol=1e-2, rtol=1e-3)
    assert acts_apart(on_frames, data) is None
    save(tmp_path, on_frames)
    assert torch.equal(played(load(tmp_path, Agent), data), played(on_frames, data))
    learning = {name for name, each in on_frames.policy.named_parameters() if each.requires_grad}
    assert learning == {"raw_std"} | {f"base.agent.policy.{n}" for n, _ in agent.policy.named_parameters()}


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_lerobot_policies_read_what_a_recurrent_world_model_remembers(kind):
    data = data_of()
    world, policy = recurrent(data), policy_of(kind, {STATE: 4}, n_obs_steps=1, scale=60.0)
    agent = Agent(world, refinable(policy, GivenConfig(), Setting(data, world)), "reach", data.info.scaling).eval()
    state = world.recorded(data.subset([0]))
    with torch.no_grad():
        expected = policy.plan({STATE: world.decode(state)[STATE][:1].unsqueeze(1)})[0]
    low, high = torch.tensor(data.info.scaling.low), torch.tensor(data.info.scaling.high)
    expected = torch.minimum(torch.maximum(expected, low), high)
    torch.testing.assert_close(played(agent, data, 2), expected, atol=1e-3, rtol=1e-4)
    assert acts_apart(agent, data) > 0.02, "a world model that learned nothing remembers nothing"
    assert own_type(agent) is None, "alone it would read something else"


def test_what_cannot_be_seen_is_said():
    data = data_of()
    observer, latents = encoded(data)
    world = recurrent(data)
    small, _ = encoded(data_of(size=16), size=16)
    cases = [
        (policy_of("act", {STATE: 4}), latents, observer, "reads observation.state, this run's models see pictures"),
        (as_given(own(small, data)), latents, observer, r"looks at 'observation.images.top' \(16, 16, 3\), this run's"),
        (policy_of("diffusion", {STATE: 4}), data, world, "the features hold 1"),
        (as_given(own(encoded(data, 1)[0], data)), data, world, r"this run's models at no pictures; .*preset of pict"),
    ]
    for policy, seen, where, said in cases:
        with pytest.raises(InputError, match=said):
            refinable(policy, GivenConfig(), Setting(seen, where))
    with pytest.raises(InputError, match="reads the memory of its own RSSM"):
        as_given(own(world, data))
    assert isinstance(as_given(own(observer, data)), OwnPolicy)
