"""The success classifier: what it learns, how it is calibrated, and what its batches hold."""

import math
from dataclasses import replace

import pytest
import torch

from burnish.components import load, save
from burnish.data import Normaliser
from burnish.rewards.success_classifier import BalancedFrames, ClassifierConfig, SuccessClassifier
from burnish.training import TrainingConfig, fit

CONFIG = ClassifierConfig(members=3, hidden=(32,), target_precision=0.95)


def disc(count, seed):
    """Success inside a disc of radius 0.6, about 28 % of the square."""
    features = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return features, features.norm(dim=1) < 0.6


def make(config=CONFIG):
    torch.manual_seed(0)
    return SuccessClassifier(2, config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    classifier = make()
    sampler = BalancedFrames([(1.0, *disc(3000, seed=0))], positive_share=0.3, members=3)
    config = TrainingConfig(steps=300, batch_size=128, learning_rate=1e-2, log_every=100)
    fit(classifier, sampler, config, tmp_path_factory.mktemp("classifier"), seed=0)
    return classifier.requires_grad_(False)


def test_it_learns_and_reaches_its_precision(trained):
    calibration = trained.calibrate(*disc(3000, seed=1))
    assert calibration.reached and calibration.precision >= 0.95 and calibration.recall > 0.9
    assert trained.threshold.item() == pytest.approx(calibration.threshold)
    features, success = disc(3000, seed=2)
    predicted = trained.succeeded(features)
    assert (predicted == success).float().mean() > 0.96
    assert success[predicted].float().mean() > 0.92


def test_the_threshold_decides(trained):
    features, _ = disc(500, seed=3)
    probability = trained.probability(features)
    assert probability.shape == (500,) and ((probability >= 0) & (probability <= 1)).all()
    before = trained.threshold.clone()
    trained.threshold.fill_(0.8)
    assert torch.equal(trained.succeeded(features), probability >= trained.threshold)
    trained.threshold.copy_(before)


def test_probability_is_the_members_mean():
    classifier = make()
    features = torch.randn(7, 2)
    expected = classifier.network(features).squeeze(-1).sigmoid().mean(0)
    torch.testing.assert_close(classifier.probability(features), expected)


def test_loss_gives_each_member_its_own_rows():
    """Rows of member 0 first: with other rows for member 2 alone, only its weights see another gradient."""
    features, success = torch.randn(12, 2), torch.arange(12) % 2 == 0

    def gradients(features):
        classifier = make()
        classifier.loss((features, success))[0].backward()
        return [parameter.grad for parameter in classifier.parameters()]

    changed = features.clone()
    changed[8:] += 1.0
    for one, other in zip(gradients(features), gradients(changed), strict=True):
        assert torch.equal(one[:2], other[:2]) and not torch.equal(one[2], other[2])


def test_loss_by_hand():
    """Untrained with zero weights: probability one half, cross-entropy ln 2."""
    classifier = make().requires_grad_(False)
    for parameter in classifier.parameters():
        parameter.zero_()
    loss, _ = classifier.loss((torch.randn(6, 2), torch.tensor([True, False] * 3)))
    assert loss.item() == pytest.approx(0.693147, abs=1e-5)


def tagged(value, positives, negatives):
    """Features that all hold `value`."""
    success = torch.arange(positives + negatives) < positives
    return torch.full((positives + negatives, 1), float(value)), success


def test_batches_hold_the_stated_shares():
    """Per source: a quarter from A, the rest from B; 30 % successes in each."""
    sampler = BalancedFrames([(0.25, *tagged(1, 3, 1000)), (0.75, *tagged(2, 900, 4))], positive_share=0.3, members=4)
    features, success = sampler.sample(100, torch.Generator().manual_seed(0))
    assert features.shape == (400, 1) and success.shape == (400,) and success.dtype == torch.bool
    from_a = features[:, 0] == 1
    assert int(from_a.sum()) == 100
    assert int(success[from_a].sum()) == 30 and int(success[~from_a].sum()) == 90


def test_labels_stay_with_their_features():
    features = torch.arange(100.0).unsqueeze(1)
    success = torch.arange(100) % 10 == 0
    drawn, labels = BalancedFrames([(1.0, features, success)], 0.5, 2).sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(labels, drawn[:, 0] % 10 == 0)


def test_batches_are_shuffled_and_reproducible():
    sampler = BalancedFrames([(1.0, *disc(100, seed=0))], 0.5, members=2)
    one, two, other = (sampler.sample(50, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and not torch.equal(one[0], other[0])
    shares = one[1].view(2, 50).float().mean(1)
    assert ((shares > 0.2) & (shares < 0.8)).all(), "each member sees both kinds"


def test_a_source_without_successes_gives_failures_only():
    sampler = BalancedFrames([(0.5, *tagged(1, 0, 10)), (0.5, *tagged(2, 10, 10))], positive_share=0.4, members=1)
    features, success = sampler.sample(100, torch.Generator().manual_seed(0))
    assert not success[features[:, 0] == 1].any()
    assert int(success[features[:, 0] == 2].sum()) == 20


def test_a_source_without_failures_gives_successes_only():
    sampler = BalancedFrames([(0.5, *tagged(1, 10, 0)), (0.5, *tagged(2, 10, 10))], positive_share=0.4, members=1)
    features, success = sampler.sample(100, torch.Generator().manual_seed(0))
    assert success[features[:, 0] == 1].all()
    assert int(success[features[:, 0] == 2].sum()) == 20


def test_every_batch_divides_among_the_members():
    """Shares that round awkwardly."""
    for batch_size in range(1, 12):
        sampler = BalancedFrames([(0.5, *disc(50, 0)), (0.5, *disc(50, 1))], positive_share=0.3, members=3)
        features, success = sampler.sample(batch_size, torch.Generator().manual_seed(0))
        assert len(features) == len(success) and len(features) % 3 == 0
        assert len(features) >= 3 * (batch_size - 1)


def test_relations_are_seen_besides():
    """Two frames of two numbers; in the data's units the newest one's differ by 3 - 1 = 2, in units of their rms, 4."""
    normaliser = Normaliser(2)
    normaliser.mean.copy_(torch.tensor([1.0, 1.0]))
    normaliser.std.copy_(torch.tensor([2.0, 0.5]))
    classifier = SuccessClassifier(4, ClassifierConfig(members=1, hidden=(3,)), ((0, 1),), frames=2)
    classifier.relate(normaliser, torch.tensor([[4.0, 0.0], [0.0, 4.0]]))
    read = classifier._read(torch.tensor([[9.0, 9.0, 1.0, 0.0]]))
    assert read.tolist() == [[9.0, 9.0, 1.0, 0.0, pytest.approx(0.5), pytest.approx(math.tanh(2.5))]]
    loss, _ = classifier.loss((torch.zeros(4, 4), torch.tensor([True, False, True, False])))
    assert loss.isfinite() and classifier.probability(torch.zeros(5, 4)).shape == (5,)


def test_the_threshold_where_success_is_a_relation():
    config = ClassifierConfig(members=1, hidden=(3,))
    assert SuccessClassifier(2, config).threshold_rule == "auto"
    assert SuccessClassifier(2, config, ((0, 1),)).threshold_rule == "highest"
    assert SuccessClassifier(2, replace(config, threshold="lowest"), ((0, 1),)).threshold_rule == "lowest"


def test_relations_are_saved(tmp_path):
    classifier = SuccessClassifier(2, ClassifierConfig(members=1, hidden=(3,)), ((0, 1),))
    normaliser = Normaliser(2).fit(torch.tensor([[0.0, 1.0], [4.0, 3.0]]))
    classifier.relate(normaliser, torch.tensor([[0.0, 1.0], [4.0, 3.0]]))
    save(tmp_path, classifier)
    rows = torch.randn(6, 2)
    assert torch.equal(load(tmp_path, SuccessClassifier).probability(rows), classifier.probability(rows))
