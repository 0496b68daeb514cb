"""The configuration: what an exported policy reads and gives."""

from dataclasses import dataclass
from typing import Any

from lerobot.configs.policies import PreTrainedConfig


@PreTrainedConfig.register_subclass("burnish")
@dataclass
class BurnishConfig(PreTrainedConfig):
    """As `burnish export --to lerobot` writes it; the policy itself is described in the folder `agent`."""

    chunk_size: int = 1

    @property
    def observation_delta_indices(self) -> None:
        """Policies keep their own memory."""
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """Those of one decision."""
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """None is read."""
        return None

    def get_optimizer_preset(self) -> Any:
        """Nothing is trained here."""
        raise NotImplementedError("policies of type 'burnish' are trained by 'burnish run', not by LeRobot")

    def get_scheduler_preset(self) -> None:
        """Nothing is trained here."""
        return None

    def validate_features(self) -> None:
        """What the policy reads, it checks itself."""
