"""What learners have in common: the policy that they begin with, and one step of an optimiser."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim import Optimizer

from burnish.errors import InputError
from burnish.policies import Policy
from burnish.training.processes import Processes


def begin(learner: str, policy: Policy, feature_dim: int) -> None:
    """Tell a policy that its refinement begins.

    Raises:
        InputError: it reads other features than the experience gives.
    """
    if feature_dim != policy.feature_dim:
        raise InputError(
            f"{learner}: the environment gives {feature_dim} features, the policy reads {policy.feature_dim}"
        )
    policy.begin_refinement()


def learned(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def backward(
    loss: Tensor, parameters: Iterable[nn.Parameter], optimizer: Optimizer, clip: float, processes: Processes
) -> Tensor:
    """Fresh gradients, those of all processes together, clipped to the norm `clip`; returns the norm they had."""
    parameters = list(parameters)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    processes.average_gradients(parameters)
    return nn.utils.clip_grad_norm_(parameters, clip)


def descend(
    loss: Tensor, parameters: Iterable[nn.Parameter], optimizer: Optimizer, clip: float, processes: Processes
) -> None:
    """One step of the optimiser along them (`backward`)."""
    backward(loss, parameters, optimizer, clip, processes)
    optimizer.step()
