"""Judges: what came of whole episodes, told from a film and the instruction; and how far a judge can be trusted.

A judge may fail to answer. That is no failure of the task: it is counted, and such episodes count for nothing.
"""

import importlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from burnish.components import Component
from burnish.errors import InputError
from burnish.rewards.outcome import Outcome

Film = UInt8[Tensor, "B K C S S"]


@dataclass(frozen=True)
class Verdicts:
    """Of B episodes; `success` says nothing where not `answered`."""

    success: Bool[Tensor, " B"]
    answered: Bool[Tensor, " B"]


@dataclass
class JudgeUse:
    """What a judge was asked, and what that cost."""

    asked: int = 0
    """Episodes."""
    cached: int = 0
    """Of these, films that it had judged before."""
    unanswered: int = 0
    ties: int = 0
    requests: int = 0
    """To an endpoint, those that were tried again among them."""
    tokens_in: int = 0
    tokens_out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why requests were of no use, and how often."""

    def numbers(self) -> dict[str, Any]:
        """Plain numbers for the report."""
        return {**vars(self), "reasons": dict(self.reasons)}


class Judge(Component, register=False):
    """Judges films; a family says how in `judged`.

    Args:
        shape: (K, C, S, S) of a film.
        instructions: the sentences, by the numbers that states know them by.
        limit: transitions after which an episode is over and is judged.
    """

    shape: tuple[int, int, int, int]
    instructions: tuple[str, ...]
    limit: int
    config: Any

    def __init__(self, shape: tuple[int, ...], instructions: tuple[str, ...], limit: int, config: Any) -> None:
        super().__init__()
        self.shape, self.instructions, self.limit = shape, instructions, limit  # type: ignore[assignment]
        self.config, self.use = config, JudgeUse()

    def check(self) -> None:
        """Make sure, before anything depends on it, that it can be asked; InputError where it cannot."""

    def forward(self, film: Film, instruction: Int[Tensor, " B"]) -> Verdicts:
        """Did each episode do what its instruction asks for?"""
        verdicts = self.judged(film, instruction)
        self.use.asked += len(film)
        self.use.unanswered += int((~verdicts.answered).sum())
        return verdicts

    def judged(self, film: Film, instruction: Int[Tensor, " B"]) -> Verdicts:
        """The family's verdicts."""
        raise NotImplementedError


def sentence_of(task: str) -> str:
    """A task's name as words: `drawer-open-v3` is "drawer open"; a sentence stays as it is."""
    return task if " " in task else re.sub(r"-v\d+$", "", task).replace("-", " ").replace("_", " ")


@dataclass(frozen=True)
class JudgedReward:
    """A judge as the reward of transitions: an episode earns 1 where it is over and the judge says success, else 0.

    States have a `film`, an `age` and an `instruction` (`FilmState`). Transitions before an episode's end are asked
    about by nobody.
    """

    judge: Judge

    def __call__(self, state: Any, action: Tensor, following: Any) -> Outcome:
        """The outcome of a transition."""
        return self.at_end(state, action, following, following.age < 0)

    def at_end(self, state: Any, action: Tensor, following: Any, over: Bool[Tensor, " B"]) -> Outcome:
        """The same where some episodes end before their time is up: those are `over`."""
        over = over | (following.age >= self.judge.limit)
        success, unknown = torch.zeros_like(over), torch.zeros_like(over)
        # Once an episode: that this waits for the device is nothing beside what it asks for.
        rows = torch.nonzero(over).flatten()
        if len(rows):
            found = self.judge(following.film[rows], following.instruction[rows])
            success = success.index_copy(0, rows, found.success & found.answered)
            unknown = unknown.index_copy(0, rows, ~found.answered)
        return Outcome(success.float(), over, success, unknown)


# ---------------------------------------------------------------------------------------------------------------------
# Trust.


@dataclass(frozen=True)
class JudgeAgreement:
    """A judge's verdicts on recorded episodes against their labels."""

    both: int
    only_label: int
    only_judge: int
    neither: int
    unanswered: int = 0

    @classmethod
    def of(cls, verdicts: Verdicts, label: Bool[Tensor, " B"]) -> "JudgeAgreement":
        """Count the answers."""
        said, known = verdicts.success, verdicts.answered
        pairs = ((said & label), (~said & label), (said & ~label), (~said & ~label))
        return cls(*(int((each & known).sum()) for each in pairs), unanswered=int((~known).sum()))

    @property
    def answered(self) -> int:
        """Episodes with a verdict."""
        return self.both + self.only_label + self.only_judge + self.neither

    @property
    def kappa(self) -> float:
        """Cohen's κ: agreement beyond what chance would bring, (p_o - p_e) / (1 - p_e).

        0 where nothing is shown: without answers, or where labels and verdicts are all of one kind.
        """
        total = self.answered
        if not total:
            return 0.0
        label, judge = (self.both + self.only_label) / total, (self.both + self.only_judge) / total
        chance = label * judge + (1 - label) * (1 - judge)
        return ((self.both + self.neither) / total - chance) / (1 - chance) if chance < 1 else 0.0

    def numbers(self) -> dict[str, Any]:
        """Plain numbers for the report."""
        return {**vars(self), "kappa": self.kappa}


# ---------------------------------------------------------------------------------------------------------------------
# A judge of the user's own.


@dataclass(frozen=True)
class ScriptedConfig:
    """A function of one's own."""

    function: str = ""
    """module:function, called with films, uint8 (B, K, C, S, S), and B sentences; it returns True, False or (where it
    cannot tell) None for each."""


class ScriptedJudge(Judge):
    """Asks a function."""

    config: ScriptedConfig

    def __init__(
        self, shape: tuple[int, ...], instructions: tuple[str, ...], limit: int, config: ScriptedConfig
    ) -> None:
        super().__init__(shape, instructions, limit, config)

    def check(self) -> None:
        """InputError where there is no such function."""
        own_function(self.config.function, "config.judge.function")

    def judged(self, film: Film, instruction: Tensor) -> Verdicts:
        """What the function says.

        Raises:
            InputError: it says something else than so many of True, False and None.
        """
        function = own_function(self.config.function, "config.judge.function")
        said = list(function(film, [sentence_of(self.instructions[number]) for number in instruction.tolist()]))
        if len(said) != len(film) or not all(each is None or each in (True, False) for each in said):
            raise InputError(
                f"{self.config.function}: found {said[:3]} …, expected True, False or None for each of "
                f"{len(film)} films"
            )
        return verdicts_of(said, film.device)


def verdicts_of(said: list[bool | None], device: torch.device) -> Verdicts:
    """Verdicts of yes, no and no answer."""
    success = torch.tensor([bool(each) for each in said], dtype=torch.bool, device=device)
    answered = torch.tensor([each is not None for each in said], dtype=torch.bool, device=device)
    return Verdicts(success, answered)


def own_function(place: str, setting: str) -> Any:
    """The user's own function at "module:function"; InputError, which names the setting, where there is none."""
    module, _, name = place.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{setting}: found '{place}' ({error}), expected module:function of a function") from error
    if not callable(function):
        raise InputError(f"{setting}: '{place}' is a {type(function).__name__}, expected a function")
    return function
