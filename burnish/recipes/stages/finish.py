"""The end of every recipe: the trust gate, the evaluation, and the report."""

from dataclasses import dataclass, fields

from burnish.config import to_dict
from burnish.pipeline import Stage, ordered, stage
from burnish.recipes.base import HeldOut, Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Starts
from burnish.recipes.stages.data import Recorded
from burnish.recipes.stages.evaluation import Shown, evaluate
from burnish.recipes.stages.gate import gated
from burnish.recipes.stages.reporting import report


@dataclass(frozen=True)
class Parts:
    """What a recipe made before its end.

    Attributes:
        data: the data set as it was recorded or brought along.
        seen: how models see it.
        encoder: what stands between pictures and models of vectors, if anything.
        starts: the candidates that refinement started from, where there is more than the policy.
    """

    data: Stage
    seen: Recorded
    policy: Stage
    models: Models
    refined: Stage
    encoder: Stage | None = None
    starts: Starts | None = None


def finish(run: RunSpec, c: RecipeConfig, models: HeldOut, parts: Parts) -> Plan:
    """Gate (with `models` on folds of the data), evaluation and report."""
    filtered = {} if parts.starts is None else {"filtered": parts.starts.filtered}
    judged = {"pretrained": parts.policy, **filtered, "refined": parts.refined}
    accepted = gated(c, run.seed, models, parts.seen, judged, cloned=run.policy is None)
    cameras = getattr(c, "cameras", ())
    pictures = None if parts.encoder is None else Recorded(parts.data, cameras).split(c.held_out)
    evaluation = stage(
        evaluate,
        "evaluation",
        alone=True,
        real=None if run.simulator is None else run.real(c),
        seed=run.seed,
        evaluation=c.evaluation,
        shown=Shown(parts.seen.split(c.held_out), pictures, parts.encoder, c.reward),
        policies={name: policy.folder for name, policy in judged.items()},
        models=parts.models,
    )
    done = ordered([evaluation, *([accepted] if accepted is not None else [])])
    reported = stage(
        report,
        "report",
        alone=True,
        lenient=True,
        run={"recipe": run.recipe, "task": run.task, "seed": run.seed},
        stages={each.name: each.folder for each in done},
        configuration=to_dict(c),
    )
    return Plan(
        **{each.name: getattr(parts, each.name) for each in fields(Parts)},
        accepted=accepted,
        evaluation=evaluation,
        report=reported,
    )
