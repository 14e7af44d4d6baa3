"""Images flipped, moved and turned on the device, as `bench.augmentation` decided."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, matrices: Tensor) -> Tensor:
    """`(n, channels, height, width)` sampled where the matrices `(n, 2, 3)` say; outside is 0."""
    height, width = images.shape[-2:]
    options: dict[str, Any] = {"dtype": matrices.dtype, "device": matrices.device}
    rows, columns = torch.meshgrid(torch.arange(height, **options), torch.arange(width, **options), indexing="ij")
    # Element by element: a matrix product would round the places to 10 bits where TF32 is on.
    m = matrices[:, None, None]
    source = m[..., 0] * rows[..., None] + m[..., 1] * columns[..., None] + m[..., 2]
    # torch counts from -1 to 1 between the centres of the outermost pixels, and columns first.
    scale = torch.tensor([2 / (height - 1), 2 / (width - 1)], **options)
    return functional.grid_sample(images, (source * scale - 1).flip(-1), "bilinear", "zeros", align_corners=True)
