"""The simulator's truth: masks of a segmentation that comes with the picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from burnish.errors import InputError
from burnish.masks.base import View


class TruthMasks:
    """Reads a segmentation (`View.segments`); a thing is lost while something else hides it."""

    def begin(self, view: View, phrases: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`.

        Raises:
            InputError: the environment tells no segmentation.
        """
        if view.segments is None:
            raise InputError(
                "masks of the kind 'truth' need a segmentation: found none, expected info['segments'] and "
                "info['labels'] of the environment (or another kind of masks)"
            )
        numbers = {label.lower(): number for number, label in enumerate(view.labels, start=1)}
        self._numbers = np.array([numbers.get(phrase, -1) for phrase in phrases])
        return self.follow(view)

    def follow(self, view: View) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`."""
        assert view.segments is not None
        return view.segments[None] == self._numbers[:, None, None]
