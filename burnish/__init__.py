"""Burnish: refine a pretrained robot policy inside a frozen world model, then prove it on a real simulator."""

from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["run"]


def run(
    recipe: str,
    task: str | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    preset: str = "default",
    observation: str | None = None,
    config: Any = None,
    dataset: str | Path | None = None,
    success_column: str | None = None,
    success_last_frames: int | None = None,
    threads: int | None = None,
    processes: int | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Run all stages of a recipe, or those that are left to do, and return the content of report.json.

    Args:
        recipe: its name: `world4rl` or `diwa` (`burnish recipes` lists them).
        task: the task's name; with `dataset`, by default its only task.
        seed: of the data, of all training and of refinement.
        out: the run folder, by default runs/RECIPE-TASK-SEED.
        preset: one of the recipe's, for instance `default` or `tiny`.
        observation: what everything that learns looks at: `state` (the default), `pixels`, or, in world4rl, `frames`.
        config: the recipe's configuration, instead of a preset and an observation.
        dataset: your own LeRobotDataset v3.0; then no simulator is used.
        success_column: the data set's column that tells success, by default `next.success` or `success`.
        success_last_frames: success is the last so many frames of every successful episode.
        threads: PyTorch's threads of each process; by default the processes share the cores.
        processes: that train together, on this machine; Fabric runs the calling script again in the others.
        device: where models train and imagine: `cpu`, or `cuda` where the recipe can.

    Raises:
        burnish.errors.InputError: something about the arguments or the data is wrong.
        burnish.errors.RunError: the run could not go on.
    """
    from burnish.recipes.catalogue import entry
    from burnish.recipes.own_data import ReadingRule
    from burnish.recipes.runs import NewRun, run_recipe

    found = entry(recipe).looking_at(observation)
    new = NewRun(
        task=task,
        seed=seed,
        out=Path(out) if out is not None else None,
        dataset=Path(dataset) if dataset is not None else None,
        reading=ReadingRule(success_column=success_column, success_last_frames=success_last_frames),
        config=config if config is not None else found.preset(preset, observation),
    )
    resolved = new.resolve(found.name)
    report = run_recipe(new.folder(resolved), resolved, threads=threads, processes=processes, device=device)
    assert report is not None
    return report
