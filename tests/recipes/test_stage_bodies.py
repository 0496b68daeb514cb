"""Small parts of the stages' bodies, by hand."""

import pytest
import torch

from burnish.data import Dataset, DatasetInfo, about_to_succeed
from burnish.errors import InputError
from burnish.evaluation.gate import Recorded, RecordedReturn
from burnish.pipeline import StageContext
from burnish.recipes.stages.cloning import _Pairs, blindness, cloned_episodes
from burnish.recipes.stages.training import held_out_error, train_classifier
from burnish.recipes.stages.transitions import transition_space
from burnish.rewards import ClassifierConfig, SuccessClassifier
from burnish.training import TrainingConfig
from burnish.world_models import HistoryConfig, ObservationHistory
from tests.evaluation.test_prediction import Exact, constant_motion, std_of
from tests.world_models.linear_system import episode, fitted_space, linear_system
from tests.world_models.test_bodies import reaching


def recorded(*episodes) -> Dataset:
    """Episodes of one dimension from (success by frame, source)."""
    parts = [episode([[0.0]] * len(success), success=success, source=source) for success, source in episodes]
    return Dataset.from_episodes(parts, DatasetInfo(fps=10))


def test_frames_about_to_succeed():
    """Two frames before a success, never across the border of an episode, and no success itself."""
    dataset = recorded(([0, 0, 0, 1, 1], "expert"), ([0, 0], "policy"), ([1, 0, 0, 0], "policy"))
    soon = about_to_succeed(dataset, 2)
    assert soon.int().tolist() == [0, 1, 1, 0, 0] + [0, 0] + [0, 0, 0, 0]
    assert not about_to_succeed(dataset, 0).any()


def test_what_the_policy_is_cloned_from():
    """The expert's episodes; without an expert the successful ones; without a success nothing."""
    both = recorded(([0, 1], "expert"), ([0, 1, 1], "policy"))
    assert cloned_episodes(both).lengths.tolist() == [2]
    own = recorded(([0, 0], "unknown"), ([0, 1, 1], "unknown"))
    assert cloned_episodes(own).lengths.tolist() == [3]
    with pytest.raises(InputError, match="success"):
        cloned_episodes(recorded(([0, 0], "unknown")))


def test_noise_on_the_features_only():
    inputs, actions = torch.zeros(50, 3), torch.arange(50.0).unsqueeze(1)
    generator = torch.Generator().manual_seed(0)
    noisy, targets = _Pairs(inputs, actions, 0.1).sample(4000, generator)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05) and torch.isin(targets, actions).all()
    clean, _ = _Pairs(inputs, actions, 0.0).sample(10, generator)
    assert torch.equal(clean, torch.zeros(10, 3))


def test_the_held_out_error_by_hand():
    """A bias of 0.02 a step is 0.2 after ten; where episodes are short, it is that of their longest window."""
    dataset, held_out = constant_motion(length=24), constant_motion(episodes=1, length=20)
    model = Exact(fitted_space(dataset), bias=0.02)
    unit = std_of(dataset)
    assert held_out_error(model, held_out, seed=0)["open_loop_error"] == pytest.approx(0.2 / unit, rel=1e-4)
    short = constant_motion(episodes=2, length=6)
    assert held_out_error(model, short, seed=0)["open_loop_error"] == pytest.approx(0.1 / unit, rel=1e-4)
    assert held_out_error(Exact(fitted_space(dataset)), held_out, seed=0)["open_loop_error"] < 1e-4


def test_the_held_out_error_asks_for_a_limited_number_of_windows():
    dataset, held_out = constant_motion(length=24), constant_motion(episodes=3, length=20)
    counted = []

    class Counting(Exact):
        def imagine(self, state, action, generator=None):
            counted.append(len(action))
            return super().imagine(state, action, generator)

    model = Counting(fitted_space(dataset), bias=0.02)
    held_out_error(model, held_out, seed=0, horizon=4, limit=7)
    assert counted == [7] * 4


def test_imagination_that_misses_recorded_success_is_named():
    """Half of what is on record is enough; too few episodes, returns, or none say nothing."""
    assert blindness(0.05, Recorded(20, 75)) == (
        "in it the pretrained policy succeeds in 5 % of the episodes, on record in 27 %".replace(" %", "%")
    )
    assert blindness(0.14, Recorded(20, 75)) is None
    assert blindness(0.0, Recorded(5, 9)) is None and blindness(0.0, None) is None
    assert blindness(-3.0, RecordedReturn(-1.0, 75)) is None


def test_data_in_which_nothing_moves_are_refused():
    still = linear_system(4, length=10, reach=0.0, noise=0.0)
    with pytest.raises(InputError, match="none of 4 observed dimensions changes within an episode"):
        transition_space(HistoryConfig(frames=3), still, None)


@pytest.mark.parametrize(("name", "pairs"), [("block.0", ((0, 2),)), ("arm_x", ((0, 2),)), (None, ())])
def test_the_classifier_sees_what_success_brings_together(name, pairs, tmp_path):
    """Where dimensions have names; the stage notes which."""
    names = None if name is None else ("arm.0", "arm.1", name, "free")
    data = reaching(successes=15, names=names)
    world = ObservationHistory(4, 1, HistoryConfig(frames=2, feature_frames=2)).fit(data)
    context, model = StageContext("c", tmp_path, {}, "x"), ClassifierConfig(imagined_share=0.0)
    training = TrainingConfig(steps=2, batch_size=32)
    found = train_classifier(context, (data, data), world, model, training, seed=0)
    assert isinstance(found, SuccessClassifier) and found.arguments["relations"] == pairs
    assert context.outputs.get("relations", []) == [[names[i], names[j]] for i, j in pairs]
    if pairs:
        assert found.related.scale.item() == pytest.approx((data.observations["observation.state"][:, 0]
            - data.observations["observation.state"][:, 2]).square().mean().sqrt().item())  # fmt: skip
