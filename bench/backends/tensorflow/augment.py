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
    grid = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    rows, columns = (tf.cast(one, matrices.dtype)[..., None] for one in grid)
    # Element by element: a matrix product would round the places to 10 bits where TF32 is on.
    m = matrices[:, None, None]
    source = m[..., 0] * rows + m[..., 1] * columns + m[..., 2]
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
