"""How long what is left of a run will take: as long as the same work took before, in this run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from burnish.pipeline.graph import Stage
from burnish.pipeline.progress import format_duration

_ENOUGH = 0.03
"""Share of a stage that is done before its own speed says how long it will take."""


@dataclass(frozen=True)
class Underway:
    """A stage that is worked on: its seconds so far, and the share that is done (None where nobody knows)."""

    seconds: float
    share: float | None

    @property
    def expected(self) -> float | None:
        """Its seconds in all, by its own speed; None where it is too early to tell."""
        return self.seconds / self.share if self.share is not None and self.share >= _ENOUGH else None


class Outlook:
    """Of the stages of a graph, `jobs` of them side by side.

    A stage that has not begun is expected to take as long as those with the same body did. Where there was none, it is
    left out, and said so.
    """

    def __init__(self, stages: Sequence[Stage], jobs: int = 1) -> None:
        self._bodies: dict[str, Callable[..., Any]] = {each.name: each.body for each in stages}
        self._waiting = dict.fromkeys(self._bodies)
        self._took: dict[Callable[..., Any], list[float]] = {}
        self._jobs = jobs

    def done(self, name: str, seconds: float) -> None:
        """A stage is done: its seconds tell of others."""
        self._waiting.pop(name, None)
        self._took.setdefault(self._bodies[name], []).append(seconds)

    def usual(self, name: str) -> float:
        """Seconds that the stages with this one's body took in the mean; 0 where there was none yet."""
        before = self._took.get(self._bodies[name])
        return mean(before) if before else 0.0

    def left(self, underway: Mapping[str, Underway] | None = None) -> tuple[float, list[str]]:
        """Seconds until all is done, and the names of stages that nothing is known about."""
        underway = underway or {}
        took = {body: list(values) for body, values in self._took.items()}
        for name, each in underway.items():
            if each.expected is not None:
                took.setdefault(self._bodies[name], []).append(each.expected)
        known, longest, unknown = 0.0, 0.0, []
        for name in self._waiting:
            before = took.get(self._bodies[name])
            now = underway.get(name, Underway(0.0, None))
            expected = now.expected if now.expected is not None else mean(before) if before else None
            if expected is None:
                unknown.append(name)
                continue
            rest = max(0.0, expected - now.seconds)
            known, longest = known + rest, max(longest, rest)
        return max(known / self._jobs, longest), unknown

    def words(self, underway: Mapping[str, Underway] | None = None) -> str:
        """`about 4:10 to go, besides refined, evaluation`; empty where nothing is left, or nothing known."""
        seconds, unknown = self.left(underway)
        if seconds <= 0:
            return ""
        return f"about {format_duration(seconds)} to go" + (f", besides {_listed(unknown)}" if unknown else "")


def _listed(names: Iterable[str], most: int = 3) -> str:
    found = list(names)
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")
