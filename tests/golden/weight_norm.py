"""Makes weight_norm.npz: weight-normalised convolutions in NumPy float64, by loops, from the formulas alone.

w = g V / ||V|| (Salimans & Kingma 2016, Eq. 2), "same" padding as TensorFlow defines it (the odd pixel goes below and
right), and the data-dependent initialisation g = 1 / sqrt(var + 1e-10), b = -mean * g of the output at g = 1, b = 0.
Nothing of vunet_tf, TensorFlow or Keras is used. Run: python tests/golden/weight_norm.py
"""

from pathlib import Path

import numpy as np


def convolve(x, kernel, stride):
    """[B, H, W, C] * [k, k, C, D] -> [B, ceil(H / stride), ceil(W / stride), D], one output position at a time."""
    batch, height, width, _ = x.shape
    k, _, _, filters = kernel.shape
    out_height, out_width = -(-height // stride), -(-width // stride)
    pad_y = max((out_height - 1) * stride + k - height, 0)
    pad_x = max((out_width - 1) * stride + k - width, 0)
    x = np.pad(x, [(0, 0), (pad_y // 2, pad_y - pad_y // 2), (pad_x // 2, pad_x - pad_x // 2), (0, 0)])
    y = np.zeros((batch, out_height, out_width, filters))
    for n in range(batch):
        for i in range(out_height):
            for j in range(out_width):
                patch = x[n, i * stride : i * stride + k, j * stride : j * stride + k]
                for d in range(filters):
                    y[n, i, j, d] = np.sum(patch * kernel[..., d])
    return y


def normalise(v):
    return np.stack([v[..., d] / np.sqrt(np.sum(v[..., d] ** 2)) for d in range(v.shape[-1])], axis=-1)


def main():
    rng = np.random.default_rng(0)
    arrays = {}
    for name, kernel_size, stride in [("3x3", 3, 1), ("1x1", 1, 1), ("down", 3, 2)]:
        x = rng.normal(0.3, 2.0, (3, 6, 5, 4))
        v = rng.normal(0, 0.05, (kernel_size, kernel_size, 4, 7))
        g, b = rng.normal(1, 0.5, 7), rng.normal(0, 0.5, 7)
        raw = convolve(x, normalise(v), stride)
        initial_g = 1 / np.sqrt(raw.var(axis=(0, 1, 2)) + 1e-10)
        arrays |= {
            f"{name}/x": x,
            f"{name}/v": v,
            f"{name}/g": g,
            f"{name}/b": b,
            f"{name}/y": convolve(x, g * normalise(v), stride) + b,
            f"{name}/kernel": g * normalise(v),
            f"{name}/initial_g": initial_g,
            f"{name}/initial_b": -raw.mean(axis=(0, 1, 2)) * initial_g,
        }
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
