"""Writes animations: GIF (Pillow) and MP4 (H.264 by PyAV, which every browser plays)."""

import contextlib
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vunet_tf.files.errors import InputError

SUFFIXES = (".gif", ".mp4")
_QUALITY = "18"  # x264's constant rate factor: it looks almost like the original


def write(path: Path, frames: Iterable[np.ndarray], fps: float, sound: Path | None = None) -> None:
    """Writes frames as an animation. The ending of the path decides the format.

    Args:
        path: ends in .gif (endless) or .mp4.
        frames: [H, W, 3] uint8 pictures of one size. In an MP4 an odd side loses its last pixel.
        fps: frames per second, above 0. GIF counts in hundredths of a second, and players show at most 50 per second.
        sound: a video. If it has sound, an MP4 gets this sound.

    Raises:
        InputError: the path has another ending, or there are no frames.
        OSError: it cannot be written.
    """
    writers: dict[str, Callable] = {".gif": _write_gif, ".mp4": partial(_write_mp4, sound=sound)}
    if path.suffix.lower() not in writers:
        raise InputError(f"{path.name}: an animation's name ends in {' or '.join(SUFFIXES)}")
    others = iter(frames)
    first = next(others, None)
    if first is None:
        raise InputError("no picture was made")
    writers[path.suffix.lower()](path, first, others, fps)


def _write_gif(path: Path, first: np.ndarray, others: Iterable[np.ndarray], fps: float) -> None:
    hundredths = max(2, round(100 / fps))
    images = map(Image.fromarray, others)
    Image.fromarray(first).save(path, "GIF", save_all=True, append_images=images, duration=10 * hundredths, loop=0)


def _write_mp4(path: Path, first: np.ndarray, others: Iterable[np.ndarray], fps: float, sound: Path | None) -> None:
    height, width = (side - side % 2 for side in first.shape[:2])  # yuv420p has colours for 2 x 2 pixels
    with contextlib.ExitStack() as stack:
        # With the index at its beginning, a browser can start before it has the whole file.
        options = {"movflags": "+faststart"}
        container = stack.enter_context(av.open(str(path), "w", format="mp4", options=options))
        stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": _QUALITY}
        given = stack.enter_context(av.open(str(sound))) if sound else None
        tracks = (
            [(track, container.add_stream("aac", track.rate)) for track in given.streams.audio[:1]] if given else []
        )
        for frame in chain([first], others):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        for track, written in tracks:
            for frame in given.decode(track):
                container.mux(written.encode(frame))
            container.mux(written.encode(None))
