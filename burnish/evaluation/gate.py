"""The trust gate."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GateConfig:
    """Size of the evidence, and how sure the gate must be."""

    worlds: int = 4
    """Held-out worlds; each leaves another share of the episodes out of its training. 0: no gate."""
    training_share: float = 0.5
    """Training steps of a held-out world and its classifier, as a share of the run's own."""
    episodes: int = 128
    """Imagined episodes of each policy in each held-out world, from the same recorded starts."""
    confidence: float = 0.95
