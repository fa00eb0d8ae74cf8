"""Decoding pictures of every kind, and refusing broken ones."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vunet_tf.data.edges import edge_map
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import Box

RAMP = np.arange(24 * 16, dtype=np.uint32).reshape(16, 24)
COLOUR = np.stack([RAMP % 256, (RAMP * 3) % 256, (RAMP * 7) % 256], axis=-1).astype(np.uint8)


def saved(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def test_colour():
    np.testing.assert_array_equal(pictures.read_picture(saved(Image.fromarray(COLOUR), "PNG")), COLOUR)


def test_grey_and_palette():
    grey = COLOUR[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(pictures.read_picture(saved(Image.fromarray(grey), "PNG")), expected)
    palette = Image.fromarray(grey).convert("P")
    np.testing.assert_array_equal(pictures.read_picture(saved(palette, "PNG")), expected)
    bilevel = Image.fromarray(grey > 100)
    assert set(np.unique(pictures.read_picture(saved(bilevel, "PNG")))) == {0, 255}


def test_sixteen_bits_are_scaled_not_cut():
    values = np.linspace(0, 65535, 24 * 16).round().astype(np.uint16).reshape(16, 24)
    expected = np.rint(values / 257).astype(np.uint8)
    for file_format in ("PNG", "TIFF"):
        picture = pictures.read_picture(saved(Image.fromarray(values), file_format))
        np.testing.assert_array_equal(picture, np.repeat(expected[..., None], 3, axis=-1))


def test_cmyk():
    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 40, 90), np.uint8)).convert("CMYK")
    picture = pictures.read_picture(saved(cmyk, "JPEG", quality=100))
    np.testing.assert_allclose(picture.reshape(-1, 3).mean(0), (200, 40, 90), atol=3)


def test_transparent_pixels_are_laid_on_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (10, 20, 30, 255)
    rgba[2:] = (10, 20, 30, 0)
    picture = pictures.read_picture(saved(Image.fromarray(rgba, "RGBA"), "PNG"))
    assert (picture[:2] == (10, 20, 30)).all() and (picture[2:] == 255).all()
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 90, 90, 90])
    picture = pictures.read_picture(saved(palette, "PNG", transparency=0))
    assert picture.tolist() == [[[255, 255, 255], [90, 90, 90]]]


def test_an_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees when shown
    picture = pictures.read_picture(saved(Image.fromarray(COLOUR), "PNG", exif=exif))
    np.testing.assert_array_equal(picture, np.rot90(COLOUR, -1))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_truncated_picture_is_refused(file_format):
    content = saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), file_format)
    assert pictures.read_picture(content).shape == (64, 64, 3)
    with pytest.raises(InputError):
        pictures.read_picture(content[: len(content) // 2])


def test_empty_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="the file is empty"):
        pictures.read_picture(b"")
    with pytest.raises(InputError, match="No such file"):
        pictures.read_picture(tmp_path / "none.png")
    with pytest.raises(InputError, match="Is a directory"):
        pictures.read_picture(tmp_path)
    for content in (b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n" + bytes(50)):
        with pytest.raises(InputError):
            pictures.read_picture(content)


def png_bomb(width, height):
    """A PNG of a few hundred bytes that claims to be huge."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8200, 30_000, 2_000_000_000])
def test_a_png_bomb_is_refused_before_it_is_decoded(side):
    with pytest.raises(InputError, match=r"limit of 67108864|broken picture"):
        pictures.read_picture(png_bomb(side, side))


def test_pipes_and_devices_are_refused(tmp_path):
    """Reading them would wait or never end. A link to a picture can be read like the picture."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "picture.png").write_bytes(pictures.encode(COLOUR, "png"))
    (tmp_path / "link.png").symlink_to(tmp_path / "picture.png")
    for name in ("pipe.png", "endless.png"):
        with pytest.raises(InputError, match="no regular file"):
            pictures.read_picture(tmp_path / name)
    for name in ("a\0b.png", "\ud800.png"):
        with pytest.raises(InputError, match="no file can have this name"):
            pictures.read_picture(tmp_path / name)
    np.testing.assert_array_equal(pictures.read_picture(tmp_path / "link.png"), COLOUR)


def test_floating_point_pixels_are_refused():
    with pytest.raises(InputError, match="floating-point"):
        pictures.read_picture(saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize(
    ("fit", "box"), [("stretch", (0, 0, 30, 20)), ("pad", (0, -5, 30, 30)), ("crop", (5, 0, 20, 20))]
)
def test_fits(fit, box):
    assert pictures.fit_box(30, 20, fit) == box


def test_a_cut_repeats_the_edge_beyond_the_picture():
    cut = pictures.cut(COLOUR, Box(-4, -4, 12, 12), 12)
    np.testing.assert_array_equal(cut[4:, 4:], COLOUR[:8, :8])
    np.testing.assert_array_equal(cut[:4, 4:], np.repeat(COLOUR[:1, :8], 4, axis=0))
    assert (cut[:5, :5] == COLOUR[0, 0]).all()
    with pytest.raises(InputError, match="nothing of the box"):
        pictures.cut(COLOUR, Box(100, 0, 5, 5), 8)


def test_a_cut_keeps_one_channel():
    grey = pictures.to_grey(COLOUR)
    box = Box(0, 0, COLOUR.shape[1], COLOUR.shape[0])
    cut = pictures.cut(grey, box, 5)
    np.testing.assert_array_equal(cut[..., 0], pictures.cut(grey[..., 0], box, 5))
    assert cut.shape == (5, 5, 1)


def test_a_box_too_large_for_memory_is_refused():
    """A picture of 60,000 x 500 pixels, padded to a square, would take 10 GB."""
    with pytest.raises(InputError, match="over the limit of 67108864 pixels"):
        pictures.cut(COLOUR, pictures.fit_box(60_000, 500, "pad"), 64)


def test_joints_follow_the_cut():
    """A bright dot stays under its joint."""
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[41:44, 69:72] = 255
    joint = np.array([[70.5 / 100, 42.5 / 60]], np.float32)
    box = Box(30, 10, 60, 60)
    cut = pictures.cut(picture, box, 120)[..., 0].astype(float)
    y, x = np.mgrid[:120, :120] + 0.5
    found = np.array([(x * cut).sum(), (y * cut).sum()]) / cut.sum() / 120
    np.testing.assert_allclose(pictures.fractions_in_box(joint, 100, 60, box)[0], found, atol=0.002)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_encoding(encoding):
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    again = pictures.read_picture(pictures.encode(smooth, encoding))
    np.testing.assert_allclose(again.astype(int), smooth, atol=0 if encoding == "png" else 8)


def test_edges_of_a_square():
    picture = np.full((64, 64, 3), 30, np.uint8)
    picture[16:48, 16:48] = 220
    edges = edge_map(picture)
    assert edges.shape == (64, 64, 1) and set(np.unique(edges)) == {0, 255}
    y, x = np.nonzero(edges[..., 0])
    from_outline = np.abs(np.maximum(np.abs(x - 31.5), np.abs(y - 31.5)) - 16)
    assert from_outline.max() <= 1.5 and len(x) > 100
    assert not edge_map(np.full((64, 64, 3), 77, np.uint8)).any()
