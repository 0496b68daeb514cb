"""Calibration of a success classifier on held-out episodes."""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FEW = 20
"""Held-out frames of success below which a calibration says little."""
KEPT = 0.9
ENDS_FROM = 0.02
"""The least chance that may count as an end of an episode."""
ENDS_MOST = 2
ThresholdRule = Literal["auto", "lowest", "highest"]


@dataclass(frozen=True)
class Calibration:
    """The chosen threshold, what it gives on held-out frames, and the curves behind it."""

    threshold: float
    target_precision: float
    reached: bool
    """Whether any threshold gave the target precision."""
    precision: float
    recall: float
    positives: int
    negatives: int
    bins: list[dict[str, float]]
    """Reliability curve: predicted probability against observed frequency."""
    curve: list[dict[str, float]]
    """Precision and recall by threshold."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why success in imagination is to be trusted less, in words; nothing where the evidence is good."""
        found = []
        if not self.reached:
            found.append(
                f"its precision on held-out frames is {100 * self.precision:.0f} %, below the "
                f"{100 * self.target_precision:.0f} % that were asked for"
            )
        if self.positives < FEW:
            found.append(f"it was calibrated on {self.positives} held-out frames of success")
        return tuple(found)

    def to_dict(self) -> dict[str, object]:
        """A plain dict, ready for JSON."""
        return asdict(self)


def calibrate(
    probability: Float[Tensor, " N"],
    success: Bool[Tensor, " N"],
    target_precision: float,
    lowest: float = 0.5,
    least_recall: float = 0.5,
    rule: ThresholdRule = "lowest",
    most: int | None = None,
) -> Calibration:
    """The lowest threshold, not below `lowest`, whose precision on these frames reaches `target_precision`.

    A threshold that finds less than `least_recall` of the successes is no reward to learn from, however precise.
    Where none has both, the threshold of the highest F1 score is taken; `reached` then tells whether its precision
    reaches the target all the same. A frame is predicted positive where probability ≥ threshold.

    By the rule "highest", and by "auto" where fewer than `FEW` frames show success, it is the highest one that still
    finds `KEPT` of what that one does: so few frames do not tell how far a near miss has to be kept off.

    A threshold that predicts more than `most` frames is none; where all do, the highest is taken.
    """
    probability, success = probability.double().cpu(), success.cpu()
    candidates = torch.cat([torch.linspace(lowest, 0.99, 50, dtype=torch.float64), torch.tensor([0.995, 0.999])])
    curve = [_at(probability, success, float(threshold)) for threshold in candidates]
    usable = [point for point in curve if 0 < point["predicted"] <= (len(success) if most is None else most)]
    precise = [point for point in usable if point["precision"] >= target_precision]
    good = [point for point in precise if point["recall"] >= least_recall]
    if good:
        kept = [point for point in good if point["recall"] >= KEPT * good[0]["recall"]]
        chosen = kept[-1] if rule == "highest" or (rule == "auto" and int(success.sum()) < FEW) else good[0]
    elif usable:
        chosen = max(usable, key=_f1)
    else:
        chosen = curve[0 if most is None else -1]
    return Calibration(
        threshold=chosen["threshold"],
        target_precision=target_precision,
        reached=chosen in precise,
        precision=chosen["precision"],
        recall=chosen["recall"],
        positives=int(success.sum()),
        negatives=int((~success).sum()),
        bins=_reliability(probability, success),
        curve=[{k: point[k] for k in ("threshold", "precision", "recall")} for point in curve],
    )


def calibrate_ends(chance: Float[Tensor, " N"], ended: Bool[Tensor, " N"], target_precision: float) -> Calibration:
    """The threshold from which on an episode is over by itself, as `calibrate`, but from `ENDS_FROM` on.

    Ends are rare, and often foreseen with a small chance alone. Where none were told for want of a larger one, imagined
    robots would never fall, and that is what refinement would find. A threshold of the best F1 score is at most a half.
    Never more than `ENDS_MOST` times as many are told as there are: who knows nothing of ends tells none.
    """
    return calibrate(chance, ended, target_precision, lowest=ENDS_FROM, most=ENDS_MOST * int(ended.sum()))


def _f1(point: dict[str, float]) -> float:
    return 2 * point["precision"] * point["recall"] / max(point["precision"] + point["recall"], 1e-12)


def _at(probability: Tensor, success: Tensor, threshold: float) -> dict[str, float]:
    predicted = probability >= threshold
    hits = int((predicted & success).sum())
    count, positives = int(predicted.sum()), int(success.sum())
    return {
        "threshold": threshold,
        "predicted": count,
        "precision": hits / count if count else 0.0,
        "recall": hits / positives if positives else 0.0,
    }


def _reliability(probability: Tensor, success: Tensor, bins: int = 10) -> list[dict[str, float]]:
    rows = []
    index = (probability * bins).long().clamp(max=bins - 1)
    for i in range(bins):
        inside = index == i
        if inside.any():
            rows.append(
                {
                    "low": i / bins,
                    "high": (i + 1) / bins,
                    "mean_probability": float(probability[inside].mean()),
                    "frequency": float(success[inside].double().mean()),
                    "count": int(inside.sum()),
                }
            )
    return rows
