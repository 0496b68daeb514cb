"""The trajectory denoiser: its windows by hand, the in-painted state, what counts in the loss, one step at a time."""

import numpy as np
import pytest
import torch

from burnish.components import load, save
from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.errors import InputError
from burnish.imagination import Models, rollout
from burnish.rewards import WorldReward, as_reward
from burnish.world_models import TrajectoryConfig, TrajectoryDenoiser, TrajectoryState, TrajectoryWindows
from tests.world_models import linear_gaussian as toy


def line(length=4, ended=True, reward=True, index=0, first=0.0):
    """States 0, 1, 2, …; actions .0, .1, …; rewards 0, 10, 20, …"""
    states = first + np.arange(length, dtype=np.float32)[:, None]
    over = np.zeros(length, bool)
    over[-1] = ended
    told = {"reward": 10 * np.arange(length, dtype=np.float32), "terminated": over} if reward else {}
    actions = 0.1 * np.arange(length, dtype=np.float32)[:, None]
    return Episode({STATE: states}, actions, np.zeros(length, bool), "play", index, "line", **told)


def of(*episodes):
    return Dataset.from_episodes(episodes, DatasetInfo(fps=10))


SMALL = TrajectoryConfig(horizon=3, network="mlp", width=16, depth=1)


def test_a_window_beyond_an_end_stays_over():
    """From frame 1 of 0 … 3: states 2 and 3, then 3 is held, with no action and no reward."""
    batch = TrajectoryWindows(of(line()), SMALL).gather((torch.tensor([1]), torch.tensor([2])))
    assert batch.first.tolist() == [[1]] and batch.observation[0, :, 0].tolist() == [2, 3, 3]
    torch.testing.assert_close(batch.action[0, :, 0], torch.tensor([0.1, 0.2, 0.0]))
    assert batch.reward.tolist() == [[20, 30, 0]]
    assert batch.over.tolist() == [[False, True, True]]
    assert batch.known.tolist() == [[True, True, False]]


def test_no_window_passes_the_end_of_a_recording_that_was_cut_off():
    """Of five frames that were cut off the first two begin a window of three steps; of four that ended, three do."""
    windows = TrajectoryWindows(of(line(5, ended=False), line(4, index=1)), SMALL)
    assert windows.first_frames.tolist() == [0, 1, 5, 6, 7]


def test_the_loss_by_hand():
    """A network that says nothing (its head begins at zero): F = 0, so the error is (x - c_skip (x + σ ε)) / c_out."""
    data = of(line(), line(6, ended=False, index=1, first=3.0))
    world = TrajectoryDenoiser(1, 1, SMALL).fit(data)
    batch = TrajectoryWindows(data, SMALL).gather((torch.tensor([4]), torch.tensor([SMALL.horizon])))
    torch.manual_seed(3)
    loss, _ = world.loss(batch)
    torch.manual_seed(3)
    sigma = (SMALL.noise_mean + SMALL.noise_std * torch.randn(1, 1)).exp()
    noise = torch.randn(1, 9)
    state = (batch.observation - world.normaliser.mean) / world.normaliser.std
    reward = (batch.reward[..., None] - world.reward_normaliser.mean) / world.reward_normaliser.std
    clean = torch.cat([state, reward, torch.full((1, 3, 1), -1.0)], -1).flatten(1)
    skip, out = 1 / (1 + sigma**2), sigma / (1 + sigma**2).sqrt()
    torch.testing.assert_close(loss, ((clean - skip * (clean + sigma * noise)) / out).square().mean())


def test_the_first_state_and_hidden_actions_are_read_as_they_are():
    world = TrajectoryDenoiser(1, 1, SMALL)
    torch.nn.init.normal_(world.network.head.weight)
    x, first, action = torch.randn(2, 3, 3), torch.zeros(2, 1), torch.zeros(2, 3, 1)
    known = torch.tensor([[True, True, False]]).expand(2, -1)

    def out(first=first, action=action, known=known):
        return world.denoise(x, 1.0, world.context(first, action, known))

    hidden, seen = action.clone(), action.clone()
    hidden[:, 2], seen[:, 1] = 5.0, 5.0
    assert torch.equal(out(), out(action=hidden)) and not torch.equal(out(), out(action=seen))
    assert not torch.equal(out(), out(first=first + 1)) and not torch.equal(out(), out(known=known.logical_not()))


def test_a_causal_network_reads_nothing_in_later_actions():
    """An entry depends on the actions that lead to it, and on no later one; of the MLP each one does on all."""
    for network, seen in (("causal", [False, True, True]), ("mlp", [True] * 3)):
        world = TrajectoryDenoiser(1, 1, TrajectoryConfig(horizon=3, network=network, width=16, depth=2))
        torch.nn.init.normal_(world.network.head.weight)
        for block in world.network.blocks:
            torch.nn.init.normal_(block.outer.weight)
        x, action, known = torch.randn(1, 3, 3), torch.zeros(1, 3, 1), torch.ones(1, 3, dtype=torch.bool)
        other = action.clone()
        other[:, 1] = 1.0
        one, two = (world.denoise(x, 1.0, world.context(torch.zeros(1, 1), each, known)) for each in (action, other))
        assert ((one - two).abs().amax((0, 2)) > 1e-6).tolist() == seen


def test_a_causal_network_that_sees_too_little():
    with pytest.raises(InputError, match=r"world_model\.depth: found 2, with which a causal network sees 4 steps"):
        TrajectoryConfig(horizon=5, depth=2)


@pytest.fixture(scope="module")
def system():
    data = toy.dataset(end=toy.END)
    return data, toy.learned(data)


def test_one_step_at_a_time_it_follows_the_system(system):
    """Five steps under random actions: the error is below holding the last state, rewards and ends are right."""
    _, world = system
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(400, 2, generator=generator).clamp(-1, toy.END - 0.1)
    actions = (0.5 * torch.randn(400, 5, 1, generator=generator)).clamp(-1, 1)
    models = Models(world, as_reward(world, WorldReward()))
    state = world.observe(world.initial(400), None, {STATE: start})
    true, errors, held, wrong, rewards = start, [], [], [], []
    for now in rollout(models, state, lambda state, k: actions[:, k], 5, generator):
        true = toy.step(true, actions[:, now.step], generator)
        live = now.alive & (true[:, 0] < toy.END - 0.1)
        found = world.decode(now.following)[STATE]
        errors.append((found - true)[live].square().mean().sqrt())
        held.append((start - true)[live].square().mean().sqrt())
        assert now.outcome is not None
        rewards.append((now.outcome.reward + true.square().sum(1))[live].abs().mean())
        wrong.append((now.outcome.terminated & live).float().mean())
    assert errors[0] < 0.15 and errors[4] < 0.3 and errors[4] < 0.7 * held[4]
    assert rewards[0] < 0.25 and max(rewards) < 0.4 and max(wrong) < 0.03
    near, far = (
        world.imagine(world.observe(world.initial(50), None, {STATE: start}), torch.zeros(50, 1), generator).over.mean()
        for start in (torch.tensor([[0.7, 2.0]]).expand(50, 2), torch.zeros(50, 2))
    )
    assert near > far + 0.4 and far < -0.9, "the end that is near is told"


def test_what_was_saved_imagines_the_same(system, tmp_path):
    data, world = system
    save(tmp_path, world)
    again, states = load(tmp_path, TrajectoryDenoiser), world.recorded(data).rows(torch.arange(7))
    one, two = (
        each.imagine(states, torch.full((7, 1), 0.3), torch.Generator().manual_seed(0)) for each in (world, again)
    )
    assert isinstance(one, TrajectoryState) and all(
        torch.equal(values, two.tensors()[name]) for name, values in one.tensors().items()
    )
    torch.testing.assert_close(world.decode(states)[STATE], data.observations[STATE][:7])


def test_data_without_ends_never_end():
    world = TrajectoryDenoiser(1, 1, SMALL).fit(of(line(5, ended=False)))
    assert not world.ended(TrajectoryState(torch.zeros(1, 1), torch.zeros(1), torch.ones(1))).any()


def test_data_that_grew_widen_the_range_alone():
    """States 0 to 3, then 0 to 13; rewards 0 to 30 of which the first of each episode is none."""
    world = TrajectoryDenoiser(1, 1, SMALL).fit(of(line(ended=False)))
    before = [world.normaliser.mean.clone(), world.normaliser.std.clone(), world.reward_normaliser.mean.clone()]
    assert not world.ends
    world.cover(of(line(ended=False), line(first=10.0)))
    assert world.ends
    after = [world.normaliser.mean, world.normaliser.std, world.reward_normaliser.mean]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for bound, state in ((world.low, 0 - 1.3), (world.high, 13 + 1.3)):
        torch.testing.assert_close(world.normaliser.denormalise(bound[:1]), torch.tensor([state]))
    for bound, reward in ((world.low, 10 - 2.0), (world.high, 30 + 2.0)):
        torch.testing.assert_close(world.reward_normaliser.denormalise(bound[1:2]), torch.tensor([reward]))


@pytest.mark.parametrize(
    ("episodes", "told"),
    [
        ([line(reward=False)], r"found no column next\.reward"),
        ([line(3, ended=False)], r"world_model\.horizon: found 3 steps, but no episode of the data has more than 3"),
        ([line(2, ended=False)], r"next\.reward is the same everywhere"),
    ],
    ids=["no-reward", "short", "constant"],
)
def test_data_that_teach_nothing(episodes, told):
    with pytest.raises(InputError, match=told):
        TrajectoryWindows(of(*episodes), SMALL)
