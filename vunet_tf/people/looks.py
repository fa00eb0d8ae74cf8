"""Looks: skin, hair, clothes and background. This is everything in a picture that the joints do not show."""

from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]  # RGB, 0..255

SKINS = {
    "porcelain": (250, 220, 200),
    "fair": (243, 202, 173),
    "olive": (222, 176, 134),
    "tan": (203, 150, 106),
    "brown": (160, 108, 72),
    "dark": (110, 72, 50),
    "deep": (78, 50, 38),
}
HAIRS = {
    "black": (38, 32, 36),
    "brown": (92, 58, 38),
    "chestnut": (134, 74, 40),
    "red": (188, 84, 36),
    "blond": (228, 188, 104),
    "grey": (168, 168, 172),
    "white": (232, 230, 224),
    "blue": (64, 110, 190),
    "pink": (226, 120, 162),
}
CLOTHES = {
    "red": (206, 56, 60),
    "orange": (238, 134, 50),
    "yellow": (246, 204, 78),
    "lime": (150, 196, 74),
    "green": (52, 132, 86),
    "teal": (42, 156, 156),
    "sky": (104, 176, 230),
    "blue": (48, 92, 182),
    "navy": (36, 48, 92),
    "violet": (126, 86, 176),
    "pink": (238, 142, 174),
    "brown": (124, 82, 58),
    "sand": (216, 190, 148),
    "white": (244, 242, 238),
    "grey": (138, 144, 152),
    "black": (44, 44, 52),
}
BACKGROUNDS = {
    "cream": (248, 238, 218),
    "peach": (250, 216, 196),
    "rose": (246, 208, 214),
    "lilac": (220, 210, 238),
    "sky": (200, 224, 244),
    "mint": (204, 234, 216),
    "sage": (190, 206, 180),
    "stone": (206, 204, 200),
    "slate": (128, 140, 156),
    "sea": (108, 160, 170),
}
HAIR_STYLES = ("bald", "short", "crop", "bob", "long", "bun", "ponytail", "afro", "cap")
PATTERNS = ("plain", "stripes", "pinstripes", "checks", "dots", "halves", "emblem")
SLEEVES = ("none", "short", "long")
LEGWEAR = ("trousers", "shorts", "skirt", "long skirt")


class Look(NamedTuple):
    """The look of a person. Colours are RGB in 0..255. `names` describes each part in words, for the evaluation."""

    skin: Colour
    hair: Colour
    hair_style: str
    shirt: Colour
    shirt_accent: Colour
    pattern: str
    sleeves: str
    legwear: str
    legs: Colour
    shoes: Colour
    hat: Colour
    background: Colour
    names: dict[str, str]


def sample_look(seed: int, index: int) -> Look:
    """Look number `index` of a seed. The same arguments give the same look."""
    random = np.random.default_rng([seed, 2, index])

    def colour(table):
        name = list(table)[random.integers(len(table))]
        jitter = random.normal(0, 5, 3)
        return name, tuple(float(c) for c in np.clip(np.array(table[name]) + jitter, 0, 255))

    def one_of(names):
        return str(names[random.integers(len(names))])

    skin, hair, shirt, legs, shoes, hat = map(colour, (SKINS, HAIRS, CLOTHES, CLOTHES, CLOTHES, CLOTHES))
    background = colour(BACKGROUNDS)
    accent = colour(CLOTHES)
    while accent[0] == shirt[0]:  # otherwise the pattern would not show
        accent = colour(CLOTHES)
    styles = {
        "hair_style": one_of(HAIR_STYLES),
        "pattern": one_of(PATTERNS),
        "sleeves": one_of(SLEEVES),
        "legwear": one_of(LEGWEAR),
    }
    names = {"skin": skin[0], "hair": hair[0], "shirt": shirt[0], "legs": legs[0], "shoes": shoes[0]}
    return Look(
        skin=skin[1],
        hair=hair[1],
        shirt=shirt[1],
        shirt_accent=accent[1],
        legs=legs[1],
        shoes=shoes[1],
        hat=hat[1],
        background=background[1],
        **styles,
        names={**names, "background": background[0], **styles},
    )
