"""Animations as files: GIF (Pillow) and MP4 (H.264 by PyAV, playable in every browser)."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vunet_tf.files.errors import InputError

SUFFIXES = (".gif", ".mp4")
_QUALITY = "18"  # x264's constant rate factor: hardly to be told from the original


def write(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Writes frames as an animation, the format by the ending of the path.

    Args:
        path: ends in .gif (endless) or .mp4.
        frames: [H, W, 3] uint8 pictures of one size; in an MP4 an odd side loses its last pixel.
        fps: frames a second, above 0. GIF counts in hundredths of a second, and players show at most 50 a second.

    Raises:
        InputError: for another ending, or no frames.
        OSError: if it cannot be written.
    """
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in writers:
        raise InputError(f"{path.name}: an animation's name ends in {' or '.join(SUFFIXES)}")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise InputError("no picture was made")
    writers[path.suffix.lower()](path, chain([first], frames), fps)


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    first, *others = map(Image.fromarray, frames)
    hundredths = max(2, round(100 / fps))
    first.save(path, "GIF", save_all=True, append_images=others, duration=10 * hundredths, loop=0)


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    # The index at the file's beginning lets a browser start before it has all of it.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = None
        for frame in frames:
            height, width = (side - side % 2 for side in frame.shape[:2])  # yuv420p has colours for 2 x 2 pixels
            if stream is None:
                stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.options = {"crf": _QUALITY}
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
