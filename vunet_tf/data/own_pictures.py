"""Pictures from outside a dataset made into examples, fitted as `prepare` fitted the dataset's own."""

from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.keypoint_files import Person
from vunet_tf.data.dataset import DatasetInfo
from vunet_tf.data.example import Example
from vunet_tf.data.sources.coco import square_around
from vunet_tf.data.sources.folder import fitted
from vunet_tf.data.sources.source import DEFAULT_FITS, Options, person_example
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

FITS = ("person", *pictures.FITS)


class Fitting(NamedTuple):
    """How a picture of any size becomes an example.

    size: side of the square in pixels.
    fit: "person" for the square around a person (as the source coco), or one of `pictures.FITS`.
    margin: of "person": what is added on each side, as a fraction of the box's longer side.
    shape_channels: 1 for grey shape maps, 3 for coloured ones and stickmen.
    stickmen: whether shapes are drawn from joints.
    edges: whether the edges of a picture are its shape.
    """

    size: int
    fit: str
    margin: float
    shape_channels: int
    stickmen: bool
    edges: bool

    @classmethod
    def of_dataset(cls, info: DatasetInfo):
        """The fitting of a dataset's own pictures, by what `dataset.json` says."""
        flags = info.made_with.get("flags", {})
        fit = "person" if info.source == "coco" else flags.get("fit") or DEFAULT_FITS.get(info.source, "pad")
        return cls(
            size=info.image_size,
            fit=fit,
            margin=flags.get("margin", Options.margin),
            shape_channels=info.shape_channels,
            stickmen=info.joints is not None,
            edges=info.source == "folder" and not flags.get("shapes"),
        )

    def person(self, name: str, picture: np.ndarray, person: Person) -> Example:
        """The example of a [H, W, 3] uint8 picture and its keypoints.

        Raises:
            InputError: if a shoulder or hip is unseen or outside of the square, or there is no box to cut.
        """
        height, width = picture.shape[:2]
        if self.fit == "person":
            box = square_around(person.box, self.margin)
        else:
            box = pictures.fit_box(width, height, self.fit)
        joints = keypoints.pixels_to_fractions(person.joints, width, height)
        options = Options(image_size=self.size, encoding="png", min_joints=0)
        return person_example(picture, joints, box, options, **_named(name))

    def mapped(self, name: str, picture: np.ndarray, shape: np.ndarray | None) -> Example:
        """The example of a [H, W, 3] uint8 picture and its shape map [h, w, 3]; without one, its edges.

        Raises:
            InputError: if the map's channels are not those of the dataset.
        """
        square, fitted_shape = fitted(picture, shape, self._whole, self.size)
        encoded = self._encoded_map(fitted_shape)
        return Example(image=pictures.encode(square, "png"), shape=encoded, **_named(name))

    def shape_map(self, name: str, shape: np.ndarray) -> Example:
        """An example that is only a shape, from a shape map [h, w, 3] uint8; its picture has no bytes.

        Raises:
            InputError: if the map's channels are not those of the dataset.
        """
        box = pictures.fit_box(shape.shape[1], shape.shape[0], self._whole)
        return Example(image=b"", shape=self._encoded_map(pictures.cut(shape, box, self.size)), **_named(name))

    @property
    def _whole(self) -> str:
        """The fit of a picture without a person."""
        return "pad" if self.fit == "person" else self.fit

    def _encoded_map(self, shape: np.ndarray) -> bytes:
        grey = (shape == shape[..., :1]).all()
        if self.shape_channels == 1 and not grey:
            raise InputError("a shape map in colour; the run's have 1 channel: save it as a grey picture")
        if self.stickmen and grey and shape.shape[-1] == 3 and (shape > 0).any():
            raise InputError(
                "a grey shape map; the run's are stickmen of 3 channels: red right, green left, blue torso"
            )
        if self.shape_channels == 1 and shape.shape[-1] == 3:
            shape = pictures.to_grey(shape)
        return pictures.encode(shape, "png")


def _named(name: str) -> dict:
    return {"split": "", "name": name, "appearance_id": name, "shape_id": name}
