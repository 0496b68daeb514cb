"""The classifier on pictures: learning, calibration, members, files, pretrained weights, resume; hard failures."""

import dataclasses

import pytest
import torch
from torch import nn

from burnish.components import load, save
from burnish.errors import InputError
from burnish.networks import ResNet, random_shift
from burnish.networks.resnet import WIDTHS
from burnish.rewards import BalancedFrames, FrameClassifier, FrameClassifierConfig
from burnish.storage import save_tensors
from burnish.training import TrainingConfig, fit

SIZE = 32
F = 3 * SIZE**2
CONFIG = FrameClassifierConfig(image_size=SIZE, shift=2)


def squares(count, seed):
    """White squares on noise; success where the square is in the right half."""
    generator = torch.Generator().manual_seed(seed)
    column, row = torch.randint(3, SIZE - 3, (2, count, 1), generator=generator)
    place = torch.arange(SIZE)
    square = ((place - row).abs() <= 3).unsqueeze(2) & ((place - column).abs() <= 3).unsqueeze(1)
    pictures = (torch.rand(count, 3, SIZE, SIZE, generator=generator) - 1).where(~square.unsqueeze(1), 1.0)
    return pictures.flatten(1), column.squeeze(1) >= SIZE // 2 + 1


def make(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    return FrameClassifier(config.frames * F, config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    classifier = make()
    sampler = BalancedFrames([(1.0, *squares(500, seed=0))], 0.3, 1)
    config = TrainingConfig(steps=60, batch_size=32, learning_rate=2e-3, ema_decay=None, log_every=30)
    fit(classifier, sampler, config, tmp_path_factory.mktemp("classifier"), seed=0)
    return classifier.eval().requires_grad_(False)


def test_it_learns_and_states_its_precision(trained):
    calibration = trained.calibrate(*squares(300, seed=1))
    assert calibration.reached and calibration.precision >= 0.95 and calibration.recall > 0.8
    assert trained.threshold.item() == pytest.approx(calibration.threshold)
    features, success = squares(300, seed=2)
    assert (trained.succeeded(features) == success).float().mean() > 0.9


def test_probability_is_the_members_mean_in_any_slice():
    classifier, (features, _) = make(dataclasses.replace(CONFIG, members=2)), squares(260, seed=0)
    with torch.no_grad():
        alone = [network(features.view(-1, 3, SIZE, SIZE)).squeeze(1).sigmoid() for network in classifier.networks]
        assert not torch.allclose(alone[0], alone[1], atol=1e-3)
        torch.testing.assert_close(classifier.probability(features), (alone[0] + alone[1]) / 2, atol=1e-5, rtol=1e-4)


def test_loss_by_hand():
    """Zero heads: one half, ln 2. Each member sees its own rows, shifted."""
    classifier = make(dataclasses.replace(CONFIG, members=2))
    features, success = squares(8, seed=0)
    with torch.no_grad():
        torch.manual_seed(1)
        moved = random_shift(features.view(-1, 3, SIZE, SIZE), 2)
        halves = zip(classifier.networks, moved.chunk(2), success.float().chunk(2), strict=True)
        parts = [
            nn.functional.binary_cross_entropy_with_logits(network(rows).squeeze(1), target)
            for network, rows, target in halves
        ]
        torch.manual_seed(1)
        torch.testing.assert_close(classifier.loss((features, success))[0], torch.stack(parts).mean())
        for network in classifier.networks:
            network[1].weight.zero_()
            network[1].bias.zero_()
        assert classifier.loss((features, success))[0].item() == pytest.approx(0.693147, abs=1e-5)


def test_pretrained_weights_are_read_once(tmp_path):
    """The saved classifier is the pretrained one, and does not ask for the file again."""
    config = dataclasses.replace(CONFIG, network="resnet18", weights=tmp_path / "r.safetensors")
    network = ResNet(3, WIDTHS["resnet18"], nn.BatchNorm2d)
    weights = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("input_")}
    save_tensors(tmp_path / "r.safetensors", weights)
    classifier = make(config)
    assert torch.equal(classifier.networks[0][0].conv1.weight, weights["conv1.weight"])
    save(tmp_path / "saved", classifier.eval())
    (tmp_path / "r.safetensors").unlink()
    loaded = load(tmp_path / "saved", FrameClassifier)
    features, _ = squares(2, seed=0)
    with torch.no_grad():
        assert torch.equal(loaded.probability(features), classifier.probability(features))
    with pytest.raises(InputError, match=r"r\.safetensors: no such file"):
        make(config)


def test_wrong_features_are_refused():
    with pytest.raises(InputError, match="frame classifier: found 3071 features"):
        FrameClassifier(3071, CONFIG)


class Interrupted(Exception):
    pass


def test_resume_equals_uninterrupted(tmp_path):
    """With shifts and hard failures, whose choice depends on the weights of the moment."""
    training = TrainingConfig(steps=4, batch_size=8, log_every=1, checkpoint_seconds=0.0)

    def run(folder, seed, on_step=None):
        classifier = make(dataclasses.replace(CONFIG, hard_share=0.5), seed)
        sampler = BalancedFrames([(1.0, *squares(60, 0))], 0.3, 1, classifier.hard_share, classifier.probability)
        fit(classifier, sampler, training, tmp_path / folder, seed=0, on_step=on_step)
        return classifier.state_dict()

    def stop(step, metrics):
        if step == 2:
            raise Interrupted

    whole = run("whole", 0)
    with pytest.raises(Interrupted):
        run("parts", 0, stop)
    torch.rand(13)
    resumed = run("parts", 5)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_hard_failures_are_those_that_score_high():
    """Scores 0 … 99: the best of four draws is above 90 with probability 1 - 0.9⁴ = 0.34, and one draw with 0.1."""
    features = torch.arange(100.0).unsqueeze(1)
    failures = torch.zeros(100, dtype=torch.bool)
    shares = []
    for hard in (0.0, 0.5, 1.0):
        sampler = BalancedFrames([(1.0, features, failures)], 0.3, 1, hard, lambda rows: rows[:, 0])
        drawn, success = sampler.sample(20_000, torch.Generator().manual_seed(0))
        assert len(drawn) == 20_000 and not success.any()
        shares.append((drawn >= 90).float().mean().item())
    assert shares == pytest.approx([0.1, (0.1 + 0.344) / 2, 0.344], abs=0.015)


def test_without_hard_failures_the_draws_are_as_ever():
    data = squares(50, 0)
    one = BalancedFrames([(1.0, *data)], 0.3, 2)
    two = BalancedFrames([(1.0, *data)], 0.3, 2, 0.0, lambda rows: rows[:, 0])
    batches = [sampler.sample(16, torch.Generator().manual_seed(3)) for sampler in (one, two)]
    assert torch.equal(batches[0][0], batches[1][0]) and torch.equal(batches[0][1], batches[1][1])
