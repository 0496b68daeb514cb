"""The policy: Burnish's agent behind LeRobot's interface."""

from pathlib import Path
from typing import Any

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from burnish.policies import Agent, load_agent
from lerobot_policy_burnish.configuration_burnish import BurnishConfig

_AGENT_FOLDER = "agent"


class BurnishPolicy(PreTrainedPolicy):
    """Acts as the agent does in Burnish: `reset` begins an episode, `select_action` takes every observation."""

    config_class = BurnishConfig  # type: ignore[assignment]
    name = "burnish"  # type: ignore[assignment]

    def __init__(self, config: BurnishConfig, agent: Agent | None = None, **_: Any) -> None:
        super().__init__(config)
        if agent is None:
            raise ValueError("policies of type 'burnish' are made by 'burnish export', and loaded by from_pretrained")
        self.agent = agent
        self._begun = False

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        **_: Any,
    ) -> "BurnishPolicy":
        """Load an exported folder, or one on the Hub."""
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            folder = Path(snapshot_download(str(pretrained_name_or_path), revision=revision, cache_dir=cache_dir))
        if config is None:
            config = PreTrainedConfig.from_pretrained(folder)
        policy = cls(config, load_agent(folder / _AGENT_FOLDER))  # type: ignore[arg-type]
        return policy.to(policy.config.device).eval()

    def get_optim_params(self) -> dict[str, Any]:
        """Nothing is trained here."""
        raise NotImplementedError("policies of type 'burnish' are trained by 'burnish run', not by LeRobot")

    def reset(self) -> None:
        """Episodes begin with the next observation."""
        self._begun = False

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any] | None]:
        """Nothing is trained here."""
        raise NotImplementedError("policies of type 'burnish' are trained by 'burnish run', not by LeRobot")

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """The next action (B, A) in the data's units, for observations (B, …) in theirs."""
        observation = self._observation(batch)
        if not self._begun:
            self.agent.begin(len(next(iter(observation.values()))))
            self._begun = True
        return self.agent.act(observation)

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """The chunk (B, T_a, A) for observations with which an episode begins."""
        observation, agent = self._observation(batch), self.agent
        state = agent.observer.initial(len(next(iter(observation.values()))))
        chunk = agent.decide(agent.observer.observe(state, None, observation), True, None)
        return chunk if agent.scaling is None else agent.scaling.to_data(chunk)

    def _observation(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """LeRobot's pictures are (B, 3, H, W) in [0, 1]; Burnish's (B, H, W, 3), whole numbers to 255."""
        found = {}
        for key, feature in (self.config.input_features or {}).items():
            if key not in batch:
                raise KeyError(f"observation '{key}' is missing, found {sorted(batch)}")
            value = batch[key]
            if tuple(value.shape[1:]) != tuple(feature.shape):
                raise ValueError(f"observation '{key}' has shape {tuple(value.shape)}, expected (B, *{feature.shape})")
            if value.dim() == 4:
                value = (value.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).to(torch.uint8)
            found[key] = value
        return found
