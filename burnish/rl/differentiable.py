"""Rollouts through which gradients flow: from what was earned back to the policy's weights."""

import torch

from burnish.policies import Policy
from burnish.rl.rollout import EnvExperience, GradientsAlong, Rollout


class DifferentiableExperience(EnvExperience):
    """The `Experience` of an environment that passes gradients on, and of a policy whose samples carry them.

    Both `reward` and `next_features` of a rollout depend on the policy's weights through all decisions before them in
    the same episode and the same rollout; before its first decision the graph is cut. `env` has `detach`, too.
    """

    @torch.enable_grad()
    def rollout(self, policy: Policy, steps: int, generator: torch.Generator) -> Rollout:
        """Explore for `steps` decisions, from where the last rollout ended."""
        self.env.detach()
        return self._explore(policy, steps, generator, GradientsAlong(steps, self.device))
