"""Refinement: PPO in the imagined environment, the best iterate chosen there too, resumable at any moment."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from burnish.imagination import ImaginedEnv, ImaginedSuccess
from burnish.policies import Policy
from burnish.rl.ppo import PPO, PPOConfig
from burnish.rl.rollout import collect_rollout
from burnish.storage import load_state, save_state, save_tensors
from burnish.training.metrics import MetricsLog


@dataclass(frozen=True)
class RefineConfig:
    """Length of refinement and how often it is judged."""

    iterations: int = 60
    rollout_steps: int = 16
    critic_warmup: int = 10
    """Iterations at the beginning in which only the critic learns; a critic that knows nothing yet would lead the
    policy away from what it can do."""
    evaluate_every: int = 10
    margin: float = 0.0
    """A later iterate is better only if its imagined success is higher by more than this: near the ceiling what grows
    is the exploitation of the models, not real success."""
    average: float = 0.0
    """Each iteration keeps this share of a running average of the policy's weights and adds 1 - average of the new
    ones; the average is what is judged and kept.  0: every iterate as it is.  PPO's single iterates jump about, each
    with flaws of its own; their average keeps what they have in common."""
    patience: int | None = None
    """Stop after this many evaluations without a better one."""
    checkpoint_seconds: float = 10.0


Evaluate = Callable[[Policy], ImaginedSuccess]
OnIteration = Callable[[int, dict[str, float]], None]


@dataclass
class _Best:
    rate: float = -1.0
    iteration: int = 0
    since: int = 0


def refine(
    policy: Policy,
    env: ImaginedEnv,
    config: RefineConfig,
    ppo_config: PPOConfig,
    evaluate: Evaluate,
    folder: Path,
    seed: int,
    on_iteration: OnIteration | None = None,
) -> dict[str, float]:
    """Refine `policy` in place and leave it at its best iterate.

    Best means the highest pessimistic imagined success by `evaluate` (a deterministic judgement from fixed starts);
    among those within `margin` the earliest, which has moved least.  The simulator has no part in it.  `folder`
    receives metrics.jsonl, `iterates/NNNN.safetensors` of each judged policy, and the resume state.  Returns the
    choice, the imagined success before and after, and the number of imagined steps.
    """
    torch.manual_seed(seed)
    ppo = PPO(policy, env.feature_dim, ppo_config)
    generator = torch.Generator(device=env.device).manual_seed(seed)
    log = MetricsLog(folder)
    path = folder / "resume.safetensors"
    features, _ = env.reset(seed=seed)
    averaged = copy.deepcopy(policy)
    best, best_weights, pretrained_rate, start = _Best(), _copy(policy), -1.0, 0
    if path.exists():
        saved = load_state(path)
        ppo.load_state_dict(saved["ppo"])
        env.load_state_dict(saved["env"])
        generator.set_state(saved["generator"])
        averaged.load_state_dict(saved["averaged"])
        features, best_weights = saved["features"].to(env.device), saved["best_weights"]
        best, pretrained_rate, start = _Best(**saved["best"]), saved["pretrained_rate"], saved["iteration"]
    log.rewind(start - 1)

    saved_at = time.monotonic()
    for iteration in range(start, config.iterations + 1):
        row = {"iteration": float(iteration), "imagined_steps": float(env.imagined_steps)}
        if iteration > 0:
            rollout, features = collect_rollout(env, policy, features, config.rollout_steps, generator)
            row["imagined_steps"] = float(env.imagined_steps)
            metrics = ppo.update(rollout, generator, policy_too=iteration > config.critic_warmup)
            row |= metrics | _rates(rollout)
            _average(averaged, policy, config.average)
        judged = iteration % config.evaluate_every == 0 and (iteration == 0 or iteration > config.critic_warmup)
        if judged or iteration == config.iterations:
            verdict = evaluate(averaged)
            row |= {"eval/success": verdict.rate, "eval/halted": verdict.halted_rate}
            if iteration == 0:
                pretrained_rate = verdict.rate
            if verdict.rate > best.rate + config.margin + 1e-9:
                best, best_weights = _Best(verdict.rate, iteration, 0), _copy(averaged)
            else:
                best.since += 1
            save_tensors(folder / "iterates" / f"{iteration:04d}.safetensors", _copy(averaged), {})
        log.write(iteration, row)
        if on_iteration:
            on_iteration(iteration, row)
        if config.patience is not None and best.since >= config.patience:
            break
        if time.monotonic() - saved_at > config.checkpoint_seconds:
            state = {
                "iteration": iteration + 1,
                "ppo": ppo.state_dict(),
                "env": env.state_dict(),
                "generator": generator.get_state(),
                "features": features,
                "averaged": averaged.state_dict(),
                "best": vars(best),
                "best_weights": best_weights,
                "pretrained_rate": pretrained_rate,
            }
            save_state(path, state)
            saved_at = time.monotonic()
    log.close()
    policy.load_state_dict(best_weights)
    return {
        "iteration": float(best.iteration),
        "imagined_success_pretrained": pretrained_rate,
        "imagined_success_refined": best.rate,
        "imagined_steps": float(env.imagined_steps),
    }


@torch.no_grad()
def _average(averaged: Policy, policy: Policy, keep: float) -> None:
    for old, new in zip(averaged.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, 1 - keep)


def _copy(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}


def _rates(rollout) -> dict[str, float]:
    """Share of the episodes that ended in this rollout in success, and by halting."""
    ended = (rollout.terminated | rollout.truncated).sum().clamp(min=1)
    return {
        "train/success": float(rollout.success.sum() / ended),
        "train/halted": float(rollout.halted.sum() / ended),
        "train/episodes": float((rollout.terminated | rollout.truncated).sum()),
    }
