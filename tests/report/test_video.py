import io
import sys

import numpy as np
import pytest
from PIL import Image

from burnish.errors import InputError
from burnish.report.video import FAILURE, SUCCESS, caption_bar, encode_mp4, save_video, side_by_side


def clip(length, height=48, width=64, value=90):
    return np.full((length, height, width, 3), value, dtype=np.uint8)


def decode(data):
    import av

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), stream.codec_context, stream.average_rate


def test_video_decodes_to_the_same_frames():
    frames = np.stack([np.full((48, 64, 3), 20 * t, dtype=np.uint8) for t in range(10)])
    decoded, codec, rate = decode(encode_mp4(frames, fps=12.5))
    assert decoded.shape == (10, 48, 64, 3)
    assert (codec.name, codec.pix_fmt, float(rate)) == ("h264", "yuv420p", 12.5)
    assert np.abs(decoded.astype(int) - frames).max() <= 6


def test_odd_sizes_grow_to_even_and_the_index_comes_first():
    data = encode_mp4(clip(3, 47, 63), fps=20)
    assert decode(data)[0].shape == (3, 48, 64, 3)
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_saved_video_has_a_still_of_its_last_frame_and_leaves_nothing_else(tmp_path):
    frames = np.concatenate([clip(4), clip(1, value=200)])
    video = save_video(tmp_path, "a", frames, 10, "Title", "Caption")
    assert (video.file, video.poster) == ("videos/a.mp4", "videos/a.jpg")
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["a.jpg", "a.mp4"]
    still = np.asarray(Image.open(tmp_path / video.poster))
    assert still.shape == (48, 64, 3) and abs(int(still.mean()) - 200) <= 2


def test_side_by_side_freezes_frames_and_colours_the_end():
    moving = np.stack([np.full((48, 64, 3), 10 * t, dtype=np.uint8) for t in range(6)])
    shown = side_by_side(moving[:3], moving, ("before", "after"), (False, True), hold=2)
    bar = 16
    assert shown.shape == (8, bar + 48, 64 + 8 + 64, 3)
    middle = bar + 24
    # The left clip stands still from its third frame on; the right one runs to its sixth.
    assert shown[:, middle, 32, 0].tolist() == [0, 10, 20, 20, 20, 20, 20, 20]
    assert shown[:, middle, -32, 0].tolist() == [0, 10, 20, 30, 40, 50, 50, 50]
    left_edge, right_edge = shown[:, -1, 5], shown[:, -1, -5]
    assert [tuple(c) == FAILURE for c in left_edge.tolist()] == [False] * 2 + [True] * 6
    assert [tuple(c) == SUCCESS for c in right_edge.tolist()] == [False] * 5 + [True] * 3


def test_side_by_side_without_outcomes_has_no_border_and_scales_heights():
    shown = side_by_side(clip(2, 96, 128), clip(2, 48, 64), ("imagined", "real"), hold=0)
    bar = 16
    assert shown.shape == (2, bar + 48, 64 + 8 + 64, 3)
    assert np.all(shown[:, bar:, :64] == 90) and np.all(shown[:, bar:, 72:] == 90)


def test_clips_of_different_widths_line_up():
    shown = side_by_side(clip(1, 48, 64), clip(1, 48, 400), ("narrow", "wide"), (True, False), hold=0)
    assert shown.shape == (1, 16 + 48, 64 + 8 + 400, 3)


def test_a_long_caption_shrinks_to_fit():
    short, long = caption_bar("real", 200, 18), caption_bar("the real simulator, ö, given the same actions", 200, 18)
    assert short.shape == long.shape == (18, 200, 3)
    background = long[0, 0]
    inked = np.flatnonzero((long != background).any(axis=(0, 2)))
    assert inked.min() >= 1 and inked.max() <= 198


@pytest.mark.parametrize(
    "frames",
    [np.zeros((3, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8), np.zeros((3, 8, 8, 3), np.float32)],
    ids=["shape", "empty", "dtype"],
)
def test_wrong_frames_are_refused(frames):
    with pytest.raises(InputError, match="expected video frames"):
        encode_mp4(frames, fps=10)
    with pytest.raises(InputError, match="right"):
        side_by_side(clip(1), frames, ("a", "b"))


def test_missing_pyav_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install -e"):
        encode_mp4(clip(2), fps=10)
