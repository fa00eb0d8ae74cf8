"""Reads what the user names as appearances and shapes: examples of a dataset, pictures with keypoints, shape maps.

| input | what it is |
|---|---|
| valid:12  valid:0-7  valid:0,5,9  valid:all | examples of a split, counted from 0 |
| valid:NAME | the example of that name |
| PICTURE | a picture. Its keypoints are in the .json file of the same name beside it, or else estimated |
| PICTURE+FILE.json | a picture and its keypoints |
| PICTURE+MAP | a picture and its shape map |
| map:MAP | a shape map: a shape without an appearance |
| VIDEO | for shapes: one person is followed through it and gives a shape for each frame |
| FOLDER  FOLDER+FILE.json  FOLDER+MAPS  map:FOLDER | every picture of a folder, in the order of the names |

If a run on joints gets a picture without keypoints, or a video, a pose estimator finds the joints
(`vunet_tf.body.estimation`).

Keypoint files are COCO's, OpenPose's or vunet-joints-1 (`vunet_tf.body.keypoint_files`). For a run on shape maps, a
single picture is taken as a shape map. If the dataset's shapes are the edges of its pictures, it is taken as a picture.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from vunet_tf.body.estimation import Estimator, open_estimator, smoothed
from vunet_tf.body.keypoint_files import read_person
from vunet_tf.data.dataset import DatasetInfo, read_examples
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.data.sources.folder import map_of
from vunet_tf.data.sources.source import require_room
from vunet_tf.files import pictures, video
from vunet_tf.files.errors import InputError

_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


class Input(NamedTuple):
    """One input, read: a short label for pictures and file names, and the example."""

    label: str
    example: Example


class _Item(NamedTuple):
    """Inputs that are read together: their number, and the function that reads them."""

    count: int  # type: ignore[assignment]  # no tuple asks it how often it has something
    read: Callable[[], Iterable[Input | Rejected]]


class Inputs:
    """Inputs given by name. They are read again each time one iterates over them.

    What cannot be read is given to `reject` and skipped. `len` counts it, too.

    Args:
        names: a text with commas between the inputs, or a list of inputs.
        fitting: how pictures become square examples.
        dataset_dir, info: the dataset, or None.
        reject: is called with a `Rejected`; it may raise.
        doubt: is called with the name of a picture that will give a bad result, and the reason.
        estimator: gives the pose estimator, if it is needed.
        progress: whether a bar on a terminal shows how far a video has been read.
    """

    def __init__(
        self,
        names: str | Sequence[str],
        fitting: Fitting,
        dataset_dir: Path | None,
        info: DatasetInfo | None,
        reject: Callable[[Rejected], None],
        doubt: Callable[[str, str], None] = lambda name, why: None,
        estimator: Callable[[], Estimator] = open_estimator,
        progress: bool = False,
    ):
        self._fitting, self._dataset_dir, self._info = fitting, dataset_dir, info
        self._reject, self._doubt = reject, doubt
        self._estimator, self._progress = estimator, progress
        self._items: list[_Item] = []
        split = None
        for name in names.split(",") if isinstance(names, str) else map(str, names):
            name = name.strip()
            if split is not None and _RANGE.fullmatch(name):
                name = f"{split}:{name}"  # valid:0,5,9
            split = self._split_of(name)
            try:
                for item in self._of_files(name) if split is None else self._of_split(split, name):
                    self._items.append(item)  # one by one: if a range goes too far, its beginning is kept
            except InputError as error:
                reject(Rejected(name, str(error)))
                self._items.append(_Item(1, lambda: ()))  # it counts as one input, and is reported once

    def __len__(self) -> int:
        return sum(item.count for item in self._items)

    def __iter__(self) -> Iterator[Input]:
        for item in self._items:
            for read in item.read():
                if isinstance(read, Rejected):
                    self._reject(read)
                else:
                    yield read

    # Examples of the dataset

    def _split_of(self, name: str) -> str | None:
        """The split in an input's name, or None if the name is that of files."""
        split, colon, _ = name.partition(":")
        # Not by Path.exists, which raises OSError for a name that is too long.
        if not colon or split == "map" or os.path.exists(name.split("+")[0]):
            return None
        return split

    def _of_split(self, split: str, name: str) -> Iterator[_Item]:
        if self._info is None:
            gone = f" {self._dataset_dir} is not there" if self._dataset_dir else " is not known"
            raise InputError(f"the run's dataset{gone}: give --dataset_dir")
        count = self._info.examples(split)
        which = name.partition(":")[2]
        numbers = _RANGE.fullmatch(which)
        if which == "all":
            first, last = 0, count - 1
        elif numbers:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        else:
            yield _Item(1, lambda: self._named(split, which))
            return
        if first > last:
            raise InputError(f"the range ends before it begins: {split}:{last}-{first}?")
        if first < count:
            there = min(last + 1, count) - first
            yield _Item(there, lambda: self._range(split, first, there))
        if last >= count:
            made = f"; {split}:{first}-{count - 1} are made" if first < count else ""
            raise InputError(f"the split {split!r} has {count} examples, counted from 0{made}")

    def _range(self, split: str, first: int, count: int) -> Iterator[Input]:
        for position, example in enumerate(read_examples(self._dataset_dir, split, first, count), start=first):
            yield Input(f"{split}:{position}", example)

    def _named(self, split: str, name: str) -> Iterator[Input | Rejected]:
        for example in read_examples(self._dataset_dir, split):
            if example.name == name:
                yield Input(name, example)
                return
        yield Rejected(f"{split}:{name}", f"the split {split!r} has no example of this name or number")

    # Files

    def _of_files(self, name: str) -> Iterator[_Item]:
        is_map = name.startswith("map:")
        picture, plus, beside = name.removeprefix("map:").partition("+")
        if not name:
            raise InputError("an empty name")
        folder = Path(picture)
        if video.is_video(folder):
            yield _Item(video.length(folder), lambda: self._video(folder))
            return
        paths = pictures.list_pictures(folder) if os.path.isdir(folder) else [folder]

        def read():
            for path in paths:
                try:
                    example = self._file(path, folder, is_map, Path(beside) if plus else None)
                    if doubt := self._fitting.doubt(example):
                        self._doubt(str(path), doubt)
                    yield Input(path.stem, example)
                except InputError as error:
                    yield Rejected(str(path), str(error))

        yield _Item(len(paths), read)

    def _file(self, path: Path, folder: Path, is_map: bool, beside: Path | None) -> Example:
        name = str(path)
        picture = pictures.read_picture(path)
        if is_map:
            return self._fitting.shape_map(name, picture)
        if beside is None and os.path.isfile(path.with_suffix(".json")):
            beside = path.with_suffix(".json")
        if beside is not None and os.path.isdir(beside):
            beside = _same_name(path, folder, beside)
        if self._fitting.stickmen:
            require_room(picture)
            if beside is None:
                try:
                    found = self._estimator().the_person(picture)
                except InputError as error:
                    raise InputError(f"no keypoints: there is no {path.with_suffix('.json')}, and {error}") from error
                return self._fitting.photograph(name, picture, found)
            if beside.suffix.lower() != ".json":
                raise InputError(f"the run needs keypoints (a .json file), not the shape map {beside}")
            person = read_person(beside, path.name, picture.shape[1::-1])
            mask = self._estimator().mask_of(picture, person) if self._fitting.cutout else None
            return self._fitting.person(name, picture, person, mask)
        if beside is None:
            return (
                self._fitting.mapped(name, picture, None)
                if self._fitting.edges
                else self._fitting.shape_map(name, picture)
            )
        if beside.suffix.lower() == ".json":
            raise InputError(f"the run needs a shape map, not the keypoints {beside}; write PICTURE+MAP")
        try:
            shape = pictures.read_picture(beside)
        except InputError as error:
            raise InputError(f"its shape map {beside}: {error}") from error
        return self._fitting.mapped(name, picture, shape)

    def _video(self, path: Path) -> Iterator[Input | Rejected]:
        """The shape of each frame."""
        size = None

        def frames():
            nonlocal size
            hidden = None if self._progress else True  # None: hidden where there is no terminal
            for frame in tqdm(video.frames(path), path.name, video.length(path), unit=" frames", disable=hidden):
                size = frame.shape[1::-1]
                yield frame

        try:
            if not self._fitting.stickmen:
                raise InputError("a video gives joints, but the run takes shape maps: give a folder of maps")
            track = list(self._estimator().follow(frames()))
            for number, person in enumerate(smoothed(track, video.rate(path))):
                name = f"{path.stem}:{number}"
                yield Input(name, self._fitting.pose(name, person, *size))
        except InputError as error:
            yield Rejected(str(path), str(error))


def _same_name(path: Path, folder: Path, beside: Path) -> Path:
    """The file in the folder `beside` that belongs to a picture of `folder`: keypoints, or else a map."""
    wanted = beside / (path.relative_to(folder) if folder.is_dir() else path.name)
    return wanted.with_suffix(".json") if wanted.with_suffix(".json").is_file() else map_of(wanted)
