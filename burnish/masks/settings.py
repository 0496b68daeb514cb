"""Which provider makes the masks, and how."""

from dataclasses import dataclass, field
from typing import Literal

from burnish.errors import InputError
from burnish.masks.base import Masking, MaskProvider
from burnish.masks.colours import ColourMasks
from burnish.masks.grounded import GroundedConfig, GroundedMasks
from burnish.masks.tracking import TrackedMasks, TrackerConfig
from burnish.masks.truth import TruthMasks

ProviderName = Literal["truth", "colour", "tracker", "grounded"]


@dataclass(frozen=True)
class MaskConfig:
    """From a sentence and pictures to masks."""

    provider: ProviderName = "tracker"
    """The simulator's truth; every pixel of the named colour; a tracker that is shown the first mask; or GroundingDINO
    and SAM, which need transformers."""
    prompt: Literal["truth", "colour"] = "colour"
    """Who shows the tracker its first mask."""
    skills: tuple[str, ...] = ("push", "clear")
    """The verbs that are known; their masks have the values 1, …, 1/n."""
    also: str | None = None
    """A thing that every instruction is about without naming it, for the third channel: the robot's hand, say."""
    tracker: TrackerConfig = TrackerConfig()
    grounded: GroundedConfig = field(default_factory=GroundedConfig)

    def __post_init__(self) -> None:
        if not self.skills or len(set(self.skills)) < len(self.skills):
            raise InputError(f"masks.skills: found {self.skills}, expected one or more different verbs")

    def make(self) -> Masking:
        """A provider for one stream of pictures."""
        return Masking(self._provider(), self.skills, self.also)

    def _provider(self) -> MaskProvider:
        if self.provider == "truth":
            return TruthMasks()
        if self.provider == "colour":
            return ColourMasks()
        if self.provider == "grounded":
            return GroundedMasks(self.grounded, self.tracker)
        return TrackedMasks(TruthMasks() if self.prompt == "truth" else ColourMasks(), self.tracker)
