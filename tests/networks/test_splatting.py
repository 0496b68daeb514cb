"""Gaussians drawn: by hand, against finite differences, in any order; and distances between sets."""

import math

import pytest
import torch

from burnish.networks import Gaussians, View, activated, chamfer, render
from burnish.networks.gaussians import rotations

AHEAD = View(torch.eye(3), torch.zeros(3), torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.5]))


def gaussian(x=0.0, y=0.0, z=2.0, scale=0.1, colour=(1.0, 0.0, 0.0), opacity=0.8):
    return [x, y, z, scale, scale, scale, 1, 0, 0, 0, *colour, opacity]


def scene(*rows):
    return Gaussians(torch.tensor([rows], dtype=torch.float32))


def some(count=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(1, count, 14, generator=generator, dtype=dtype)
    whole = activated(raw, torch.tensor([0.0, 0, 2], dtype=dtype), torch.full((3,), 0.3, dtype=dtype), 0.15)
    return whole.numbers


def test_one_splat_by_hand():
    """In 9 pixels its middle lies on the middle of pixel 4; its variance is (f σ/z)² + 0.3 = (9 · .1 / 2)² + .3."""
    drawn = render(scene(gaussian()), AHEAD, 9)
    assert float(drawn.opacity[0, 4, 4]) == pytest.approx(0.8, abs=1e-5)
    assert float(drawn.depth[0, 4, 4]) == pytest.approx(1.6, abs=1e-5)
    beside = 0.8 * math.exp(-0.5 * 4 / (0.45**2 + 0.3))
    assert float(drawn.colour[0, 4, 6, 0]) == pytest.approx(beside, rel=1e-4)
    assert float(drawn.colour[0, 6, 4, 0]) == pytest.approx(beside, rel=1e-4)


def test_the_nearer_one_hides_the_other():
    drawn = render(scene(gaussian(z=3.0, colour=(0, 1, 0), opacity=0.5), gaussian(opacity=0.8)), AHEAD, 9)
    torch.testing.assert_close(drawn.colour[0, 4, 4], torch.tensor([0.8, 0.2 * 0.5, 0]), atol=1e-5, rtol=0)
    assert float(drawn.opacity[0, 4, 4]) == pytest.approx(0.9, abs=1e-5)


def test_what_is_behind_the_camera_is_not_drawn():
    assert not render(scene(gaussian(z=-2.0)), AHEAD, 9).opacity.any()


def test_points_come_back_where_they_were_seen():
    turned = rotations(torch.nn.functional.normalize(torch.tensor([0.9, 0.1, -0.3, 0.2]), dim=0))
    view = View(turned, torch.tensor([0.3, -0.2, 0.1]), torch.tensor([1.2, -0.9]), torch.tensor([0.45, 0.5]))
    depth = torch.rand(1, 4, 4) + 1
    points = view.unproject(depth)
    seen = view.seen(points)
    torch.testing.assert_close(seen[..., 2], depth)
    u = view.focal[0] * seen[..., 0] / seen[..., 2] + view.centre[0]
    torch.testing.assert_close(u, ((torch.arange(4) + 0.5) / 4).expand(1, 4, 4))


def test_gradients_are_those_of_finite_differences():
    def drawn(numbers):
        picture = render(Gaussians(numbers), _double(AHEAD), 5)
        return torch.cat([picture.colour.flatten(), picture.depth.flatten(), picture.opacity.flatten()])

    assert torch.autograd.gradcheck(drawn, (some().requires_grad_(),), eps=1e-6, atol=1e-6)


def test_order_changes_nothing():
    numbers = some(20, dtype=torch.float32)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    one, other = (render(Gaussians(rows), AHEAD, 8) for rows in (numbers, numbers[:, order]))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_covariance_by_hand():
    """A quarter turn around z swaps x and y."""
    turned = gaussian()
    turned[3:6], turned[6:10] = [1.0, 2.0, 3.0], [math.sqrt(0.5), 0, 0, math.sqrt(0.5)]
    torch.testing.assert_close(scene(turned).covariance()[0, 0], torch.diag(torch.tensor([4.0, 1.0, 9.0])))


def test_chamfer_by_hand():
    """From (0), (3) to (1): distances 1 and 2, mean 1.5; back: 1. Rows that are not there do not count."""
    points = torch.tensor([[[0.0, 0, 0], [3, 0, 0]]])
    other = torch.tensor([[[1.0, 0, 0], [9, 9, 9]]])
    there = torch.tensor([[True, False]])
    assert float(chamfer(points, other, there=there)) == pytest.approx(1.25)
    assert float(chamfer(other, points, here=there)) == pytest.approx(1.25)
    assert float(chamfer(points, points)) == pytest.approx(0, abs=1e-5)
    assert float(chamfer(points, other, there=torch.zeros(1, 2, dtype=torch.bool))) == 0


def test_chamfer_has_gradients_where_sets_meet_or_are_empty():
    points = torch.zeros(2, 3, 3, requires_grad=True)
    there = torch.tensor([[True, True], [False, False]])
    chamfer(points, torch.zeros(2, 2, 3), there=there).sum().backward()
    assert points.grad is not None and points.grad.isfinite().all()


def _double(view):
    return View(*(part.double() for part in view))
