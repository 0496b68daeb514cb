"""What must be so for a refinement to have any hope, looked at before it begins."""

import torch

from burnish.errors import RunError
from burnish.rl.learner import Experience, Learner
from burnish.rl.rollout import Rollout
from burnish.rl.watched import Signal
from burnish.training.processes import Processes

_STEPS = 2
# Log-probabilities of another batch size differ by rounding; what is wrong differs by far more.
_TOLERANCE = 1e-2
# If none of a hundred episodes earns anything, its true share is below 3 % with 95 % confidence (the rule of three).
_EPISODES = 100
_ANYWAY = "(--config.refine.no-preflight refines all the same)"


def preflight(learner: Learner, experience: Experience, seed: int, processes: Processes) -> None:
    """Let the policy take two steps and compute a first loss, then put everything back.

    The experience afterwards is where it was, and neither its random numbers nor refinement's nor torch's have moved.

    Raises:
        RunError: features, rewards or log-probabilities are not finite; all environments do the very same; the ratio of
            a fresh rollout to its own policy is not 1; the first loss or its gradients are not finite, or all zero.
    """
    generator = torch.Generator(device=experience.device).manual_seed(processes.seed(seed))
    before = experience.state_dict()
    with torch.random.fork_rng([experience.device] if experience.device.type == "cuda" else []):
        rollout = experience.rollout(learner.policy, _STEPS, generator)
        experience.load_state_dict(before)
        problem = _wrong_rollout(rollout, learner) or _wrong_gradients(rollout, learner, generator)
    wrong = processes.gather(torch.tensor([problem is not None]))
    if bool(wrong.any()):
        raise RunError(problem or "refinement cannot begin: another process says why")


def check_signal(signal: Signal, score: float) -> None:
    """Stop a refinement in which nothing that the policy does makes any difference.

    Raises:
        RunError: the pretrained policy's score is 0, and so many exploring episodes have ended that its chances are
            slim, all of them with the same reward.
    """
    if signal.episodes < _EPISODES or not signal.flat or (signal.lowest == 0 and score != 0):
        return
    raise RunError(
        f"refinement cannot learn: every decision of the first {signal.episodes:.0f} imagined episodes earned the same "
        f"({signal.lowest:g}) and the pretrained policy scores {score:g}; clone a better policy, let more episodes "
        f"begin near success (imagination.starts.episode_start_share), or check the reward {_ANYWAY}"
    )


def _wrong_rollout(rollout: Rollout, learner: Learner) -> str | None:
    columns = {"features": rollout.next_features, "rewards": rollout.reward, "log-probabilities": rollout.log_prob}
    for name, values in columns.items():
        if not bool(values.isfinite().all()):
            return (
                f"refinement cannot begin: the first imagined {name} are not finite; check the world model's and the "
                "reward's training (metrics.jsonl of their stages)"
            )
    outcome = torch.cat([rollout.features.flatten(2), rollout.trace.flatten(2), rollout.next_features.flatten(2)], -1)
    if outcome.shape[1] > 1 and bool((outcome == outcome[:, :1]).all()):
        return (
            "refinement cannot begin: all imagined episodes are the same, so returns cannot vary; record more start "
            f"states, or let the policy explore {_ANYWAY}"
        )
    with torch.no_grad():
        again = learner.policy.log_prob(rollout.features.flatten(0, 1), rollout.trace.flatten(0, 1))
    off = float((again - rollout.log_prob.detach().flatten(0, 1)).abs().max())
    if not off <= _TOLERANCE:
        return (
            f"refinement cannot begin: the policy scores its own fresh decisions otherwise than while acting (by up to "
            f"{off:.3g} in log-probability), so ratios do not begin at 1; its log_prob must match act, without dropout"
        )
    return None


def _wrong_gradients(rollout: Rollout, learner: Learner, generator: torch.Generator) -> str | None:
    parameters = [parameter for parameter in learner.policy.parameters() if parameter.requires_grad]
    if not parameters:
        return "refinement cannot begin: the policy has no parameter that may change; unfreeze it"
    loss = learner.loss(rollout, generator)
    found = torch.autograd.grad(loss, parameters, allow_unused=True) if loss.requires_grad else ()
    gradients = [gradient for gradient in found if gradient is not None]
    if not bool(loss.isfinite()) or not all(bool(gradient.isfinite().all()) for gradient in gradients):
        return (
            "refinement cannot begin: the first loss or its gradients are not finite; check the scale of the rewards "
            "and the policy's standard deviation"
        )
    if not any(bool(gradient.any()) for gradient in gradients):
        return (
            "refinement cannot begin: all gradients of the first loss are zero, so the policy would stay as it is; "
            "check that its log_prob depends on its weights and that the learner's weights are not all 0"
        )
    return None
