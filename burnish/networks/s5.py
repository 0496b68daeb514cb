"""S5 (Smith et al. 2023, arXiv 2208.04933): diagonal complex state spaces that read a whole sequence at once."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks.scan import frame_of, from_chunks, linear_scan, to_chunks


@dataclass(frozen=True)
class S5Config:
    """Sizes and time scales of a stack of S5 layers."""

    layers: int = within(2, 1)
    modes: int = within(64, 1, 512)
    """P, complex numbers that a layer remembers; each stands for itself and its conjugate."""
    blocks: int = within(4, 1)
    """Copies of HiPPO-N on the diagonal that the modes begin as."""
    shortest_step: float = within(0.001, 0, open_low=True)
    longest_step: float = within(0.1, 0, open_low=True)
    """Δ of the modes at the beginning, log-uniform: HiPPO-N forgets like exp(-Δ t / 2), so over 20 to 2000 frames."""


class S5Layer(nn.Module):
    """x_k = Ā x_{k-1} + B̄ u_k, y_k = 2 Re(C x_k) + D u_k (S5, Eq. 2), with Λ the diagonal of A in its own basis.

    Zero-order hold (Eq. 6): Ā = exp(Λ Δ), B̄ = Λ^{-1} (Ā - I) B. One of each conjugate pair of modes is kept. The real
    part of Λ stays negative. All parameters are real numbers, so that optimisers and files know no complex ones.
    """

    def __init__(self, width: int, config: S5Config) -> None:
        super().__init__()
        modes, blocks = config.modes, config.blocks
        each = -(-modes // blocks)
        eigenvalues, basis = diagonal_hippo(2 * each)
        self.modes = modes
        self.log_decay = nn.Parameter((-eigenvalues.real).log().repeat(blocks)[:modes].float())
        self.frequency = nn.Parameter(eigenvalues.imag.repeat(blocks)[:modes].float())
        low, high = math.log(config.shortest_step), math.log(max(config.longest_step, config.shortest_step))
        self.log_step = nn.Parameter(low + (high - low) * torch.rand(modes))
        # B and C are real matrices of all 2P states, each seen in the basis in which A is diagonal.
        entering = torch.randn(blocks, 2 * each, width).double() / math.sqrt(width)
        leaving = torch.randn(blocks, width, 2 * each).double() / math.sqrt(2 * each * blocks)
        self.input = nn.Parameter(
            torch.view_as_real((basis.mH @ entering.to(torch.complex128)).flatten(0, 1)[:modes]).float()
        )
        rows = (leaving.to(torch.complex128) @ basis).movedim(0, 1).flatten(1, 2)[:, :modes]
        self.output = nn.Parameter(torch.view_as_real(rows).float().contiguous())
        self.through = nn.Parameter(torch.randn(width))

    def discrete(self) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P2 H"], Float[Tensor, "H P2"]]:
        """Ā, and B̄ and 2 Re(C ·) as matrices of real numbers, real and imaginary parts in turn."""
        step, real, imaginary = self.log_step.exp(), -self.log_decay.exp(), self.frequency
        size = (real * step).exp()
        a_real, a_imaginary = size * (imaginary * step).cos(), size * (imaginary * step).sin()
        # (Ā - 1) / Λ
        square = real.square() + imaginary.square()
        f_real = ((a_real - 1) * real + a_imaginary * imaginary) / square
        f_imaginary = (a_imaginary * real - (a_real - 1) * imaginary) / square
        b_real, b_imaginary = self.input.movedim(-1, 0)
        f_real, f_imaginary = f_real.unsqueeze(-1), f_imaginary.unsqueeze(-1)
        rows = f_real * b_real - f_imaginary * b_imaginary, f_real * b_imaginary + f_imaginary * b_real
        leaving = torch.stack([2 * self.output[..., 0], -2 * self.output[..., 1]], -1)
        return torch.stack([a_real, a_imaginary], -1), torch.stack(rows, 1).flatten(0, 1), leaving.flatten(1)

    def step(self, u: Float[Tensor, "B H"], x: Float[Tensor, "B P2"]) -> tuple[Tensor, Tensor]:
        """y and the new x after one frame; real and imaginary parts of x in turn."""
        decay, entering, leaving = self.discrete()
        real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
        a, b = decay.unbind(-1)
        moved = torch.stack([a * real - b * imaginary, a * imaginary + b * real], -1).flatten(-2)
        x = moved + nn.functional.linear(u, entering)
        return nn.functional.linear(x, leaving) + self.through * u, x

    def scan(
        self, u: Float[Tensor, "L B C H"], keep: Float[Tensor, "L B C"], x: Float[Tensor, "B P2"]
    ) -> tuple[Float[Tensor, "L B C H"], Float[Tensor, "L B C P2"]]:
        """y and x at every frame of a sequence in chunks; the past counts where `keep` is 1."""
        decay, entering, leaving = self.discrete()
        inputs = torch.view_as_complex(nn.functional.linear(u, entering).unflatten(-1, (-1, 2)))
        begins = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        states = torch.view_as_real(linear_scan(torch.view_as_complex(decay), inputs, keep, begins)).flatten(-2)
        return nn.functional.linear(states, leaving) + self.through * u, states


class S5(nn.Module):
    """Layers with LayerNorm before, a gate behind and a residual around each (S5, Appendix G.1), normalised at the end.

    What it remembers of an episode is one vector, (B, `memory`): all layers' x; zeros where an episode begins.
    """

    def __init__(self, input_dim: int, width: int, config: S5Config) -> None:
        super().__init__()
        self.width, self.sizes = width, [2 * config.modes] * config.layers
        self.memory = sum(self.sizes)
        self.enter = nn.Linear(input_dim, width)
        self.layers = nn.ModuleList(S5Layer(width, config) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(config.layers))
        self.leave = nn.LayerNorm(width)

    def step(self, u: Float[Tensor, "B I"], memory: Float[Tensor, "B M"]) -> tuple[Tensor, Tensor]:
        """The output (B, H) and what is remembered after one frame."""
        y, kept = self.enter(u), []
        for index, x in enumerate(memory.split(self.sizes, -1)):
            found, x = self.layers[index].step(self.norms[index](y), x)  # type: ignore[operator]
            y = y + self._gated(index, found)
            kept.append(x)
        return self.leave(y), torch.cat(kept, -1)

    def scan(
        self, u: Float[Tensor, "B T I"], reset: Bool[Tensor, "B T"], memory: Float[Tensor, "B M"]
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B M"]]:
        """The same for T frames at once; `reset` says before which of them everything is forgotten."""
        frames = u.shape[1]
        y, keep, kept = to_chunks(self.enter(u)), to_chunks((~reset).to(u.dtype)), []
        for index, x in enumerate(memory.split(self.sizes, -1)):
            found, states = self.layers[index].scan(self.norms[index](y), keep, x)  # type: ignore[operator]
            y = y + self._gated(index, found)
            kept.append(frame_of(states, frames - 1))
        return self.leave(from_chunks(y, frames)), torch.cat(kept, -1)

    def _gated(self, index: int, found: Tensor) -> Tensor:
        active = nn.functional.gelu(found)
        return active * torch.sigmoid(self.gates[index](active))


def diagonal_hippo(size: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues (N/2,) and eigenvectors (N, N/2) of HiPPO-N, those with a positive imaginary part (complex128).

    HiPPO-N is the normal part of HiPPO-LegS (S4D, arXiv 2206.11893; S5, Appendix B.1): -½ on the diagonal, and off it
    ∓ √(n+½) √(k+½), skew-symmetric. So all real parts are -½, and the rest comes from a Hermitian matrix.
    """
    root = (torch.arange(size, dtype=torch.float64) + 0.5).sqrt()
    skew = root[:, None] * root
    skew = skew.triu(1) - skew.tril(-1)
    frequencies, basis = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    upper = slice(size // 2, size)
    return torch.complex(torch.full((size // 2,), -0.5, dtype=torch.float64), frequencies[upper]), basis[:, upper]
