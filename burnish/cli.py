"""The command `burnish`: one small function for each of its commands.

Modules that take long to import are imported by the command that needs them, so that `burnish --help` is quick.
"""

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from burnish import __version__

if TYPE_CHECKING:
    from burnish.recipes.runs import NewRun

DEMO_RECIPE = "world4rl"
DEMO_TASK = "drawer-open-v3"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code: 0 done, 1 the run failed, 2 the command or its input is wrong."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    if not args or args[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if args else 2
    if args[0] == "--version":
        print(f"burnish {__version__}")
        return 0
    if args[0] not in COMMANDS:
        return _usage_error(args[0])
    return COMMANDS[args[0]][0](args[1:])


def demo(args: list[str]) -> int:
    """`burnish demo`."""
    import tyro

    def demo(out: Path = Path("runs/demo"), seed: int = 0, threads: int | None = None) -> None:
        """Refine a policy on Meta-World's drawer-open, from five demonstrations; minutes on two CPU cores.

        Args:
            out: The run folder.
            seed: Seed of the data, of all training and of refinement.
            threads: PyTorch's threads; default one for each core.
        """
        from burnish.recipes.catalogue import entry
        from burnish.recipes.runs import NewRun

        config = entry(DEMO_RECIPE).preset()
        # On this easy task half of the training is enough for the gate's worlds.
        config = replace(config, gate=replace(config.gate, training_share=0.5))
        _run(DEMO_RECIPE, NewRun(config=config, task=DEMO_TASK, seed=seed, out=out, threads=threads))

    return _guarded(lambda: tyro.cli(demo, args=args, prog="burnish demo"))


def run(args: list[str]) -> int:
    """`burnish run RECIPE`."""
    if not args or args[0] in ("-h", "--help"):
        from burnish.recipes.catalogue import as_table

        print(
            f"usage: burnish run RECIPE --task TASK [OPTIONS]\n\nburnish run RECIPE --help lists them.\n\n{as_table()}"
        )
        return 0 if args else 2

    def start() -> None:
        import tyro

        from burnish.recipes.catalogue import entry
        from burnish.recipes.runs import NewRun

        recipe = entry(args[0])
        default = NewRun(config=recipe.preset(_value_of("--preset", args)))
        described = (
            f"{recipe.system} ({recipe.paper}): all its stages, from data to report. "
            f"Presets: {', '.join(recipe.presets)}."
        )
        kind = NewRun[recipe.config_class]
        new = tyro.cli(kind, args=args[1:], default=default, prog=f"burnish run {recipe.name}", description=described)
        _run(recipe.name, new)

    return _guarded(start)


def stage(command: str) -> Callable[[list[str]], int]:
    """`burnish collect RUN` and its like."""

    def do(args: list[str]) -> int:
        import tyro

        def do_stage(
            run: Annotated[Path, tyro.conf.Positional],
            threads: int | None = None,
            processes: int | None = None,
            device: str = "cpu",
        ) -> None:
            """Do one stage of a run folder, and those that it needs, as its recipe.yaml says.

            Args:
                run: The run folder.
                threads: PyTorch's threads of each process; by default the processes share the cores.
                processes: Processes that train together, on this machine; default one, or as many as torchrun started.
                device: Where models train and imagine: cpu, or cuda where the recipe can.
            """
            from burnish.recipes.runs import How, reopen, run_recipe
            from burnish.recipes.stages.reporting import closing_words
            from burnish.training import current

            report = run_recipe(run, reopen(run), command, How(threads, processes, device))
            if report is not None and current().first:
                print(closing_words(report, run))

        return _guarded(lambda: tyro.cli(do_stage, args=args, prog=f"burnish {command}"))

    return do


def compare(args: list[str]) -> int:
    """`burnish compare`."""

    def start() -> None:
        import shlex

        import tyro

        from burnish.recipes.catalogue import entry
        from burnish.recipes.comparing import NewComparison
        from burnish.recipes.comparing import compare as do_compare
        from burnish.recipes.methods import baseline_preset

        recipe = entry(_value_of("--recipe", args) or DEMO_RECIPE)
        preset = _value_of("--preset", args)
        config = recipe.preset(preset)
        default = NewComparison(config=config, recipe=recipe.name, baselines=baseline_preset(preset))
        new = tyro.cli(
            NewComparison[recipe.config_class],
            args=args,
            default=default,
            prog="burnish compare",
            description="Baselines, a recipe, and the recipe without its safety parts, on the same data, as one table.",
        )
        table = do_compare(new.out, new.resolve(), new.workers, shlex.join(["burnish", "compare", *args]))
        print(f"{table.read_text()}\n  {table}\n  {table.with_suffix('.html')}")

    return _guarded(start)


def recipes(args: list[str]) -> int:
    """`burnish recipes`."""
    import tyro

    def recipes() -> None:
        """List the recipes: the published system, its paper, what it needs, and its status."""
        from burnish.recipes.catalogue import as_table

        print(as_table())

    tyro.cli(recipes, args=args, prog="burnish recipes")
    return 0


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "demo": (demo, "the main job on Meta-World's drawer-open; minutes on two CPU cores"),
    "run": (run, "all the stages of a recipe: burnish run world4rl --task drawer-open-v3"),
    "compare": (compare, "baselines and recipes on the same data: tasks × seeds × methods, as one table"),
    "recipes": (recipes, "list the recipes"),
    "collect": (stage("collect"), "record the data of a run folder"),
    "pretrain": (stage("pretrain"), "clone the policy"),
    "train-world-model": (stage("train-world-model"), "train the world model, and the ensemble beside it"),
    "train-classifier": (stage("train-classifier"), "train and calibrate the success classifier"),
    "refine": (stage("refine"), "refine the policy inside the world model"),
    "gate": (stage("gate"), "decide, without a simulator, whether the refined policy is accepted"),
    "evaluate": (stage("evaluate"), "measure success in the real simulator"),
    "report": (stage("report"), "write report.json and report.html"),
}


def _run(recipe: str, new: "NewRun[Any]") -> None:
    from burnish.recipes.runs import How, run_recipe
    from burnish.recipes.stages.reporting import closing_words
    from burnish.training import current

    resolved = new.resolve(recipe)
    if new.dry_run:
        print(resolved.to_yaml(), end="")
        return
    folder = new.folder(resolved)
    report = run_recipe(folder, resolved, how=How(new.threads, new.processes, new.device, new.verify))
    assert report is not None
    if current().first:
        print(closing_words(report, folder))


def _guarded(function: Callable[[], object]) -> int:
    from burnish.pipeline.exit_codes import run_command

    return run_command(function)


def _value_of(flag: str, args: list[str]) -> str | None:
    """The value of one flag, read ahead: a preset decides the defaults of all other flags."""
    value = None
    for index, argument in enumerate(args):
        if argument == flag and index + 1 < len(args):
            value = args[index + 1]
        elif argument.startswith(f"{flag}="):
            value = argument.removeprefix(f"{flag}=")
    return value


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            f"burnish {__version__}: refine a robot policy inside a frozen world model, then prove it.",
            "",
            "usage: burnish COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "burnish COMMAND --help lists its options.",
            "Commands for single stages take a run folder: burnish refine RUN.",
            "Exit codes: 0 done, 1 the run failed, 2 the command or its input is wrong.",
        ]
    )


def _usage_error(command: str) -> int:
    close = difflib.get_close_matches(command, COMMANDS)
    hint = f"; did you mean {' or '.join(close)}?" if close else f"; the commands are: {', '.join(COMMANDS)}"
    print(f"burnish: error: unknown command '{command}'{hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
