"""`burnish compare`: methods and recipes on the same data, tasks or data sets × seeds, side by side and resumable."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic

import tyro

from burnish.config import check, from_dict, load_yaml, save_yaml, to_dict, within
from burnish.data.formats import ReadingRule
from burnish.errors import BurnishError, InputError, RunError
from burnish.pipeline import ExecutorConfig
from burnish.pipeline.executors import Kind, opened, wait
from burnish.pipeline.progress import say
from burnish.pipeline.side_by_side import run_side_by_side
from burnish.pipeline.worker import Asked
from burnish.recipes.base import Config
from burnish.recipes.catalogue import entry
from burnish.recipes.columns import Column, columns
from burnish.recipes.methods import BaselineConfig, check_method, default_methods, other_recipe
from burnish.recipes.pairs import LOGS, SETTINGS_FILE, ResolvedComparison, do_pair_there, job, missing, stored
from burnish.report.comparison import PUBLISHED_TASKS, Comparison, render_html, render_markdown
from burnish.storage import write_bytes_atomic

TABLE_II = tuple(f"{task}-v3" for task in PUBLISHED_TASKS)
_INTERVAL = 1.0


@dataclass(frozen=True)
class NewComparison(Generic[Config]):
    """Everything that one can say about a comparison."""

    config: Config
    """Every setting of the recipe."""
    recipe: str = "world4rl"
    """Whose runs give the data, the pretrained policy and the models."""
    tasks: tuple[str, ...] = TABLE_II
    """Columns; by default the six of World4RL's Table II. With --datasets: where policies are judged, one task for all
    of them or one for each."""
    datasets: tuple[Path, ...] = ()
    """Columns instead: data sets of your own, from which every method learns."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How your own data sets are read."""
    seeds: tuple[int, ...] = within((0, 1, 2), 0)
    methods: tuple[str, ...] = ()
    """Rows: bc filtered_bc td3_bc iql planning, RECIPE, RECIPE-gated (what the trust gate lets pass), and
    RECIPE-no-PART, where PART is one of halting, anchor, disagreement, distance, members, average, choice. By default
    all of these up to no-anchor. Any other recipe, and OTHER-gated: with its own preset, on the same data."""
    preset: str | None = None
    """Where the configuration starts from; single settings can be changed below."""
    out: Path = Path("runs/compare")
    """Folder of the runs, the results and the table. The same command again does what is left to do."""
    workers: int = within(2, 1)
    """Pairs of a task and a seed that are worked on side by side, with one thread each."""
    executor: Kind = "local"
    """Where pairs are worked on: processes of this machine, jobs of Slurm, or tasks of Ray."""
    executor_options: tuple[str, ...] = ()
    """NAME=VALUE for the cluster (docs/clusters.md)."""
    others: Path | None = None
    """A YAML file of settings for the other recipes, by recipe and name: `polygrad: {refine: {iterations: 150}}`. What
    it does not name stays as in their presets."""
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Every setting of the baselines."""

    def resolve(self) -> "ResolvedComparison":
        """Check everything before anything is done; InputError where it is wrong."""
        tasks = () if self.datasets else self.tasks  # several data sets may be judged in one
        for name, values in (("task", tasks), ("seed", self.seeds), ("method", self.methods)):
            if len(set(values)) != len(values):
                raise InputError(f"a {name} was named twice: {' '.join(map(str, values))}")
        if not self.tasks or not self.seeds:
            raise InputError("a comparison needs at least one task and one seed")
        check(self, "")
        config: Any = self.config
        methods = self.methods or default_methods(self.recipe, config)
        for name in methods:
            check_method(name, self.recipe, config)
        if self.datasets and self.tasks == TABLE_II:
            raise InputError("--datasets: found no task, expected the one where policies are judged (--tasks gym:ID)")
        own = tuple(path.absolute() for path in self.datasets)
        named = {each for name in methods if (each := other_recipe(name, self.recipe)) is not None}
        said = {} if self.others is None else load_yaml(self.others)
        if strange := said.keys() - named:
            expected = f"the other recipes among --methods: {' '.join(sorted(named)) or 'none'}"
            raise InputError(f"{self.others}: found {' '.join(map(str, strange))}, expected {expected}")
        others = {name: self._other(name, said.get(name)) for name in sorted(named)}
        found = ResolvedComparison(
            *(self.recipe, columns(self.tasks, own), self.seeds, methods, config, self.baselines),
            *(others, self._rule),
        )
        for column in found.columns:
            for recipe, settings in {self.recipe: config, **(others if own else {})}.items():
                _ = column.run(recipe, settings, self.seeds[0], found.reading).plan  # says what does not fit
        return found

    def _other(self, recipe: str, said_of_it: Any) -> Any:
        """The settings of another recipe: its preset of the same name, where it has one, judged like this one's."""
        found, own = entry(recipe), self.config
        settings = found.preset(self.preset if self.preset in found.presets else None)
        if said_of_it is not None:
            merged = _merged(to_dict(settings), said_of_it)
            settings = from_dict(found.config_class, merged, f"{self.others}: {recipe}")
        asked = ("kind", "with_success", "terms", "function") if own.reward.kind != "auto" else ()
        said = {name: getattr(own.reward, name) for name in asked}
        alike = {name: getattr(own, name) for name in ("simulator", "evaluation", "held_out")}
        return replace(settings, **alike, reward=replace(settings.reward, **said))

    @property
    def _rule(self) -> ReadingRule:
        labels = self.reading.labels
        return self.reading if labels is None else replace(self.reading, labels=labels.absolute())


def _merged(settings: Any, said: Any) -> Any:
    """Nested settings with what was said of some of them."""
    if not isinstance(settings, dict) or not isinstance(said, dict):
        return said
    return settings | {name: _merged(settings.get(name), value) for name, value in said.items()}


def compare(out: Path, comparison: ResolvedComparison, where: ExecutorConfig, command: str = "") -> Path:
    """Do what is left to do, write compare.md and compare.html, and return the former's path.

    Args:
        out: folder of the runs, the results and the tables.
        comparison: what is compared.
        where: pairs of a column and a seed are worked on, and how many of them at once.
        command: as the user wrote it, for the table.

    Raises:
        RunError: some runs failed; the table has the others, and the same call again tries those anew.
    """
    save_yaml(out / SETTINGS_FILE, to_dict(comparison))
    waiting = [pair for pair in comparison.pairs if missing(out, comparison, *pair)]
    done, kind = len(comparison.pairs) - len(waiting), "a data set" if comparison.columns[0].dataset else "a task"
    say(f"{done} of {len(comparison.pairs)} pairs of {kind} and a seed are up to date")
    try:
        if where.kind == "local":
            _here(out, waiting, where.jobs)
        else:
            _there(out, waiting, where)
    finally:
        table = write_tables(out, comparison, command)
    failed = [f"{column.name} {seed}" for column, seed in comparison.pairs if missing(out, comparison, column, seed)]
    if failed:
        raise RunError(f"{out}: some methods failed on {', '.join(failed)}; {table} says which")
    return table


def write_tables(out: Path, comparison: ResolvedComparison, command: str) -> Path:
    """compare.md and compare.html from the results that are there."""
    c = comparison
    found = [stored(out, c, column, seed, name) for column, seed in c.pairs for name in c.methods]
    results = [result for result in found if result is not None]
    shown = Comparison(c.recipe, tuple(column.name for column in c.columns), c.seeds, c.methods, results, command)
    write_bytes_atomic(out / "compare.html", render_html(shown).encode())
    write_bytes_atomic(out / "compare.md", render_markdown(shown).encode())
    return out / "compare.md"


def _here(out: Path, pairs: list[tuple[Column, int]], workers: int) -> None:
    """A process for each pair: what ails one leaves the others alone."""
    jobs = [job(out, *pair) for pair in pairs]

    def ended(number: int, code: int) -> None:
        column, seed = pairs[number]
        say(f"{column.name} {seed}: {'done' if code == 0 else f'exit code {code}, see {jobs[number].log}'}")

    run_side_by_side(jobs, workers, ended)


def _there(out: Path, pairs: list[tuple[Column, int]], where: ExecutorConfig) -> None:
    with opened(where, out / LOGS / "jobs") as executor:
        asked = Asked.by_this_process(where)
        calls = [(str(out.absolute()), column.name, seed, asked) for column, seed in pairs]
        running = dict(zip(executor.submit(do_pair_there, calls), pairs, strict=True)) if calls else {}
        while running:
            for handle in wait(list(running), _INTERVAL):
                column, seed = running.pop(handle)
                try:
                    handle.result()
                except BurnishError as error:
                    say(f"{column.name} {seed}: {error}")
                else:
                    say(f"{column.name} {seed}: done")
