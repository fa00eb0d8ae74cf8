"""What is exported: a run's model, its weight normalisation folded, and what its data is."""

import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf import __version__, runs
from vunet_tf.body.skeleton import JOINTS
from vunet_tf.files.errors import InputError
from vunet_tf.models import VUNet

LICENCE = "Apache-2.0 (the program; the weights: as the licence of the training data allows)"


class Trained(NamedTuple):
    """A run to be exported.

    model: averaged weights, plain convolutions.
    keypoints: whether its shape maps are stickmen, drawn from joints.
    run_dir: where it is from.
    """

    model: VUNet
    keypoints: bool
    run_dir: Path

    def describe(self) -> dict:
        """What a client must know, as JSON values."""
        config = self.model.config
        return {
            "model": "VU-Net (Esser, Sutter, Ommer, CVPR 2018)",
            "made_by": f"vunet_tf {__version__} from {self.run_dir.resolve().name}",
            "made_on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "licence": LICENCE,
            "image_size": config.image_size,
            "shape_channels": config.shape_channels,
            "shape_from": "joints" if self.keypoints else "shape map",
            "joints": list(JOINTS) if self.keypoints else None,
            "appearance": config.appearance,
            "parts": config.parts if config.appearance != "picture" else None,
            "latents": [list(shape) for shape in config.latent_shapes],
        }


def load(run_dir, dataset_dir=None) -> Trained:
    """The model of a run, ready for export.

    Args:
        run_dir: a run directory.
        dataset_dir: its dataset, asked whether it has joints where the run does not say so; by default the one that the
            run was trained on.

    Raises:
        InputError: it is no run, or not whole; it has no appearance latent; or weights are no finite numbers.
    """
    if not run_dir:
        raise InputError("give --run_dir; --help explains")
    model = runs.load(run_dir)
    if not model.config.latent_scales:
        raise InputError(f"{run_dir} was trained with --latent_scales=0: it has no appearance to transfer or sample")
    folded = model.fold()
    for weight in folded.weights:
        if not np.isfinite(weight.numpy()).all():
            raise InputError(f"{run_dir}: {weight.path} is not finite; the run has diverged, train it again")
    return Trained(folded, runs.has_keypoints(run_dir, dataset_dir), Path(run_dir))
