"""Samples in the host's memory through `tf.data`. It knows no program: layout and place are told."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

AHEAD = 2  # batches that lie ready


def load(
    images: np.ndarray, labels: np.ndarray, size: int, shape: Callable[[Any, Any], Any], device: str
) -> Iterator[Any]:
    """Batches of `size` in the order of the file, over and over, made by `shape` of samples as they lie on disk.

    One thread prepares them beside the step; on a GPU they are copied to it ahead.
    """
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.deterministic = True
    with tf.device("/CPU:0"):
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(size, drop_remainder=True)
        batches = batches.map(shape).with_options(options)
        if "GPU" in device:
            return iter(batches.apply(tf.data.experimental.prefetch_to_device(device, AHEAD)))
        return iter(batches.prefetch(AHEAD))
