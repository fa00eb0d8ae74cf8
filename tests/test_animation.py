"""Animations are read back by a decoder: format, frames, colours, time."""

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from vunet_tf.files.errors import InputError
from vunet_tf.generation import animation


def frames(count=7, height=64, width=96):
    """A bright square that moves to the right over a coloured ground."""
    made = np.full((count, height, width, 3), (40, 90, 160), np.uint8)
    for i in range(count):
        made[i, 16:40, 8 * i : 8 * i + 24] = (230, 200, 60)
    return made


def test_an_mp4_decodes_to_its_frames(tmp_path):
    animation.write(tmp_path / "a.mp4", iter(frames()), fps=12.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 12.5
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert decoded.shape == frames().shape
    assert np.abs(decoded.astype(int) - frames()).mean() < 6, "colours differ by no more than the codec's loss"
    assert b"ftyp" in (tmp_path / "a.mp4").read_bytes()[:16]


def test_an_mp4_of_odd_size_loses_a_row_and_a_column(tmp_path):
    animation.write(tmp_path / "a.mp4", frames(2, 65, 97), fps=30)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)] == [(64, 96, 3)] * 2


def test_a_gif_has_its_frames_and_time_and_never_ends(tmp_path):
    animation.write(tmp_path / "a.gif", iter(frames()), fps=8)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 7 and gif.info["loop"] == 0 and gif.info["duration"] == 120
        decoded = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)])
    assert np.abs(decoded.astype(int) - frames()).max() < 16


def test_other_endings_and_no_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.gif or \.mp4"):
        animation.write(tmp_path / "a.avi", frames(), 10)
    with pytest.raises(InputError, match="no picture was made"):
        animation.write(tmp_path / "a.gif", [], 10)
    assert list(tmp_path.iterdir()) == []
