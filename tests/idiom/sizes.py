"""Sizes of ResNet-50 (He et al. 2016) and of the small GPT, for models written as plain functions. Knows no bench."""

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first one
FEATURES, HEADS, BLOCKS, POSITIONS, VOCABULARY = 384, 6, 6, 256, 65


def convolutions() -> list[tuple[tuple[int, int, int, int], int]]:
    """Kernel (height, width, inputs, filters) and stride of each, in the order in which they are passed through.

    A stage's first block has its projection last.
    """
    found, inputs = [((7, 7, 3, 64), 2)], 64
    for width, blocks, first in STAGES:
        for block in range(blocks):
            stride = first if block == 0 else 1
            found += [((1, 1, inputs, width), 1), ((3, 3, width, width), stride), ((1, 1, width, 4 * width), 1)]
            found += [((1, 1, inputs, 4 * width), stride)] if block == 0 else []
            inputs = 4 * width
    return found
