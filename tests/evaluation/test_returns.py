"""Where nothing tells success: back-tests and the gate's decision by returns, by hand and against SciPy's numbers."""

import math

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.errors import InputError
from burnish.evaluation.agreement import ReturnTest
from burnish.evaluation.back_test import back_test
from burnish.evaluation.gate import GateConfig, RecordedReturn, decide, expected_outcome
from burnish.evaluation.intervals import mean_interval
from burnish.imagination import ImaginedEvaluation, Models
from burnish.rewards import FunctionReward
from burnish.rewards.outcome import Outcome
from tests.evaluation.test_back_test import Backwards, agent
from tests.imagination.counter_world import PUSH, CounterWorld

X = torch.tensor([1.0, 2.0, 4.0, 7.0, 11.0])
Y = torch.tensor([-2.0, 1.0, 1.5, 5.0, 6.0])


def play(returns):
    found = torch.tensor(returns)
    return ImaginedEvaluation(found, None, found, found < -1e9, {"distance": torch.full((len(found),), 0.25)})


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_a_mean_by_scipy():
    """stats.t.interval(0.95, 3, mean, stats.sem) of 1 2 4 9."""
    assert mean_interval([1.0, 2.0, 4.0, 9.0]) == pytest.approx((4.0, -1.66320, 9.66320), abs=1e-5)
    assert mean_interval([3.0]) == (3.0, 3.0, 3.0) and mean_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)
    with pytest.raises(InputError, match="at least one"):
        mean_interval([])


def test_the_regression_by_scipy():
    """stats.linregress(X, Y): slope, stderr and r."""
    found = ReturnTest.of(X, Y)
    assert (found.slope, found.slope_error, found.skill) == pytest.approx((0.75, 0.1536591, 0.9424213), abs=1e-6)
    assert (found.imagined, found.real, found.episodes) == pytest.approx((5.0, 2.3, 5))
    assert found.unit == pytest.approx(float(np.std(Y.numpy(), ddof=1))) and found.repeatability == 1
    assert found.reach == pytest.approx(2 * float(Y.max()) - float(Y.min()))


def test_transfer_and_expectation_by_hand():
    """A slope of 0.3 where two replays correlate at 0.6 is worth a half; never more than one."""
    tested = ReturnTest(10, 0.5, 0.3, 0.06, imagined=-20.0, real=-15.0, unit=4.0, repeatability=0.6)
    assert tested.transfer == pytest.approx((0.5, 0.1))
    assert tested.expected(-18.0) == pytest.approx(-14.0)
    assert expected_outcome(tested, RecordedReturn(-12.0, 3), -20.0, -16.0) == pytest.approx(-10.0)
    assert ReturnTest(10, 0.9, 1.7, 0.1, 0.0, 0.0, 1.0).transfer == pytest.approx((1.0, 0.1 / 1.7))
    assert ReturnTest(10, 0.9, 0.1, 0.1, 0.0, 0.0, 1.0, repeatability=-0.5).transfer == pytest.approx((0.4, 0.4))


@pytest.mark.parametrize(
    "columns", [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]), ([1.0], [2.0])]
)
def test_nothing_was_shown_where_returns_never_vary(columns):
    tested = ReturnTest.of(*map(torch.tensor, columns))
    assert tested.skill == 0 and tested.transfer[0] == pytest.approx(0)
    assert all(math.isfinite(number) for number in (*tested.transfer, tested.expected(0.5), tested.unit))


# -- the decision ------------------------------------------------------------------------------------------------------


def test_the_decision_by_hand():
    """Changes 2 4 and 4 6: mean 4, standard error by `crossed_mean`; each imagined unit is worth a half."""
    tested = ReturnTest(12, 0.8, 0.5, 0.0, -20.0, -15.0, unit=2.0)
    before = [play([-10.0, -12.0]), play([-10.0, -12.0])]
    after = [play([-8.0, -8.0]), play([-6.0, -6.0])]
    found = decide(before, after, tested, GateConfig(confidence=0.75), RecordedReturn(-11.0, 5))
    assert found.imagined_difference == pytest.approx(4.0) and found.estimate == pytest.approx(4.0 * 0.5 / 1.0)
    assert found.low < found.estimate < found.high and (found.pretrained.pessimistic, found.refined.pessimistic) == (
        -11,
        -7,
    )
    written = found.to_dict()
    assert written["measure"] == "return" and written["recorded"] == {"mean": -11.0, "episodes": 5}
    assert written["expected_return"] == pytest.approx({"pretrained": -11.0, "refined": -9.0})
    assert found.checks[0].sentence == (
        "the held-out worlds know this task: in 12 recorded episodes that they replayed, imagined and real returns "
        "correlate at r = 0.80 (asked for: at least 0.40)"
    )
    assert found.checks[1].sentence.startswith(
        "in 2 held-out worlds the refined policy is expected to gain +2 of real return, at least "
    )


def test_bounds_are_not_cut_and_margins_are_shares_of_the_returns_spread():
    tested = ReturnTest(200, 0.35, 0.5, 0.01, -20.0, -15.0, unit=30.0)
    before = [play([-50.0 + k % 2 for k in range(64)]) for _ in range(4)]
    after = [play([-40.0 + k % 3 for k in range(64)]) for _ in range(4)]
    found = decide(before, after, tested, GateConfig())
    assert found.low > 3 and found.accepted, "more than a tenth of 30"
    assert found.checks[1].sentence.endswith("(asked for: more than +3)")
    assert not decide(before, after, tested, GateConfig(doubtful_margin=0.2)).accepted
    blind = ReturnTest(200, 0.2, 0.5, 0.01, -20.0, -15.0, unit=30.0)
    assert not decide(before, after, blind, GateConfig()).accepted


def test_returns_beyond_the_recorded_ones_are_not_believed():
    """Recorded from 10 to 20: up to 30. A world in which nobody falls promises hundreds, surely, and is refused."""
    recorded = torch.linspace(10, 20, 11)
    tested = ReturnTest.of(recorded + torch.tensor([1.0, -1.0] * 5 + [0.0]), recorded)
    before = [play([12.0, 13.0] * 16) for _ in range(2)]
    assert tested.reach == 30 and tested.skill > 0.9
    for gained, accepted in ((10.0, True), (300.0, False)):
        after = [play([12.0 + gained, 13.0 + gained] * 16) for _ in range(2)]
        found = decide(before, after, tested, GateConfig())
        assert found.low > 5 and found.accepted == accepted
        assert ("within" if accepted else "beyond") in found.checks[2].sentence and "(up to 30:" in found.checks[
            2
        ].sentence
    assert found.reasons == (found.checks[2].sentence,), "nothing else speaks against it"


# -- replays -----------------------------------------------------------------------------------------------------------


def near(state, action, following):
    return -(following[STATE][:, 0] - 1).abs()


def recorded():
    """Episodes of random pushes from random starts, with minus the distance to 1 as their reward."""
    generator, made = np.random.default_rng(0), []
    for seed in range(16):
        action = generator.uniform(-1, 1, (7, 1)).astype(np.float32)
        start = generator.uniform(-1, 1)
        state = start + PUSH * np.concatenate([[0.0], np.cumsum(action[:-1, 0])])
        reward = -np.abs(state - 1)
        reward[0] = 0
        observation = {STATE: state.astype(np.float32)[:, None]}
        made.append(
            Episode(
                observation, action, np.zeros(7, bool), "someone", seed, "counter", reward=reward.astype(np.float32)
            )
        )
    return Dataset.from_episodes(made, DatasetInfo(fps=10))


def test_a_true_world_repeats_every_return_and_a_wrong_one_does_not():
    data = recorded()
    right, wrong = (Models(world, FunctionReward(world, near)) for world in (CounterWorld(), Backwards()))
    found = back_test(agent(), [right], [data], 6, seed=0)
    assert isinstance(found, ReturnTest) and found.episodes == 16
    assert found.skill == pytest.approx(1, abs=1e-4) and found.transfer[0] == pytest.approx(1, abs=1e-4)
    assert found.real == pytest.approx(float(data.episode_return.mean()), abs=1e-4)
    assert back_test(agent(), [wrong], [data], 6, seed=0).skill < 0.95


def lives(state, action, following):
    """One for every step: what pays is to last."""
    return torch.ones(len(action))


def lives_until_it_arrives(state, action, following):
    """The same, and over where 1 is reached."""
    return Outcome(torch.ones(len(action)), following[STATE][:, 0] >= 1)


def lived(limit=6):
    """Pushes of full strength from random starts: over where 1 is reached, else cut off after `limit` steps."""
    generator, made = np.random.default_rng(1), []
    for seed in range(16):
        state = [float(generator.uniform(-1.5, 0.9))]
        while state[-1] < 1 and len(state) <= limit:
            state.append(state[-1] + PUSH)
        observation = {STATE: np.array(state, np.float32)[:, None]}
        count = len(state)
        reward, over = np.append(0, np.ones(count - 1)).astype(np.float32), np.zeros(count, bool)
        over[-1] = state[-1] >= 1
        action, failed = np.ones((count, 1), np.float32), np.zeros(count, bool)
        made.append(Episode(observation, action, failed, "someone", seed, "counter", reward, over))
    return Dataset.from_episodes(made, DatasetInfo(fps=10))


def test_a_world_in_which_no_episode_ends_by_itself_is_found_out():
    """It repeats every recorded step; only when the episode goes on beyond its end it tells that it knows of none."""
    data = lived()
    over = data.terminated[data.starts + data.lengths - 1]
    assert 4 <= int(over.sum()) <= 12 and len(set(data.lengths.tolist())) > 3
    true, endless = (
        Models(CounterWorld(), FunctionReward(CounterWorld(), function)) for function in (lives_until_it_arrives, lives)
    )
    found = back_test(agent(), [true], [data], 30, seed=0)
    assert found.skill == pytest.approx(1) and found.imagined == found.real
    found = back_test(agent(), [endless], [data], 30, seed=0)
    assert found.skill < 0 and found.imagined == pytest.approx(
        float(torch.where(over, 30, data.lengths - 1).float().mean())
    )
