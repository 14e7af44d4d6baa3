"""Images flipped, moved and turned on the device, as `bench.augmentation` decided."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def augment(images: Any, matrices: Any) -> Any:
    """`(n, height, width, channels)` sampled where the matrices `(n, 2, 3)` say; outside is 0."""
    height, width = images.shape[1:3]
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    # Element by element: a matrix product would round the places to 10 bits where TF32 is on.
    m = matrices[..., None, None]
    source = m[:, :, 0] * rows + m[:, :, 1] * columns + m[:, :, 2]
    channel = jax.vmap(lambda image, at: map_coordinates(image, list(at), order=1), in_axes=(-1, None), out_axes=-1)
    return jax.vmap(channel)(images, source)
