"""The parts that a model with --latent=laid has found: their names, by where they lie, and a picture of them."""

import colorsys
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vunet_tf.body.body_parts import BACKGROUND, REGIONS
from vunet_tf.files.errors import InputError

SMALLEST_SHARE = 0.004  # of the picture: smaller parts get no number
TEXTURE = "texture"  # the name of the codes of the trunk's texture, beside those of the regions
ENLARGED = 8  # pixels of the picture for each position of the part maps


def colours(parts: int) -> np.ndarray:
    """A colour for each part, [parts, 3] in 0..255. Parts with neighbouring numbers get different colours."""
    golden = 0.618034
    hues = [colorsys.hsv_to_rgb(k * golden % 1, 0.45 + 0.4 * (k % 2), 0.95 - 0.3 * (k % 3 == 1)) for k in range(parts)]
    return 255 * np.array(hues)


def drawn(maps: np.ndarray) -> np.ndarray:
    """Part maps [m, m, K] as a picture [8 m, 8 m, 3] uint8: each part has a colour, and its number in the middle."""
    side, _, parts = maps.shape
    picture = Image.fromarray(np.clip(np.rint(maps @ colours(parts)), 0, 255).astype(np.uint8))
    picture = picture.resize((ENLARGED * side, ENLARGED * side), Image.Resampling.NEAREST)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=1.6 * ENLARGED)
    most = maps.argmax(-1)
    for part in range(parts):
        where = np.argwhere(most == part)
        if len(where) < SMALLEST_SHARE * side**2:
            continue
        middle = where.mean(0)
        y, x = where[
            np.square(where - middle).sum(1).argmin()
        ]  # a position in the part: the middle of a bent part can be outside of it
        at = (ENLARGED * (x + 0.5), ENLARGED * (y + 0.5))
        draw.text(at, str(part), fill="black", stroke_fill="white", stroke_width=1, font=font, anchor="mm")
    return np.asarray(picture)


def chosen(names: str, regions: list[str] | None, parts: int, texture_codes: int = 0) -> list[int]:
    """Which codes of z a text names. It has numbers of parts and regions, with + between ("torso+arms", "3+7").

    "texture" names the codes of the trunk's texture, which follow those of the parts. "torso" includes them.

    Args:
        names: the text.
        regions: the region of each part, see `body_parts.regions_of`; None if the data has no joints.
        parts: number of parts.
        texture_codes: number of codes of the texture.

    Raises:
        InputError: there is no such part or region.
    """
    found, texture = set(), set(range(parts, parts + texture_codes))
    for name in names.split("+"):
        if re.fullmatch(r"\d+", name):
            if int(name) >= parts:
                raise InputError(f"there is no part {name}: they are counted from 0 to {parts - 1}")
            found.add(int(name))
        elif name == TEXTURE and texture_codes:
            found |= texture
        elif regions is None:
            raise InputError(f"part {name!r}: without joints parts have numbers only; `generate parts` shows them")
        elif name not in (*REGIONS, BACKGROUND):
            raise InputError(f"part {name!r}: must be a number, or one of {', '.join((*REGIONS, BACKGROUND))}")
        else:
            found |= {k for k, region in enumerate(regions) if region == name}
            if name == "torso":
                found |= texture
    if not found:
        raise InputError(f"no part lies mostly in {names!r}; `generate parts` shows where they lie")
    return sorted(found)
