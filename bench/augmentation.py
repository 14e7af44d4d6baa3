"""Which way each image of a batch is flipped, moved and turned: decided in NumPy, done by each backend on its device.

The decisions follow from the batch itself, so that every backend makes the same ones, in whatever order it is asked.
"""

import zlib
from math import radians

import numpy as np

from bench.placement import Array

TURN = radians(15.0)  # at most, either way
MOVE = 1 / 8  # of an image's side, at most, either way: a crop of what a margin of so much was put around


def decide(images: np.ndarray) -> Array:
    """For each image `(..., n, height, width, channels)` where the result's pixels come from: fp64 `(..., n, 2, 3)`.

    The pixel at row r and column c of the result is that at `m @ (r, c, 1)` of the image, by bilinear interpolation
    between the four pixels around it; what is outside the image is 0. Each of several batches has its own decisions.
    """
    if images.ndim > 4:
        return np.stack([decide(batch) for batch in images])
    count, height, width, _ = images.shape
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(np.ascontiguousarray(images).tobytes())))
    flip = 1 - 2 * draw.integers(0, 2, count)
    angle = TURN * (2 * draw.random(count) - 1)
    shift = np.rint((2 * draw.random((count, 2)) - 1) * np.array([height, width]) * MOVE)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([np.stack([cos, -sin * flip], -1), np.stack([sin, cos * flip], -1)], 1)
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = centre + shift - turned @ centre
    return np.concatenate([turned, offset[..., None]], -1)


def apply(images: Array, matrices: Array) -> Array:
    """The same in NumPy, for the proof of the backends: `(n, height, width, channels)`."""
    count, height, width, _ = images.shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    places = np.stack([rows, columns, np.ones_like(rows)], -1).astype(np.float64)
    source = np.einsum("nij,hwj->nhwi", matrices, places)
    low = np.floor(source)
    part = source - low
    found = np.zeros_like(images)
    for down in (0, 1):
        for right in (0, 1):
            r, c = low[..., 0].astype(int) + down, low[..., 1].astype(int) + right
            weight = np.where(down, part[..., 0], 1 - part[..., 0]) * np.where(right, part[..., 1], 1 - part[..., 1])
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            pixels = images[np.arange(count)[:, None, None], np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)]
            found += pixels * (weight * inside)[..., None]
    return found
