"""A look at a whole data set, whatever is wrong with it: what `burnish data inspect` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data.dataset import Dataset
from burnish.data.episodes import STATE
from burnish.data.formats import ReadingRule, SourceFormat, format_of
from burnish.data.frames import Source
from burnish.data.prospects import Finding, prospects
from burnish.data.reading import Choice, assemble
from burnish.data.signals import action_names_of, kind_of, names_of, signals
from burnish.data.success import UNTOLD
from burnish.errors import InputError

CLOCK = "timestamp"


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        path: the data set.
        title: its format.
        dataset: the episodes that can be read.
        findings: what there is to know, errors first.
        cameras: those that there are, whose pictures were not looked at.
        columns: the columns of numbers that there are.
    """

    path: Path
    title: str
    dataset: Dataset
    findings: tuple[Finding, ...]
    cameras: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a run can come of it."""
        return not any(each.level == "error" for each in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        data = self.dataset
        return {
            "path": str(self.path),
            "format": self.title,
            "usable": self.usable,
            "episodes": data.num_episodes,
            "frames": data.num_frames,
            "fps": data.info.fps,
            "lengths": {
                name: float(value) for name, value in zip(("min", "median", "max"), _lengths(data), strict=True)
            },
            "tasks": {name: data.tasks.count(name) for name in data.task_names},
            "sources": outcomes(data),
            "state": described(data.observations[STATE].numpy(), names_of(data)) if STATE in data.observations else [],
            "action": described(data.actions.numpy(), action_names_of(data)),
            "has_reward": data.has_reward,
            "cameras": list(self.cameras),
            "columns": list(self.columns),
            "findings": [asdict(each) for each in self.findings],
        }


def inspect(path: Path, rule: ReadingRule) -> Inspection:
    """Look at a data set; bad episodes are left out and said.

    Raises:
        InputError: nothing of it can be read.
    """
    kind = format_of(path)
    if not isinstance(kind, SourceFormat):
        dataset = kind.read(path, rule)
        return Inspection(path, kind.title, dataset, _sorted(prospects(dataset) + signals(dataset)))
    source = kind.open(path)
    extra = (CLOCK,) if CLOCK in source.columns else ()
    choice = replace(rule.choice(), skip_bad=True, others=extra)
    dataset, told = _assembled(source, choice)
    times = dataset.observations.pop(CLOCK, None)
    found = prospects(dataset, rule.success_last_frames)
    if told is not None:  # which says more than that there is no success
        found = [told, *(each for each in found if each.code != "no-success")]
    found += signals(dataset, None if times is None else times.numpy().reshape(-1))
    bad = [each for each in found if each.code == "read" and "are bad and were left out" in each.text]
    if bad and not rule.skip_bad:
        found.append(Finding("error", "bad-episodes", f"{bad[0].text}; a run stops at them without --skip-bad"))
    return Inspection(path, kind.title, dataset, _sorted(found), tuple(source.cameras), tuple(sorted(source.columns)))


def outcomes(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Episodes, successes and mean return by who acted."""
    found: dict[str, dict[str, float]] = {}
    for source in dict.fromkeys(dataset.sources):
        part = dataset.with_sources([source])
        found[source] = {"episodes": part.num_episodes, "successes": int(part.episode_success.sum())}
        if part.has_reward:
            found[source]["mean_return"] = float(part.episode_return.mean())
    return found


def described(values: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each dimension: its name, its range, and what kind it is."""
    quantiles = np.quantile(values, (0.01, 0.99), axis=0)
    return [
        {
            "name": name,
            "kind": kind_of(column),
            "min": float(column.min()),
            "q01": float(low),
            "q99": float(high),
            "max": float(column.max()),
            "std": float(column.std()),
        }
        for name, column, low, high in zip(names, values.T, *quantiles, strict=True)
    ]


def _assembled(source: Source, choice: Choice) -> tuple[Dataset, Finding | None]:
    """The data set, and what is wrong with the way in which success is told, if that is all that is wrong."""
    try:
        return assemble(source, choice), None
    except InputError as error:
        dataset = assemble(source, replace(choice, success=UNTOLD))
        return dataset, Finding("error", "success", str(error))


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    order = ("error", "warning", "note")
    return tuple(sorted(findings, key=lambda each: order.index(each.level)))


def _lengths(dataset: Dataset) -> tuple[float, float, float]:
    lengths = dataset.lengths.numpy()
    return float(lengths.min()), float(np.median(lengths)), float(lengths.max())
