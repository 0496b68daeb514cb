"""Numbers as a reader sees them: percentages, points, returns, counts, durations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def percent(rate: float, digits: int = 1) -> str:
    """A rate as a percentage: 0.48 → "48 %", 0.4667 → "46.7 %"."""
    return f"{_trim(100 * rate, digits)} %"


def signed(difference: float) -> str:
    """A difference of rates in points, with its sign: 0.47 → "+47", −0.061 → "−6"; one decimal below one point."""
    value = 100 * difference
    # A bound just beside zero must not be rounded onto it: it decides the verdict.
    digits = 0 if abs(value) >= 1 or value == 0 else 1
    text = _trim(abs(value), digits)
    if text == "0":
        text = f"{abs(value):.1g}" if value else "0"
    return text if value == 0 else f"{'+' if value > 0 else '−'}{text}"


def points(difference: float) -> str:
    """A difference of rates with its unit: 0.47 → "+47 points"."""
    text = signed(difference)
    return f"{text} point{'' if text in ('+1', '−1') else 's'}"


def number(value: float) -> str:
    """A number to about three digits: −1234.5 → "−1 234", 0.01234 → "0.0123"."""
    text = count(abs(value)) if abs(value) >= 1000 else f"{abs(value):.3g}"
    return f"−{text}" if value < 0 and text.strip("0.") else text


def change(difference: float) -> str:
    """A difference with its sign: 12.34 → "+12.3"."""
    return f"+{number(difference)}" if difference > 0 else number(difference)


def count(number: float) -> str:
    """A count with thin spaces between thousands: 800000 → "800 000"."""
    return f"{number:,.0f}".replace(",", "\u202f")


def seconds(duration: float) -> str:
    """A duration: 4.04 → "4.0 s", 125 → "2 min 5 s"."""
    if duration < 60:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def readable(name: str) -> str:
    """A stage's or a column's name as a heading: "world_model" → "World model"."""
    text = " ".join(name.replace("_", " ").replace("/", ": ").split())
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Measure:
    """How policies were measured: how its values, differences and their bounds are written and drawn."""

    name: str
    value: Callable[[float], str]
    change: Callable[[float], str]
    bound: Callable[[float], str]
    mean: str
    """What report.json calls the mean."""
    scale: float
    """Of a difference in a plot, with its unit."""
    unit: str
    axis: dict[str, Any]
    """Of values in a plot (`section.Axis`)."""


MEASURES = {
    "success": Measure(
        "success", percent, points, signed, "rate", 100, " (percentage points)", {"scale": "share", "low": 0, "high": 1}
    ),
    "return": Measure("return", number, change, change, "mean", 1, "", {}),
}


def _trim(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
