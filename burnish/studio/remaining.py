"""How long a run that goes on will still take: as a finished run of the same settings took, at its own speed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.studio.plain import number, read_bytes, read_plain

_STAGE_FILE, _SETTINGS_FILE = "stage.json", "recipe.yaml"
_OWN = (b"task:", b"seed:")
"""Lines of the settings in which runs may differ that take equally long."""
_ENOUGH = 0.03
"""Share of a stage that is done before its own speed counts."""


@dataclass(frozen=True)
class Took:
    """What a finished run's stages took.

    Attributes:
        run: its folder.
        name: as people know it.
        recipe: what it was a run of.
        seconds: by stage.
        beside: wall clock over the sum of all stages: how much of them was done side by side.
    """

    run: Path
    name: str
    recipe: str | None
    seconds: dict[str, float]
    beside: float

    @cached_property
    def settings(self) -> str | None:
        """All its settings, as something to compare."""
        return _settings(self.run)

    @classmethod
    def of(cls, run: Path, row: Mapping[str, Any], report: Mapping[str, Any]) -> "Took | None":
        """From a run's row and its report; None where that does not tell."""
        found = {}
        for each in report["stages"] if isinstance(report.get("stages"), list) else []:
            seconds = number(each.get("seconds")) if isinstance(each, dict) else None
            if seconds is not None and isinstance(each.get("name"), str):
                found[each["name"]] = seconds
        total, clock = sum(found.values()), number(report.get("clock_seconds"))
        beside = clock / total if clock and 0 < clock <= total else 1.0
        return cls(run, row["name"], row["recipe"], found, beside) if total > 0 else None


def remaining(
    run: Path, recipe: str | None, underway: Sequence[Mapping[str, Any]], known: Sequence[Took]
) -> dict[str, Any] | None:
    """`{"seconds": …, "like": …}` until a run is done, and by which one that is judged; None where none tells.

    Args:
        run: its folder.
        recipe: what it is a run of.
        underway: its stages that are worked on, as `listing.state_of` has them.
        known: finished runs.
    """
    alike = [each for each in known if each.recipe == recipe]
    settings = _settings(run) if alike else None
    took = next((each for each in alike if settings is not None and each.settings == settings), None)
    if took is None:
        return None
    now = {each["stage"]: each for each in underway}
    so_far: dict[str, float] = {}
    whole: dict[str, float] = {}
    for name in took.seconds:
        done, begun = _done(run, name), now.get(name.replace("/", "-"))
        if done is not None:
            so_far[name] = whole[name] = done
        elif begun is not None:
            so_far[name] = begun["seconds"] or 0.0
            if (begun["share"] or 0.0) >= _ENOUGH:
                whole[name] = so_far[name] / begun["share"]
    usual = sum(took.seconds[name] for name in whole)
    pace = sum(whole.values()) / usual if usual > 0 else 1.0
    left = (max(0.0, whole.get(name, pace * seconds) - so_far.get(name, 0.0)) for name, seconds in took.seconds.items())
    return {"seconds": round(took.beside * sum(left), 1), "like": took.name}


def _settings(run: Path) -> str | None:
    try:
        lines = read_bytes(run / _SETTINGS_FILE).splitlines()
    except InputError:
        return None
    return hashlib.blake2s(b"\n".join(line for line in lines if not line.startswith(_OWN))).hexdigest()


def _done(run: Path, name: str) -> float | None:
    try:
        return number(read_plain(run / name / _STAGE_FILE).get("seconds"))
    except InputError:
        return None
