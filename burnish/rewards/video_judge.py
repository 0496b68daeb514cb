"""A judge that learned from the data: a small network on films, one answer for each instruction."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from burnish.config import within
from burnish.networks import PictureNetwork, random_shift
from burnish.rewards.judge import Film, Judge, Verdicts


@dataclass(frozen=True)
class VideoJudgeConfig:
    """Network and threshold."""

    widths: tuple[int, ...] = within((16, 32, 32, 64), 1)
    """Channels of the encoder's stages; each halves the picture."""
    embedding: int = within(128, 1)
    hidden: tuple[int, ...] = within((128,), 1)
    shift: int = within(2, 0)
    """Random shifts of ± so many pixels in training."""
    threshold: float = within(0.5, 0, 1)
    """Probability from which on it is success."""
    other_share: float = within(0.2, 0, 1)
    """Share of films in training that are shown with another instruction than theirs, which they did not follow."""


class VideoJudge(Judge):
    """Sees a film's pictures stacked on the channels, so that it knows when things move."""

    config: VideoJudgeConfig

    def __init__(
        self, shape: tuple[int, ...], instructions: tuple[str, ...], limit: int, config: VideoJudgeConfig
    ) -> None:
        super().__init__(shape, instructions, limit, config)
        stacked = (shape[0] * shape[1], shape[2], shape[3])
        c = config
        self.network = PictureNetwork(stacked, c.widths, c.embedding, c.hidden, len(instructions), output_scale=0.1)

    def probability(self, film: Film, instruction: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """That each film shows what its instruction asks for."""
        return self._logits(film.flatten(1, 2).float() / 127.5 - 1, instruction).sigmoid()

    def judged(self, film: Film, instruction: Int[Tensor, " B"]) -> Verdicts:
        """It always answers."""
        success = self.probability(film, instruction) >= self.config.threshold
        return Verdicts(success, torch.ones_like(success))

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy on (films, instructions, success); all pictures of a film move together."""
        film, instruction, success = batch
        pictures = random_shift(film.flatten(1, 2).float() / 127.5 - 1, self.config.shift)
        if len(self.instructions) > 1:
            count = len(self.instructions)
            other = (instruction + torch.randint(1, count, instruction.shape, device=film.device)) % count
            swapped = torch.rand(len(film), device=film.device) < self.config.other_share
            instruction, success = torch.where(swapped, other, instruction), success & ~swapped
        logits = self._logits(pictures, instruction)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, success.float())
        return loss, {"accuracy": ((logits.detach() > 0) == success).float().mean()}

    def _logits(self, pictures: Float[Tensor, "B KC S S"], instruction: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        return self.network(pictures.flatten(1)).gather(1, instruction.unsqueeze(1)).squeeze(1)


class Films:
    """Films by their success, so that a batch has `positive_share` of it as far as there is any."""

    def __init__(self, film: Film, instruction: Tensor, success: Tensor, positive_share: float = 0.5) -> None:
        self.rows, self.positive_share = (film, instruction, success), positive_share
        self.pools = [torch.nonzero(success == label).flatten() for label in (True, False)]

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(films, instructions, success)."""
        positives = round(batch_size * self.positive_share) if len(self.pools[0]) else 0
        positives = positives if len(self.pools[1]) else batch_size
        chosen = [
            pool[torch.randint(len(pool), (number,), generator=generator, device=pool.device)]
            for pool, number in zip(self.pools, (positives, batch_size - positives), strict=True)
            if number
        ]
        film, instruction, success = (rows[torch.cat(chosen)] for rows in self.rows)
        return film, instruction, success
