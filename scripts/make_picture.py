"""Make docs/refined.png from a run: moments of one start, the pretrained policy above, the refined one below.

.venv/bin/python scripts/make_picture.py runs/demo/videos/before_after_1.mp4 docs/refined.png
"""

import sys

import av
import numpy as np
from PIL import Image

MOMENTS = 4


def main() -> None:
    """Read the video, write the picture."""
    source, target = sys.argv[1:3]
    with av.open(source) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int)
    half = frames[0].shape[1] // 2
    rows = [np.concatenate([frames[i][:, side] for i in chosen], axis=1) for side in (np.s_[:half], np.s_[half:])]
    Image.fromarray(np.concatenate(rows, axis=0)).quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    main()
