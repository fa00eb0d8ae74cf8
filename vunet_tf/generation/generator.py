"""The uses of a trained model, for any number of inputs that are given by name."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from vunet_tf.body import keypoints
from vunet_tf.body.body_parts import BACKGROUND, REGIONS, regions_of
from vunet_tf.body.estimation import Estimator, open_estimator
from vunet_tf.data.batches import batch_of, shape_of
from vunet_tf.data.dataset import evenly_spread, read_examples, read_info
from vunet_tf.data.example import Rejected
from vunet_tf.data.own_pictures import FITS
from vunet_tf.files.errors import InputError
from vunet_tf.files.grids import Header
from vunet_tf.files.pixels import to_uint8
from vunet_tf.generation import parts
from vunet_tf.generation.inputs import Input, Inputs
from vunet_tf.generation.sheet import Cell, Sheet
from vunet_tf.models.bottleneck import manifold_grid
from vunet_tf.models.generative import between
from vunet_tf.runs import Run

Names = str | Sequence[str]  # of inputs, see `vunet_tf.generation.inputs`
PEOPLE = 64  # people from whom the regions of the parts are found
STEPS = 8  # pictures from one appearance or pose to the next, both included
GRID = 12  # rows and columns of a manifold
CARRIERS = 2000  # largest number of examples from which the direction of an attribute is found


class Generator:
    """Makes pictures with a trained model.

    Appearances and shapes are given by name: "valid:0-7", "me.jpg+me.json", see `vunet_tf.generation.inputs`. Every
    method returns a `Sheet`. Its pictures are made only when it is saved, drawn or iterated over.

    Args:
        run: a trained run, as `vunet_tf.load(run_dir)` gives it.
        fit: how pictures of any size become square, one of `own_pictures.FITS`. By default as in the run's dataset.
        batch_size: number of pictures made at once.
        rejects: a list. Inputs that cannot be used are added to it with the reason, and the rest is made. Without it,
            the first such input raises an error.
        progress: whether to show a progress bar on a terminal.
        estimator: gives the pose estimator for photographs without keypoints: a function, or a class of your own (see
            `vunet_tf.body.estimation`). It is called when the first such photograph is read.

    Raises:
        InputError: the run's dataset is damaged, or does not fit the model. (It may be missing.)

    Examples:
        >>> generator = Generator(vunet_tf.load("runs/quickstart"))
        >>> generator.transfer(appearances="valid:0-4", shapes="valid:10-17").save_grid("matrix.png")
    """

    def __init__(
        self,
        run: Run,
        *,
        fit: str | None = None,
        batch_size: int = 16,
        rejects: list[Rejected] | None = None,
        progress: bool = False,
        estimator: Callable[[], Estimator] = open_estimator,
    ):
        if batch_size < 1:
            raise InputError(f"--batch_size={batch_size}: must be at least 1")
        if fit not in (None, *FITS):
            raise InputError(f"--fit={fit}: must be one of {', '.join(FITS)}")
        self.model, self.config = run.model, run.model.config
        self._dataset_dir = run.dataset_dir
        there = run.dataset_dir is not None and run.dataset_dir.is_dir()
        self._info = read_info(run.dataset()) if there else None
        self._fitting = run.fitting if fit is None else run.fitting._replace(fit=fit)
        self._batch_size, self._rejects, self._progress = batch_size, rejects, progress
        self._graphs, self._doubts = {}, set()
        self._estimator = functools.cache(estimator)

    def reconstruct(self, inputs: Names) -> Sheet:
        """Each picture made from its own appearance and shape (z is the posterior's mean): a row each, one column."""
        self.model.require("reconstruct")
        inputs = self._inputs(inputs)

        def work():
            for row, (appearance, picture, z) in enumerate(self._appearances(inputs)):
                shape = self._shape(appearance, "generate")
                header = Header(appearance.label, (picture, *_shown(shape)))
                yield (row, 0, header, Header()), shape, z

        return self._sheet("reconstruct", "generate", work(), len(inputs))

    def transfer(self, appearances: Names, shapes: Names, part: Sequence[str] = ()) -> Sheet:
        """Every appearance in every shape: a row for each appearance, a column for each shape.

        Args:
            part: for a model with parts: texts "PARTS:INPUT", such as "torso:valid:3". The appearance of these parts
                comes from that input. PARTS are named as `parts.chosen` says.
        """
        self.model.require("transfer")
        appearances, shapes, exchange = self._inputs(appearances), self.shapes(shapes), self._exchange(part)
        dress = self.model.DRESS

        def work():
            for row, (appearance, picture, z) in enumerate(self._appearances(appearances)):
                z = exchange(z)
                for column, given in enumerate(shapes):
                    shape = self._shape(given, dress)
                    headers = Header(appearance.label, (picture,)), Header(given.label, _shown(shape))
                    yield (row, column, *headers), shape, z

        return self._sheet("transfer", dress, work(), len(appearances) * len(shapes))

    def sample(
        self,
        shapes: Names | None = None,
        samples: int = STEPS,
        seed: int = 0,
        appearances: Names | None = None,
        vary: str | None = None,
    ) -> Sheet:
        """Appearances from the prior p(z | shape): a row for each shape, a column for each sample.

        Column j has the same noise in every row; it depends only on `seed` and j. A model without shapes makes one row
        of pictures from p(z).

        Args:
            appearances, vary: for a model with parts: only the parts named by `vary` (see `parts.chosen`) are sampled.
                The others are those of the one appearance.
        """
        self.model.require("sample")
        if (appearances is None) != (vary is None):
            raise InputError(
                "--vary and --appearances go together: the parts to sample, and whose appearance the others have"
            )
        if samples < 1:
            raise InputError(f"--samples={samples}: must be at least 1")
        kept = self._kept(appearances, vary)
        use = "vary" if kept else "sample"
        shapes = self._shapes_if_taken(shapes, use)

        def work():
            noise = [[scale[0] for scale in self.model.noise(1, [seed, column])] for column in range(samples)]
            for row, given in enumerate(shapes):
                shape = self._shape(given, use)
                header = Header(given.label, _shown(shape))
                for column in range(samples):
                    yield (row, column, header, Header(f"sample {column + 1}")), shape, [*noise[column], *kept]

        return self._sheet("sample", use, work(), len(shapes) * samples)

    def _shapes_if_taken(self, shapes: Names | None, use: str):
        """The shapes for which a use makes pictures. For a model without shapes it is one input without a name.

        Raises:
            InputError: the model needs shapes and there are none, or it has no shapes and there are some.
        """
        if "shape" in self.model.wiring(use).input:
            if shapes is None:
                raise InputError("give --shapes: this model draws a picture for a shape")
            return self._inputs(shapes)
        if shapes is not None:
            raise InputError(f"--shapes: of no use for --model={self.config.model}, which draws a whole picture from z")
        return [Input("", None)]

    def manifold(self, steps: int | None = None, dimensions: Sequence[int] = (0, 1)) -> Sheet:
        """The pictures for a grid of z over two of its numbers; the others are 0 (see `manifold_grid`).

        Args:
            steps: number of rows and of columns. By default 12.
            dimensions: which two numbers of z.
        """
        self.model.require("manifold")
        steps = _checked(steps, GRID)
        if len(dimensions) != 2:
            raise InputError(f"--dimensions={','.join(map(str, dimensions))}: must be two numbers")
        grid = manifold_grid(steps, self.config.code_size, tuple(dimensions))

        def work():
            for row, column in np.ndindex(steps, steps):
                z = grid[row, column]
                across, up = (f"{z[number]:.2f}" for number in dimensions)
                yield (row, column, Header(up), Header(across)), None, [tf.constant(z)]

        return self._sheet("manifold", "generate", work(), steps**2)

    def attribute(
        self, inputs: Names, attribute: str, strength: float = 1.0, steps: int | None = None, split: str = "train"
    ) -> Sheet:
        """Pictures that get an attribute: a row for each picture, a column for each step from 0 to `strength`.

        The new z is z + w * (mean z of the examples with the attribute - mean z of those without it), with w from 0 to
        `strength` (White 2016, "Sampling generative networks"; the method is older and was first used for words).

        Args:
            attribute: "KEY=VALUE", an attribute that the dataset's examples have.
            strength: w of the last column; below 0 it takes the attribute away.
            steps: columns; by default 8.
            split: whose examples the two means are taken from, at most 2,000 of them, evenly spread.
        """
        self.model.require("attribute")
        inputs, steps = self._inputs(inputs), _checked(steps, STEPS)
        direction = self._direction(attribute, split)

        def work():
            for row, (appearance, picture, z) in enumerate(self._appearances(inputs)):
                shape = self._shape(appearance, "generate")
                header = Header(appearance.label, (picture, *_shown(shape)))
                for column, weight in enumerate(np.linspace(0, strength, steps)):
                    moved = [scale + weight * towards for scale, towards in zip(z, direction, strict=True)]
                    yield (row, column, header, Header(f"{weight:.2f}")), shape, moved

        return self._sheet("attribute", "generate", work(), len(inputs) * steps)

    def _direction(self, attribute: str, split: str) -> list[np.ndarray]:
        """Mean z of the examples of a split with an attribute, minus that of those without it."""
        key, equals, value = attribute.partition("=")
        if not key or not equals:
            raise InputError(f"--attribute={attribute}: must be KEY=VALUE, such as digit=3")
        if self._info is None:
            raise InputError("attributes come from the run's dataset, which is not there: give --dataset_dir")
        wanted = set(evenly_spread(self._info.examples(split), CARRIERS).tolist())
        examples = (each for i, each in enumerate(read_examples(self._dataset_dir, split)) if i in wanted)
        codes, has, known = [], [], set()
        for given, _, z in self._appearances(Input(example.name, example) for example in examples):
            found = given.example.attributes
            known.add(f"{key}={found[key]}" if key in found else ", ".join(found))
            codes.append([np.asarray(scale) for scale in z])
            has.append(str(found.get(key)) == value)
        with_it = np.array(has)
        if not with_it.any() or with_it.all():
            told = "all have it" if with_it.all() else f"none has it; there is {', '.join(sorted(known)[:12])}"
            raise InputError(f"--attribute={attribute}: of {len(has)} examples of {split}, {told}")
        scales = [np.stack(scale) for scale in zip(*codes, strict=True)]
        return [(scale[with_it].mean(0) - scale[~with_it].mean(0)).astype(np.float32) for scale in scales]

    def _kept(self, appearances, vary):
        """[z, which parts keep it] for the wiring "vary". Empty if all parts are sampled."""
        if vary is None:
            return []
        _, _, z = self._one(appearances, "--appearances")
        keep = np.ones((self.config.latent_shapes[0][0], 1), np.float32)
        keep[self._parts(vary)] = 0
        return [*z, keep]

    def parts(self, inputs: Names) -> Sheet:
        """Where the parts that the model has found lie in each shape. Each has a colour and a number. One column."""
        self.model.require("parts")
        inputs = self._inputs(inputs)

        def cells():
            for row, given in enumerate(inputs):
                shape = shape_of(given.example, self.config.image_size)
                seen = _shown(batch_of([given.example])["image"][0]) if given.example.image else ()
                maps = self._graph("parts")({"shape": shape[None]})[0].numpy()
                header = Header(given.label, (*seen, to_uint8(shape)))
                yield Cell(row, 0, header, Header("parts"), to_uint8(shape), parts.drawn(maps))

        return Sheet(cells(), len(inputs), parts.ENLARGED * (self.config.image_size >> self.config.map_factor))

    def interpolate(self, appearances: Names, shapes: Names | None = None, steps: int | None = None) -> Sheet:
        """From one appearance to the next, or along a pose path.

        With several appearances, z goes from each to the next in a straight line. There is a row for each shape (by
        default that of the first appearance) and a column for each step. With one appearance, the shapes are the path,
        in one row. Joints go from each pose to the next in straight lines; shape maps are shown one after another.

        Args:
            steps: number of pictures from one to the next, both included. By default 8.
        """
        self.model.require("interpolate")
        inputs = self._inputs(appearances)
        given = list(self._appearances(inputs))
        if len(inputs) == 1:
            if shapes is None:
                raise InputError("one appearance: give several, or give several shapes to follow")
            return self._along_shapes("interpolate", given, shapes, steps, STEPS)
        self.model.require("encode")
        if len(given) < 2:
            raise InputError(f"{len(given)} of the appearances can be used; two are needed to go from one to another")
        if shapes is None and "shape" in self.model.wiring("generate").input:
            shapes = [appearance for appearance, _, _ in given[:1]]
        else:
            shapes = list(self._shapes_if_taken(shapes, "generate"))
        path = list(_path([z for _, _, z in given], _checked(steps, STEPS), between))

        def work():
            for column, (position, z) in enumerate(path):
                header = Header(f"{position:.2f}")
                if position == round(position):
                    appearance, picture, _ = given[round(position)]
                    header = Header(appearance.label, (picture,))
                for row, pose in enumerate(shapes):
                    shape = self._shape(pose, "generate")
                    yield (row, column, Header(pose.label, _shown(shape)), header), shape, z

        return self._sheet("interpolate", "generate", work(), len(path) * len(shapes), by_column=True)

    def animate(self, appearances: Names, shapes: Names, steps: int | None = None, part: Sequence[str] = ()) -> Sheet:
        """Appearances that follow a sequence of shapes: a row for each appearance, a column for each frame.

        Args:
            part: as in `transfer`.
            steps: number of frames from one pose to the next, both included; joints go in straight lines. By default
                only the poses themselves. Shape maps have no frames between them.
        """
        self.model.require("animate")
        exchange = self._exchange(part)
        given = [(appearance, picture, exchange(z)) for appearance, picture, z in self.appearances(appearances)]
        return self._along_shapes("animate", given, shapes, steps, None)

    def _along_shapes(self, title, appearances, shapes: Names, steps: int | None, default: int | None) -> Sheet:
        self.model.require("animate")
        shapes = self.shapes(shapes)
        with_joints = all(given.example.joints is not None for given in shapes)
        if steps is not None and not with_joints:
            raise InputError("--steps: there are no frames between shape maps; leave it out, then each map is a frame")
        if steps is not None and len(shapes) == 1:
            raise InputError("--steps: one shape has no next one; give several shapes")
        steps = _checked(steps, default) if with_joints else None
        path: list[tuple[float, Input]] = list(enumerate(shapes))
        if steps and len(shapes) > 1:
            path = list(_path(shapes, steps, _pose_between))

        def work():
            for column, (position, given) in enumerate(path):
                shape = self._shape(given, "generate")
                label = given.label if position == round(position) else f"{position:.2f}"
                for row, (appearance, picture, z) in enumerate(appearances):
                    headers = Header(appearance.label, (picture,)), Header(label, _shown(shape))
                    yield (row, column, *headers), shape, z

        return self._sheet(title, "generate", work(), len(path) * len(appearances), by_column=True)

    # Parts

    def _exchange(self, given: Sequence[str]):
        """A function that puts the codes of single parts of other appearances into a z."""
        if not given:
            return lambda z: z
        sources = []
        for text in given:
            names, colon, source = text.partition(":")
            if not colon or not source:
                raise InputError(f"--part={text}: must be PARTS:INPUT, such as torso:valid:3")
            _, _, z = self._one(source, f"--part={text}")
            sources.append((self._parts(names), z[0]))

        def exchange(z):
            codes = np.array(z[0])
            for numbers, source in sources:
                codes[numbers] = np.asarray(source)[numbers]
            return [tf.constant(codes)]

        return exchange

    def _one(self, names: Names, flag: str):
        """The only appearance of `names`, as `_appearances` gives it."""
        given = list(self.appearances(names))
        if len(given) != 1:
            raise InputError(f"{flag}: must be one appearance, not {len(given)}")
        return given[0]

    def _parts(self, names: str) -> list[int]:
        """The numbers of the parts that a text names, see `parts.chosen`."""
        self.model.require("parts")
        return parts.chosen(names, self.regions, self.config.parts, self.config.texture_codes)

    def codes_of_regions(self) -> dict[str, list[int]]:
        """{region: numbers of its codes in z}. {} without parts, without the dataset, or if that has no joints."""
        if self.config.latent != "laid" or not (regions := self.regions):
            return {}
        named = [name for name in (*REGIONS, BACKGROUND) if name in regions]
        return {name: parts.chosen(name, regions, self.config.parts, self.config.texture_codes) for name in named}

    @functools.cached_property
    def regions(self) -> list[str] | None:
        """The region of each part, from people of the run's dataset; None if that is not there or has no joints."""
        if self._info is None or self._info.joints is None:
            return None
        split = "valid" if "valid" in self._info.splits else next(iter(self._info.splits))
        people = list(read_examples(self._dataset_dir, split, count=PEOPLE))
        shapes = tf.stack([shape_of(person, self.config.image_size) for person in people])
        return regions_of(self._graph("parts")({"shape": shapes}).numpy(), [p.joints for p in people])

    # Inputs

    def _reject(self, rejected: Rejected) -> None:
        if self._rejects is None:
            raise InputError(f"{rejected.file}: {rejected.reason}")
        if rejected not in self._rejects:
            self._rejects.append(rejected)

    def _doubt(self, name: str, doubt: str) -> None:
        if doubt not in self._doubts:  # only once, also for a whole folder
            self._doubts.add(doubt)
            print(f"warning: {name}: {doubt}", file=sys.stderr)

    def _inputs(self, names: Names) -> Inputs:
        handlers = self._reject, self._doubt, self._estimator, self._progress
        return Inputs(names, self._fitting, self._dataset_dir, self._info, *handlers)

    def shapes(self, names: Names) -> list[Input]:
        """Shapes that are used more than once. They are kept in memory, without pictures that are not needed."""
        inputs = self._inputs(names)
        if self.model.wanted_shape == "image":
            return list(self._with_pictures(inputs))
        return [Input(label, example._replace(image=b"")) for label, example in inputs]

    def appearances(self, names: Names) -> Iterator[tuple[Input, np.ndarray, list[tf.Tensor]]]:
        """Each appearance with its picture [S, S, 3] uint8 and its z, one tensor per latent scale."""
        return self._appearances(self._inputs(names))

    def _shape(self, given: Input, use: str) -> tf.Tensor | None:
        """What a wiring takes as the shape of an input: its map, or a picture of it. None if it takes no shape."""
        if "shape" not in self.model.wiring(use).input:
            return None
        if self.model.wanted_shape == "image":
            return batch_of([given.example])["image"][0]
        return shape_of(given.example, self.config.image_size)

    def _appearances(self, inputs: Iterable[Input]) -> Iterator[tuple[Input, np.ndarray, list[tf.Tensor]]]:
        """Each appearance with its picture [S, S, 3] uint8 and its z, one [h, w, c] per latent scale."""
        for chunk in _chunks(self._with_pictures(inputs), self._batch_size):
            batch = batch_of([given.example for given in chunk], crops=self.model.appearance_input.crops)
            z = []
            if self.config.latent_shapes:
                z = self._graph("encode")({"appearance": self.model.seen_by_f(batch)})["z"]
            for i, (given, picture) in enumerate(zip(chunk, to_uint8(batch["image"]), strict=True)):
                yield given, picture, [scale[i] for scale in z]

    def _with_pictures(self, inputs: Iterable[Input]) -> Iterator[Input]:
        for given in inputs:
            if not given.example.image:
                self._reject(Rejected(given.example.name, "a shape map alone has no appearance: write PICTURE+MAP"))
            else:
                yield given

    # Pictures

    def _sheet(self, title: str, use: str, work: Iterable, total: int, by_column: bool = False) -> Sheet:
        """The sheet of the pictures that `work` describes.

        For each picture it gives: the place (the first fields of a `Cell`), the shape or None, and z or noise."""

        def cells():
            for chunk in _chunks(work, self._batch_size):
                places, shapes, latents = zip(*chunk, strict=True)
                latents = [tf.stack(scale) for scale in zip(*latents, strict=True)]
                given = {} if shapes[0] is None else {"shape": tf.stack(shapes)}
                if use == "vary":
                    noise, z, keep = latents
                    made = self._graph(use)({**given, "noise": [noise], "z": [z], "keep": keep})["image"]
                elif use == "sample":
                    made = self._graph(use)({**given, "noise": latents})["image"]
                else:
                    made = self._graph(use)({**given, "z": latents})
                for (row, column, of_row, of_column), shape, picture in zip(
                    places, shapes, to_uint8(made), strict=True
                ):
                    shown = None if shape is None else to_uint8(shape)
                    yield Cell(row, column, of_row, of_column, shown, picture)

        hidden = None if self._progress else True  # None: hidden if there is no terminal
        bar = tqdm(cells(), total=total, unit=" pictures", desc=title, disable=hidden)
        return Sheet(bar, total, self.config.image_size, by_column)

    def _graph(self, use: str):
        """A wiring of the model as one graph for batches of any size. Without the graph it would run op by op."""
        if use not in self._graphs:
            wiring = self.model.wiring(use)
            signature = tf.nest.map_structure(lambda given: tf.TensorSpec(given.shape, given.dtype), wiring.input)
            self._graphs[use] = tf.function(lambda inputs: wiring(inputs)).get_concrete_function(signature)
        return self._graphs[use]


def _shown(picture) -> tuple[np.ndarray, ...]:
    """A picture in [-1, 1] in the form that a `Header` takes; () if there is none."""
    return () if picture is None else (to_uint8(picture),)


def _checked(steps: int | None, default: int | None) -> int | None:
    if steps is not None and steps < 2:
        raise InputError(f"--steps={steps}: must be at least 2, both ends are counted")
    return steps or default


def _path(stations: Sequence, steps: int, between) -> Iterator[tuple[float, Any]]:
    """(position, what is there) along stations, `steps` from each to the next, both included. Station i is at i."""
    yield 0, stations[0]
    for i, (first, second) in enumerate(pairwise(stations)):
        for step in range(1, steps):
            weight = step / (steps - 1)
            yield i + weight, between(first, second, weight)


def _pose_between(first: Input, second: Input, weight: float) -> Input:
    joints = keypoints.between(first.example.joints, second.example.joints, weight)
    nearer = second if weight == 1 else first
    return Input(nearer.label, nearer.example._replace(joints=joints))


def _chunks(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
