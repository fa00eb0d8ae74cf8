"""How near exported pictures come to those of Keras, and to the truth."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Closeness(NamedTuple):
    """How near pictures are to those of Keras and to the truth; see `closeness`."""

    largest: int
    psnr: float | None
    psnr_worst: float | None
    ssim: float
    ssim_to_keras: float
    error: float


def closeness(pictures, keras, truth, inside) -> Closeness:
    """Compares uint8 pictures [n, S, S, 3]; `inside` [n, S, S, 1] is where an error to the truth counts."""
    difference = pictures.astype(np.float64) - keras
    mse = np.mean(np.square(difference), axis=(1, 2, 3))
    psnr = 10 * np.log10(255**2 / mse[mse > 0])
    to_truth = np.abs(pictures.astype(np.float64) - truth).mean(axis=-1, keepdims=True)
    return Closeness(
        largest=int(np.abs(difference).max()),
        psnr=float(psnr.mean()) if len(psnr) else None,
        psnr_worst=float(psnr.min()) if len(psnr) else None,
        ssim=float(tf.reduce_mean(tf.image.ssim(pictures, truth, 255))),
        ssim_to_keras=float(tf.reduce_mean(tf.image.ssim(pictures, keras, 255))),
        error=float((to_truth * inside).sum() / inside.sum()),
    )
