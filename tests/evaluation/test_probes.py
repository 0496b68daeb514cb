"""Linear probes against numbers by hand."""

import pytest
import torch

from burnish.errors import InputError
from burnish.evaluation.probes import class_probe, explained, fit_linear, linear_probe


def test_a_linear_relation_is_read_off():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    found = fit_linear(x, 3 * x - 1, ridge=0.0)
    torch.testing.assert_close(found(torch.tensor([[10.0]])), torch.tensor([[29.0]], dtype=torch.float64))


def test_the_penalty_shrinks_as_computed_by_hand():
    """Standardised x is ±1, y is ±2: the weight is E[zy] / (E[z²] + λ) = 2 / (1 + 1)."""
    x = torch.tensor([[-1.0], [1.0]])
    found = fit_linear(x, 2 * x, ridge=1.0)
    assert found.weight.tolist() == [[1.0]] and found(x).flatten().tolist() == [-1.0, 1.0]


def test_explained_variance_by_hand():
    """Targets 0, 2, 4 around 2: squares 8; errors 0, 1, 1: squares 2; so 0.75. A constant one tells nothing."""
    told = explained(torch.tensor([[0.0, 1.0], [3.0, 1.0], [3.0, 1.0]]), torch.tensor([[0.0, 1], [2, 1], [4, 1]]))
    assert told[0] == pytest.approx(0.75) and bool(told[1].isnan())


def test_what_is_not_there_cannot_be_read():
    generator = torch.Generator().manual_seed(0)
    x, y, noise = (torch.randn(400, 2, generator=generator) for _ in range(3))
    told = linear_probe(x[:200], torch.cat([x, y], 1)[:200], x[200:], torch.cat([x, y], 1)[200:])
    assert told["rows"] == 200 and min(told["r2"][:2]) > 0.99 and max(told["r2"][2:]) < 0.05
    assert told["mean"] == pytest.approx(sum(told["r2"]) / 4)
    assert linear_probe(x, x + noise, x, x + noise)["mean"] == pytest.approx(0.5, abs=0.1)


def test_a_feature_that_never_varies_does_no_harm():
    x = torch.stack([torch.ones(50), torch.arange(50.0)], 1)
    assert linear_probe(x, x[:, 1:], x, x[:, 1:])["mean"] > 0.99


def test_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 6.0]])
    x = centres[labels] + torch.randn(300, 2, generator=generator)
    told = class_probe(x[:150], labels[:150], x[150:], labels[150:])
    assert told["accuracy"] > 0.95 and told["chance"] == pytest.approx(1 / 3)
    shuffled = labels[torch.randperm(300, generator=generator)]
    assert class_probe(x, shuffled, x, shuffled)["accuracy"] < 0.5


def test_classes_in_a_row_are_told_apart():
    """Least squares on one-hot labels never says the middle one."""
    labels = torch.arange(300) % 3
    x = labels[:, None] * 4.0 + torch.randn(300, 1, generator=torch.Generator().manual_seed(0)) / 4
    assert class_probe(x[:150], labels[:150], x[150:], labels[150:], ridge=1e-5)["accuracy"] > 0.98


@pytest.mark.parametrize(
    "x, told",
    [(torch.zeros(3, 1), "3 features and 2 targets"), (torch.full((2, 1), torch.nan), "not finite")],
    ids=["other-number", "not-finite"],
)
def test_unusable_rows_are_refused(x, told):
    with pytest.raises(InputError, match=told):
        fit_linear(x, torch.zeros(2, 1))
