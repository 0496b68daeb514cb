"""What the commands say of themselves, each on one screen, and without importing what takes long."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish import __version__

_EXIT_CODES = """\
Exit codes: 0 done (also where the gate rejects the refined policy: the verdict says so), 1 the run failed,
2 the command or its input is wrong."""

_READING = """\
How your own data set is read (docs/own-data.md):
  --success-column NAME, --success-above NAME=VALUE, --success-on-termination, --failed-episodes N [N], --labels CSV,
  --success-last-frames N  how success is told (default next.success or success), and how many frames at the end show it
  --state-key NAME [NAME], --action-key NAME, --action-units own|unit|auto, --action-targets recorded|absolute|relative,
  --binary-actions recorded|rounded, --fps N    columns, their units, and how actions are learned and executed
  --skip-bad, --stride N, --stride-actions last|sum, --picture-size N, --crop centre|T,L,H,W    which frames, and how"""

_DATA = """\
usage: burnish data inspect PATH [--page FILE.html] [--json] [OPTIONS]
       burnish data convert PATH OUT [--to lerobot] [OPTIONS]

What is in a data set, and what it can and cannot support; or the same data as a LeRobotDataset v3.0. Read are LeRobot
v3.0 and v2.1, robomimic's, ACT's and Minari's HDF5, Diffusion Policy's zarr, CALVIN's npz, a folder of npz.

  --page FILE              inspect: a page of plots (HTML, one file)
  --json                   inspect: everything, for programs
  --cameras NAME [NAME]    convert: whose pictures are taken along (default all)
  --pictures KIND          convert: video (MP4, smaller) or image (PNG, exact)

{reading}

Exit codes of inspect: 0 a run can come of it (perhaps with warnings), 2 none can, for the errors that are listed."""

_MACHINE = """\
  --threads N, --jobs N    PyTorch's threads; or stages side by side, of one thread each (default: one for each core)
  --device D, --processes N  cpu or cuda; and processes that train together (default one, or as torchrun started)
  --track wandb|mlflow     hand the curves on to an experiment tracker
  --executor slurm|ray     work on stages on a cluster, --jobs N at once (--cpus, --gpus, --executor-options)"""

_RUN = """\
usage: burnish run {name} --task TASK [OPTIONS]

{about}

  --task TASK              the task to learn (burnish tasks lists them)
  --dataset PATH           your own data, or judged by --task gym:ID; of several tasks the one of --data-task;
                           or several folders: --demonstrations PATH --rollouts PATH --play PATH
  --policy POLICY          refine this one instead of a clone: a folder, module:factory or ws://… (docs/policies.md)
  --preset PRESET          where the settings start from: {presets}
  --seed N                 of the data, of all training and of refinement (default 0)
  --out FOLDER             the run folder (default runs/RECIPE-TASK-SEED); the same command again goes on there
{machine}
  --dry-run, --verify      print all settings and do nothing; check the content of finished stages, not only their size
  --config.NAME VALUE      any setting; burnish run {name} --help-all lists all with their ranges

{reading}
Example: burnish run {name} --dataset my_data --success-last-frames 5 --config.refine.iterations 40

{exit_codes}"""

_RUN_WHICH = """\
usage: burnish run RECIPE --task TASK [OPTIONS]

{table}

burnish run RECIPE --help lists the options."""

_SWEEP = """\
usage: burnish sweep RECIPE --tasks TASK [TASK] [OPTIONS]
       burnish sweep status OUT | burnish sweep cancel OUT

A recipe's runs over tasks × seeds × settings, side by side here or on a cluster, as one table. The same command goes on
where it was stopped.

  --tasks TASK [TASK]      burnish tasks lists them
  --seeds N [N]            runs of each task (default 0 1 2)
  --set NAME=A,B [...]     settings to try, all with all: --set config.ppo.clip=0.1,0.2 config.worlds=1,3
  --out FOLDER             of the runs and the table (default runs/sweep)
  --jobs N                 runs at once (default 2), each with --cpus N threads (default 1)
  --executor KIND          local (default), slurm or ray; --gpus N of each run, --executor-options NAME=VALUE
                           (docs/clusters.md)

Every other option is one of burnish run, and all runs get it: --preset tiny --config.gate.worlds 0.

{exit_codes}"""

_COMPARE = """\
usage: burnish compare [OPTIONS]

Baselines, recipes, and a recipe without its safety parts, on the same data, as one table.

  --recipe RECIPE          whose runs give the data, the pretrained policy and the models (default world4rl)
  --tasks TASK [TASK]      columns (default the six of World4RL's Table II; burnish tasks lists more)
  --datasets PATH [PATH]   columns instead: data sets of your own, from which every method learns; --tasks then says
                           where policies are judged, one task for all of them or one for each
  --seeds N [N]            runs of each column (default 0 1 2)
  --methods NAME [NAME]    rows: bc filtered_bc td3_bc iql planning, RECIPE, RECIPE-gated (what the gate lets pass) and
                           RECIPE-no-PART, PART one of halting anchor disagreement distance members average choice;
                           or any other recipe, with its own preset, on the same data
  --others FILE            settings of those other recipes in YAML: polygrad: {{refine: {{iterations: 150}}}}
  --preset PRESET          where the settings start from: {presets}
  --out FOLDER             of the runs, the results and the table (default runs/compare); the same command goes on there
  --workers N              pairs of a column and a seed worked on side by side, with one thread each (default 2)
  --executor KIND          local (default), slurm or ray; --executor-options NAME=VALUE (docs/clusters.md)
  --config.NAME VALUE      any setting of the recipe, --baselines.NAME VALUE of the baselines; --help-all lists them

Example:
  burnish compare --tasks drawer-open-v3 reach-v3 --seeds 0 1 --methods bc world4rl
  burnish compare --recipe rwm --datasets medium expert --tasks gym:HalfCheetah-v5 --methods bc iql rwm adept dawm

{exit_codes}"""

_DEMO = """\
usage: burnish demo [OPTIONS]

Refine a policy on Meta-World's drawer-open from five demonstrations; minutes on two CPU cores.

  --out FOLDER  the run folder (default runs/demo)
  --seed N      of the data, of all training and of refinement (default 0)
  --threads N   PyTorch's threads; default one for each core

{exit_codes}"""

_RECIPES = """\
usage: burnish recipes

List the recipes: the published system, its paper, what it needs, and its status."""

_TASKS = """\
usage: burnish tasks [SUITE]

List the tasks that there are simulators for, all or those of one suite, as --task takes them."""

_EXPORT = """\
usage: burnish export RUN --to onnx|lerobot OUT [OPTIONS]

The policy that a run accepted (or the one of a folder), ready for a robot, in the new folder OUT.

  --to onnx       OUT/policy.onnx, checked against the policy itself (extra: export)
  --to lerobot    a checkpoint: ACT and Diffusion as themselves, others for the plug-in lerobot_policy_burnish

{exit_codes}"""

_SERVE = """\
usage: burnish serve RUN [OPTIONS]

Serve the policy that a run accepted (or the one of a folder) over a websocket, by openpi's protocol (extra: serve).

  --host ADDRESS  where to listen (default 127.0.0.1: this machine alone)
  --port N        default 8000; 0 for any free one
  --trust-code    let the policy call the function or server of yours that it names

{exit_codes}"""

_STUDIO = """\
usage: burnish studio [PATH ...] [OPTIONS]

A page on which to look at runs and data sets, to drive a run's world model by keys, a gamepad, sliders or its policies,
beside the simulator where there is one, and to label success (extra: studio; docs/studio.md).

  PATH             run folders, or folders with runs below them (default runs)
  --dataset PATH   a data set to look at and to label; several: --dataset PATH PATH
  --drive FOLDER   drive a saved drive again (with the RUN that it was driven in)
  --out FOLDER     where drives and labels are saved (default studio)
  --port N         default 0: any free one; --no-browser: only print the link
  --threads N      PyTorch's threads (default 1: small models answer soonest)
  --host ADDRESS   where to listen (default 127.0.0.1: this machine alone); others need --token SECRET

{exit_codes}"""

_STAGE = """\
usage: burnish {command} RUN [OPTIONS]

{text}
Stages that it needs and that are not done are done first, as RUN/recipe.yaml says.

  RUN                      the run folder; burnish run makes one, or a recipe.yaml alone in an empty folder:
                           burnish run RECIPE --task TASK --dry-run > RUN/recipe.yaml
  --verify                 check the content of finished stages, not only their size and time
  --trust-code             import the modules of yours that recipe.yaml names (a recipe or an environment)
{machine}

{exit_codes}"""

_STAGE_TEXTS = {
    "collect": "Record the demonstrations and everything else that the models learn from (or copy your own data set).",
    "pretrain": "Clone the policy from the demonstrations.",
    "train-world-model": "Train the world model, and the ensemble whose disagreement ends imagined episodes.",
    "train-classifier": "Train the success classifier, and choose its threshold on held-out episodes.",
    "refine": "Refine the policy by reinforcement learning inside the world model; the simulator is not used.",
    "gate": "Decide, in held-out worlds and without the simulator, whether the refined policy is accepted.",
    "evaluate": "Measure success of the pretrained and of the refined policy in the real simulator.",
    "report": "Write report.json and report.html, with plots and videos.",
}


_TEXTS = {
    "demo": _DEMO,
    "export": _EXPORT,
    "recipes": _RECIPES,
    "serve": _SERVE,
    "studio": _STUDIO,
    "sweep": _SWEEP,
    "tasks": _TASKS,
}


def all_commands(commands: Mapping[str, tuple[Any, str]]) -> str:
    """The list of commands."""
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in commands.items()]
    return "\n".join(
        [
            f"burnish {__version__}: refine a robot policy inside a frozen world model, then prove it.",
            "",
            "usage: burnish COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "burnish COMMAND --help says more, --help-all lists every setting.",
            "Commands for single stages take a run folder: burnish refine RUN.",
            _EXIT_CODES,
        ]
    )


def of(command: str, args: list[str], summary: str) -> str:
    """A command's help, which fits on a screen.

    Raises:
        InputError: the help of a recipe was asked for that there is not.
    """
    if command == "run":
        return _of_run(args)
    if command == "compare":
        from burnish.recipes.catalogue import card

        presets = card(value_of("--recipe", args) or "world4rl").presets
        return _COMPARE.format(presets=_listed(presets), exit_codes=_EXIT_CODES)
    if command in _STAGE_TEXTS:
        return _STAGE.format(command=command, text=_STAGE_TEXTS[command], machine=_MACHINE, exit_codes=_EXIT_CODES)
    if command == "data":
        return _DATA.format(reading=_READING)
    return _TEXTS.get(command, summary).format(exit_codes=_EXIT_CODES)


def _of_run(args: list[str]) -> str:
    from burnish.recipes.catalogue import as_table, card

    if args[0].startswith("-"):
        return _RUN_WHICH.format(table=as_table())
    recipe = card(args[0])
    about = textwrap.fill(f"{recipe.system} ({recipe.paper}): all its stages, from data to report.", 119)
    parts = {"machine": _MACHINE, "reading": _READING, "exit_codes": _EXIT_CODES}
    return _RUN.format(name=recipe.name, about=about, presets=_listed(recipe.presets), **parts)


def _listed(presets: Sequence[str]) -> str:
    """The presets behind the words `where the settings start from: `, on as many lines as they need."""
    return textwrap.fill(", ".join(presets), 119, initial_indent=" " * 56, subsequent_indent=" " * 27).strip()


def value_of(flag: str, args: Sequence[str]) -> str | None:
    """The value of one flag, read ahead: a preset decides the defaults of all other flags."""
    value = None
    for index, argument in enumerate(args):
        name, equals, after = argument.partition("=")
        if name.startswith("--") and name.replace("_", "-") == flag:
            value = after if equals else args[index + 1] if index + 1 < len(args) else None
    return value


def left_behind(folder: Path, stages: Sequence[str]) -> str:
    """What a person wants to read at the end of single stages: where their results are, and what they recorded."""
    from burnish.storage import read_json

    lines = []
    for name in stages:
        manifest = folder / name / "stage.json"
        if not manifest.exists():
            lines.append(f"{name}: this run has no such stage")
            continue
        recorded = read_json(manifest).get("outputs", {})
        words = ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in recorded.items())
        lines.append(f"{folder / name}" + (f": {words}" if words else ""))
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else str(value)
