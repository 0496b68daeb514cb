"""Plots of an imagined-real study: imagined against real success, and the gate's decisions against the truth."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from burnish.evaluation.intervals import discordant_interval
from burnish.report.figures import BLUE, GREEN, GREY, INK, MUTED, ORANGE, PURPLE, Drawing, house_style, new_figure
from burnish.report.wording import count
from studies.agreement import GateDecision, ScoredPolicy

# A kind's colour and marker; others take the rest in turn.
_KINDS = {
    "pretrained": (INK, "s"),
    "refined": (BLUE, "o"),
    "iterate": (GREEN, "d"),
    "exploited": (ORANGE, "^"),
    "random": (GREY, "X"),
}
_OTHER_KINDS = ((PURPLE, "D"), (PURPLE, "P"), (PURPLE, "v"), (PURPLE, "*"))
_DIAGONAL: dict[str, Any] = {"color": MUTED, "linestyle": (0, (4, 3)), "linewidth": 1.1}
COLUMNS = 4


def plot_policies(policies: Sequence[ScoredPolicy]) -> Drawing | None:
    """Imagined against real success, a panel for each task; None without a policy.

    Filled markers are the gate's estimates; hollow ones at the same height the naive ones, where there are any.
    """
    if not policies:
        return None
    tasks = sorted({policy.task for policy in policies})
    looks = _looks(policies)
    with house_style():
        rows = ceil(len(tasks) / COLUMNS)
        columns = ceil(len(tasks) / rows)
        handles = _kind_handles(policies, looks)
        # In inches: about what a panel and a name in the legend take.
        width = max(4.9, 2.65 * columns)
        names_a_line = int(width / 1.35)
        height = 0.35 + 0.2 * ceil(len(handles) / names_a_line) + 2.75 * rows
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
        for axis, task in zip(axes, tasks, strict=False):
            _draw_task(axis, [policy for policy in policies if policy.task == task], looks)
            axis.set_title(task, fontsize=9.5)
        for axis in axes[len(tasks) :]:
            axis.set_visible(False)
        # A panel above an empty place has the numbers of its own axis.
        for axis in axes[len(tasks) - columns : len(tasks)]:
            axis.xaxis.set_tick_params(labelbottom=True)
        figure.supxlabel("imagined success", fontsize=9.5)
        figure.supylabel("real success", fontsize=9.5)
        figure.legend(handles=handles, loc="outside upper left", ncols=names_a_line)
    episodes = sorted({policy.episodes for policy in policies})
    per_policy = count(episodes[0]) if len(episodes) == 1 else f"{count(episodes[0])} to {count(episodes[-1])}"
    naive = sum(policy.naive is not None for policy in policies)
    hollow = (
        f" Hollow markers ({naive}): the naive estimate of the same policy, in the very world model in which it was "
        "refined."
        if naive
        else ""
    )
    caption = (
        f"Each filled marker is one policy ({len(policies)} in all): across, the gate's estimate in held-out world "
        f"models; up, success in the real simulator ({per_policy} episodes). On the dashed line imagination is right; "
        f"right of it, it promises too much.{hollow}"
    )
    off = np.mean([abs(policy.estimate - policy.real) for policy in policies])
    drawn = f"Scatter of {len(policies)} policies on {len(tasks)} tasks"
    alt = f"{drawn}; mean distance to the diagonal {100 * off:.0f} points."
    return Drawing(figure, "Imagined and real success", caption, alt)


def plot_decisions(decisions: Sequence[GateDecision]) -> Drawing | None:
    """Estimated against real difference of every refinement, mistakes in colours of their own; None without one."""
    if not decisions:
        return None
    groups = _decision_groups(decisions)
    with house_style():
        figure, axis = new_figure(size=(7.6, 4.6))
        axis.axhline(0, color=INK, linewidth=1)
        axis.axvline(0, color=INK, linewidth=1)
        axis.axline((0, 0), slope=1, **_DIAGONAL)
        for label, (members, colour, marker, size, filled) in groups.items():
            if members:
                _draw_decisions(axis, members, colour, marker, size, filled, f"{label} ({len(members)})")
        axis.set_xlabel("estimated difference, refined − pretrained (percentage points)")
        axis.set_ylabel("real difference (percentage points)")
        figure.legend(loc="outside right upper")
    mistakes = {name: sum(d.mistake() == name for d in decisions) for name in ("false accept", "false reject")}
    caption = (
        f"{len(decisions)} refinements. Filled: accepted; hollow: rejected. Horizontal whiskers are the gate's "
        "intervals, vertical ones Agresti and Min's 95 % intervals of the paired real difference. A mistake is "
        "proven where McNemar's exact test rejects “no change” at 5 %."
    )
    alt = (
        f"Scatter of {len(decisions)} decisions; by the sign of the real difference {mistakes['false accept']} are "
        f"false accepts and {mistakes['false reject']} false rejects."
    )
    return Drawing(figure, "Estimated and real difference", caption, alt)


def _looks(policies: Sequence[ScoredPolicy]) -> dict[str, tuple[str, str]]:
    present = {policy.kind for policy in policies}
    others = sorted(present - set(_KINDS))
    # More kinds than markers: they repeat, and the table tells them apart.
    return {kind: look for kind, look in _KINDS.items() if kind in present} | {
        kind: _OTHER_KINDS[index % len(_OTHER_KINDS)] for index, kind in enumerate(others)
    }


def _draw_task(axis: Axes, policies: Sequence[ScoredPolicy], looks: Mapping[str, tuple[str, str]]) -> None:
    axis.plot([0, 1], [0, 1], **_DIAGONAL)
    for kind, (colour, marker) in looks.items():
        chosen = [policy for policy in policies if policy.kind == kind]
        naive = [(policy.naive, policy.real) for policy in chosen if policy.naive is not None]
        x, y = np.asarray(naive, dtype=float).reshape(-1, 2).T
        axis.scatter(x, y, s=30, marker=marker, facecolors="none", edgecolors=colour, linewidths=0.9, alpha=0.75)
        x, y = [policy.estimate for policy in chosen], [policy.real for policy in chosen]
        axis.scatter(x, y, s=34, marker=marker, color=colour, linewidth=0, zorder=3)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        side.set_ticks([0, 0.5, 1])
    axis.set_xlim(-0.05, 1.05)
    axis.set_ylim(-0.05, 1.05)
    axis.set_aspect("equal")


def _kind_handles(policies: Sequence[ScoredPolicy], looks: Mapping[str, tuple[str, str]]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=kind)
        for kind, (colour, marker) in looks.items()
    ]
    if any(policy.naive is not None for policy in policies):
        handles.append(
            Line2D([], [], color=MUTED, marker="o", markerfacecolor="none", linestyle="", label="hollow: naive")
        )
    return [*handles, Line2D([], [], label="imagined = real", **_DIAGONAL)]


_Group = tuple[list[GateDecision], str, str, float, bool]


def _decision_groups(decisions: Sequence[GateDecision]) -> dict[str, _Group]:
    """Label -> its decisions, colour, marker, size and whether filled; what was right first, so mistakes lie on top."""
    groups: dict[str, _Group] = {
        "rejected": ([d for d in decisions if not d.accepted and d.mistake() is None], GREY, "o", 5, False),
        "accepted": ([d for d in decisions if d.accepted and d.mistake() is None], BLUE, "o", 5, True),
    }
    for mistake, colour, marker, filled in (("false reject", PURPLE, "s", False), ("false accept", ORANGE, "v", True)):
        for proven, size in ((False, 5.5), (True, 9)):
            members = [d for d in decisions if d.mistake() == mistake and (d.mistake("test") == mistake) == proven]
            groups[f"{mistake}, {'proven' if proven else 'not proven'}"] = (members, colour, marker, size, filled)
    return groups


def _draw_decisions(
    axis: Axes, decisions: Sequence[GateDecision], colour: str, marker: str, size: float, filled: bool, label: str
) -> None:
    x = 100 * np.asarray([[d.estimate, d.low, d.high] for d in decisions])
    intervals = [discordant_interval(d.improved, d.worsened, d.episodes) for d in decisions]
    y = 100 * np.asarray([[d.real_difference, *interval] for d, interval in zip(decisions, intervals, strict=True)])
    # Agresti and Min's interval leans towards 0; at the ends it may miss the difference itself by a hair.
    whiskers = [np.clip([v[:, 0] - v[:, 1], v[:, 2] - v[:, 0]], 0, None) for v in (x, y)]
    axis.errorbar(
        x[:, 0], y[:, 0], xerr=whiskers[0], yerr=whiskers[1], fmt="none", ecolor=colour, alpha=0.3, elinewidth=0.9
    )
    axis.plot(
        x[:, 0],
        y[:, 0],
        linestyle="",
        marker=marker,
        markersize=size,
        color=colour,
        markerfacecolor=colour if filled else "none",
        zorder=3,
        label=label,
    )
