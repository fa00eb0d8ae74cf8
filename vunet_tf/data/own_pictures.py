"""Turns pictures from outside a dataset into examples, in the way in which `prepare` made those of the dataset."""

from typing import NamedTuple

import numpy as np

from vunet_tf.body.estimation import Estimate, Mask
from vunet_tf.body.keypoint_files import Person
from vunet_tf.data import recognise
from vunet_tf.data.dataset import DatasetInfo
from vunet_tf.data.example import LARGEST_SIDE, Example
from vunet_tf.data.sources.folder import fitted
from vunet_tf.data.sources.source import CUTOUTS, DEFAULT_FITS, Options, joints_in_box, person_example, square_around
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import shown

FITS = ("person", *pictures.FITS)
_DRAWN = ("figures", "sprites")  # sources whose pictures are drawings


class Fitting(NamedTuple):
    """How a picture of any size becomes an example.

    Attributes:
        size: side of the square in pixels.
        fit: "person" for the square around a person (as in the source coco), or one of `pictures.FITS`.
        margin: for "person": what is added on each side, as a fraction of the box's longer side.
        shape_channels: 1 for grey shape maps, 3 for coloured ones and stickmen.
        stickmen: whether shapes are drawn from joints.
        edges: whether the edges of a picture are its shape.
        drawn: whether the dataset's pictures are drawings.
        cutout: the colour behind people who were cut out, one of `source.CUTOUTS`; None if they were not cut out.
    """

    size: int
    fit: str
    margin: float
    shape_channels: int
    stickmen: bool
    edges: bool
    drawn: bool = False
    cutout: str | None = None

    @classmethod
    def of_dataset(cls, info: DatasetInfo) -> "Fitting":
        """The fitting of a dataset's own pictures, by what `dataset.json` says."""
        flags = info.made_with.get("flags", {})
        of_people = info.source == "coco" or (info.source == "folder" and info.joints is not None)
        default = "person" if of_people else DEFAULT_FITS.get(info.source, "pad")
        return cls(
            size=info.image_size,
            fit=flags.get("fit") or default,
            margin=flags.get("margin", Options.margin),
            shape_channels=info.shape_channels,
            stickmen=info.joints is not None,
            edges=info.source == "folder" and info.joints is None and not flags.get("shapes"),
            drawn=info.source in _DRAWN,
            cutout=flags.get("cutout"),
        ).checked()

    def checked(self) -> "Fitting":
        """Returns these settings. Raises InputError if they came from a file with other kinds of values."""
        right = (
            {type(self.size), type(self.shape_channels)} == {int}
            and 1 <= self.size <= LARGEST_SIDE
            and self.fit in FITS
            and type(self.margin) in (int, float)
            and 0 <= self.margin < np.inf
            and (self.cutout is None or self.cutout in CUTOUTS)
        )
        if not right:
            raise InputError(f"it fits pictures in an unknown way: {shown(self._asdict())}")
        return self

    def person(self, name: str, picture: np.ndarray, person: Person, mask: Mask | None = None) -> Example:
        """The example of a [H, W, 3] uint8 picture and its keypoints.

        Args:
            mask: where the person is; needed if people are cut out.

        Raises:
            InputError: a shoulder or hip is unseen or outside the square, or there is no box to cut.
        """
        options = Options(image_size=self.size, encoding="png", min_joints=0, cutout=self.cutout)
        box = self._box(person, *picture.shape[1::-1])
        return person_example(picture, person.joints, box, options, mask, **_named(name))

    def photograph(self, name: str, picture: np.ndarray, found: Estimate) -> Example:
        """The example of a [H, W, 3] uint8 picture and the person that a pose estimator found in it.

        Raises:
            InputError: as `person`.
        """
        return self.of_photographs().person(name, picture, found.person(), found.mask)

    def pose(self, name: str, person: Person, width: int, height: int) -> Example:
        """An example that is only a shape, the estimated joints of a photograph of that size in pixels.

        Raises:
            InputError: as `person`.
        """
        box = self.of_photographs()._box(person, width, height)
        return Example(image=b"", joints=joints_in_box(person.joints, width, height, box), **_named(name))

    def of_photographs(self) -> "Fitting":
        """The fitting of photographs. For a run on drawings, people are cut out and fill the square."""
        if not self.drawn:
            return self
        return self._replace(cutout=self.cutout or "white", fit="person" if self.fit == "pad" else self.fit)

    def _box(self, person: Person, width: int, height: int) -> pictures.Box:
        if self.fit == "person":
            return square_around(person.box, self.margin)
        return pictures.fit_box(width, height, self.fit)

    def mapped(self, name: str, picture: np.ndarray, shape: np.ndarray | None) -> Example:
        """The example of a [H, W, 3] uint8 picture and its shape map [h, w, 3]. Without a map, its edges are the shape.

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

    def doubt(self, example: Example) -> str | None:
        """Why an example that the methods above made will give a bad result, if its colours show this; else None."""
        if self.drawn and example.image and not recognise.is_drawn(pictures.read_picture(example.image)):
            return "it looks like a photograph, and the run was trained on drawings only: expect nonsense"
        if not self.stickmen and not recognise.is_shape_map(pictures.read_picture(example.shape)):
            return "its shape map looks like a picture, since no colour fills 40 % of it: expect nonsense"
        return None

    @property
    def _whole(self) -> str:
        """The fit of a picture without a person."""
        return "pad" if self.fit == "person" else self.fit

    def _encoded_map(self, shape: np.ndarray) -> bytes:
        if self.shape_channels == 1 and (shape != shape[..., :1]).any():
            raise InputError("a shape map in colour; the run's maps have 1 channel: give a grey one")
        if self.stickmen and not recognise.is_stickman(shape):
            raise InputError(
                "not a stickman; the run's shape maps are stickmen on black: red right, green left, blue torso"
            )
        if self.shape_channels == 1 and shape.shape[-1] == 3:
            shape = pictures.to_grey(shape)
        return pictures.encode(shape, "png")


def _named(name: str) -> dict:
    return {"split": "", "name": name, "appearance_id": name, "shape_id": name}
