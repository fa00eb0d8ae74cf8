"""Pictures of an appearance in another shape, made without a model."""

from functools import lru_cache

import numpy as np

from vunet_tf.baselines.gallery import Gallery, decoded, figure
from vunet_tf.data.example import Example

COPY = "copy the reference picture"
MEAN = "mean training picture of the shape"
NEAREST = "nearest training appearance"
BYTES_OF_SUMS = 256 * 2**20  # memory for the sums of pictures that are kept


class TransferBaselines:
    """Three answers to "the appearance of this picture, in that shape".

    Copy: the reference picture itself.
    Mean training picture: the mean of the gallery's pictures in the wanted shape.
    Nearest training appearance: from the same pictures, the one whose appearance is nearest to the reference. If the
      gallery has pictures of all these appearances in the shape of the reference (sprites), near means a small mean
      |difference| between those pictures and the reference. Otherwise it means near mean colours of eight horizontal
      bands of the figure and of its background.

    Pictures of the wanted appearance itself are left out of the gallery.
    """

    def __init__(self, gallery: Gallery):
        self._gallery = gallery
        # Decoded pictures that the next calls probably need again are kept.
        sums = BYTES_OF_SUMS // (gallery.image_size**2 * 3 * np.float32().nbytes)
        self._sum = lru_cache(maxsize=sums)(self._sum)
        self._decoded_in = lru_cache(maxsize=1)(self._decoded_in)
        self._distances_to = lru_cache(maxsize=256)(self._distances_to)
        self._colours_of = lru_cache(maxsize=None)(self._colours_of)  # smaller than the gallery's pictures
        self._references: dict[str, Example] = {}

    def pictures(self, reference: Example, target: Example) -> dict[str, np.ndarray]:
        """{name of the baseline: [S, S, 3] uint8}. If no picture is in the shape or near to it, only the copy."""
        self._references[reference.name] = reference
        made = {COPY: decoded(reference)}
        members = self._gallery.of_shape(target.shape_id)
        others = [each for each in members.values() if each.appearance_id != target.appearance_id]
        if others:
            total = self._sum(target.shape_id)
            if own := members.get(target.appearance_id):
                total = total - decoded(own)
            made[MEAN] = np.rint(total / len(others)).astype(np.uint8)
            made[NEAREST] = decoded(self._nearest(reference, target.shape_id, others))
        return made

    def _sum(self, shape_id):
        return sum(decoded(each).astype(np.float32) for each in self._gallery.of_shape(shape_id).values())

    def _nearest(self, reference, shape_id, others):
        known = self._gallery.of_shape(reference.shape_id) if self._gallery.has_shape(reference.shape_id) else {}
        if all(each.appearance_id in known for each in others):
            distances = self._distances_to(reference.name)
            return min(others, key=lambda each: distances[each.appearance_id])
        colours = band_colours(decoded(reference), figure(reference))
        return min(others, key=lambda each: np.abs(colours - self._colours_of(shape_id, each.appearance_id)).sum())

    def _distances_to(self, name):
        """{appearance_id: mean |difference|} between a reference and the pictures in its shape."""
        reference = self._references[name]
        picture = decoded(reference).astype(np.int16)
        return {who: np.abs(other - picture).mean() for who, other in self._decoded_in(reference.shape_id).items()}

    def _decoded_in(self, shape_id):
        return {who: decoded(each) for who, each in self._gallery.of_shape(shape_id).items()}

    def _colours_of(self, shape_id, appearance_id):
        example = self._gallery.of_shape(shape_id)[appearance_id]
        return band_colours(decoded(example), figure(example))


def band_colours(picture: np.ndarray, mask: np.ndarray | None = None, bands: int = 8) -> np.ndarray:
    """Mean colours [bands + 1, 3] of the figure's horizontal bands from top to bottom; the last is the background's.

    They describe which colours a figure wears where, whatever its pose. The bands have equal height, from the highest
    to the lowest pixel of `mask` [H, W] (bool) in `picture` [H, W, 3] uint8. Without a mask the figure is the whole
    picture, and the background is black.
    """
    mask = np.ones(picture.shape[:2], bool) if mask is None or not mask.any() else mask
    rows, columns = np.nonzero(mask)
    band = (rows - rows.min()) * bands // (rows.max() - rows.min() + 1)
    counts = np.bincount(band, minlength=bands)
    sums = np.stack([np.bincount(band, channel, bands) for channel in picture[rows, columns].T.astype(float)], axis=1)
    around = picture[~mask].mean(0) if not mask.all() else np.zeros(3)
    return np.concatenate([sums / np.maximum(counts, 1)[:, None], [around]])
