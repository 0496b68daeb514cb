"""How a continuous action enters a world model: World4RL's two-hot (Eq. 5) and what its Table IV compares it with."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

ActionEncodingName = Literal["two_hot", "one_hot", "linear", "dct", "vq"]


class ActionEncoding(nn.Module):
    """Maps actions (..., A) in [-1, 1] to vectors (..., A · size); values outside are clamped to the range.

    A family may mix the actions of a window: its `forward` then wants (..., H, A), and row k of its (..., H, A · size)
    is no longer about action k. `rows` and `window` serve every family.
    """

    size: int

    def output_dim(self, action_dim: int, frames: int) -> int:
        """How many numbers `window` makes of so many actions."""
        return frames * action_dim * self.size

    def fit(self, actions: Float[Tensor, "N A"]) -> None:
        """Take what the encoding needs to know from the data's actions; the statistics are buffers."""

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions."""
        raise NotImplementedError

    def rows(self, actions: Float[Tensor, "B H A"], valid: Bool[Tensor, "B H"]) -> Float[Tensor, "B H encoded"]:
        """Encode windows; what stands where `valid` is false does not count."""
        return self(actions) * valid.unsqueeze(-1).to(actions.dtype)

    def window(self, actions: Float[Tensor, "B H A"], valid: Bool[Tensor, "B H"]) -> Float[Tensor, "B encoded"]:
        """`rows`, flattened to (B, `output_dim`)."""
        return self.rows(actions, valid).flatten(1)


class TwoHot(ActionEncoding):
    """World4RL, Eq. 5: each value is shared between its two neighbouring bins, so nothing is lost.

    With K bins uniform on [-1, 1] the weights are the hat functions max(0, 1 - |a - b_k| / step).
    """

    bins: Tensor

    def __init__(self, bins: int = 21) -> None:
        super().__init__()
        self.size = bins
        self.register_buffer("bins", torch.linspace(-1, 1, bins))

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions; every group of K entries sums to one."""
        step = 2 / (self.size - 1)
        distance = (action.clamp(-1, 1).unsqueeze(-1) - self.bins).abs() / step
        return (1 - distance).clamp(min=0).flatten(-2)


class OneHot(ActionEncoding):
    """The nearest of K bins, uniform on [-1, 1]."""

    def __init__(self, bins: int = 21) -> None:
        super().__init__()
        self.size = bins

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions."""
        index = ((action.clamp(-1, 1) + 1) / 2 * (self.size - 1)).round().long()
        return nn.functional.one_hot(index, self.size).to(action.dtype).flatten(-2)


class Linear(ActionEncoding):
    """The clamped action itself; the network's first layer does the rest."""

    size = 1

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch encoded"]:
        """Encode a batch of actions."""
        return action.clamp(-1, 1)


class DCT(ActionEncoding):
    """Frequencies instead of times: the discrete cosine transform of a window, quantised, as one-hot tokens.

    As FAST does (arXiv 2501.09747): every action dimension is scaled so that the 1 % and 99 % quantiles of the data
    are -1 and 1, an orthonormal DCT-II runs over the H actions, and coefficients times γ are rounded; K bins mean
    γ = (K - 1) / 2, which is FAST's 10 for 21. Here, other than there:

    - FAST writes the integers low frequencies first and compresses them by byte-pair encoding into a sequence whose
      length varies, for a language model to read. A world model reads a vector of one length, so each of the H · A
      coefficients stays a token of its own, with a place of its own; nothing is merged, and nothing is lost by it.
    - The vocabulary is 2⌈γ√H⌉ + 1 levels a coefficient: no orthonormal coefficient of H values within ±1 lies beyond
      √H. The first linear layer of the network is then the tokens' embedding table.
    - Values beyond the quantiles are clamped, so that the vocabulary is complete.

    With one action (H = 1) and unfitted it is `OneHot`.
    """

    LEAST_RANGE = 0.1
    """Least half width of a dimension's quantiles: one that hardly moves in the data may move a lot later."""
    basis: Tensor
    centre: Tensor
    half_width: Tensor

    def __init__(self, frames: int, action_dim: int, bins: int = 21) -> None:
        super().__init__()
        self.gamma = (bins - 1) / 2
        self.limit = math.ceil(self.gamma * math.sqrt(frames))
        self.size = 2 * self.limit + 1
        self.register_buffer("basis", cosine_basis(frames), persistent=False)
        self.register_buffer("centre", torch.zeros(action_dim))
        self.register_buffer("half_width", torch.ones(action_dim))

    @torch.no_grad()
    def fit(self, actions: Float[Tensor, "N A"]) -> None:
        """Take the quantiles."""
        # torch.quantile takes at most 2**24 numbers; evenly spaced rows are as good as all of them.
        rows = actions.clamp(-1, 1)[:: 1 + actions.numel() // 2**24]
        low, high = torch.quantile(rows, torch.tensor([0.01, 0.99], device=rows.device, dtype=rows.dtype), dim=0)
        self.centre.copy_((low + high) / 2)
        self.half_width.copy_(((high - low) / 2).clamp(min=self.LEAST_RANGE))

    def coefficients(self, action: Float[Tensor, "*batch H A"]) -> Float[Tensor, "*batch H A"]:
        """Quantised coefficients, integers from -`limit` to `limit`; row k holds frequency k."""
        scaled = ((action.clamp(-1, 1) - self.centre) / self.half_width).clamp(-1, 1)
        return (self.gamma * (self.basis @ scaled)).round().clamp(-self.limit, self.limit)

    def forward(self, action: Float[Tensor, "*batch H A"]) -> Float[Tensor, "*batch H encoded"]:
        """Encode windows of exactly H actions."""
        token = self.coefficients(action).long() + self.limit
        return nn.functional.one_hot(token, self.size).to(action.dtype).flatten(-2)

    def rows(self, actions: Float[Tensor, "B H A"], valid: Bool[Tensor, "B H"]) -> Float[Tensor, "B H encoded"]:
        """Encode windows; padding counts as no motion, since a frequency belongs to no one frame."""
        return self(actions * valid.unsqueeze(-1).to(actions.dtype))


class VectorQuantised(ActionEncoding):
    """The nearest of K learned actions, in the place of the action.

    The codebook of a VQ-VAE (arXiv 1711.00937) whose encoder and decoder are the identity, because an action has few
    dimensions: K-means on the data's actions is what its codebook loss converges to. The gradient passes straight
    through to the action.
    """

    size = 1
    codebook: Tensor

    def __init__(self, action_dim: int, codes: int = 256) -> None:
        super().__init__()
        # Of its own generator, so that choosing this encoding does not change the networks' first weights.
        first = torch.rand(codes, action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.register_buffer("codebook", first)

    @torch.no_grad()
    def fit(self, actions: Float[Tensor, "N A"]) -> None:
        """K-means on (at most 16,384 of) the data's actions."""
        rows = actions.clamp(-1, 1)[:: 1 + len(actions) // 2**14]
        self.codebook.copy_(k_means(rows, len(self.codebook)))

    def codes(self, action: Float[Tensor, "*batch A"]) -> Int[Tensor, " *batch"]:
        """The number of the nearest code."""
        rows = action.clamp(-1, 1).reshape(-1, action.shape[-1])
        return _nearest(rows, self.codebook).reshape(action.shape[:-1])

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The nearest code of each action."""
        return self.codebook[self.codes(action)] + (action - action.detach())


def cosine_basis(frames: int) -> Float[Tensor, "H H"]:
    """The orthonormal DCT-II as a matrix: row k holds √(2/H) cos(π k (2n + 1) / 2H), row 0 divided by √2."""
    n = torch.arange(frames, dtype=torch.float64)
    basis = (math.pi * n[:, None] * (2 * n + 1) / (2 * frames)).cos() * math.sqrt(2 / frames)
    basis[0] /= math.sqrt(2)
    return basis.float()


def k_means(rows: Float[Tensor, "N A"], clusters: int, iterations: int = 25, seed: int = 0) -> Float[Tensor, "K A"]:
    """Lloyd's algorithm from randomly drawn rows; a cluster that loses all its rows stays where it was."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).to(rows.device)
    centres = rows[order[torch.arange(clusters, device=rows.device) % len(rows)]].clone()
    for _ in range(iterations):
        nearest = _nearest(rows, centres)
        count = torch.bincount(nearest, minlength=clusters).unsqueeze(1)
        total = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
    return centres


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    # Distances by differences, not by a matrix product: rounding must not decide between near codes.
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cat([torch.cdist(part, centres, compute_mode=mode).argmin(1) for part in rows.split(2**14)])


def action_encoding(
    name: ActionEncodingName, bins: int = 21, *, frames: int = 1, action_dim: int = 1, codes: int = 256
) -> ActionEncoding:
    """Build the encoding called `name`.

    `bins` is K of two_hot and one_hot, and the resolution 2 / (K - 1) of dct; `frames` is H, the window that dct mixes;
    `action_dim` is A, which dct and vq need; `codes` is the size of vq's codebook.
    """
    if name == "linear":
        return Linear()
    if name == "dct":
        return DCT(frames, action_dim, bins)
    if name == "vq":
        return VectorQuantised(action_dim, codes)
    return TwoHot(bins) if name == "two_hot" else OneHot(bins)
