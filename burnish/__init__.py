"""Burnish: refine a pretrained robot policy inside a frozen world model, then prove it on a real simulator."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.recipes.loading import Loaded

# OpenMP reads this when torch is imported. By default its threads wait for each other by spinning, for milliseconds:
# beside busy neighbours two threads then do a thirtieth of what one does (benchmarks/results/speed.md).
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "1000"

Paths = str | Path | Sequence[str | Path]
__version__ = "0.1.0"
__all__ = ["load", "run"]


def run(
    recipe: str,
    task: str | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    preset: Any = None,
    dataset: str | Path | Mapping[str, Paths] | None = None,
    data_task: str | None = None,
    policy: str | Path | None = None,
    reading: Any = None,
    how: Any = None,
) -> dict[str, Any]:
    """Run all stages of a recipe, or those that are left to do, and return the content of report.json.

    Args:
        recipe: its name: `world4rl` or `diwa` (`burnish recipes` lists them), or `module:NAME` of your own.
        task: the task's name; with `dataset`, where the policy is judged (`gym:ID`), or one of the data set's tasks.
        seed: of the data, of all training and of refinement.
        out: the run folder, by default runs/RECIPE-TASK-SEED.
        preset: the name of one of the recipe's, for instance `tiny`, or a whole configuration; by default its first.
        dataset: your own data set, of any format that is known; models learn from it alone. Or several by what they
            are, `{"demonstrations": A, "rollouts": [B, C], "play": D}`: an expert's episodes, which are cloned; what a
            policy did, successes and failures; anything else that the robot did.
        data_task: the task of your data to learn, by default their only one.
        policy: start from this one instead of cloning: a folder of Burnish's or LeRobot's, `module:factory`, or
            `ws://host:port` (docs/policies.md).
        reading: how the data set is read, a `burnish.data.formats.ReadingRule`.
        how: threads, processes and device, a `burnish.recipes.how.How`.

    Raises:
        burnish.errors.InputError: something about the arguments or the data is wrong.
        burnish.errors.RunError: the run could not go on.
    """
    from burnish.data.formats import ReadingRule
    from burnish.recipes.catalogue import entry
    from burnish.recipes.runs import NewRun, run_recipe

    found = entry(recipe)
    new = NewRun(
        task=task,
        seed=seed,
        out=Path(out) if out is not None else None,
        dataset=Path(dataset) if isinstance(dataset, str | Path) else None,
        **_by_role(dataset),
        data_task=data_task,
        policy=None if policy is None else str(policy),
        reading=reading or ReadingRule(),
        config=found.preset(preset) if preset is None or isinstance(preset, str) else preset,
    )
    resolved = new.resolve(found.name if ":" not in recipe else recipe)
    report = run_recipe(new.folder(resolved), resolved, how=how)
    assert report is not None
    return report


def _by_role(dataset: "str | Path | Mapping[str, Paths] | None") -> "dict[str, Any]":
    from burnish.errors import InputError
    from burnish.recipes.own_data import SOURCES

    if dataset is None or isinstance(dataset, str | Path):
        return {}
    if not dataset or set(dataset) - set(SOURCES):
        raise InputError(f"dataset: found {sorted(dataset)}, expected a path, or paths by {', '.join(SOURCES)}")
    return {
        role: (Path(said),) if isinstance(said, str | Path) else tuple(map(Path, said))
        for role, said in dataset.items()
    }


def load(run: str | Path, *, device: str = "cpu", trust_code: bool = False) -> "Loaded":
    """What a finished run has to give, each piece read when it is asked for.

        loaded = burnish.load("runs/mine")
        loaded.policy.reset()                                       # an episode begins
        action = loaded.policy.act({"observation.state": state})    # in the data's units, NumPy or torch
        loaded.world_model                                          # frozen
        loaded.env(64)                                              # the imagined environment, a Gymnasium VectorEnv
        loaded.report["success"]                                    # report.json

    Args:
        run: the run folder.
        device: where models are put: cpu or cuda.
        trust_code: import the modules of yours that recipe.yaml names, for `world_model` and `env`.

    Raises:
        burnish.errors.InputError: it is no run folder.
    """
    from burnish.recipes.loading import load

    return load(run, device, trust_code)
