"""GroundingDINO and SAM, through the user's `transformers`: a phrase to a box once, then boxes to masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from burnish.config import within
from burnish.errors import InputError
from burnish.masks.base import View
from burnish.masks.tracking import TrackedMasks, TrackerConfig


@dataclass(frozen=True)
class GroundedConfig:
    """Of `GroundedMasks`; models are folders, or names that `transformers` downloads."""

    detector: str = "IDEA-Research/grounding-dino-tiny"
    segmenter: str = "facebook/sam-vit-base"
    box_threshold: float = within(0.3, 0, 1)
    """How sure a box must be."""
    text_threshold: float = within(0.25, 0, 1)
    """How sure a word must be to belong to a box."""
    device: str = "cpu"


class GroundedMasks:
    """A detector of phrases, and a segmenter of boxes.

    The detector is asked once an episode, for each phrase by itself; then a box follows its thing (`TrackedMasks`), and
    the segmenter makes a mask of each picture's box.

    Raises:
        InputError: transformers is not installed, or a model does not load.
    """

    def __init__(self, config: GroundedConfig, tracker: TrackerConfig) -> None:
        self.config = config
        try:
            import transformers  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise InputError("masks of the kind 'grounded' need transformers: pip install -e '.[masks]'") from None
        self._detector = self._loaded(transformers, "AutoModelForZeroShotObjectDetection", config.detector)
        self._segmenter = self._loaded(transformers, "SamModel", config.segmenter)
        self._words = self._loaded(transformers, "AutoProcessor", config.detector)
        self._prompts = self._loaded(transformers, "SamProcessor", config.segmenter)
        self._tracker = TrackedMasks(_Detected(self), tracker)

    def begin(self, view: View, phrases: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`."""
        return self._tracker.begin(view, phrases)

    def follow(self, view: View) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`."""
        followed = self._tracker.follow(view)
        boxes = [_box(mask) if mask.any() else None for mask in followed]
        return self.segmented(view.picture, boxes)

    @torch.no_grad()
    def detected(self, picture: np.ndarray, phrase: str) -> np.ndarray | None:
        """The surest box (x, y, x, y) of a phrase; None where none is sure enough."""
        inputs = self._words(images=picture, text=f"{phrase}.", return_tensors="pt").to(self.config.device)
        outputs = self._detector(**inputs)
        found = self._words.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self.config.box_threshold,
            text_threshold=self.config.text_threshold,
            target_sizes=[picture.shape[:2]],
        )[0]
        if not len(found["scores"]):
            return None
        return found["boxes"][int(found["scores"].argmax())].cpu().numpy()

    @torch.no_grad()
    def segmented(self, picture: np.ndarray, boxes: Sequence[np.ndarray | None]) -> Bool[np.ndarray, "K H W"]:
        """The masks of boxes; an empty one where there is none."""
        masks = np.zeros((len(boxes), *picture.shape[:2]), bool)
        present = [number for number, box in enumerate(boxes) if box is not None]
        if not present:
            return masks
        wanted = [[[float(value) for value in boxes[number]] for number in present]]  # type: ignore[union-attr]
        inputs = self._prompts(picture, input_boxes=wanted, return_tensors="pt").to(self.config.device)
        outputs = self._segmenter(**inputs, multimask_output=False)
        drawn = self._prompts.image_processor.post_process_masks(
            outputs.pred_masks.cpu(), inputs["original_sizes"].cpu(), inputs["reshaped_input_sizes"].cpu()
        )[0]
        masks[present] = drawn[:, 0].numpy()
        return masks

    def _loaded(self, library: Any, kind: str, name: str) -> Any:
        # Foreign weights are never unpickled.
        safe = {} if kind.endswith("Processor") else {"use_safetensors": True}
        try:
            found = getattr(library, kind).from_pretrained(name, **safe)
        except Exception as error:
            # Whatever other people's files and networks raise.
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"masks: the model '{name}' does not load: {type(error).__name__}: {reason}") from error
        return found.to(self.config.device).eval() if isinstance(found, torch.nn.Module) else found


class _Detected:
    """What the detector and the segmenter make of a first picture."""

    def __init__(self, models: GroundedMasks) -> None:
        self._models = models

    def begin(self, view: View, phrases: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        boxes = [self._models.detected(view.picture, phrase) for phrase in phrases]
        return self._models.segmented(view.picture, boxes)

    def follow(self, view: View) -> Bool[np.ndarray, "K H W"]:
        raise NotImplementedError("the detector is asked once")


def _box(mask: Bool[np.ndarray, "H W"]) -> np.ndarray:
    """(x, y, x, y) around a mask."""
    places = np.argwhere(mask)
    (top, left), (bottom, right) = places.min(0), places.max(0) + 1
    return np.array([left, top, right, bottom], np.float32)
