"""BlazePose (Bazarevsky et al. 2020, arXiv 2006.10204) in LiteRT: a detector, then 33 landmarks and a mask per person.

The arithmetic around the two networks (anchors, regions, refinement by heat maps) is that of MediaPipe 0.10.21.
"""

import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vunet_tf.body import pose_weights
from vunet_tf.body.estimation import LEAST_CONFIDENCE, LEAST_SCORE, Estimate, Estimator, Mask, largest, overlap
from vunet_tf.body.skeleton import JOINTS, MEDIAPIPE_33
from vunet_tf.command_line.startup import held_back

_DETECTOR_SIDE, _LANDMARK_SIDE, _HEAT_SIDE = 224, 256, 64  # pixels
_ENLARGED = 1.25  # side of a region, divided by twice the distance from the hips to the region's rim
_SAME_BOX = 0.3  # intersection over union: detections that overlap more show the same person
_SAME_PERSON = 0.5  # the same for boxes around joints: the detector may see a person twice, once upside down
_STEP_BACK = 1.5  # if the detector finds nobody, it sees the picture so many times smaller
_NEAR = 0.07  # of a region's side: if the corners move less, the region is kept
_CENTRE, _RIM = 33, 34  # landmarks that give the region of the next frame
_HEAT_WINDOW = 7  # positions of the heat map around a landmark that refine it
_ORDER = [MEDIAPIPE_33.index(name) for name in JOINTS]
_GRIDS = ((28, 2), (14, 2), (7, 6))  # the detector's anchors: side of each grid, and anchors at each position


class BlazePose(Estimator):
    """Finds several people who fill a good part of the picture, but not people who are small in it.

    Args:
        directory: the folder of the weights, see `pose_weights`.
        workers: number of pictures handled at once, a thread for each. By default one for each core.

    Raises:
        InputError: the weights are not there, or damaged.
    """

    def __init__(self, directory: Path | str | None = None, workers: int | None = None):
        detector, landmarks = (pose_weights.read(name, directory) for name in pose_weights.FILES)
        self._workers = workers or cpu_count() or 1
        self._networks = queue.SimpleQueue()
        for _ in range(self._workers):
            networks = (
                _Network(detector, -1.0, 1.0, cv2.BORDER_CONSTANT),
                _Network(landmarks, 0.0, 1.0, cv2.BORDER_REPLICATE),
            )
            self._networks.put(_Networks(*networks))

    def people(self, pictures: Iterable[np.ndarray]) -> Iterator[list[Estimate]]:
        pending = deque()
        with ThreadPoolExecutor(self._workers) as pool:
            for picture in pictures:
                pending.append(pool.submit(self._people, picture))
                if len(pending) > 2 * self._workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[Estimate | None]:
        """As `Estimator.follow`. The detector runs only if the person was not found from the frame before."""
        networks, region = self._networks.get(), None
        try:
            for frame in frames:
                found = networks.look(frame, region) if region is not None else None
                if found is None:
                    by_person = {id(each.estimate): each for each in networks.find(frame)}
                    best = largest([each.estimate for each in by_person.values()])
                    found = by_person[id(best)] if best else None
                region = found and found.next_region
                yield found and found.estimate
        finally:
            self._networks.put(networks)

    def _people(self, picture: np.ndarray) -> list[Estimate]:
        networks = self._networks.get()
        try:
            return [found.estimate for found in networks.find(picture)]
        finally:
            self._networks.put(networks)


class _Found(NamedTuple):
    """A person, and the region of the picture where to look in the next frame."""

    estimate: Estimate
    next_region: np.ndarray


class _Network:
    """A TFLite file on one thread, since several pictures run in parallel.

    LiteRT's Interpreter runs it, because the newer CompiledModel keeps Python's lock while it runs.

    Args:
        content: content of the file.
        least, most: the values that the bytes 0 and 255 become.
        border: what is assumed outside the picture, one of OpenCV's border types.
    """

    def __init__(self, content: bytes, least: float, most: float, border: int):
        from ai_edge_litert.interpreter import Interpreter  # takes half a second, so only if it is needed

        with held_back():  # it reports its delegate
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = sorted(self._interpreter.get_output_details(), key=lambda output: output["name"])
        self._least, self._most, self._border = least, most, border

    def __call__(self, picture: np.ndarray, matrix: np.ndarray) -> list[np.ndarray]:
        """The outputs, without the batch axis, for the picture seen through [2, 3] `matrix`."""
        seen = _seen_through(picture, matrix, self._input["shape"][1], self._border).astype(np.float32)
        seen = seen * ((self._most - self._least) / 255) + self._least
        self._interpreter.set_tensor(self._input["index"], seen[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output["index"])[0] for output in self._outputs]


class _Networks(NamedTuple):
    """Both networks, for one picture at a time."""

    detector: _Network
    landmarks: _Network

    def find(self, picture: np.ndarray) -> list[_Found]:
        """All people of a picture, the surest first. The detector may look twice: it misses people who fill it all."""
        return self._find(picture, 1.0) or self._find(picture, _STEP_BACK)

    def _find(self, picture: np.ndarray, step_back: float) -> list[_Found]:
        found = [self._look_twice(picture, region) for region in self._regions(picture, step_back)]
        kept: list[_Found] = []
        for each in sorted(filter(None, found), key=lambda each: -each.estimate.score):
            if all(overlap(each.estimate.box, other.estimate.box) < _SAME_PERSON for other in kept):
                kept.append(each)
        return kept

    def _look_twice(self, picture: np.ndarray, region: np.ndarray) -> _Found | None:
        """Finds the landmarks, and once more if they give a better region than the detector's keypoints gave."""
        found = self.look(picture, region)
        if found is None or _moved(region, found.next_region) < _NEAR:
            return found
        return self.look(picture, found.next_region) or found

    def _regions(self, picture: np.ndarray, step_back: float) -> list[np.ndarray]:
        """The regions with people, the surest first: [2, 3] matrices from the landmarks' input to the picture.

        Args:
            step_back: side of the square that the detector sees, divided by the picture's longer side.
        """
        height, width = picture.shape[:2]
        side = max(height, width) * step_back
        scale = side / _DETECTOR_SIDE
        letterbox = np.array([[scale, 0, (width - side) / 2], [0, scale, (height - side) / 2]])
        boxes, logits = self.detector(picture, letterbox)
        scores = _sigmoid(logits[:, 0])
        sure = scores >= LEAST_SCORE
        # Centre, size and four keypoints, relative to the anchor in pixels of the input.
        points = boxes[sure].reshape(-1, 6, 2) / _DETECTOR_SIDE
        points[:, [0, 2, 3, 4, 5]] += _ANCHORS[sure, None]
        centre, rim = 2, 3
        return [_region(*(kept[[centre, rim]] * side + letterbox[:, 2])) for kept in _distinct(points, scores[sure])]

    def look(self, picture: np.ndarray, region: np.ndarray) -> _Found | None:
        """The person in a region; None if there is none."""
        numbers, score, mask, heat, _ = self.landmarks(picture, region)
        if score[0] < LEAST_SCORE:
            return None
        numbers = numbers.reshape(-1, 5)
        refined = _refined(numbers[:, :2] / _LANDMARK_SIDE, heat) * _LANDMARK_SIDE
        points = refined @ region[:, :2].T + region[:, 2]
        height, width = picture.shape[:2]
        confidence = _sigmoid(numbers[:, 3:]).min(axis=1)
        surely = points[: len(MEDIAPIPE_33)][confidence[: len(MEDIAPIPE_33)] >= LEAST_CONFIDENCE]
        estimate = Estimate(
            joints=(points[_ORDER] / [width, height]).astype(np.float32),
            confidence=confidence[_ORDER].astype(np.float32),
            score=float(score[0]),
            box=_box(surely, width, height),
            mask=Mask(_sigmoid(mask[..., 0]), cv2.invertAffineTransform(region)),
        )
        return _Found(estimate, _region(points[_CENTRE], points[_RIM]))


def _anchors() -> np.ndarray:
    """Centres of the detector's anchors, [2254, 2] fractions of its input."""
    grids = []
    for side, count in _GRIDS:
        y, x = np.mgrid[:side, :side]
        grids.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / side, count, axis=0))
    return np.concatenate(grids).astype(np.float32)


_ANCHORS = _anchors()


def _distinct(points: np.ndarray, scores: np.ndarray) -> Iterator[np.ndarray]:
    """Weighted non-maximum suppression: means, weighted by score, of detections that overlap with the surest one.

    Args:
        points: [n, 6, 2]: centre and size of the box, then keypoints.
        scores: [n].
    """
    corners = points[:, 0] - points[:, 1] / 2
    boxes = np.concatenate([corners, points[:, 1]], axis=1)
    left = list(np.argsort(-scores, kind="stable"))
    while left:
        common = [i for i in left if i == left[0] or overlap(boxes[left[0]], boxes[i]) > _SAME_BOX]
        left = [i for i in left if i not in common]
        yield np.average(points[common], axis=0, weights=scores[common])


def _region(centre: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """The turned square in which a person stands upright: the matrix from the landmarks' input to the picture.

    Args:
        centre: the middle of the hips, [2] pixels of the picture.
        rim: the point above the centre on the circle around the whole person.
    """
    up = (rim - centre) * 2 * _ENLARGED / _LANDMARK_SIDE  # pixels of the picture for one pixel of the input
    linear = np.array([[-up[1], -up[0]], [up[0], -up[1]]])
    return np.column_stack([linear, centre - linear @ [_LANDMARK_SIDE / 2, _LANDMARK_SIDE / 2]])


def _moved(first: np.ndarray, second: np.ndarray) -> float:
    """The largest distance between the corners of two regions, as a fraction of the first one's side."""
    corners = np.array([[x, y, 1] for x in (0, _LANDMARK_SIDE) for y in (0, _LANDMARK_SIDE)])
    return np.hypot(*((second - first) @ corners.T)).max() / (np.hypot(*first[:, 0]) * _LANDMARK_SIDE)


def _refined(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Landmarks moved to the centre of the heat around them, if any of this heat is above 0.5.

    Args:
        points: [n, 2] fractions of the input.
        heat: [h, w, n] logits.
    """
    reach, numbers, offsets = _HEAT_WINDOW // 2, np.arange(len(points))[:, None, None], np.arange(_HEAT_WINDOW)
    padded = np.pad(heat, ((reach, reach), (reach, reach), (0, 0)), constant_values=-80)
    at = np.floor(points * _HEAT_SIDE).astype(int)
    x, y = np.clip(at, 0, _HEAT_SIDE - 1).T[..., None, None]
    window = _sigmoid(padded[y + offsets[:, None], x + offsets, numbers])
    centre = np.stack([(window * offsets).sum((1, 2)), (window * offsets[:, None]).sum((1, 2))], axis=1)
    refined = (centre / window.sum((1, 2))[:, None] + at - reach) / _HEAT_SIDE
    hot = (window.max((1, 2)) >= 0.5) & ((at >= 0) & (at < _HEAT_SIDE)).all(axis=1)
    return np.where(hot[:, None], refined, points)


def _seen_through(picture: np.ndarray, matrix: np.ndarray, side: int, border: int) -> np.ndarray:
    """The picture seen through a map, [side, side, 3]. A large one is made smaller first, so that no pixel is skipped.

    This is done as in MediaPipe: bilinear, with positions counted from the centre of the first pixel.
    """
    height, width = picture.shape[:2]
    factor = int(np.hypot(*matrix[:, 0]))
    if factor > 1:
        size = max(width // factor, 1), max(height // factor, 1)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        matrix = matrix * (np.array(size) / [width, height])[:, None]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=border)


def _box(points: np.ndarray, width: int, height: int) -> tuple[float, ...]:
    """Left, top, width and height of the box around [n, 2] points, clipped to the picture."""
    inside = np.clip(points, 0, [width, height]) if len(points) else np.zeros((1, 2))
    return tuple(map(float, (*inside.min(axis=0), *np.ptp(inside, axis=0))))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))  # clipped, since exp(89) is infinite in float32
