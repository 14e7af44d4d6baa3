"""How a parameter lies in a framework: an einsum string from our axes to its own, inverted by reading backwards."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Placement(Struct, frozen=True):
    """`spec` permutes our axes into the framework's ("hwio->oihw").

    `ours` and `theirs` are the shapes around it, where they differ from the parameter's own: a Dense behind a Flatten
    is read as a kernel as large as its image, so that a channels-first framework needs no transposition at run time.
    """

    spec: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]

    def to_framework(self, array: Array) -> Array:
        """Our array to the framework's axes; a contiguous copy."""
        return np.array(np.einsum(self.spec, array.reshape(self.ours)).reshape(self.theirs), order="C")

    def from_framework(self, array: Array, shape: tuple[int, ...]) -> Array:
        """The framework's array back to our axes and our `shape`; a contiguous copy."""
        left, right = self.spec.split("->")
        sizes = dict(zip(left, self.ours, strict=True))
        turned = np.einsum(f"{right}->{left}", array.reshape([sizes[axis] for axis in right]))
        return np.array(turned.reshape(shape), order="C")
