"""A transformer that reads pictures and a sentence, and answers a few learned questions about them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import InputError
from burnish.networks.dit import positions

_SLICE = 512  # rows at once where no gradient is kept: whole rollouts and data sets come in one call


@dataclass(frozen=True)
class InstructedConfig:
    """Sizes of the transformer."""

    patch: int = within(8, 1)
    """Height and width of the patches that are tokens; the pictures' size is a multiple of it."""
    width: int = within(64, 4)
    depth: int = within(2, 1)
    heads: int = within(4, 1)

    def __post_init__(self) -> None:
        if self.width % 4 or self.width % self.heads:
            found = f"width {self.width} and {self.heads} heads"
            raise InputError(f"instructed transformer: found {found}, expected a multiple of 4 and of the heads")


class InstructedTransformer(nn.Module):
    """(…, C · S² + E) to (…, questions, output_dim): patches, one token of the sentence, one for each question.

    All tokens see each other. The pictures of one row are stacked on the channels.
    """

    position: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        text_dim: int,
        questions: int,
        output_dim: int,
        config: InstructedConfig,
        output_scale: float = 0.1,
    ) -> None:
        super().__init__()
        channels, size, _ = shape
        if size % config.patch:
            raise InputError(f"instructed transformer: found patches of {config.patch} in pictures of {size} pixels")
        self.shape, self.text_dim = shape, text_dim
        width, side = config.width, size // config.patch
        # A first convolution that overlaps its neighbours finds edges at the patches' borders, too.
        self.patches = nn.Sequential(
            nn.Conv2d(channels, width, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(width, width, max(1, config.patch // 2), stride=max(1, config.patch // 2)),
        )
        self.register_buffer("position", positions(side, width), persistent=False)
        self.sentence = nn.Linear(text_dim, width)
        self.questions = nn.Parameter(torch.randn(questions, width) / width**0.5)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, config.depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, output_dim)
        with torch.no_grad():
            self.head.weight.mul_(output_scale)
            self.head.bias.zero_()

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch questions output"]:
        """Answers about rows of flattened pictures and sentences."""
        rows = features.flatten(0, -2)
        slices = [rows] if torch.is_grad_enabled() else rows.split(_SLICE)
        answers = torch.cat([self._answers(part) for part in slices])
        return answers.view(*features.shape[:-1], *answers.shape[1:])

    def _answers(self, rows: Tensor) -> Tensor:
        pictures = rows[:, : rows.shape[1] - self.text_dim].reshape(len(rows), *self.shape)
        seen = self.patches(pictures).flatten(2).transpose(1, 2) + self.position
        said = self.sentence(rows[:, rows.shape[1] - self.text_dim :]).unsqueeze(1)
        tokens = torch.cat([seen, said, self.questions.expand(len(rows), -1, -1)], dim=1)
        return self.head(self.body(tokens)[:, -len(self.questions) :])
