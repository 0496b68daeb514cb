"""Pictures as mp4 shards, the way in which LeRobot stores a `video` feature: lossy, and much smaller than PNG."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data.framing import View
from burnish.data.lerobot_format import FILES_PER_CHUNK, VIDEO_TEMPLATE, ColumnError, file_path
from burnish.errors import InputError, RunError

PIXEL_FORMAT = "yuv420p"
# Every second frame is a key frame, as in LeRobot: whoever reads single frames need not decode long stretches. Nothing
# is held back by the encoders, and with one thread the bytes are the same on every machine.
_ENCODERS = {
    "libx264": {"crf": "18", "g": "2", "tune": "zerolatency", "threads": "1"},
    "libsvtav1": {"crf": "20", "g": "2", "preset": "10", "svtav1-params": "lp=1"},
}


@dataclass(frozen=True)
class VideoLocation:
    """Where an episode's pictures are: the video file, and the seconds from its start."""

    chunk: int
    file: int
    from_timestamp: float
    to_timestamp: float


class VideoShards:
    """Appends episodes' pictures to the videos `chunk-000/file-000.mp4`, …; an episode never spans two files.

    One frame is in memory at a time. Methods raise OSError, or RunError where the encoder itself fails.
    """

    def __init__(self, folder: Path, key: str, fps: float, size: tuple[int, int], shard_bytes: float) -> None:
        """Write below `folder`; a file that has passed `shard_bytes` is closed before the next episode.

        Raises:
            InputError: PyAV is missing or has no encoder, or the size (height, width) is odd.
        """
        self._av = import_av()
        encoder = next((name for name in _ENCODERS if name in self._av.codecs_available), None)
        if encoder is None:
            raise InputError(f"PyAV {self._av.__version__}: found none of the encoders {list(_ENCODERS)}, expected one")
        if size[0] % 2 or size[1] % 2:
            raise InputError(f"videos: found pictures of {size[0]} x {size[1]}, expected even numbers; or store images")
        self._encoder = encoder
        self._rate = Fraction(fps).limit_denominator(1001)  # 29.97 is 30000 / 1001
        self._folder, self._key, self._fps, self._size, self._shard_bytes = folder, key, fps, size, shard_bytes
        self._file = self._frames = self._bytes = 0
        self._container: Any = None
        self._stream: Any = None

    @property
    def info(self) -> dict[str, object]:
        """What LeRobot's info.json tells of a video."""
        return {
            "video.height": self._size[0],
            "video.width": self._size[1],
            "video.codec": {"libx264": "h264", "libsvtav1": "av1"}[self._encoder],
            "video.pix_fmt": PIXEL_FORMAT,
            "video.is_depth_map": False,
            "video.fps": self._fps,
            "video.channels": 3,
            "has_audio": False,
        }

    def add(self, pictures: np.ndarray) -> VideoLocation:
        """Append an episode's pictures, uint8 (T, H, W, 3)."""
        if self._bytes >= self._shard_bytes:
            self.close()
            self._file += 1
            self._frames = self._bytes = 0
        with self._encoder_errors():
            if self._container is None:
                self._open()
            start = self._frames
            for picture in pictures:
                frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = self._frames, 1 / self._rate
                self._mux(self._stream.encode(frame))
                self._frames += 1
        return VideoLocation(*divmod(self._file, FILES_PER_CHUNK), start / self._fps, self._frames / self._fps)

    def close(self) -> None:
        """Finish the open file."""
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            with self._encoder_errors():
                self._mux(self._stream.encode(), container)
        finally:
            with self._encoder_errors():
                container.close()

    def abandon(self) -> None:
        """Let go of the open file without a care for what it holds."""
        with contextlib.suppress(OSError, RunError):
            self.close()

    def _open(self) -> None:
        path = self._folder / file_path(VIDEO_TEMPLATE, *divmod(self._file, FILES_PER_CHUNK), self._key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = self._av.open(str(path.absolute()), "w", format="mp4")
        self._stream = self._container.add_stream(
            self._encoder, rate=self._rate, options=dict(_ENCODERS[self._encoder])
        )
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt = PIXEL_FORMAT

    def _mux(self, packets: list[Any], container: Any = None) -> None:
        self._bytes += sum(packet.size for packet in packets)
        (container or self._container).mux(packets)

    @contextlib.contextmanager
    def _encoder_errors(self) -> Iterator[None]:
        """Errors of the operating system stay what they are; the encoder's own become a RunError."""
        try:
            yield
        except self._av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise RunError(f"the video of '{self._key}' cannot be encoded: {error}") from error


@dataclass(frozen=True)
class Wanted:
    """Pictures of a video.

    Attributes:
        times: (N,) when each is shown, in seconds; increasing, at least one.
        tolerance: how far, in seconds, the nearest picture may be from a wanted time.
        height: the declared height.
        width: the declared width.
        view: what becomes of them.
    """

    times: np.ndarray
    tolerance: float
    height: int
    width: int
    view: View = View()


def decode_video(path: Path, wanted: Wanted, threads: int = 1) -> Iterator[np.ndarray]:
    """The wanted pictures of a video, which may come from anybody, one by one, with so many threads.

    What is not wanted as it is, is cropped and resized by FFmpeg before it becomes RGB: every pixel is the mean of the
    area that it covers.

    Yields:
        uint8 (H, W, 3), RGB.

    Raises:
        ColumnError: no video, one of another size, one that cannot be decoded to its end, or one that lacks a picture;
            `row` is the position in `wanted.times` that was not reached.
        InputError: PyAV is missing.
    """
    av, times = import_av(), wanted.times
    position = 0
    try:
        # A plain file in one named format: FFmpeg's playlists could name other files, or addresses on the network.
        with av.open(str(path.absolute()), format="mp4", options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise ColumnError("no video stream", "a video")
            stream = container.streams.video[0]
            _check_size(stream.codec_context, wanted)
            # Broken data would otherwise be painted over with what the last picture showed.
            stream.codec_context.options = {"err_detect": "explode"}
            stream.codec_context.thread_count = threads
            stream.thread_type = "AUTO"
            to_rgb = _ToRGB(av, wanted, stream.time_base)
            for frame in container.decode(stream):
                if frame.time is None or frame.is_corrupt:
                    raise ColumnError("a broken picture in the video", "a whole video", position)
                _check_size(frame, wanted, position)
                if frame.time < times[position] - wanted.tolerance:
                    continue
                if frame.time > times[position] + wanted.tolerance:
                    found = f"no picture at {times[position]:.6g} s of the video"
                    raise ColumnError(found, "one for every frame", position)
                yield to_rgb(frame)
                position += 1
                if position == len(times):
                    return
    except FileNotFoundError as error:
        raise ColumnError("no such file", "a video") from error
    except av.FFmpegError as error:
        raise ColumnError(
            f"a video that cannot be decoded ({error.strerror})", "a whole mp4 video", position
        ) from error
    raise ColumnError("the end of the video", "a picture for every frame", position)


class _ToRGB:
    """Decoded frames as arrays, cropped and resized."""

    # Without them every other line of colours is left out, and the mean is one of fewer pixels.
    _EXACT = "area+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"

    def __init__(self, av: Any, wanted: Wanted, time_base: Fraction) -> None:
        self._av, self._time_base, self._graph = av, time_base, None
        top, left, high, wide = wanted.view.region(wanted.height, wanted.width)
        rows, columns = wanted.view.shape(wanted.height, wanted.width)
        self._filters = {
            "crop": f"{wide}:{high}:{left}:{top}:exact=1",
            "scale": f"{columns}:{rows}:flags={self._EXACT}",
        }
        if wanted.view.keeps(wanted.height, wanted.width):
            self._filters = {}

    def __call__(self, frame: Any) -> np.ndarray:
        """The picture, uint8 (H, W, 3)."""
        if not self._filters:
            return frame.to_ndarray(format="rgb24")
        if self._graph is None:
            self._graph = self._made(frame)
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _made(self, frame: Any) -> Any:
        graph = self._av.filter.Graph()
        if hasattr(graph, "threads"):  # since PyAV 18; LeRobot's environments have older ones
            graph.threads = 1
        size = {"width": frame.width, "height": frame.height, "format": frame.format, "time_base": self._time_base}
        steps = [graph.add(name, settings) for name, settings in self._filters.items()]
        graph.link_nodes(graph.add_buffer(**size), *steps, graph.add("format", "rgb24"), graph.add("buffersink"))
        graph.configure()
        return graph


def import_av() -> Any:
    """PyAV.

    Raises:
        InputError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError("videos need PyAV: pip install -e '.[metaworld]'") from error
    return av


def _check_size(found: Any, wanted: Wanted, row: int | None = None) -> None:
    if (found.height, found.width) != (wanted.height, wanted.width):
        expected = f"{wanted.height} x {wanted.width} as declared in info.json"
        raise ColumnError(f"a video of {found.height} x {found.width}", expected, row)
