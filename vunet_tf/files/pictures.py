"""Pictures from and to files: decoding that refuses broken files, square cuts, encoding. Only NumPy and Pillow."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes

# Decoders that are well maintained and start no other program (Pillow's EPS decoder would start one).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
MAX_PIXELS = 2**26  # 64 megapixels: a larger picture is refused before it is decoded
MAX_BYTES = 8 * MAX_PIXELS  # of a file: the largest picture in 16 bits and 4 channels, not compressed
JPEG_QUALITY = 95
FITS = ("stretch", "pad", "crop")
ENCODINGS = ("jpeg", "png")


class Box(NamedTuple):
    """A rectangle in a picture, in whole pixels. It may reach beyond the picture."""

    left: int
    top: int
    width: int
    height: int


def read_picture(source: Path | str | bytes) -> np.ndarray:
    """Decodes a picture of any common kind to colour.

    Grey, palette, CMYK and 16-bit pictures are converted. An EXIF rotation is applied. Transparent pixels are laid on
    white. Of an animation, the first frame is taken.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        [H, W, 3] uint8.

    Raises:
        InputError: if there is no such file, or it is empty, truncated, of no known format, or over `MAX_PIXELS`.
    """
    if not isinstance(source, bytes):
        try:
            source = read_bytes(source, MAX_BYTES)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}") from error
    if not source:
        raise InputError("the file is empty")
    try:
        with Image.open(io.BytesIO(source), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{image.width} x {image.height} pixels, over the limit of {MAX_PIXELS}")
            return _to_rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"not a picture in a known format ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"over the limit of {MAX_PIXELS} pixels") from error
    except Exception as error:  # decoders raise anything on broken files; one bad picture must not end a long run
        raise InputError(f"broken picture: {error}") from error


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise InputError("floating-point pixels have no known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits of grey, whatever the container calls it
        values = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        values += 128
        values //= 257  # rounded to the nearest; in place, since a large picture would otherwise need gigabytes
        return np.repeat(values.astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
    return np.asarray(image.convert("RGB"))


def fit_box(width: int, height: int, fit: str) -> Box:
    """The rectangle of a picture that becomes the square picture.

    "stretch" takes the whole picture (released program), "pad" adds to its short side, "crop" cuts from its long side.
    """
    if fit == "stretch":
        return Box(0, 0, width, height)
    side = max(width, height) if fit == "pad" else min(width, height)
    return Box((width - side) // 2, (height - side) // 2, side, side)


def cut(picture: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Cuts a box out of a picture and resizes it to a square, bilinearly and without aliasing.

    Args:
        picture: [H, W, C] or [H, W] uint8.
        box: the rectangle. Beyond the picture, the picture's edge is repeated.
        size: side of the result in pixels.

    Returns:
        [size, size, C] or [size, size] uint8.

    Raises:
        InputError: if the box and the picture do not overlap, or the box is over `MAX_PIXELS`.
    """
    if box.width * box.height > MAX_PIXELS:
        raise InputError(f"the box {tuple(box)} is over the limit of {MAX_PIXELS} pixels")
    height, width = picture.shape[:2]
    left, top = max(box.left, 0), max(box.top, 0)
    right, bottom = min(box.left + box.width, width), min(box.top + box.height, height)
    if left >= right or top >= bottom:
        raise InputError(f"nothing of the box {tuple(box)} lies in the picture of {width} x {height} pixels")
    cropped = picture[top:bottom, left:right]
    beyond = [(top - box.top, box.top + box.height - bottom), (left - box.left, box.left + box.width - right)]
    if any(map(any, beyond)):
        cropped = np.pad(cropped, [*beyond, (0, 0)][: picture.ndim], mode="edge")
    if cropped.shape[:2] == (size, size):
        return np.ascontiguousarray(cropped)
    planes = cropped[..., 0] if picture.shape[2:] == (1,) else cropped  # Pillow cannot take an axis of one channel
    resized = np.asarray(Image.fromarray(planes).resize((size, size), Image.Resampling.BILINEAR))
    return resized.reshape(size, size, *picture.shape[2:])


def fractions_in_box(points: np.ndarray, width: int, height: int, box: Box) -> np.ndarray:
    """Turns fractions of a picture into fractions of a box in it: [..., 2] in and out. NaN stays NaN."""
    pixels = points * np.array([width, height], np.float32)
    return ((pixels - [box.left, box.top]) / [box.width, box.height]).astype(np.float32)


def encode(picture: np.ndarray, encoding: str) -> bytes:
    """A [H, W, 3], [H, W, 1] or [H, W] uint8 picture as the bytes of a "png" (exact) or "jpeg" file."""
    if picture.ndim == 3 and picture.shape[-1] == 1:
        picture = picture[..., 0]
    buffer = io.BytesIO()
    if encoding == "png":
        Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    else:
        Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return buffer.getvalue()


def list_pictures(folder: Path) -> list[Path]:
    """All files below a folder whose name ends like a picture's, sorted. Hidden files are left out.

    Raises:
        InputError: if it is no folder or has no such file.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    if not found:
        raise InputError(f"{folder} has no pictures (looked for {', '.join(SUFFIXES)} in all its folders)")
    return found


def to_grey(picture: np.ndarray) -> np.ndarray:
    """Turns [H, W, 3] uint8 into [H, W, 1] by luminance. This is exact for a grey picture."""
    return np.asarray(Image.fromarray(picture).convert("L"))[..., None]
