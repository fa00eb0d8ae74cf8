"""What is exported: a run with its weight normalisation folded, and its description for clients."""

import datetime
import hashlib
from pathlib import Path

import numpy as np

from vunet_tf import __version__, pretrained, runs
from vunet_tf.body.skeleton import JOINTS, SCHEMAS
from vunet_tf.data.sources.source import CUTOUTS
from vunet_tf.files.errors import InputError
from vunet_tf.generation import Generator
from vunet_tf.runs import Run

LICENCE = "Apache-2.0 (the program; the weights: as the licence of the training data allows)"


def load(run_dir: Path | str | None, dataset_dir: Path | str | None = None) -> Run:
    """A run ready for export: as `runs.load` gives it, but its model has plain convolutions.

    Raises:
        InputError: as `runs.load`; or the model cannot be exported, or has weights that are not finite.
    """
    if not run_dir:
        raise InputError("give --run_dir; --help explains")
    run = runs.load(run_dir, dataset_dir)
    run.model.require("export")
    folded = run.model.fold()
    for weight in folded.weights:
        if not np.isfinite(weight.numpy()).all():
            raise InputError(f"{run_dir}: {weight.path} is not finite; the run has diverged, train it again")
    return run._replace(model=folded)


def describe(run: Run) -> dict:
    """What a client must know about a run, as JSON values."""
    config, fitting = run.model.config, run.fitting.of_photographs()
    licence = pretrained.licence(run.directory)
    return {
        "model": "VU-Net (Esser, Sutter, Ommer, CVPR 2018)" if config.model == "vunet" else f"--model={config.model}",
        "made_by": f"vunet_tf {__version__} from {run.directory.resolve().name}",
        "weights_id": _fingerprint(run.model.weights),
        "made_on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "licence": f"{licence} (program and weights)" if licence else LICENCE,
        "image_size": config.image_size,
        "shape_channels": config.shape_channels,
        "shape_from": "joints" if run.fitting.stickmen else "shape map",
        "joints": list(JOINTS) if run.fitting.stickmen else None,
        "keypoints": _order_in_schemas() if run.fitting.stickmen else None,
        "appearance": config.appearance,
        "parts": config.parts if "parts" in config.seen else None,
        "latents": [list(shape) for shape in config.latent_shapes],
        "regions": Generator(run).codes_of_regions(),
        "photographs": {
            "fit": fitting.fit,
            "margin": fitting.margin,
            "cutout": None if fitting.cutout is None else CUTOUTS[fitting.cutout],
        },
    }


def _fingerprint(weights):
    """16 characters (0-9, a-f): equal for equal weights, and different for different ones."""
    found = hashlib.sha256()
    for weight in weights:
        found.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return found.hexdigest()[:16]


def _order_in_schemas() -> dict[str, list[int]]:
    """{keypoint schema: where each of the 15 joints stands in it}, for clients that have a pose estimator."""
    return {name: [schema.index(joint) for joint in JOINTS] for name, schema in SCHEMAS.items() if name != "vunet15"}
