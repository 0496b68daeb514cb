"""The command `burnish`: one small function for each of its commands.

Modules that take long to import are imported by the command that needs them, and by no help: `burnish COMMAND --help`
is there at once.
"""

import difflib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish import __version__, usage
from burnish.errors import InputError
from burnish.options import DemoOptions, ExportOptions, ServeOptions, StageOptions, StudioOptions

if TYPE_CHECKING:
    from burnish.recipes.runs import NewRun

DEMO_RECIPE = "world4rl"
DEMO_TASK = "drawer-open-v3"


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return the exit code: 0 done, 1 the run failed, 2 the command or its input is wrong."""
    from burnish.exit_codes import run_command

    args = list(sys.argv[1:] if arguments is None else arguments)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage.all_commands(COMMANDS))
        return 0 if args else 2
    if args[0] == "--version":
        print(f"burnish {__version__}")
        return 0
    return run_command(lambda: _command(args[0], args[1:]))


def demo(args: list[str]) -> None:
    """`burnish demo`."""
    from burnish.flags import parse

    options, rest = parse(DemoOptions(), args, "burnish demo")
    _nothing_more(rest)

    from burnish.recipes.catalogue import entry
    from burnish.recipes.runs import NewRun

    config = entry(DEMO_RECIPE).preset()
    # On this easy task three held-out worlds of half the training are enough (benchmarks/results/gate_worlds.md).
    gate = replace(config.gate, worlds=3, training_share=0.5)
    # Real episodes on the way of refinement are for the eye: two points of the curve instead of four.
    config = replace(config, gate=gate, evaluation=replace(config.evaluation, curve_points=2))
    new = NewRun(config, DEMO_TASK, options.seed, options.out, threads=options.threads, jobs=options.jobs)
    _run(DEMO_RECIPE, new)


def run(args: list[str]) -> None:
    """`burnish run RECIPE`."""
    from burnish.flags import listing, parse
    from burnish.recipes.catalogue import entry
    from burnish.recipes.runs import NewRun

    if not args or args[0].startswith("-"):
        raise InputError("which recipe? burnish run RECIPE --task TASK; burnish recipes lists them")
    recipe = entry(args[0])
    default = NewRun(config=recipe.preset(usage.value_of("--preset", args)))
    if "--help-all" in args:
        print(listing(default))
        return
    new, rest = parse(default, args[1:], f"burnish run {args[0]}", NewRun[recipe.config_class])
    _nothing_more(rest)
    _run(args[0], new)


def stage(command: str) -> Callable[[list[str]], None]:
    """`burnish collect RUN` and its like."""

    def do(args: list[str]) -> None:
        from burnish.flags import parse

        options, folders = parse(StageOptions(), args, f"burnish {command}")
        if not folders:
            raise InputError(f"which run folder? burnish {command} RUN")
        _nothing_more(folders[1:])

        from burnish.recipes.how import How
        from burnish.recipes.runs import reopen, run_recipe
        from burnish.recipes.stages.reporting import closing_words
        from burnish.training import current

        folder = Path(folders[0])
        resolved = reopen(folder, options.trust_code)
        report = run_recipe(folder, resolved, command, How.of(options))
        if current().first:
            done = [each.name for each in resolved.plan.commands[command]]
            print(closing_words(report, folder) if report is not None else usage.left_behind(folder, done))

    return do


def compare(args: list[str]) -> None:
    """`burnish compare`."""
    import shlex

    from burnish.flags import listing, parse
    from burnish.pipeline import ExecutorConfig
    from burnish.recipes.catalogue import entry
    from burnish.recipes.comparing import NewComparison
    from burnish.recipes.comparing import compare as do_compare
    from burnish.recipes.methods import baseline_preset

    recipe = entry(usage.value_of("--recipe", args) or DEMO_RECIPE)
    preset = usage.value_of("--preset", args)
    config = recipe.preset(preset)
    default = NewComparison(config=config, recipe=recipe.name, baselines=baseline_preset(preset))
    if "--help-all" in args:
        print(listing(default))
        return
    new, rest = parse(default, args, "burnish compare", NewComparison[recipe.config_class])
    _nothing_more(rest)
    where = ExecutorConfig(new.executor, new.workers, options=new.executor_options)
    table = do_compare(new.out, new.resolve(), where, shlex.join(["burnish", "compare", *args]))
    print(f"{table.read_text()}\n  {table}\n  {table.with_suffix('.html')}")


def sweep(args: list[str]) -> None:
    """`burnish sweep RECIPE …`, `burnish sweep status OUT` and `burnish sweep cancel OUT`."""
    import shlex

    from burnish.recipes import sweeping

    if args[:1] in (["status"], ["cancel"]):
        if len(args) != 2:
            raise InputError(f"whose? burnish sweep {args[0]} OUT, the sweep's folder")
        if args[0] == "status":
            print("\n".join(sweeping.status(Path(args[1]))))
        else:
            sweeping.cancel(Path(args[1]))
            print(f"{args[1]}: the sweep ends within seconds; what was done stays")
        return

    from burnish.flags import own_and_rest, parse
    from burnish.pipeline import ExecutorConfig

    if not args or args[0].startswith("-"):
        raise InputError("which recipe? burnish sweep RECIPE --tasks TASK [TASK] --seeds 0 1 2; or sweep status OUT")
    own, rest = own_and_rest(sweeping.NewSweep(), args[1:])
    new, more = parse(sweeping.NewSweep(), own, f"burnish sweep {args[0]}")
    _nothing_more(more)
    plan = sweeping.planned(args[0], new, rest, shlex.join(["burnish", "sweep", *args]))
    where = ExecutorConfig(new.executor, new.jobs, new.cpus, new.gpus, new.executor_options)
    table = sweeping.sweep(new.out, plan, where)
    print(f"{table.read_text()}\n  {table}")


def export(args: list[str]) -> None:
    """`burnish export RUN --to FORMAT OUT`."""
    from burnish.flags import parse

    options, named = parse(ExportOptions(), args, "burnish export")
    if options.to is None or len(named) < 2:
        raise InputError("which policy, what to, and where? burnish export RUN --to onnx OUT (or lerobot)")
    _nothing_more(named[2:])

    from burnish.deploy import export_lerobot, export_onnx, handed_out

    agent, out = handed_out(named[0]), Path(named[1])
    if options.to == "onnx":
        found = export_onnx(agent, out)
        for name, shape in found["inputs"].items():
            print(f"  takes {name} {shape}")
        print(f"  gives {', '.join(found['outputs'])}; ONNX Runtime differs by {found['difference']:.1e}")
    else:
        found = export_lerobot(agent, out)
        print(f"  a policy of type '{found['type']}'")
    print(f"  {found['path']}")


def serve(args: list[str]) -> None:
    """`burnish serve RUN`."""
    from burnish.flags import parse

    options, named = parse(ServeOptions(), args, "burnish serve")
    if not named or not 0 <= options.port <= 65535:
        raise InputError("which run, on which port from 0 to 65535? burnish serve RUN --port 8000")
    _nothing_more(named[1:])

    import asyncio

    from burnish.deploy import PolicyServer, handed_out
    from burnish.policies.given import trust

    agent = handed_out(named[0])
    if options.trust_code:
        trust(agent)
    server = PolicyServer(agent)
    median, most = server.latency()
    print(f"a decision takes {1000 * median:.2f} ms here, 99 of 100 less than {1000 * most:.2f} ms")
    for key, shape in server.metadata["observations"].items():
        print(f"  takes {key} {shape}")
    print(f"  gives actions [{server.metadata['chunk']}, {server.metadata['action_dim']}]")
    asyncio.run(
        server.run(options.host, options.port, lambda port: print(f"ready: ws://{options.host}:{port}", flush=True))
    )


def studio(args: list[str]) -> None:
    """`burnish studio [RUN ...]`."""
    from burnish.flags import parse

    options, named = parse(StudioOptions(), args, "burnish studio")
    if not 0 <= options.port <= 65535 or options.threads < 1:
        raise InputError("expected a --port from 0 to 65535, and at least one of --threads")

    from burnish.studio.serving import serve

    serve(tuple(map(Path, named)) or (Path("runs"),), options)


def recipes(args: list[str]) -> None:
    """`burnish recipes`."""
    from burnish.recipes.catalogue import as_table

    _nothing_more(args)
    print(as_table())


def tasks(args: list[str]) -> None:
    """`burnish tasks [SUITE]`."""
    import burnish.simulators.tasks as simulated

    _nothing_more(args[1:])
    print(simulated.as_table(args[0] if args else None))


def data(args: list[str]) -> int | None:
    """`burnish data inspect` and `burnish data convert`."""
    from burnish.flags import listing, parse
    from burnish.recipes.data_commands import ConvertOptions, InspectOptions, convert_data, inspect_data

    if args == ["--help-all"]:
        print(listing(InspectOptions()), listing(ConvertOptions()), sep="\n\n")
        return None
    what = args[0] if args else ""
    if what not in ("inspect", "convert"):
        raise InputError(f"found '{what}', expected burnish data inspect PATH or burnish data convert PATH OUT")
    default = InspectOptions() if what == "inspect" else ConvertOptions()
    if "--help-all" in args:
        print(listing(default))
        return None
    options, paths = parse(default, args[1:], f"burnish data {what}")
    wanted = 1 if isinstance(options, InspectOptions) else 2
    if len(paths) < wanted:
        raise InputError("which data set? burnish data inspect PATH; burnish data convert PATH --to lerobot OUT")
    _nothing_more(paths[wanted:])
    if isinstance(options, InspectOptions):
        return 0 if inspect_data(Path(paths[0]), options).usable else 2
    print(convert_data(Path(paths[0]), Path(paths[1]), options))
    return None


COMMANDS: dict[str, tuple[Callable[[list[str]], int | None], str]] = {
    "demo": (demo, "the main job on Meta-World's drawer-open; minutes on two CPU cores"),
    "run": (run, "all the stages of a recipe: burnish run world4rl --task drawer-open-v3"),
    "compare": (compare, "baselines and recipes on the same data: tasks × seeds × methods, as one table"),
    "sweep": (sweep, "a recipe over tasks × seeds × settings, here or on a cluster, as one table"),
    "export": (export, "the accepted policy for a robot: burnish export RUN --to onnx|lerobot OUT"),
    "studio": (studio, "look at runs and data, and drive inside a world model, in a browser: burnish studio [RUN …]"),
    "serve": (serve, "the accepted policy over a websocket, by openpi's protocol"),
    "recipes": (recipes, "list the recipes"),
    "data": (data, "look at a data set of your own, or convert it: burnish data inspect PATH"),
    "tasks": (tasks, "list the tasks that there are simulators for"),
    "collect": (stage("collect"), "record the data of a run folder"),
    "pretrain": (stage("pretrain"), "clone the policy"),
    "train-world-model": (stage("train-world-model"), "train the world model, and the ensemble beside it"),
    "train-classifier": (stage("train-classifier"), "train and calibrate the success classifier"),
    "refine": (stage("refine"), "refine the policy inside the world model"),
    "gate": (stage("gate"), "decide, without a simulator, whether the refined policy is accepted"),
    "evaluate": (stage("evaluate"), "measure success in the real simulator"),
    "report": (stage("report"), "write report.json and report.html"),
}


def _command(name: str, args: list[str]) -> int | None:
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS)
        hint = f"did you mean {' or '.join(close)}?" if close else f"the commands are: {', '.join(COMMANDS)}"
        raise InputError(f"unknown command '{name}'; {hint}")
    # A command without a configuration has no more options than its help names.
    if "-h" in args or "--help" in args or ("--help-all" in args and name not in ("run", "compare", "data")):
        print(usage.of(name, args, COMMANDS[name][1]))
    else:
        return COMMANDS[name][0](args)
    return None


def _run(recipe: str, new: "NewRun[Any]") -> None:
    from burnish.recipes.how import How
    from burnish.recipes.runs import run_recipe, say_plan
    from burnish.recipes.stages.reporting import closing_words
    from burnish.training import current

    resolved = new.resolve(recipe)
    if new.dry_run:
        print(resolved.to_yaml(), end="")
        say_plan(new.folder(resolved), resolved)
        return
    folder = new.folder(resolved)
    report = run_recipe(folder, resolved, how=How.of(new))
    assert report is not None
    if current().first:
        print(closing_words(report, folder))


def _nothing_more(rest: list[str]) -> None:
    if rest:
        raise InputError(f"found '{rest[0]}', expected nothing more")


if __name__ == "__main__":
    sys.exit(main())
