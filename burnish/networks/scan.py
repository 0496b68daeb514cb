"""Linear recurrences over time without a step of Python for each frame: x_t = keep_t · a · x_{t-1} + b_t, a complex.

T frames are laid out as about √T chunks of √T frames, position in the chunk first. The scan then takes √T steps within
all chunks at once and √T from chunk to chunk; each frame is touched twice, whatever T is. A log-depth scan touches it
log₂ T times, and memory is what counts (`benchmarks/s5_speed.py` has both).
"""

import math
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def to_chunks(sequence: Float[Tensor, "B T *rest"]) -> Float[Tensor, "L B C *rest"]:
    """A sequence in chunks; frames that fill up the last one are 0."""
    batch, frames = sequence.shape[:2]
    length = math.isqrt(frames - 1) + 1
    chunks = -(-frames // length)
    if chunks * length > frames:
        missing = sequence.new_zeros(batch, chunks * length - frames, *sequence.shape[2:])
        sequence = torch.cat([sequence, missing], 1)
    return sequence.unflatten(1, (chunks, length)).movedim(2, 0).contiguous()


def from_chunks(chunks: Tensor, frames: int) -> Tensor:
    """`to_chunks` undone: (L, B, C, …) to (B, T, …)."""
    return chunks.movedim(0, 2).flatten(1, 2)[:, :frames]


def frame_of(chunks: Tensor, frame: int) -> Tensor:
    """One frame (B, …) of a sequence in chunks."""
    return chunks[frame % len(chunks), :, frame // len(chunks)]


def linear_scan(
    decay: Complex[Tensor, " P"],
    inputs: Complex[Tensor, "L B C P"],
    keep: Float[Tensor, "L B C"],
    initial: Complex[Tensor, "B P"],
) -> Complex[Tensor, "L B C P"]:
    """All x_t of x_t = keep_t a x_{t-1} + b_t, with x_{-1} given; differentiable once in everything but `keep`.

    Where `keep` is 0 the past is multiplied by an exact zero: nothing before a reset changes a bit of what follows it.
    """
    return _Scan.apply(decay, inputs, keep, initial)  # type: ignore[no-any-return]


class _Scan(torch.autograd.Function):
    """The gradient of a linear recurrence is the same recurrence backward in time, so nothing but x is remembered."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, keep: Tensor, initial: Tensor) -> Tensor:
        length, _, chunks, _ = inputs.shape
        keep, states = keep.unsqueeze(-1), torch.empty_like(inputs)
        states[0], survives = inputs[0], [keep[0] * decay]
        for j in range(1, length):
            factor = keep[j] * decay
            torch.addcmul(inputs[j], factor, states[j - 1], out=states[j])
            survives.append(survives[-1] * factor)
        carried = [initial]
        for c in range(chunks - 1):
            carried.append(torch.addcmul(states[-1, :, c], survives[-1][:, c], carried[-1]))
        before = torch.stack(carried, 1)
        for state, survived in zip(states, survives, strict=True):
            state.addcmul_(survived, before)
        ctx.save_for_backward(decay, keep, before, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, Tensor]:  # type: ignore[override]
        """λ_t = g_t + conj(a) keep_{t+1} λ_{t+1} is the gradient of b_t; that of a is Σ conj(x_{t-1}) keep_t λ_t."""
        decay, keep, before, states = ctx.saved_tensors
        decay = decay.conj().resolve_conj()
        length, _, chunks, _ = states.shape
        adjoint = torch.empty_like(states)
        adjoint[-1], survives = gradient[-1], [torch.ones_like(before)]
        for j in range(length - 2, -1, -1):
            factor = keep[j + 1] * decay
            torch.addcmul(gradient[j], factor, adjoint[j + 1], out=adjoint[j])
            survives.append(survives[-1] * factor)
        # What a chunk passes on to the one before it, once it knows what it was passed itself.
        first = keep[0] * decay
        carried = [torch.zeros_like(before[:, 0])]
        for c in range(chunks - 1, -1, -1):
            carried.append(first[:, c] * torch.addcmul(adjoint[0, :, c], survives[-1][:, c], carried[-1]))
        after, total = torch.stack(carried[-2::-1], 1), torch.zeros_like(before)
        for j in range(length):
            adjoint[j].addcmul_(survives[length - 1 - j], after)
            total.addcmul_((states[j - 1] if j else before).conj().resolve_conj() * keep[j], adjoint[j])
        return total.sum((0, 1)), adjoint, None, carried[-1]
