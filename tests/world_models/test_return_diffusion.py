"""DAWM's trajectory model: its windows, returns and coding by hand, what guidance mixes, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.errors import InputError
from burnish.networks import TrajectoryNetworkConfig
from burnish.training import TrainingConfig, fit
from burnish.world_models import ReturnDiffusion, ReturnDiffusionConfig, ReturnWindows, window_return
from burnish.world_models.return_diffusion import Trajectory
from burnish.world_models.return_windows import ends

CONFIG = ReturnDiffusionConfig(horizon=4, gamma=0.5, network=TrajectoryNetworkConfig(width=64, depth=2))
LEARNED = replace(CONFIG, gamma=0.9)


def episodes(*rows: tuple[list[float], bool]) -> Dataset:
    """One number as the state, which is earned on arriving; whether the episode ends by itself."""
    made = []
    for index, (values, over) in enumerate(rows):
        state, none = np.array(values, np.float32)[:, None], np.zeros(len(values), bool)
        ended, reward = none.copy(), state[:, 0].copy()
        ended[-1], reward[0] = over, 0
        made.append(Episode({STATE: state}, 0.1 * state, none, "play", index, "t", reward, ended))
    return Dataset.from_episodes(made, DatasetInfo(fps=10))


def pushed(count: int = 24, length: int = 20, seed: int = 0, limit: float = 0.8) -> Dataset:
    """x' = x + 0.3 a, beside a goal that stays; the reward is x', and an episode is over past the limit."""
    rng, made = np.random.default_rng(seed), []
    for index in range(count):
        x, states, actions = rng.uniform(-0.8, 0.5), [], []
        goal = rng.uniform(-1, 1)
        for _ in range(length):
            states.append([x, goal])
            actions.append(rng.uniform(-1, 1, 1))
            if x > limit:
                break
            x = max(-0.9, x + 0.3 * actions[-1][0])
        state, action = np.array(states, np.float32), np.array(actions, np.float32)
        none, reward = np.zeros(len(state), bool), np.append(0, state[1:, 0]).astype(np.float32)
        made.append(Episode({STATE: state}, action, none, "play", index, "t", reward, state[:, 0] > limit))
    return Dataset.from_episodes(made, DatasetInfo(fps=10))


def made(dataset, config=CONFIG):
    torch.manual_seed(0)
    return ReturnDiffusion(dataset.observation_dim, dataset.action_dim, config).fit(dataset)


@pytest.fixture(scope="module")
def data():
    return pushed()


@pytest.fixture(scope="module")
def world(data, tmp_path_factory):
    world, training = made(data, LEARNED), TrainingConfig(steps=700, batch_size=128, learning_rate=2e-3)
    fit(world, ReturnWindows(data, CONFIG.horizon), training, tmp_path_factory.mktemp("fit"), 0)
    return world


# -- windows -----------------------------------------------------------------------------------------------------------


def test_windows_by_hand():
    """What merely stops is known to its last frame; what ended by itself goes on as nothing."""
    found = ReturnWindows(episodes(([1, 2, 3, 4, 5], False), ([1, 2, 3, 4], True)), 3)
    assert found.frames.tolist() == [0, 1, 5, 6, 7]
    batch = found.gather(torch.tensor([1, 6]))
    assert batch.observation[STATE][..., 0].tolist() == [[2, 3, 4, 5], [2, 3, 4, 4]]
    assert batch.reward[:, 1:].tolist() == [[3, 4, 5], [3, 4, 0]]
    assert ends(batch).tolist() == [[False] * 3, [False, True, True]]
    assert window_return(batch, 0.5).tolist() == [3 + 2 + 1.25, 3 + 2]
    drawn = found.sample(200, torch.Generator().manual_seed(0))
    assert set(drawn.observation[STATE][:, 0, 0].tolist()) == {1, 2, 3}


@pytest.mark.parametrize(
    ("change", "horizon", "told"),
    [({"reward": None}, 3, "next.reward"), ({}, 5, "world_model.horizon: found 5 steps.*more than 5 frames")],
    ids=["no-rewards", "long"],
)
def test_data_that_cannot_be_cut_so(change, horizon, told):
    with pytest.raises(InputError, match=told):
        ReturnWindows(replace(episodes(([1, 2, 3, 4, 5], True)), **change), horizon)


def test_a_unet_halves_its_steps():
    with pytest.raises(InputError, match="horizon: found 5, expected a multiple of 2"):
        ReturnDiffusionConfig(horizon=5, network=TrajectoryNetworkConfig(kind="unet"))


# -- coding ------------------------------------------------------------------------------------------------------------


def test_what_is_denoised_by_hand():
    """Changes against the first frame, in deviations of each step's own, rewards and ends in theirs."""
    data = episodes(([0, 1, 3, 6, 10], True), ([0, 2, 3, 4, 5], False))
    world = made(data, replace(CONFIG, horizon=2))
    frames = world.normaliser.normalise(torch.tensor([[[0.0], [1.0], [3.0]]]))
    found = world._encoded(frames, torch.tensor([[1.0, 3.0]]), torch.tensor([[False, True]]))

    def standard(value, rows):
        rows = torch.tensor(rows, dtype=torch.float64)
        return float((value - rows.mean()) / rows.std(correction=0))

    # Of seven windows; the fourth reaches beyond the end, where the state stays and nothing is earned.
    expected = [standard(1, [1, 2, 3, 4, 2, 1, 1]), standard(3, [3, 5, 7, 4, 3, 2, 2])]
    assert found[0, :, 0].tolist() == pytest.approx(expected, abs=1e-5)
    rewards = [1, 3, 3, 6, 6, 10, 10, 0, 2, 3, 3, 4, 4, 5]
    assert found[0, 0, 1].item() == pytest.approx(standard(1, rewards), abs=1e-5)
    flags = [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert found[0, :, 2].tolist() == pytest.approx([standard(0, flags), standard(1, flags)], abs=1e-5)


def test_returns_stop_at_an_end():
    trajectory = Trajectory(
        torch.zeros(2, 4, 1), torch.tensor([[8.0, 4, 2], [8, 4, 2]]), torch.tensor([[False, True, True], [False] * 3])
    )
    assert made(episodes(([0, 1, 3, 6, 10], True))).returns(trajectory).tolist() == [8 + 2, 8 + 2 + 0.5]


# -- learning ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_it_learns_states_rewards_and_ends(world):
    test = pushed(seed=1)
    windows = ReturnWindows(test, CONFIG.horizon)
    batch = windows.gather(windows.frames)
    frames, action = batch.observation[STATE], batch.action[:, 0]
    found = world.generate(frames[:, 0], action, window_return(batch, 0.9), torch.Generator().manual_seed(0))
    wrong = (found.observation[:, 1] - frames[:, 1])[:, 0].square().mean().sqrt()
    moved = (frames[:, 1] - frames[:, 0])[:, 0].square().mean().sqrt()
    assert wrong < 0.25 * moved
    torch.testing.assert_close(found.observation[..., 1], frames[..., 1], atol=1e-5, rtol=0)
    assert (found.reward[:, 0] - batch.reward[:, 1]).square().mean().sqrt() < 0.15 * batch.reward[:, 1:].std()
    assert (found.ended[:, 0] == ends(batch)[:, 0]).float().mean() > 0.95 and found.ended.any()
    assert (found.ended[:, 1:] | ~found.ended[:, :-1]).all(), "what has ended stays so"


@torch.no_grad()
def test_it_earns_more_where_more_is_asked(world):
    """The same states and actions, asked for little and for much; so short a training goes a third of the way."""
    state, action = torch.zeros(64, 2), torch.zeros(64, 1)
    earned = {}
    for asked in (-0.6, 0.6):
        found = world.generate(state, action, torch.full((64,), asked), torch.Generator().manual_seed(0))
        earned[asked] = float(world.returns(found).mean())
    free = world.generate(state, action, None, torch.Generator().manual_seed(0))
    assert earned[0.6] - earned[-0.6] > 0.3
    assert earned[-0.6] < world.returns(free).mean() < earned[0.6]


@torch.no_grad()
def test_guidance_goes_beyond_the_conditional_model(world, data):
    """Weight 1 is the conditional model, 0 the one that is told no return, 2 as far again."""
    state, action, asked = torch.zeros(8, 2), torch.zeros(8, 1), torch.full((8,), 0.3)

    def denoised(weight):
        world.config = replace(LEARNED, guidance=weight, sampler=replace(CONFIG.sampler, steps=1))
        found = world.generate(state, action, asked, torch.Generator().manual_seed(0))
        world.config = LEARNED
        return found.reward

    none, one, two = (denoised(weight) for weight in (0.0, 1.0, 2.0))
    assert not torch.allclose(one, none, atol=1e-3)
    torch.testing.assert_close(two, 2 * one - none, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_single_steps_are_a_world_model(world):
    """Where no return is told it follows its action; the episode is over where it was in the data."""
    states = world.observe(world.initial(2), None, {STATE: torch.tensor([[0.0, 0.5], [0.75, 0.5]])})
    following = world.imagine(states, torch.ones(2, 1), torch.Generator().manual_seed(0))
    position = world.decode(following)[STATE]
    assert position[:, 0].tolist() == pytest.approx([0.3, 1.05], abs=0.12)
    assert position[:, 1].tolist() == pytest.approx([0.5, 0.5], abs=1e-5)
    assert world.ended(following).tolist() == [False, True] and not world.ended(states).any()


def test_killed_and_resumed_is_the_same(data, tmp_path):
    def train(folder, stop=False):
        world = made(data)
        training = TrainingConfig(steps=3, batch_size=8, checkpoint_seconds=0.0, log_every=1)

        def stopping(step, metrics):
            if stop and step == 2:
                raise KeyboardInterrupt

        try:
            fit(world, ReturnWindows(data, CONFIG.horizon), training, folder, 0, on_step=stopping)
        except KeyboardInterrupt:
            assert stop
        return world.state_dict()

    whole = train(tmp_path / "whole")
    train(tmp_path / "parts", stop=True)
    again = train(tmp_path / "parts")
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_rewards_that_never_vary_are_known(data):
    """A step that always earns the same is told as that, whatever the noise."""
    world = made(replace(data, reward=torch.ones_like(data.reward), terminated=None))
    found = world.generate(torch.zeros(3, 2), torch.zeros(3, 1), torch.ones(3), torch.Generator().manual_seed(0))
    assert (found.reward == 1).all() and not found.ended.any() and found.observation.isfinite().all()
