"""The estimator y = e(x) of the paper: from a picture to the people in it. This module says what an estimator gives.

`vunet_tf.body.blazepose` is the one that the commands use. Another one is a subclass of `Estimator` with one method,
`people`; `Generator(run, estimator=...)` takes it, and `open_estimator` below names the one of the commands.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.keypoint_files import Person
from vunet_tf.body.skeleton import JOINTS, REQUIRED_JOINTS
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import Box

T = TypeVar("T")

LEAST_SCORE = 0.5  # below this score, what was found is no person
LEAST_CONFIDENCE = 0.5  # below this confidence, a joint counts as unseen
SAME_PERSON = 0.3  # least intersection over union of two boxes of the same person
SMOOTHING = 0.05  # seconds: standard deviation of the Gaussian over the frames of a video


class Mask(NamedTuple):
    """Where a person is, in any part of the picture and at any resolution.

    Attributes:
        values: [h, w] float32, 1 inside the person, 0 outside.
        matrix: [2, 3], from a point (x, y, 1) of the picture to one of `values`, both in pixels from the upper left
            corner.
    """

    values: np.ndarray
    matrix: np.ndarray

    def over(self, box: Box, width: int, height: int) -> np.ndarray:
        """The mask of a box of the picture, [height, width] float32."""
        scale = np.array([[box.width / width, 0, box.left], [0, box.height / height, box.top], [0, 0, 1]])
        return warp(self.values, self.matrix @ scale, width, height)


class Estimate(NamedTuple):
    """A person who was found in a picture.

    Attributes:
        joints: [15, 2] float32 fractions of the picture; a joint may lie outside of it.
        confidence: [15] float32 in [0, 1]: how sure it is that the joint is where `joints` says, and in the picture.
        score: in [0, 1]: how sure it is that this is a person.
        box: left, top, width and height in pixels of what is seen of the person.
        mask: where the person is.
    """

    joints: np.ndarray
    confidence: np.ndarray
    score: float
    box: tuple[float, ...]
    mask: Mask

    def person(self) -> Person:
        """The joints and the box as a keypoint file would give them: NaN where a joint is unseen.

        Shoulders and hips that lie in the picture always count as seen, whatever their confidence. Without them a
        person cannot be used, and a person who stands sideways hides two of them.
        """
        seen = (self.confidence >= LEAST_CONFIDENCE) | np.isin(JOINTS, REQUIRED_JOINTS)
        seen &= keypoints.seen(self.joints)
        return Person(np.where(seen[:, None], self.joints, np.float32(np.nan)), self.box)


class Estimator(ABC):
    """Finds people. A subclass defines `people`."""

    @abstractmethod
    def people(self, pictures: Iterable[np.ndarray]) -> Iterator[list[Estimate]]:
        """The people of each picture, the surest first, in the order of the pictures.

        Args:
            pictures: [H, W, 3] uint8 each, of any sizes. They are taken one by one, so that there may be thousands.
        """

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[Estimate | None]:
        """Follows one person through a video: the largest of the first frame that has people, then always the nearest.

        Args:
            frames: [H, W, 3] uint8 each, of one size.

        Yields:
            The person in each frame; None where nobody is found.
        """
        last = None
        for people in self.people(frames):
            found = nearest(people, last.box) if last else largest(people)
            last = found or last
            yield found

    def the_person(self, picture: np.ndarray) -> Estimate:
        """The largest person of a picture.

        Raises:
            InputError: nobody is found.
        """
        (people,) = self.people([picture])
        found = largest(people)
        if found is None:
            raise InputError(
                "the pose estimator finds no person in it; write PICTURE+FILE.json, or take a picture of a whole person"
            )
        return found

    def mask_of(self, picture: np.ndarray, person: Person) -> Mask | None:
        """The mask of a person whose joints are known; None if the estimator does not find the person."""
        (people,) = self.people([picture])
        found = nearest(people, person.box)
        return found and found.mask


def open_estimator(directory: Path | str | None = None, workers: int | None = None) -> Estimator:
    """The estimator of the commands.

    Args:
        directory: the folder of its weights; by default where `python -m vunet_tf.estimate get` puts them.
        workers: number of pictures handled at once. By default one for each core.

    Raises:
        InputError: the weights are not there, or damaged.
    """
    from vunet_tf.body.blazepose import BlazePose

    return BlazePose(directory, workers)


def estimated(estimator: Estimator, named: Iterable[tuple[T, np.ndarray]]) -> Iterator[tuple[T, np.ndarray, list]]:
    """For pairs of a name (or anything else) and a picture: the name, the picture and the people in it."""
    kept, asked = itertools.tee(named)
    people = estimator.people(picture for _, picture in asked)
    return ((name, picture, found) for (name, picture), found in zip(kept, people, strict=True))


def largest(people: Sequence[Estimate]) -> Estimate | None:
    """The person with the largest box; None if there is nobody."""
    return max(people, key=lambda person: person.box[2] * person.box[3], default=None)


def nearest(people: Sequence[Estimate], box: Sequence[float]) -> Estimate | None:
    """The person whose box overlaps most with `box`; None if it is too little for the same person."""
    found = max(people, key=lambda person: overlap(person.box, box), default=None)
    return found if found and overlap(found.box, box) >= SAME_PERSON else None


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(wide, 0) * max(high, 0)
    return common / max(a[2] * a[3] + b[2] * b[3] - common, 1e-9)


def smoothed(track: Sequence[Estimate | None], rate: float) -> list[Person]:
    """A person in every frame of a video, smoothed so that the joints do not tremble.

    A joint that is unseen in a frame moves in a straight line from where it was seen last to where it is seen next.
    Every frame has the same box, the one around the person in all frames, so that the camera stands still.

    Args:
        track: what `Estimator.follow` gives.
        rate: frames per second.

    Raises:
        InputError: nobody is found in any frame.
    """
    seen = [(frame, estimate) for frame, estimate in enumerate(track) if estimate]
    if not seen:
        raise InputError(f"the pose estimator finds no person in any of the {len(track)} frames")
    at = np.array([frame for frame, _ in seen])
    points = np.stack([estimate.person().joints for _, estimate in seen])
    joints = np.full((len(track), *points.shape[1:]), np.nan, np.float32)
    for joint, axis in np.ndindex(points.shape[1:]):
        known = np.isfinite(points[:, joint, axis])
        if known.any():
            line = np.interp(np.arange(len(track)), at[known], points[known, joint, axis])
            joints[:, joint, axis] = cv2.GaussianBlur(
                line[:, None], (1, 0), sigmaX=1, sigmaY=SMOOTHING * rate, borderType=cv2.BORDER_REPLICATE
            )[:, 0]
    left, top, width, height = np.array([estimate.box for _, estimate in seen]).T
    box = left.min(), top.min(), (left + width).max() - left.min(), (top + height).max() - top.min()
    return [Person(of_frame, tuple(map(float, box))) for of_frame in joints]


def cut_out(picture: np.ndarray, mask: np.ndarray, colour: int | Sequence[int]) -> np.ndarray:
    """A picture [H, W, 3] uint8 whose background is one colour, by its mask [H, W] in [0, 1]."""
    inside = mask[..., None]
    return np.rint(inside * picture + (1 - inside) * np.asarray(colour, np.float32)).astype(np.uint8)


def warp(picture: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture seen through an affine map, bilinearly. What lies outside of the picture is 0.

    Args:
        picture: [H, W] or [H, W, C].
        matrix: [2, 3], from a point (x, y, 1) of the result to one of the picture, in pixels from the upper left
            corner.
        width, height: size of the result in pixels.
    """
    matrix = np.array(matrix, np.float64)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts from the centre of the first pixel
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
