"""Plots of the trust gate: what every held-out world says of both policies, and the gain that follows."""

from collections.abc import Mapping
from typing import Any

from matplotlib.ticker import PercentFormatter

from burnish.report.figures import BLUE, GREY, INK, MUTED, ORANGE, Plot, house_style, new_figure
from burnish.report.verdict import bounds
from burnish.report.wording import percent, points, signed


def plot_worlds(gate: Mapping[str, Any]) -> Plot:
    """Pessimistic success of both policies in each held-out world; `gate` is the content of gate.json."""
    before, after = (gate[policy]["per_world"] for policy in ("pretrained", "refined"))
    rows = range(len(before))
    with house_style():
        figure, axis = new_figure(size=(4.9, 1.3 + 0.3 * len(before)))
        axis.hlines(rows, before, after, color=MUTED, linewidth=1.2)
        axis.plot(before, rows, "o", color=GREY, label="pretrained")
        axis.plot(after, rows, "D", color=BLUE, label="refined", markersize=5.5)
        axis.set_yticks(rows, [f"world {row + 1}" for row in rows])
        axis.set_ylim(len(before) - 0.4, -0.6)
        axis.set_xlim(-0.03, 1.03)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.set_xlabel("imagined success, halted episodes as failures")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=2)
    better = sum(new > old for old, new in zip(before, after, strict=True))
    caption = (
        f"{_of(better, len(before))} the refined policy succeeds more often. The worlds learned from different "
        "episodes of the same data, so that their spread shows how much hangs on single episodes, but not what all of "
        "the data lack."
    )
    told = "; ".join(f"{percent(old, 0)} and {percent(new, 0)}" for old, new in zip(before, after, strict=True))
    alt = f"Imagined success of the pretrained and the refined policy in each held-out world: {told}."
    return Plot(figure, "Both policies in each held-out world", caption, alt)


def plot_estimate(gate: Mapping[str, Any], paired: Mapping[str, Any] | None = None) -> Plot:
    """The expected real gain with its bounds; below it what a simulator said afterwards.

    `paired` is "paired_difference" of `report.json`.
    """
    rows = [("expected", gate["estimate"], gate["low"], gate["high"], BLUE)]
    if paired is not None:
        rows.append(("simulator", paired["difference"], paired["low"], paired["high"], ORANGE))
    with house_style():
        figure, axis = new_figure(size=(4.9, 1.3 + 0.6 * len(rows)))
        axis.axvline(0, color=INK, linewidth=1)
        for place, (_, centre, low, high, colour) in enumerate(rows):
            spread = [[100 * (centre - low)], [100 * (high - centre)]]
            axis.errorbar(100 * centre, place, xerr=spread, fmt="D", color=colour, ecolor=INK, capsize=4)
            axis.text(100 * centre, place - 0.2, points(centre), ha="center", va="bottom")
        ends = [100 * end for _, _, low, high, _ in rows for end in (low, high)]
        margin = 0.15 * max(max(ends) - min(ends), 20)
        axis.set_xlim(min(*ends, 0) - margin, max(*ends, 0) + margin)
        axis.set_ylim(len(rows) - 0.5, -0.8)
        axis.set_yticks(range(len(rows)), [row[0] for row in rows])
        axis.set_xlabel("refined − pretrained, real success (percentage points)")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
    caption = (
        f"Expected from imagination alone: {points(gate['estimate'])}, {bounds(gate)}. The bounds cover how far the "
        "held-out worlds differ, the luck of the starts, and how few recorded episodes the back-test had."
    )
    alt = f"Expected real gain {points(gate['estimate'])}, {bounds(gate)}"
    if paired is not None:
        caption += " The simulator was asked after the decision, and plays no part in it."
        alt += (
            f"; measured afterwards in the simulator {points(paired['difference'])}, interval {signed(paired['low'])} "
            f"to {signed(paired['high'])}"
        )
    return Plot(figure, "Expected real gain", caption, f"{alt}.")


def _of(some: int, total: int) -> str:
    return f"In {'all' if some == total else 'none' if some == 0 else some} of {total} held-out worlds"
