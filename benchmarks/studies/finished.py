"""What the stages of a finished run left, for whoever looks at it again."""

from pathlib import Path

from burnish.imagination import Models, PessimismConfig
from burnish.pipeline.execute import read_result
from burnish.recipes import base
from burnish.recipes.runs import reopen
from burnish.recipes.stages.imagining import imagined


def models_of(run: Path, pessimism: PessimismConfig | None = None) -> Models:
    """The frozen models in which a run's policy was refined."""
    found = reopen(run).plan.models
    uncertainties = tuple(read_result(run / each.name) for each in found.uncertainties)
    return imagined(
        base.Models(read_result(run / found.world.name), read_result(run / found.reward.name), uncertainties), pessimism
    )
