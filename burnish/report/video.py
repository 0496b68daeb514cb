"""Videos of the report: side-by-side comparison with captions, and H.264 encoding.

Encoding needs PyAV, which comes with the simulator's extra; composing needs NumPy and Pillow only.
"""

import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from burnish.errors import InputError, RunError
from burnish.report.section import Video
from burnish.storage import write_bytes_atomic

# Okabe and Ito's green and vermilion: told apart by the colour-blind too; the caption says it in words as well.
SUCCESS, FAILURE = (0, 158, 115), (213, 94, 0)
CAPTION_BACKGROUND, CAPTION_INK = (28, 33, 39), (255, 255, 255)
GAP = 8
# The index (moov atom) first, so that a browser can start to play at once.
_CONTAINER_OPTIONS = {"movflags": "faststart"}


def encode_mp4(frames: np.ndarray, fps: float, quality: int = 26) -> bytes:
    """Frames (T, H, W, 3) uint8 as an H.264 MP4 (yuv420p, so that every browser plays it).

    An odd height or width grows by one (yuv420p needs even ones). `quality` is x264's CRF: lower is better and
    larger. Raises InputError for other shapes, and where PyAV is not installed.
    """
    _check_frames(frames, "frames")
    if not fps > 0:
        raise InputError(f"fps must be positive, found {fps}")
    av = _import_av()
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # FFmpeg's faststart reads the finished file once more, so it wants a real file.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        try:
            _write_frames(av, path, even, fps, quality)
            return path.read_bytes()
        except (av.FFmpegError, av.codec.codec.UnknownCodecError, OSError) as error:
            raise RunError(f"the video could not be encoded: {error}") from error


def save_video(folder: Path, name: str, frames: np.ndarray, fps: float, title: str, caption: str) -> Video:
    """Encode `frames` as NAME.mp4 in videos/ of a stage's `folder`; their last one becomes the still picture."""
    video = Video(f"videos/{name}.mp4", title, caption, f"videos/{name}.jpg")
    still = io.BytesIO()
    Image.fromarray(frames[-1]).save(still, "JPEG", quality=85)
    write_bytes_atomic(folder / video.file, encode_mp4(frames, fps))
    write_bytes_atomic(folder / video.poster, still.getvalue())
    return video


def side_by_side(
    left: np.ndarray,
    right: np.ndarray,
    captions: tuple[str, str],
    outcomes: tuple[bool | None, bool | None] = (None, None),
    hold: int = 8,
) -> np.ndarray:
    """Two clips (T, H, W, 3) uint8 beside each other, each under its caption.

    The shorter clip freezes at its last frame, and both stay for `hold` more frames. From its end on, a clip has a
    green (success) or vermilion (failure) border and the word in its caption; None draws neither. Clips of
    different heights are scaled to the lower one.
    """
    _check_frames(left, "left")
    _check_frames(right, "right")
    height = min(left.shape[1], right.shape[1])
    length = max(len(left), len(right)) + hold
    clips = (_scale_to(left, height), _scale_to(right, height))
    # One height for both captions: the panels must match where the widths differ.
    bar = max(16, round(min(clip.shape[2] for clip in clips) / 11))
    panels = [
        _panel(clip, caption, outcome, length, bar)
        for clip, caption, outcome in zip(clips, captions, outcomes, strict=True)
    ]
    gap = np.full((length, panels[0].shape[1], GAP, 3), CAPTION_BACKGROUND, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=2)


def caption_bar(
    text: str, width: int, height: int, background: tuple[int, int, int] = CAPTION_BACKGROUND
) -> np.ndarray:
    """A strip (height, width, 3) uint8 with `text`, shrunk where it would not fit."""
    image = Image.new("RGB", (width, height), background)
    from matplotlib import get_data_path  # here, because it takes a second

    # Matplotlib's own font file: there on every machine, and with letters beyond ASCII.
    font_path = str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    size = max(8, round(0.62 * height))
    font = ImageFont.truetype(font_path, size)
    while size > 7 and font.getlength(text) > width - 8:
        size -= 1
        font = ImageFont.truetype(font_path, size)
    ImageDraw.Draw(image).text((width / 2, height / 2), text, fill=CAPTION_INK, font=font, anchor="mm")
    return np.asarray(image)


def _panel(clip: np.ndarray, caption: str, outcome: bool | None, length: int, bar: int) -> np.ndarray:
    """One clip of `length` frames under a caption of `bar` pixels; the border comes with its last frame."""
    width, end = clip.shape[2], len(clip) - 1
    frames = np.concatenate([clip, np.repeat(clip[-1:], length - len(clip), axis=0)])
    captions = np.repeat(caption_bar(caption, width, bar)[None], length, axis=0)
    if outcome is not None:
        colour = SUCCESS if outcome else FAILURE
        frames[end:] = _with_border(frames[end:], colour)
        captions[end:] = caption_bar(f"{caption}: {'success' if outcome else 'failure'}", width, bar, colour)
    return np.concatenate([captions, frames], axis=1)


def _with_border(frames: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    framed = frames.copy()
    thickness = max(2, frames.shape[1] // 48)
    framed[:, :thickness] = framed[:, -thickness:] = colour
    framed[:, :, :thickness] = framed[:, :, -thickness:] = colour
    return framed


def _scale_to(clip: np.ndarray, height: int) -> np.ndarray:
    if clip.shape[1] == height:
        return clip
    width = max(2, round(clip.shape[2] * height / clip.shape[1]))
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in clip])


def _write_frames(av: Any, path: Path, frames: np.ndarray, fps: float, quality: int) -> None:
    with av.open(str(path), "w", format="mp4", options=_CONTAINER_OPTIONS) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(quality), "preset": "medium"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def _check_frames(frames: np.ndarray, name: str) -> None:
    shape = tuple(getattr(frames, "shape", ()))
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise InputError(f"{name}: expected video frames (T, H, W, 3), none of them zero, found shape {shape}")
    if frames.dtype != np.uint8:
        raise InputError(f"{name}: expected video frames of uint8, found {frames.dtype}")


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError("videos need PyAV: pip install -e '.[metaworld]'") from error
    return av
