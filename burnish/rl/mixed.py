"""Real and synthetic transitions in one batch (DAWM, arXiv 2509.19538; MBPO, arXiv 1906.08253, mixes alike)."""

import torch

from burnish.errors import InputError
from burnish.rl.transitions import TransitionBatch, Transitions


class MixedTransitions:
    """Batches of which a stated share is synthetic, by count and not by chance."""

    def __init__(self, real: Transitions, synthetic: TransitionBatch | None, share: float) -> None:
        """Mix them.

        Args:
            real: recorded transitions.
            synthetic: all that a model made; features as those of `real`. None only without a share.
            share: of the rows of a batch that are synthetic, in [0, 1).

        Raises:
            InputError: a share outside of that, or one of nothing.
        """
        if not 0 <= share < 1:
            raise InputError(f"synthetic_share: found {share}, expected at least 0 and less than 1")
        if share > 0 and (synthetic is None or not len(synthetic.reward)):
            raise InputError(f"synthetic_share: found {share}, but there are no synthetic transitions")
        self.real, self.synthetic, self.share = real, synthetic, share

    def __len__(self) -> int:
        """How many there are of both kinds."""
        return len(self.real) + (0 if self.synthetic is None else len(self.synthetic.reward))

    def sample(self, batch_size: int, generator: torch.Generator) -> TransitionBatch:
        """Draw with replacement; the synthetic rows come last."""
        made = round(self.share * batch_size)
        drawn = self.real.sample(batch_size - made, generator)
        if not made or self.synthetic is None:
            return drawn
        index = torch.randint(len(self.synthetic.reward), (made,), generator=generator, device=generator.device)
        index = index.to(self.synthetic.reward.device)
        columns = ((old, vars(self.synthetic)[name][index]) for name, old in vars(drawn).items())
        return TransitionBatch(*(torch.cat(pair) for pair in columns))
