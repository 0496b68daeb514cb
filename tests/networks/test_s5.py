"""State spaces: the scan against the recurrence as it is written, resets, HiPPO-N and the zero-order hold."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.s5_speed import by_doubling, step_by_step
from burnish.networks import S5, S5Config
from burnish.networks.s5 import S5Layer, diagonal_hippo
from burnish.networks.scan import frame_of, from_chunks, linear_scan, to_chunks

CONFIG = S5Config(layers=2, modes=6, blocks=4)


def problem(batch, frames, modes, resets, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.complex128, generator=generator)

    size = 1 - 0.5 * torch.rand(modes, dtype=torch.float64, generator=generator)
    decay = torch.polar(size, 3 * torch.randn(modes, dtype=torch.float64, generator=generator))
    keep = (torch.rand(batch, frames, generator=generator) >= resets).double()
    return decay, draw(batch, frames, modes), keep, draw(batch, modes)


def scanned(decay, inputs, keep, initial):
    chunks = linear_scan(decay, to_chunks(inputs), to_chunks(keep), initial)
    return from_chunks(chunks, inputs.shape[1])


def with_gradients(way, decay, inputs, keep, initial):
    leaves = [tensor.clone().requires_grad_() for tensor in (decay, inputs, initial)]
    states = way(leaves[0], leaves[1], keep, leaves[2])
    weight = torch.randn(states.shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(9))
    weight = weight.to(states.dtype)
    return states.detach(), *torch.autograd.grad((states * weight).abs().sum(), leaves)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(shape=shapes, resets=st.sampled_from([0.0, 0.1, 0.5, 1.0]), seed=st.integers(0, 2**31))
def test_scans_and_their_gradients_are_those_of_the_recurrence(shape, resets, seed):
    given_ = problem(*shape, resets, seed)
    expected = with_gradients(step_by_step, *given_)
    for way in (scanned, by_doubling):
        for found, wanted in zip(with_gradients(way, *given_), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_single_precision_over_a_thousand_frames():
    decay, inputs, keep, initial = problem(2, 1000, 8, 0.01, 0)
    exact = with_gradients(step_by_step, decay, inputs, keep, initial)
    low = with_gradients(scanned, decay.cfloat(), inputs.cfloat(), keep.float(), initial.cfloat())
    for found, wanted in zip(low, exact, strict=True):
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_scan_by_hand():
    """a = 2i: x = 1, 2i + 1, then a reset before the third frame: 1, and 2i + 1."""
    one = torch.ones(1, 4, 1, dtype=torch.complex64)
    keep = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    states = scanned(torch.tensor([2j]), one, keep, torch.zeros(1, 1, dtype=torch.complex64))
    assert states.flatten().tolist() == [1, 1 + 2j, 1, 1 + 2j]


@pytest.mark.parametrize("frames", [1, 2, 5, 9, 10])
def test_chunks_hold_the_frames_in_order(frames):
    sequence = torch.arange(2 * frames * 3.0).view(2, frames, 3)
    chunks = to_chunks(sequence)
    assert torch.equal(from_chunks(chunks, frames), sequence) and chunks.is_contiguous()
    assert all(torch.equal(frame_of(chunks, t), sequence[:, t]) for t in range(frames))


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(2, 30), where=st.data(), seed=st.integers(0, 2**31))
def test_nothing_leaks_over_a_reset(frames, where, seed):
    """Not a bit of what comes after depends on what came before, and no gradient goes there."""
    reset_at = where.draw(st.integers(1, frames - 1))
    torch.manual_seed(seed)
    s5 = S5(3, 5, CONFIG)
    inputs, memory = torch.randn(2, frames, 3), torch.randn(2, s5.memory)
    reset = torch.zeros(2, frames, dtype=torch.bool)
    reset[:, reset_at] = True
    other = torch.cat([100 * torch.randn(2, reset_at, 3), inputs[:, reset_at:]], 1)
    first, first_last = s5.scan(inputs, reset, memory)
    second, second_last = s5.scan(other, reset, -memory)
    assert torch.equal(first[:, reset_at:], second[:, reset_at:]) and torch.equal(first_last, second_last)
    assert not torch.equal(first[:, :reset_at], second[:, :reset_at])
    inputs.requires_grad_()
    memory.requires_grad_()
    found, last = s5.scan(inputs, reset, memory)
    (found[:, reset_at:].square().sum() + last.square().sum()).backward()
    assert not inputs.grad[:, :reset_at].any() and not memory.grad.any() and inputs.grad[:, reset_at:].any()


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 40),
    layers=st.integers(1, 3),
    modes=st.integers(1, 9),
    blocks=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_a_sequence_at_once_is_the_sequence_step_by_step(batch, frames, layers, modes, blocks, seed):
    torch.manual_seed(seed)
    s5 = S5(3, 5, S5Config(layers=layers, modes=modes, blocks=blocks)).double()
    inputs, memory = torch.randn(batch, frames, 3).double(), torch.randn(batch, s5.memory).double()
    reset = torch.rand(batch, frames) < 0.2

    def stepped(inputs, memory):
        outputs = []
        for t in range(frames):
            output, memory = s5.step(inputs[:, t], memory * ~reset[:, t, None])
            outputs.append(output)
        return torch.stack(outputs, 1), memory

    results = []
    for way in (stepped, lambda inputs, memory: s5.scan(inputs, reset, memory)):
        leaves = [inputs.clone().requires_grad_(), memory.clone().requires_grad_(), *s5.parameters()]
        outputs, last = way(*leaves[:2])
        total = (outputs * outputs.detach().cos()).sum() + (last * last.detach().sin()).sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
        results.append([outputs, last, *(torch.zeros(1) if g is None else g for g in gradients)])
    for found, wanted in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_hippo_by_its_matrix():
    """The full matrix is rebuilt from one of each conjugate pair: A = 2 Re(V Λ V*), by its formula."""
    eigenvalues, basis = diagonal_hippo(6)
    n = torch.arange(6).double()
    matrix = -((n[:, None] + 0.5) * (n + 0.5)).sqrt()
    matrix = matrix.tril(-1) - matrix.triu(1) - 0.5 * torch.eye(6)
    torch.testing.assert_close(2 * (basis @ torch.diag(eigenvalues) @ basis.mH).real, matrix)
    assert (eigenvalues.real == -0.5).all() and (eigenvalues.imag > 0).all()


def test_the_zero_order_hold_solves_the_differential_equation():
    """Under an input that is held, x' = Λ x + B u has after Δ the state exp(ΛΔ) x + ∫ exp(Λs) ds B u; and from x = 0,
    after one step of 1 with Λ = -1, B = 1, u = 1, that is 1 - 1/e."""
    layer = S5Layer(1, S5Config(modes=1, blocks=1)).double()
    with torch.no_grad():
        for parameter, value in ((layer.log_decay, 0.0), (layer.frequency, 0.0), (layer.log_step, 0.0)):
            parameter.fill_(value)
        layer.input.copy_(torch.tensor([1.0, 0.0]))
        _, x = layer.step(torch.ones(1, 1).double(), torch.zeros(1, 2).double())
        assert x.tolist() == [[pytest.approx(1 - math.exp(-1)), 0]]
        # A frequency of its own: thousands of small Euler steps arrive there, too.
        layer.frequency.fill_(2.0)
        _, x = layer.step(torch.ones(1, 1).double(), torch.tensor([[0.3, -0.2]]).double())
    z = 0.3 - 0.2j
    for _ in range(100_000):
        z += 1e-5 * ((-1 + 2j) * z + 1)
    assert x.tolist() == [[pytest.approx(z.real, abs=1e-4), pytest.approx(z.imag, abs=1e-4)]]


def test_it_begins_stable_and_on_its_time_scales():
    torch.manual_seed(0)
    layer = S5Layer(4, S5Config(modes=64, shortest_step=0.01, longest_step=0.1))
    size = layer.discrete()[0].norm(dim=-1)
    assert (size < 1).all() and size.min() >= math.exp(-0.05) - 1e-6 and size.max() <= math.exp(-0.005) + 1e-6


def test_it_remembers_a_cue_for_a_hundred_frames():
    """Delayed recall: a sign at the first frame, noise after it, and the sign wanted at the last."""
    torch.manual_seed(0)
    s5, head = S5(2, 16, dataclasses.replace(CONFIG, modes=16)), torch.nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*s5.parameters(), *head.parameters()], lr=1e-2)

    def batch(size):
        sign = torch.randint(2, (size,)).float() * 2 - 1
        inputs = torch.stack([torch.zeros(size, 100), 0.3 * torch.randn(size, 100)], -1)
        inputs[:, 0, 0] = sign
        return inputs, torch.zeros(size, 100, dtype=torch.bool), sign

    for _ in range(150):
        inputs, reset, sign = batch(32)
        outputs, _ = s5.scan(inputs, reset, torch.zeros(32, s5.memory))
        loss = torch.nn.functional.soft_margin_loss(head(outputs[:, -1]).squeeze(-1), sign)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, reset, sign = batch(200)
    told = head(s5.scan(inputs, reset, torch.zeros(200, s5.memory))[0][:, -1]).squeeze(-1).sign()
    assert (told == sign).float().mean() > 0.95
