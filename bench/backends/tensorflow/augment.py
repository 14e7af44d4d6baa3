"""Images flipped, moved and turned on the device, as `bench.augmentation` decided.

TensorFlow's own operation for it, ImageProjectiveTransform, counts in fp32 whatever the images are, and XLA lacks it.
"""

from typing import Any

import tensorflow as tf


def augment(images: Any, matrices: Any, *, channels_first: bool) -> Any:
    """Sampled where the matrices `(n, 2, 3)` say, between four pixels; outside is 0."""
    if channels_first:
        images = tf.transpose(images, (0, 2, 3, 1))
    _, height, width, _ = images.shape
    rows, columns = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    places = tf.cast(tf.stack([rows, columns, tf.ones_like(rows)], -1), matrices.dtype)
    source = tf.einsum("nij,hwj->nhwi", matrices, places)
    low = tf.floor(source)
    part, corner = source - low, tf.cast(low, tf.int32)
    found = tf.zeros_like(images)
    for down in (0, 1):
        for right in (0, 1):
            at = corner + tf.constant([down, right])
            row, column = at[..., 0], at[..., 1]
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = (part[..., 0] if down else 1 - part[..., 0]) * (part[..., 1] if right else 1 - part[..., 1])
            held = tf.clip_by_value(at, 0, tf.constant([height - 1, width - 1]))
            pixels = tf.gather_nd(images, held, batch_dims=1)
            found += pixels * tf.cast(tf.where(inside, weight, tf.zeros_like(weight)), images.dtype)[..., None]
    return tf.transpose(found, (0, 3, 1, 2)) if channels_first else found
