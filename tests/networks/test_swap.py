"""The value of one, the gradient of the other; and normalisation into small distributions."""

import pytest
import torch

from burnish.networks import SimNorm, swap


def test_the_value_is_the_true_one_to_the_last_bit():
    """Where i + (t - i) rounds: t is far smaller than i, or huge, or not a number at all."""
    imagined = torch.tensor([1e8, 1e8, 0.1, 1.0, 1.0, 1.0], requires_grad=True)
    true = torch.tensor([1e-3, -0.0, 0.3, torch.inf, 3e38, torch.nan])
    found = swap(imagined, true)
    assert torch.equal(found.detach().view(torch.int32), true.view(torch.int32))
    assert not torch.equal((imagined + (true - imagined).detach())[:3], true[:3]), "else it would not be worth a class"


def test_the_gradient_is_the_imagined_one_s():
    """d/dx of 3 swap(x², y²) is 3 · 2x at x = 2, whatever y is; y gets none."""
    x, y = torch.tensor(2.0, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    out = 3 * swap(x**2, y**2)
    assert out.item() == 75
    out.backward()
    assert x.grad is not None and x.grad.item() == 12 and y.grad is None


def test_the_value_of_what_follows_is_at_the_true_point():
    """sin of it has the derivative cos(true) · imagined': the chain's points are the true ones."""
    x = torch.tensor(0.5, requires_grad=True)
    swap(4 * x, torch.tensor(0.25)).sin().backward()
    torch.testing.assert_close(x.grad, 4 * torch.tensor(0.25).cos())


def test_a_copy_and_no_view():
    true = torch.zeros(2)
    found = swap(torch.zeros(2, requires_grad=True), true)
    true += 1
    assert not found.any()


@pytest.mark.parametrize("other", [torch.zeros(3, 1), torch.zeros(3, dtype=torch.float64)], ids=["shape", "type"])
def test_two_of_a_kind(other):
    with pytest.raises(ValueError, match="expected two of a kind"):
        swap(torch.zeros(3), other)


def test_simplicial_normalisation_by_hand():
    """Each pair is a softmax of its own: of (0, ln 3) it is (¼, ¾)."""
    x = torch.tensor([[0.0, 3.0, 5.0, 5.0]]).log1p() * torch.tensor([1.0, 1.0, 0.0, 0.0])
    x[0, 1] = torch.tensor(3.0).log()
    torch.testing.assert_close(SimNorm(2)(x), torch.tensor([[0.25, 0.75, 0.5, 0.5]]))
