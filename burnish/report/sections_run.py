"""Sections about a run as a whole: its data, what was done, and what was not tested."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from burnish.data import STATE, ActionScaling, Dataset
from burnish.data.targets import absolute_targets
from burnish.report.section import Section, Table, Video
from burnish.report.verdict import can_decide
from burnish.report.wording import count, number, readable, seconds


def data_section(
    sources: Sequence[str],
    lengths: Sequence[int],
    success: Sequence[bool] | None = None,
    returns: Sequence[float] | None = None,
) -> Section:
    """The recorded episodes by source; each argument has one value an episode, None where the data say nothing."""
    columns = ["episodes", *(["successes"] if success is not None else []), *(["mean return"] if returns else [])]
    rows = [_data_row(source, sources, lengths, success, returns) for source in dict.fromkeys(sources)]
    if len(rows) > 1:
        rows.append(_data_row(None, sources, lengths, success, returns))
    return _work(Table(("Source", *columns, "frames"), tuple(rows), "Episodes"))


def actions_section(scaling: ActionScaling, dataset: Dataset) -> Section:
    """Each dimension of a data set's recorded actions: its range, its kind, and what it is a target of."""
    targets, state = absolute_targets(dataset), dataset.observations.get(STATE)
    recorded, inside = scaling.learned(dataset.actions, state), scaling.to_unit(dataset.actions, state)
    low, high = (torch.tensor(each, device=recorded.device) for each in (scaling.low, scaling.high))
    clipped = ((recorded < low) | (recorded > high)).sum(0).tolist()
    rows, spikes = list[tuple[str, ...]](), list[str]()
    for index, kind in enumerate(scaling.kinds):
        column, name = recorded[:, index], scaling.name(index)
        ends = [number(float(value)) for value in (column.min(), column.max(), scaling.low[index], scaling.high[index])]
        spread = number(float(inside[:, index].std(correction=0)))
        rows.append((name, kind, *ends, "–" if kind == "constant" else spread, count(clipped[index])))
        if clipped[index]:
            spikes.append(f"{name} ({count(clipped[index])}, up to {ends[0]} or {ends[1]})")
    kinds = [
        f"{word}: {', '.join(scaling.name(index) for index, kind in enumerate(scaling.kinds) if kind == word)}"
        for word in ("binary", "discrete", "constant")
        if word in scaling.kinds
    ]
    said = f"Actions have {len(rows)} dimensions in units of their own, each scaled to [-1, 1] by its range in the data"
    said += f"; {'; '.join(kinds)}." if kinds else "."
    if scaling.switches:
        rounded = ", ".join(scaling.name(index) for index, one in enumerate(scaling.switches) if one)
        said += f" Carried out as one of their two values: {rounded}."
    ways = [index for index, column in enumerate(scaling.relative_to) if column >= 0]
    if ways:
        named = ", ".join(map(scaling.name, ways))
        said += f" Absolute targets that are learned as the way there from the state (differences, below): {named}."
    kept = [scaling.name(index) for index in targets if index not in ways]
    if kept:
        said += f" Taken for absolute targets of the state, and learned as such: {', '.join(kept)}."
    if any(kind != "constant" and index not in targets for index, kind in enumerate(scaling.kinds)):
        said += f" {'The others are' if targets else 'They are'} taken for changes, or other commands."
    warning = f"Actions far from all others, taken for spikes, are clipped while learning: {', '.join(spikes)}."
    header = ("Action", "kind", "lowest", "highest", "−1 is", "1 is", "std inside", "clipped")
    table = Table(header, tuple(rows), "Units of the actions", texts=2)
    return Section("work", "What was done", 30, (said,), (warning,) if spikes else (), tables=(table,))


def masks_section(stage: str, pictures: int, lost: int) -> Section:
    """How often a thing that a sentence names was lost while it was followed."""
    followed = f"Named things were followed through {count(pictures)} pictures ({readable(stage)})"
    said = f"{followed} and lost {count(lost)} times."
    return Section("work", "What was done", 30, (said,))


def mean_returns(sources: Sequence[str], returns: Sequence[float]) -> dict[str, float]:
    """The mean return of each source, for the stage's facts ("returns")."""
    found: dict[str, list[float]] = {}
    for source, value in zip(sources, returns, strict=True):
        found.setdefault(source, []).append(float(value))
    return {source: sum(values) / len(values) for source, values in found.items()}


def work_section(report: Mapping[str, Any]) -> Section:
    """Time and steps by purpose; `report` is a valid report.json."""
    spent = report["seconds"]
    stages = [(readable(one["name"]), one["role"], seconds(one["seconds"])) for one in report.get("stages", ())]
    total = sum(spent.values())
    purposes = [(name, seconds(value)) for name, value in spent.items() if value]
    clock = report.get("clock_seconds", total)
    beside = f"Some stages were worked on side by side: {seconds(clock)} passed in all." if clock < 0.95 * total else ""
    steps = tuple((name, count(value)) for name, value in report["simulator_steps"].items())
    pace = (
        f"Imagined steps: {count(report['imagined_steps'])}, at {count(report['imagined_steps_per_second'])} a second."
    )
    return _work(
        Table(("Purpose", "time"), (*purposes, ("total", seconds(total))), "Time", note=beside),
        Table(("Used for", "steps"), steps, "Steps of the real simulator", note=pace),
        Table(("Stage", "purpose", "time"), tuple(stages), "Stages", texts=2),
    )


def videos_section(videos: Sequence[Video], missing: str = "") -> Section:
    """Videos of a stage, and why there are none or not all."""
    return Section("videos", "Videos", 45, videos=tuple(videos), missing=(missing,) if missing else ())


def untested_section(report: Mapping[str, Any]) -> Section:
    """What no run of this kind can show, and what this one left out; `report` is a valid report.json."""
    words, gate = [], report["gate"]
    decided = gate is not None and can_decide(gate)
    if report["success"] is None and report["return"] is None:
        expected = ", or expected from what was imagined," if decided else ""
        words.append(
            "Neither policy was run in a simulator or on a robot, so every number about the refined one on this page "
            f"is imagined{expected} by models that were trained on the same data."
        )
    else:
        episodes = (report["success"] or report["return"])["refined"]["episodes"]
        words.append(
            f"Both policies were run for {episodes} episodes in the simulator of one task, from start states of the "
            "kind in which the data were collected; other tasks, other starts, disturbances and a physical robot were "
            "not tried. The intervals cover the luck of the evaluation episodes."
        )
    if decided:
        words.append(
            "The trust gate's held-out worlds all learned from the same data: what these never show (another object, a "
            "new way of failing, contacts that nobody tried), none of the worlds knows, so that they can be wrong "
            "together. Its starts are recorded ones, its rewards learned from these data. Its back-test shows how well "
            "imagination knows what was recorded, not what the refined policy does differently."
        )
    else:
        words.append("The refined policy was not tried in held-out worlds, so that no trust gate vouches for it.")
    words.append(
        f"This is one run with one seed ({report['seed']}): how much the outcome varies with the data and with "
        "training is not shown here."
    )
    return Section("untested", "What was not tested", 80, tuple(words))


def _work(*tables: Table) -> Section:
    return Section("work", "What was done", 30, tables=tables)


def _data_row(
    source: str | None, sources: Sequence[str], lengths: Sequence[int], success: Any, returns: Any
) -> tuple[str, ...]:
    members = [index for index, name in enumerate(sources) if source is None or name == source]
    cells = ["total" if source is None else source.replace("_", " "), count(len(members))]
    if success is not None:
        cells.append(count(sum(bool(success[index]) for index in members)))
    if returns:
        cells.append(number(sum(float(returns[index]) for index in members) / len(members)))
    return (*cells, count(sum(int(lengths[index]) for index in members)))
