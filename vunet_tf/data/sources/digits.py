"""The handwritten digits of scikit-learn: a small, well-known set that needs no download.

1,797 pictures of 8 x 8 pixels in 17 grey levels (Alpaydin and Kaynak 1998, the test part of "Optical Recognition of
Handwritten Digits"). Here the shape is which digit it is, and the appearance is how it is written. The shape map of a
picture is the mean of all training pictures of its digit. So a conditional model has the classical task: draw a 3.
"""

from functools import partial

import numpy as np

from vunet_tf.data.example import Example
from vunet_tf.data.sources.source import Options, Source
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

SIDE = 8  # pixels
LEVELS = 16  # the brightest value in the set
VALID = 5  # the last fifth of the set is for validation


def open_source(options: Options) -> Source:
    """All digits, in the order of the set.

    Raises:
        InputError: --image_size is not a multiple of 8.
    """
    from sklearn.datasets import load_digits  # takes a second, and only this source needs it

    options = options.with_defaults(image_size=SIDE, encoding="png")
    size = options.image_size
    if size % SIDE:
        raise InputError(f"--image_size={size}: must be a multiple of {SIDE}, the side of the digits")
    found = load_digits()
    values = np.rint(found.images * (255 / LEVELS)).astype(np.uint8)
    images = values.repeat(size // SIDE, axis=1).repeat(size // SIDE, axis=2)
    first_valid = len(images) - len(images) // VALID
    training = images[:first_valid], found.target[:first_valid]
    shapes = [np.rint(training[0][training[1] == digit].mean(0)).astype(np.uint8) for digit in range(10)]
    items = [
        ("train" if i < first_valid else "valid", i, int(digit), image)
        for i, (digit, image) in enumerate(zip(found.target, images, strict=True))
    ]
    return Source(
        items=items,
        make=partial(_make, shapes=shapes, encoding=options.encoding),
        name_of=_name,
        image_size=size,
        has_joints=False,
        shape_channels=1,
        how={
            "picture": f"scikit-learn's digits, grey in three equal channels, each pixel {size // SIDE} pixels wide",
            "shape": "the mean of the training pictures of the same digit",
            "split": f"valid: the last {len(images) - first_valid} of the set",
        },
    )


def _make(item, shapes, encoding: str) -> list[Example]:
    split, _, digit, image = item
    return [
        Example(
            split=split,
            name=_name(item),
            appearance_id=_name(item),
            shape_id=f"digit{digit}",
            image=pictures.encode(image[..., None].repeat(3, axis=-1), encoding),
            shape=pictures.encode(shapes[digit][..., None], "png"),
            attributes={"digit": str(digit)},
        )
    ]


def _name(item) -> str:
    return f"digit{item[2]}_{item[1]:04d}"
