"""What a sentence asks for: a skill, and the things that it names, by their role."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.errors import InputError

ROLES = ("object", "destination", "also")
"""The channels of a mask picture: what is acted on, where it goes to or comes from, and one further thing."""
_ARTICLE = r"^(?:the|a|an)(?: |$)"
_BETWEEN = r" (?:away from|next to|on top of|onto|into|off|from|to|in|on|at) "


@dataclass(frozen=True)
class Instruction:
    """A sentence that was understood.

    Attributes:
        skill: its verb, one of the known ones.
        things: a phrase for each of `ROLES`; None where the sentence names nothing.
    """

    skill: str
    things: tuple[str | None, ...]


def read_instruction(sentence: str, skills: Sequence[str], also: str | None = None) -> Instruction:
    """`VERB the THING [PREPOSITION the THING]`, in any case, with or without articles and a full stop.

    Args:
        sentence: "push the red cube to the green disc".
        skills: the verbs that are known.
        also: the phrase of the third role, which no sentence has to name: the robot's hand, say.

    Raises:
        InputError: another verb, or no thing.
    """
    words = " ".join(sentence.lower().strip().rstrip(".!").split())
    verb, _, rest = words.partition(" ")
    if verb not in skills:
        raise InputError(f"the instruction '{sentence}' begins with '{verb}', expected one of: {', '.join(skills)}")
    parts = [re.sub(_ARTICLE, "", part).strip() for part in re.split(_BETWEEN, rest, maxsplit=1)]
    if not parts[0]:
        raise InputError(f"the instruction '{sentence}' names nothing, expected '{verb} the THING'")
    return Instruction(verb, (parts[0], parts[1] if len(parts) > 1 else None, also))


def skill_value(skill: str, skills: Sequence[str]) -> float:
    """The value of a skill's masks: 1 for the first of n skills, 1/n for the last."""
    return 1 - list(skills).index(skill) / len(skills)
