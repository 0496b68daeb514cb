"""What the HTML report is made of, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ReportInputs:
    """Everything that `report.html` shows; a section that is None says instead why it is missing (`missing`).

    report
        A validated `report.json` dictionary.
    configuration
        The resolved recipe, as text (YAML).
    data
        One row per source of episodes: {"source", "episodes", "successes", "frames"}.
    refinement
        Rows over refinement: {"iteration", "imagined_steps"} and any of "eval/success", "eval/halted",
        "train/success", "train/halted", "loss/policy", "loss/value", "kl" (of the update), "kl_base" (to the
        pretrained policy), "entropy", "real/success" (of a few iterates, measured after the choice), "eval/distance"
        and "eval/disagreement" (means, in units of the halting thresholds).  `eval/...` is the deterministic
        evaluation in pessimistic imagination.
    chosen_iteration
        The "iteration" of the chosen row, whatever the trust gate said of it; None where no iterate was better than
        the pretrained policy.
    refinement_stopped
        Why refinement stopped, in a few words; None where that was not recorded.
    training
        Stage name (as a reader should see it) -> rows {"step", "loss"}, optionally "validation/loss" and
        "validation/open_loop_error" and "validation/outcome_error".
    calibration
        {"threshold", "target_precision", "precision", "recall", "positives", "negatives",
        "bins": [{"low", "high", "mean_probability", "frequency", "count"}],
        "curve": [{"threshold", "precision", "recall"}]}; precision and recall may be None where undefined.
    prediction
        {"horizon": [...], "model": {"median": [...], "p10": [...], "p90": [...]}, "hold_last": same, "unit": text}.
    disagreement
        {"threshold", "pairs": [[disagreement, error], ...], "spearman" (optional)}.
    uncertainty
        {"horizon": [...], "target", "rank_correlation": [...], "coverage": {"recalibrated": [...], "one_step_factor":
        [...], "low_disagreement": [...], "high_disagreement": [...]}, "episodes", "windows": {"calibration", "test"},
        "warning" (a sentence, or None)}; numbers by horizon may be None where undefined.
    fidelity
        Of imagined pictures (see `plot_pictures`); optionally "action_following": {"horizon", "own_future": {"rate",
        "windows"}}.
    failure_fidelity
        {"failures_kept", "successes_kept"}: each {"imagined", "recorded"}: each {"kept", "episodes", "rate"}.
    gate
        The content of gate.json (`GateVerdict.to_dict`), or {"accepted": False, "reasons": [...]} where the gate could
        not judge.  Any mapping in it may hold a "warning" (a sentence, or None).
    videos
        {"title", "caption", "mp4": bytes}, optionally "path" (where it lies in the run folder).
    untested
        Sentences on what this run did not test, added to the general ones.
    missing
        Section ("data", "refinement", "training", "calibration", "prediction", "disagreement", "uncertainty",
        "gate", "videos", "configuration") -> why it is missing.
    """

    report: Mapping[str, Any]
    configuration: str | None = None
    data: Rows | None = None
    refinement: Rows | None = None
    chosen_iteration: int | None = None
    refinement_stopped: str | None = None
    training: Mapping[str, Rows] | None = None
    calibration: Mapping[str, Any] | None = None
    prediction: Mapping[str, Any] | None = None
    disagreement: Mapping[str, Any] | None = None
    uncertainty: Mapping[str, Any] | None = None
    fidelity: Mapping[str, Any] | None = None
    failure_fidelity: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None
    videos: Sequence[Mapping[str, Any]] | None = None
    untested: Sequence[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
