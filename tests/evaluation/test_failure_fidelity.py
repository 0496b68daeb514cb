"""Recorded failures and successes, imagined along their actions and judged by a classifier that knows the goal."""

import json

import pytest
import torch

from burnish.evaluation.failure_fidelity import failure_fidelity
from burnish.evaluation.intervals import wilson_interval
from burnish.rewards import ClassifierConfig, SuccessClassifier
from burnish.world_models import RSSM, RSSM_PRESETS
from tests.evaluation.moving_square import SquareWorld, hold, squares


class Beyond:
    """Success is a position (the only feature) at `column` or beyond it; episodes succeed at 20."""

    def __init__(self, column=20):
        self.column = column

    def succeeded(self, features):
        return features[:, 0] >= self.column


def dataset():
    """Two failures of the policy and one of random motion, one success each of expert and policy; lengths differ."""
    return squares(
        [
            ("expert", 10, [1] * 10),
            ("policy", 10, [1] * 6),
            ("policy", 12, [1] * 9),
            ("policy", 18, [1, -1]),
            ("random", 4, [1, -1] * 4),
        ]
    )


def test_a_perfect_model_keeps_every_outcome():
    found = failure_fidelity(SquareWorld(), Beyond(), dataset(), seed=0).summary()
    for told, count in ((found["failures_kept"], 3), (found["successes_kept"], 2)):
        for judged in ("imagined", "recorded"):
            assert told[judged] == {
                "kept": count,
                "episodes": count,
                "rate": 1,
                "ci95": pytest.approx(list(wilson_interval(count, count))),
            }
    assert found["sources"]["policy"]["failures_kept"]["imagined"]["episodes"] == 2
    assert found["sources"]["expert"]["failures_kept"]["imagined"]["rate"] is None
    assert found["sources"]["random"]["failures_kept"]["recorded"]["kept"] == 1
    json.dumps(found, allow_nan=False)


def test_a_model_that_dreams_of_success():
    """Twice as far: 10 + 12 and 18 + 2 reach the goal, 4 + 2 does not; the recorded frames are judged as before."""
    world = SquareWorld(lambda position, push, generator: position + 2 * push)
    found = failure_fidelity(world, Beyond(), dataset(), seed=0)
    assert found.succeeded.tolist() == [True, False, True, False, False]
    assert found.fired_imagined.tolist() == [True, True, True, True, False]
    assert found.fired_recorded.tolist() == [True, False, True, False, False]
    told = found.summary()["failures_kept"]
    assert (told["imagined"]["kept"], told["recorded"]["kept"]) == (1, 3)


def test_a_model_that_never_moves_loses_the_successes():
    found = failure_fidelity(SquareWorld(hold), Beyond(), dataset(), seed=0).summary()
    assert found["failures_kept"]["imagined"]["rate"] == 1
    assert found["successes_kept"]["imagined"]["kept"] == 0


def test_an_eager_classifier_is_seen_on_the_recorded_frames():
    """It fires at column 16: on 10 + 6, and on 18 + 1; that is no fault of the world model."""
    found = failure_fidelity(SquareWorld(), Beyond(16), dataset(), seed=0).summary()["failures_kept"]
    assert found["imagined"]["kept"] == found["recorded"]["kept"] == 1


def test_an_episode_that_is_over_is_not_judged_any_more():
    """In one batch with a longer one, the law would carry the short one over the goal."""
    world = SquareWorld(lambda position, push, generator: position + 1)
    data = squares([("policy", 10, [1] * 10), ("policy", 10, [1] * 5)])
    assert failure_fidelity(world, Beyond(), data, seed=0).fired_imagined.tolist() == [True, False]


def test_the_recorded_start_is_not_asked():
    data = squares([("policy", 20, [-1, -1]), ("policy", 5, [1, 1])])
    found = failure_fidelity(SquareWorld(), Beyond(), data, seed=0)
    assert found.fired_imagined.tolist() == found.fired_recorded.tolist() == [False, False]


def test_chunks_and_batches_and_limit():
    """Chunks of two from 10 reach 20 at the fifth; an odd action at the end makes no chunk."""
    data = squares([("policy", 10, [1] * 10), ("policy", 15, [1] * 5), ("policy", 2, [1] * 4)])
    world = SquareWorld(chunk=2, pictures=False)
    found = failure_fidelity(world, Beyond(), data, seed=0)
    assert found.fired_imagined.tolist() == found.fired_recorded.tolist() == [True, False, False]
    assert failure_fidelity(world, Beyond(), data, seed=0, batch=1).summary() == found.summary()
    assert len(failure_fidelity(world, Beyond(), data, seed=0, limit=2).succeeded) == 2


def test_a_recurrent_world_model_and_a_learned_classifier():
    """Real parts, untrained: a classifier that never fires keeps every failure, one that always fires keeps none."""
    data = dataset()
    torch.manual_seed(0)
    model = RSSM(1, 1, RSSM_PRESETS["tiny"]).fit(data).eval()
    classifier = SuccessClassifier(model.feature_dim, ClassifierConfig()).eval()
    for threshold, rate in ((2.0, 1), (0.0, 0)):
        classifier.threshold.fill_(threshold)
        told = failure_fidelity(model, classifier, data, seed=0).summary()
        assert told["failures_kept"]["imagined"]["rate"] == told["failures_kept"]["recorded"]["rate"] == rate
        assert told["successes_kept"]["imagined"]["rate"] == 1 - rate
