"""Whole generated trajectories as an experience: nothing is stepped, a denoiser hands over all decisions at once."""

from typing import Any

import torch
from torch import Tensor

from burnish.errors import InputError
from burnish.imagination import GuidanceConfig, StartStates, Trajectories, guided
from burnish.imagination.guidance import BAND, Scored, check_deviation, check_scored, tuned
from burnish.policies import Policy
from burnish.rl.rollout import Rollout
from burnish.world_models import TrajectoryDenoiser

_PASSES = 60  # of tuning before the first rollout


class GeneratedExperience:
    """The `Experience` of policy-guided diffusion: N trajectories from N recorded frames, anew for each rollout.

    The guidance's scale follows the policy: it is tuned before the first rollout, and once more with each. An end
    leaves slots that are nobody's; each then holds a single transition of another trajectory, cut off after it.
    """

    def __init__(
        self,
        world: TrajectoryDenoiser,
        starts: StartStates,
        policy: Policy,
        num_envs: int,
        guidance: GuidanceConfig,
        seed: int,
    ) -> None:
        """Tune the guidance to the policy.

        Raises:
            InputError: the policy has no score.
            RunError: tuned as it may be, the actions are not the policy's.
        """
        self.world, self.starts, self.num_envs, self.guidance = world, starts, num_envs, guidance
        self.device, self.feature_dim = starts.first.device, world.feature_dim
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.imagined_steps = 0
        self.scale = torch.tensor(guidance.scale, device=self.device)
        self.deviation = self._tune(check_scored(policy))

    def _tune(self, policy: Scored) -> float:
        """The standardised deviation with which rollouts begin."""
        deviation = 1.0
        for _ in range(_PASSES if self.guidance.mode == "score" else 1):
            deviation = float(self._generate(policy, self.generator).deviation)
            if 0.5 * (1 + BAND[0]) <= deviation <= 0.5 * (1 + BAND[1]):
                break
        check_deviation(deviation, self.guidance)
        return deviation

    def _generate(self, policy: Scored, generator: torch.Generator) -> Trajectories:
        states: Any = self.starts.sample(self.num_envs, self.generator)
        found = guided(self.world, states, policy, self.guidance, self.scale, generator)
        self.imagined_steps += found.reward.numel()
        self.scale = tuned(self.scale, found.deviation, self.guidance)
        return found

    @torch.no_grad()
    def rollout(self, policy: Policy, steps: int, generator: torch.Generator) -> Rollout:
        """The first `steps` transitions of fresh trajectories; InputError where a trajectory has fewer."""
        h = self.world.config.horizon
        if steps > h:
            raise InputError(
                f"a2c.rollout_steps: found {steps}, but world_model.horizon is {h}: a generated trajectory has no more"
            )
        found = self._generate(check_scored(policy), generator)
        before, after = found.features[:, :steps], found.features[:, 1 : steps + 1]
        action, reward, over = found.action[:, :steps], found.reward[:, :steps], found.over[:, :steps]
        first = torch.zeros_like(over[:, :1])
        gone = torch.cat([first, over[:, :-1]], 1)
        cut = torch.zeros_like(over)
        cut[:, -1] = True
        columns = {
            "features": before,
            "trace": action,
            "reward": reward,
            "terminated": over,
            "truncated": cut & ~over,
            "next_features": after,
        }
        filled = _filled(columns, gone, generator)
        rows: dict[str, Any] = {name: values.transpose(0, 1).contiguous() for name, values in filled.items()}
        flat = rows["features"].flatten(0, 1), rows["trace"].flatten(0, 1)
        return Rollout(**rows, log_prob=policy.log_prob(*flat).unflatten(0, (steps, -1)))

    def learned(self, rollout: Rollout, error: Tensor) -> None:
        """Trajectories begin anywhere, whatever the errors."""

    def state_dict(self) -> dict[str, Any]:
        """The guidance's scale (a row for each trajectory, all the same), and where the random numbers are."""
        return {
            "scale": self.scale.expand(self.num_envs).clone(),
            "generator": self.generator.get_state(),
            "imagined_steps": self.imagined_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.scale = state["scale"][0].to(self.device)
        self.generator.set_state(state["generator"])
        self.imagined_steps = int(state["imagined_steps"])


def _filled(columns: dict[str, Tensor], gone: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Columns (N, H, …) with a transition that somebody lived through in each slot that is `gone` (N, H).

    Each such transition stands alone: it is cut off unless it is an end.
    """
    weight = (~gone).flatten().float()
    drawn = torch.multinomial(weight, gone.numel(), replacement=True, generator=generator)
    slots = torch.arange(gone.numel(), device=gone.device)
    source = torch.where(gone.flatten(), drawn, slots)
    found = {name: values.flatten(0, 1)[source].view_as(values) for name, values in columns.items()}
    found["truncated"] = found["truncated"] | (gone & ~found["terminated"])
    return found
