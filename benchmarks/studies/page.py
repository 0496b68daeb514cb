"""An imagined-real study: how far a trust gate can be trusted, as Markdown, HTML, JSON and a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.report.figures import png_bytes
from burnish.report.page import markdown_table, plot_figure, prose, table, tiles_row, whole_page
from burnish.report.wording import points
from burnish.storage import write_bytes_atomic
from studies.agreement import GateDecision, ScoredPolicy, mean_agreement
from studies.plots import plot_decisions, plot_policies
from studies.rows import decisions_from, policies_from
from studies.tables import (
    MEAN,
    Numbers,
    Table,
    agreement_table,
    decisions_table,
    gains_table,
    naive_table,
    number,
    numbers_of,
    rates_table,
    share_text,
)

SCHEMA = 1
TITLE = "The trust gate against the real simulator"
_AGREEMENT_NOTE = (
    "The gate's estimate of every policy against its real success, within a task, over all seeds. MMRV is the mean "
    "maximum rank violation of SIMPLER (arXiv 2405.05941): 0 is the real order, 1 the worst. The last column is what "
    "imagination promises too much, in points. The mean over tasks weighs each task alike; tasks are not pooled, "
    "because their difficulty alone would correlate everything."
)
_NAIVE_NOTE = (
    "The same for the policies that have a naive estimate, too: success imagined in the very world model in which the "
    "policy was refined. Where a side is constant there is no correlation (–), and the mean is over the other tasks."
)
_RATES_NOTE = (
    "A false accept was accepted and truly worse than the pretrained policy, a false reject rejected and truly better. "
    "Rates with Wilson's 95 % intervals. Decisions on one task and seed share data and models: where a group has many "
    "of these, its interval is too narrow."
)
_ORDER, _DECIDED = "Does imagination order policies as reality does?", "What the gate decided"
_BY_TEST = "Truth by McNemar's exact two-sided test at 5 % on paired real episodes; the rest is undecided."
_BY_SIGN = "Truth by the sign of the real difference alone: nothing but 0 is undecided, and luck counts as truth."
_GAINS_NOTE = (
    "Mean real difference a refinement, in points, if every refinement replaced the pretrained policy, if the gate "
    "decides, and with an oracle; what is rejected counts 0. The oracle chooses by the very episodes that are counted, "
    "so it is out of reach."
)
# The columns of text at the left of the list of decisions.
_TEXTS = 6


@dataclass(frozen=True)
class Study:
    """The checked rows, and as they were given; make one with `study_of`."""

    policies: tuple[ScoredPolicy, ...]
    decisions: tuple[GateDecision, ...]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    title: str = TITLE
    command: str = ""

    def numbers(self) -> Numbers:
        """All that is counted."""
        return numbers_of(self.policies, self.decisions)


def study_of(policies: Any, decisions: Any, source: str = "study", title: str = TITLE, command: str = "") -> Study:
    """Check plain rows (`policies_from`, `decisions_from`); raises InputError naming `source`, row and field."""
    checked = policies_from(policies, source), decisions_from(decisions, source)
    if not any(checked):
        raise InputError(f"{source}: found neither policies nor decisions, expected at least one of these")
    return Study(*checked, {"policies": policies, "decisions": decisions}, title, command)


def write_study(study: Study, folder: Path, name: str) -> Path:
    """Write NAME.md, NAME.json (rows and numbers), NAME.html and NAME.png (the scatter); returns the Markdown's path.

    Each file appears whole. Without policies there is no picture, and an older one is not left behind.
    """
    folder = Path(folder)
    stored = {"schema": SCHEMA, "title": study.title, "command": study.command, "numbers": study.numbers().as_json()}
    try:
        text = json.dumps(stored | dict(study.rows), indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        # The fields that are read were checked; what a row has besides may be anything.
        raise InputError(f"{name}: a row has an additional value that JSON cannot hold: {error}") from error
    write_bytes_atomic(folder / f"{name}.json", f"{text}\n".encode())
    write_bytes_atomic(folder / f"{name}.html", render_html(study).encode())
    scatter = plot_policies(study.policies)
    if scatter is None:
        (folder / f"{name}.png").unlink(missing_ok=True)
    else:
        write_bytes_atomic(folder / f"{name}.png", png_bytes(scatter))
    picture = f"{name}.png" if scatter is not None else None
    write_bytes_atomic(folder / f"{name}.md", render_markdown(study, picture).encode())
    return folder / f"{name}.md"


def headline(study: Study, numbers: Numbers) -> str:
    """The result in one sentence."""
    parts = []
    if study.decisions:
        test, sign = numbers.by_test["all"], numbers.by_sign["all"]
        parts.append(
            f"Of {test.decisions} refinements the gate accepted {test.accepted}, {test.false_accepts.count} of them "
            f"truly worse than the pretrained policy by McNemar's test ({sign.false_accepts.count} by the sign of the "
            f"difference alone), and it rejected {test.false_rejects.count} of the {test.better} that were truly better"
        )
    if study.policies:
        gate = numbers.gate[MEAN]
        told = "cannot be correlated" if gate.spearman is None else f"has a rank correlation of {number(gate.spearman)}"
        tasks = len(numbers.gate) - 1
        over = f"mean over {tasks} tasks" if tasks > 1 else "one task"
        parts.append(f"over {gate.policies} policies its imagined success {told} with real success ({over})")
        parts += _beside_naive(numbers)
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def render_markdown(study: Study, picture: str | None = None) -> str:
    """The whole study; `picture` is the scatter's file name beside it."""
    numbers = study.numbers()
    lines = [f"# {study.title}", "", headline(study, numbers), ""]
    lines += [f"`{study.command}`", ""] if study.command else []
    if study.policies:
        scatter = plot_policies(study.policies)
        lines += [f"## {_ORDER}", ""]
        lines += [f"![{scatter.alt}]({picture})", "", scatter.caption, ""] if picture and scatter else []
        for heading, note, rows in _agreement_parts(numbers):
            lines += [f"### {heading}", "", note, "", *markdown_table(*rows), ""]
    if study.decisions:
        lines += [f"## {_DECIDED}", "", _RATES_NOTE, ""]
        for heading, note, rows in _decision_parts(numbers):
            lines += [f"### {heading}", "", note, "", *markdown_table(*rows), ""]
        lines += ["## Every decision", "", *markdown_table(*decisions_table(study.decisions)), ""]
    return "\n".join(lines)


def render_html(study: Study) -> str:
    """The same as one self-contained page without a script, with both plots."""
    numbers = study.numbers()
    parts = [f"<h1>{escape(study.title)}</h1>", f"<p><strong>{prose(headline(study, numbers))}</strong></p>"]
    parts.append(tiles_row(_tiles(study, numbers)))
    if study.policies:
        parts.append(f"<section><h2>{_ORDER}</h2>")
        scatter = plot_policies(study.policies)
        parts += [plot_figure(scatter, "policies")] if scatter else []
        parts += [_part(*part) for part in _agreement_parts(numbers)]
        parts.append("</section>")
    if study.decisions:
        parts.append(f"<section><h2>{_DECIDED}</h2>")
        decided = plot_decisions(study.decisions)
        parts += [plot_figure(decided, "decisions")] if decided else []
        parts.append(f'<div class="part"><p>{prose(_RATES_NOTE)}</p></div>')
        parts += [_part(*part) for part in _decision_parts(numbers)]
        parts.append("</section><section><h2>Every decision</h2>")
        parts.append(f'<div class="dense">{table(*decisions_table(study.decisions), texts=_TEXTS)}</div></section>')
    if study.command:
        parts.append(f"<section><h2>Command</h2><pre>{escape(study.command)}</pre></section>")
    return whole_page(f"{study.title}: Burnish study", "\n".join(parts))


def _beside_naive(numbers: Numbers) -> list[str]:
    """Both estimates on the tasks where both can be correlated: a mean over other tasks would not compare them."""
    pairs = [(gate, numbers.naive[task]) for task, gate in numbers.gate_beside_naive.items() if task != MEAN]
    known = [(gate, naive) for gate, naive in pairs if None not in (gate.spearman, naive.spearman)]
    if not known:
        return []
    gate, naive = (mean_agreement([pair[side] for pair in known]) for side in (0, 1))
    tasks = f"{len(known)} task{'' if len(known) == 1 else 's'}"
    return [
        f"on the {gate.policies} of them that have a naive estimate, too ({tasks}), it has {number(gate.spearman)}, "
        f"the naive estimate {number(naive.spearman)}"
    ]


def _agreement_parts(numbers: Numbers) -> list[tuple[str, str, Table]]:
    parts = [("The gate's estimate", _AGREEMENT_NOTE, agreement_table(numbers))]
    if numbers.naive[MEAN].policies:
        parts.append(("Beside the naive estimate", _NAIVE_NOTE, naive_table(numbers)))
    return parts


def _decision_parts(numbers: Numbers) -> list[tuple[str, str, Table]]:
    return [
        ("Mistakes by McNemar's test", _BY_TEST, rates_table(numbers.by_test)),
        ("Mistakes by the sign", _BY_SIGN, rates_table(numbers.by_sign)),
        ("What the gate is worth", _GAINS_NOTE, gains_table(numbers)),
    ]


def _part(heading: str, note: str, rows: Table) -> str:
    told = f"<h3>{escape(heading)}</h3><p>{prose(note)}</p>"
    return f'<div class="part">{told}<div class="dense">{table(*rows)}</div></div>'


def _tiles(study: Study, numbers: Numbers) -> list[tuple[str, str]]:
    tiles = []
    if study.decisions:
        test, won = numbers.by_test["all"], numbers.gains["all"]
        tiles.append(("false accepts of all, proven", share_text(test.false_accepts)))
        tiles.append(("false rejects of the better, proven", share_text(test.false_rejects_of_better)))
        tiles += [
            (f"mean real gain: {rule}", points(value))
            for rule, value in (("accept all", won.accept_all), ("the gate", won.gate), ("oracle", won.oracle))
            if value is not None
        ]
    if study.policies and numbers.gate[MEAN].spearman is not None:
        tiles.append(("Spearman, mean over tasks", number(numbers.gate[MEAN].spearman)))
    return tiles
