"""RWM's ensemble: its loss by hand, what it remembers, its members, its thresholds, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from burnish.components import load, save
from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.errors import InputError
from burnish.evaluation.prediction import open_loop
from burnish.imagination import Models, given, recorded, rollout
from burnish.training import TrainingConfig, fit
from burnish.world_models import Forecasts, GRUEnsemble, GRUEnsembleConfig

TINY = GRUEnsembleConfig(members=3, history=5, forecast=3, hidden=16, head=(16,))
ALL = pytest.mark.parametrize("config", [TINY, replace(TINY, trunk="own", layers=2)], ids=["shared", "own"])
CONTACTS = "observation.contacts"


def echo(episodes=12, length=14, seed=0, ends=False):
    """The next state is the action, and nothing else: an action that is read one step off is found at once.

    With `ends` an episode ends by itself where the state passes 0.8; contacts tell whether it is positive.
    """
    rng = np.random.default_rng(seed)
    recorded = []
    for index in range(episodes):
        action = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
        state = np.concatenate([rng.uniform(-1, 1, (1, 2)), action[:-1]]).astype(np.float32)
        over = np.zeros(length, bool)
        if ends:
            first = int(np.argmax(np.append(state[1:, 0] > 0.8, True))) + 1
            over[min(first, length - 1)] = state[min(first, length - 1), 0] > 0.8
            state, action, over = (each[: max(2, first + 1)] for each in (state, action, over))
        seen = {STATE: state, CONTACTS: (state[:, :1] > 0).astype(np.float32)}
        reward = np.append(0, state[1:, 0]).astype(np.float32)
        recorded.append(Episode(seen, action, np.zeros(len(state), bool), "play", index, "t", reward, over))
    return Dataset.from_episodes(recorded, DatasetInfo(fps=10))


def make(data, config=TINY):
    torch.manual_seed(0)
    privileged = 1 if config.privileged is not None else 0
    return GRUEnsemble(2, 2, config, privileged).fit(data).eval()


def batch_of(data, config, rows=4):
    return Forecasts(data, config, 0).sample(rows, torch.Generator().manual_seed(1))


@ALL
def test_recorded_is_what_was_observed(config):
    data = echo(ends=True)
    world = make(data, config)
    recorded, state = world.recorded(data), world.initial(1)
    for frame in range(int(data.lengths[0])):
        seen = {STATE: data.observations[STATE][frame : frame + 1]}
        state = world.observe(state, data.actions[frame - 1 : frame] if frame else None, seen)
        for name, values in state.tensors().items():
            torch.testing.assert_close(values[0], recorded.tensors()[name][frame], msg=name)
    assert recorded.begun.all() and not recorded.hidden[0].any() and recorded.hidden[1].any()
    torch.testing.assert_close(world.decode(recorded)[STATE], data.observations[STATE])


@ALL
def test_members_and_their_mean(config):
    data = echo()
    world = make(data, config)
    state, action = world.recorded(data).rows(torch.arange(6)), data.actions[:6]
    each = torch.stack([world.predict_member(state, action, torch.full((6,), m))[1].observation for m in range(3)])
    spread, mixed = world.predict_member(state, action, torch.tensor([-1, 0, 1, 2, 1, -1]))
    mean = world.imagine(state, action)
    torch.testing.assert_close(mean.observation, each.mean(0))
    torch.testing.assert_close(mixed.observation[[0, 5]], mean.observation[[0, 5]])
    torch.testing.assert_close(mixed.observation[1:5], each[[0, 1, 2, 1], torch.arange(1, 5)])
    torch.testing.assert_close(spread, each.std(0).sum(-1))
    torch.testing.assert_close(world(state, action), spread)


@ALL
def test_the_loss_by_hand(config):
    """Teacher-forced with members' means alone: the mean over members and steps of weighted squared errors."""
    config = replace(config, feedback="data", bound_weight=0.0, auxiliary_weight=0.0)
    data = echo(4)
    world, batch = make(data, config), batch_of(data, config)
    with torch.no_grad():
        world.head.min_log_std.fill_(-30)
        world.head.log_range.fill_(-30)
    found, metrics = world.loss(batch)
    windows = batch.windows
    present = config.history - 1
    errors = torch.zeros(3, 4, config.forecast)
    for row in range(4):
        frames = windows.observation[STATE][row]
        state = world.initial(1)
        for t in range(present + config.forecast):
            if not windows.valid[row, t]:
                continue
            action = windows.action[row, t - 1 : t] if state.begun.any() else None
            state = world.observe(state, action, {STATE: frames[t : t + 1]})
            if t >= present:
                for member in range(3):
                    said = world.predict_member(state, windows.action[row, t : t + 1], torch.tensor([member]))[1]
                    target = world.normaliser.normalise(frames[t + 1])
                    errors[member, row, t - present] = (said.observation[0] - target).square().sum()
    expected = ((batch.copies / batch.copies.sum(0).clamp(min=1)).t()[..., None] * errors).sum(1).mean()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert metrics["mse"] > 0


def test_an_end_weighs_as_much_as_the_windows_that_other_frames_are_in():
    """Chances of a half everywhere: an entropy of ln 2 a frame, three times that of an end, of three forecast steps."""
    data = echo(8, ends=True)
    world, batch = make(data), batch_of(data, TINY, rows=16)
    with torch.no_grad():
        for parameter in world.told_head.parameters():
            parameter.zero_()
    ended = batch.windows.terminated[:, TINY.history :].float()
    assert 0 < ended.sum() < 16
    share = (batch.copies / batch.copies.sum(0)).mean(1)
    expected = np.log(2) * (share[:, None] * (1 + 2 * ended)).mean(1).sum()
    found = world.loss(batch)[1]["auxiliary"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@ALL
@pytest.mark.parametrize("feedback", ["samples", "data"])
def test_what_a_forecast_goes_on_from(config, feedback):
    """On own samples the recorded frames between the present and the last one are targets alone: the members' error at
    the last step does not change with them."""
    config = replace(config, feedback=feedback, auxiliary_weight=0.0, bound_weight=0.0)
    data = echo()
    world, batch = make(data, config), batch_of(data, config)
    frames = batch.windows.observation[STATE]
    lasts = []
    for shift in (0.0, 5.0):
        moved = frames.clone()
        moved[:, config.history : -1] += shift
        hidden = world.trunk.warm(torch.zeros(4, 0, 4), torch.ones(4, 0, dtype=torch.bool))
        torch.manual_seed(3)
        seen = []
        world.head.unbounded.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
        world._forecast(moved, batch.windows.action, config.history - 1, hidden, torch.ones(3, 4))
        lasts.append(seen[-1])
    assert torch.equal(*lasts) == (feedback == "samples")


def test_gradients_flow_through_the_samples():
    data = echo()
    for feedback, flows in (("samples", True), ("data", False)):
        config = replace(TINY, feedback=feedback)
        world, batch = make(data, config), batch_of(data, config)
        passed = []
        world.head.mean.register_forward_hook(lambda module, inputs, output, passed=passed: passed.append(output))
        world.loss(batch)[0].backward(retain_graph=True)
        last = passed[-1].square().sum()
        found = torch.autograd.grad(last, passed[0], allow_unused=True)[0]
        assert (found is not None) == flows


def test_a_bootstrap_is_of_episodes():
    data = echo(10)
    forecasts = Forecasts(data, TINY, seed=0)
    assert forecasts.copies.shape == (10, 3) and (forecasts.copies.sum(0) == 10).all()
    assert not torch.equal(forecasts.copies[:, 0], forecasts.copies[:, 1])
    batch = forecasts.sample(64, torch.Generator().manual_seed(0))
    last = batch.windows.observation[STATE][:, -1]
    where = (data.observations[STATE][None] == last[:, None]).all(-1).long().argmax(1)
    assert torch.equal(batch.copies, forecasts.copies[data.episode_of_frame[where]])


def test_it_learns_which_action_leads_where(tmp_path):
    """Ten forecast steps are as good as one, and far better than holding the last frame; ends and contacts are told."""
    config = replace(TINY, privileged=CONTACTS)
    data, held_out = echo(150, ends=True), echo(60, seed=5, ends=True)
    world = make(data, config)
    training = TrainingConfig(steps=300, batch_size=32, learning_rate=1e-2, ema_decay=None)
    fit(world, Forecasts(data, config, 0), training, tmp_path, seed=0)
    found = open_loop(world, echo(10, seed=7), 10, seed=0)
    assert found.model_error.median() < 0.2 * found.hold_error.median()
    chance, ended = world.end_chances(held_out)
    assert chance[ended].median() > 0.4 > 0.1 > chance[~ended].median()
    states = world.recorded(held_out)
    later = torch.ones(held_out.num_frames, dtype=torch.bool)
    later[held_out.starts] = False
    contacts = world.decode(states)[CONTACTS][later, 0] > 0.5
    assert (contacts == held_out.observations[CONTACTS][later, 0].bool()).float().mean() > 0.9
    calibrated = world.calibrate(held_out)
    assert calibrated["threshold"] > calibrated["median"] > 0
    known = world(states, held_out.actions)
    strange = world(replace(states, observation=states.observation + 6), 3 * held_out.actions)
    assert (known <= world.threshold).float().mean() > 0.95 and strange.median() > 2 * known.median()
    assert not world.ended(states).any(), "no threshold of termination was set"


def test_imagination_stays_near_the_data():
    data = echo()
    world = make(data, replace(TINY, slack=0.0))
    with torch.no_grad():
        world.head.mean.biases[-1].fill_(100.0)
    state = world.imagine(world.recorded(data), data.actions)
    high = world.normaliser.normalise(data.observations[STATE]).amax(0)
    torch.testing.assert_close(state.observation, high.expand_as(state.observation))
    free = make(data, replace(TINY, slack=None))
    free.load_state_dict({**world.state_dict(), "low": free.low, "high": free.high})
    assert free.imagine(free.recorded(data), data.actions).observation.min() > 50


def test_data_that_do_not_fit():
    with pytest.raises(InputError, match=r"world_model.forecast: found 20 steps.*more than 14 frames"):
        Forecasts(echo(), replace(TINY, forecast=20), 0)
    with pytest.raises(InputError, match=r"world_model.privileged: found no 'observation.x', .*observation.contacts"):
        Forecasts(echo(), replace(TINY, privileged="observation.x"), 0)


def told(episodes=8, length=12, seed=0):
    """The state follows the action, beside a command that changes in the middle of each episode."""
    rng = np.random.default_rng(seed)
    recorded = []
    for index in range(episodes):
        action = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
        state = np.concatenate([rng.uniform(-1, 1, (1, 2)), action[:-1]])
        command = np.repeat(rng.integers(1, 5, 2), [length // 2, length - length // 2])[:, None]
        seen = {STATE: np.concatenate([state, command], 1).astype(np.float32)}
        recorded.append(Episode(seen, action, np.zeros(length, bool), "play", index, "t"))
    return Dataset.from_episodes(recorded, DatasetInfo(fps=10, state_names=("v_x", "v_y", "command")))


def make_told(data, **more):
    torch.manual_seed(0)
    return GRUEnsemble(3, 2, replace(TINY, commands=("command",), **more)).fit(data).eval()


@pytest.mark.parametrize("likelihood", ["mse", "nll"])
def test_commands_are_read_and_not_predicted(likelihood):
    data = told()
    world = make_told(data, likelihood=likelihood)
    state, action = world.recorded(data).rows(torch.arange(6)), data.actions[:6]
    members = [world.predict_member(state, action, torch.full((6,), m))[1].observation for m in range(3)]
    spread, following = world.predict_member(state, action, torch.full((6,), -1))
    assert all(torch.equal(each[:, 2], state.observation[:, 2]) for each in [*members, following.observation])
    torch.testing.assert_close(spread, torch.stack(members).std(0)[:, :2].sum(-1))
    # Read: another command is another forecast, once the network remembers it.
    asked = world.commanded(state, {STATE: torch.tensor([[0.0, 0.0, 9.0]]).expand(6, 3)})
    assert torch.equal(asked.observation[:, :2], state.observation[:, :2])
    torch.testing.assert_close(world.decode(asked)[STATE][:, 2], torch.full((6,), 9.0))
    assert not torch.equal(world.imagine(asked, action).observation[:, :2], following.observation[:, :2])
    # Not predicted: nothing is learned about that output, whatever the command was changed to.
    loss, _ = world.loss(batch_of(data, world.config))
    loss.backward()
    for head in (world.head.mean, world.head.unbounded):
        last = [each for name, each in head.named_parameters() if "weight" in name][-1].grad
        assert last.shape[-1] == 3 and last[..., :2].abs().sum() > 0
        assert likelihood == "nll" or not last[..., 2].any()
    assert not [each for name, each in world.head.mean.named_parameters() if "weight" in name][-1].grad[..., 2].any()


def test_a_displaced_frame_stays_in_the_range_of_imagination():
    data = told()
    world = make_told(data)
    state = world.recorded(data).rows(torch.arange(4))
    moved = world.decode(world.displaced(state, torch.tensor([[0.1, 0.0, 0.0]]).expand(4, 3)))[STATE]
    before = world.decode(state)[STATE]
    torch.testing.assert_close(moved - before, torch.tensor([[0.1, 0.0, 0.0]]).expand(4, 3), atol=1e-5, rtol=0)
    far = world.decode(world.displaced(state, torch.full((4, 3), 1e3)))[STATE]
    highest = data.observations[STATE].amax(0) + 0.1 * (
        data.observations[STATE].amax(0) - data.observations[STATE].amin(0)
    )
    torch.testing.assert_close(far, highest.expand(4, 3))


def test_commands_that_are_not_there():
    with pytest.raises(InputError, match=r"world_model\.commands: no state dimension begins with 'goal'; found v_x"):
        GRUEnsemble(3, 2, replace(TINY, commands=("goal",))).fit(told())


def test_replays_take_the_recorded_commands():
    """Held by the world itself; as recorded where a recorded episode is followed."""
    data = told()
    world = make_told(data)
    state = world.recorded(data).rows(data.starts)
    follows = list(rollout(Models(world), state, recorded(data, data.starts), 11, None))
    for now in follows:
        frames = data.starts + now.step + 1
        torch.testing.assert_close(world.decode(now.following)[STATE][:, 2], data.observations[STATE][frames, 2])
    alone = list(rollout(Models(world), state, given(torch.zeros(8, 11, 2)), 11, None))[-1]
    torch.testing.assert_close(world.decode(alone.following)[STATE][:, 2], data.observations[STATE][data.starts, 2])


@pytest.mark.parametrize("ends", [False, True])
def test_the_watcher_works_only_where_episodes_end(ends, tmp_path):
    """Where nothing ends it neither learns nor is asked in imagination; a stored world knows whether it is."""
    data = echo(ends=ends)
    world = make(data)
    loss, metrics = world.loss(batch_of(data, TINY))
    loss.backward()
    learned = [p.grad is not None for p in [*world.watcher.parameters(), *world.told_head.parameters()]]
    assert set(learned) == {ends} and bool(metrics["auxiliary"]) == ends
    assert all(p.grad is not None for p in [*world.trunk.parameters(), *world.head.parameters()])
    state, action = world.recorded(data).rows(torch.arange(6)), data.actions[:6]
    blind = world.imagine(state, action)
    assert torch.equal(blind.told, state.told) and not world.ended(blind).any()
    if ends:
        world.end_at(1e-6)
    save(tmp_path / "world", world)
    for same in (world, load(tmp_path / "world", GRUEnsemble)):
        seen = same.imagine(state, action)
        torch.testing.assert_close(seen.observation, blind.observation)
        assert torch.equal(seen.told, state.told) != ends and same.ended(seen).all() == ends
    observed = world.observe(state, action, {STATE: world.decode(blind)[STATE]})
    if ends:
        torch.testing.assert_close(seen.told, observed.told)
