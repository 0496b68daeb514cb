"""Masks of the things that a sentence names, as pictures of a camera of their own.

TPM (arXiv 2306.05716) shows a policy, beside the colours, where the things are that matter, and by the mask's value
which skill is asked for; so it does not have to know how they look. Here a mask is a picture of its own, uint8
(H, W, 3) with a channel for each role, which data sets keep and models read like any camera's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, UInt8

from burnish.errors import InputError
from burnish.masks.instruction import ROLES, read_instruction, skill_value

SUFFIX = "_mask"


def mask_camera(camera: str) -> str:
    """The name under which the masks of a camera's pictures are kept."""
    return camera + SUFFIX


@dataclass(frozen=True)
class View:
    """What a provider may look at.

    Attributes:
        picture: uint8 (H, W, 3), RGB.
        segments: (H, W), which thing a pixel shows: its place among `labels` plus 1; only a simulator knows it.
        labels: the things' names.
    """

    picture: UInt8[np.ndarray, "H W 3"]
    segments: np.ndarray | None = None
    labels: Sequence[str] = ()


class MaskProvider(Protocol):
    """Finds things by name once, and then follows them; it serves one episode at a time."""

    def begin(self, view: View, phrases: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """The masks of K things in an episode's first picture; an empty one where nothing of that name is seen.

        Raises:
            InputError: this provider cannot look for such a thing.
        """
        ...

    def follow(self, view: View) -> Bool[np.ndarray, "K H W"]:
        """Their masks in the next picture; an empty one where the thing was lost."""
        ...


class Masking:
    """From an instruction and pictures to mask pictures, through one provider; counts what it loses.

    Args:
        provider: who looks.
        skills: the verbs that are known; a mask has the verb's value (`skill_value`).
        also: a thing that every instruction is about without naming it.

    Attributes:
        lost: of the latest picture: how many things were lost.
    """

    def __init__(self, provider: MaskProvider, skills: Sequence[str], also: str | None = None) -> None:
        self.provider, self.skills, self.also = provider, tuple(skills), also
        self.lost = 0

    def begin(self, view: View, sentence: str) -> UInt8[np.ndarray, "H W 3"]:
        """The first mask picture of an episode.

        Raises:
            InputError: the sentence is not understood, or names something that is not to be seen.
        """
        asked = read_instruction(sentence, self.skills, self.also)
        self._roles = [role for role, thing in enumerate(asked.things) if thing is not None]
        self._level = round(255 * skill_value(asked.skill, self.skills))
        phrases = [thing for thing in asked.things if thing is not None]
        masks = self.provider.begin(view, phrases)
        for phrase, mask in zip(phrases, masks, strict=True):
            if not mask.any():
                raise InputError(
                    f"the instruction '{sentence}' names '{phrase}', which is not to be seen in the first picture"
                )
        self.lost = 0
        return self._drawn(masks)

    def follow(self, view: View) -> UInt8[np.ndarray, "H W 3"]:
        """The next one; what is lost has an empty channel, and is counted in `lost`."""
        masks = self.provider.follow(view)
        self.lost = int((~masks.any((1, 2))).sum())
        return self._drawn(masks)

    def _drawn(self, masks: Bool[np.ndarray, "K H W"]) -> UInt8[np.ndarray, "H W 3"]:
        picture = np.zeros((*masks.shape[1:], len(ROLES)), np.uint8)
        for role, mask in zip(self._roles, masks, strict=True):
            picture[mask, role] = self._level
        return picture
