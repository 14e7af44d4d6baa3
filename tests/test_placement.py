"""Placements: there and back is the identity, and the Dense behind a Flatten does without a turned image."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.placement import Placement

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@st.composite
def placements(draw: st.DrawFn) -> tuple[Placement, tuple[int, ...]]:
    """A placement with the parameter's own shape: any permutation, its axes perhaps merged on either side."""
    sizes = draw(SIZES)
    left = "abcde"[: len(sizes)]
    right = "".join(draw(st.permutations(left)))
    turned = [sizes[left.index(axis)] for axis in right]
    shape, theirs = draw(merged(sizes)), draw(merged(turned))
    return Placement(f"{left}->{right}", tuple(sizes), theirs), shape


def merged(sizes: list[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """`sizes`, or the same elements with the first axes taken together."""
    ways = [(int(np.prod(sizes[:cut])), *sizes[cut:]) for cut in range(1, len(sizes) + 1)]
    return st.sampled_from(ways)


@given(placements())
def test_there_and_back_is_the_identity(case: tuple[Placement, tuple[int, ...]]) -> None:
    placement, shape = case
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    theirs = placement.to_framework(array)
    assert theirs.shape == placement.theirs
    assert theirs.flags.c_contiguous
    ours = placement.from_framework(theirs, shape)
    assert ours.shape == shape
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, array)
    np.testing.assert_array_equal(np.sort(theirs, axis=None), np.sort(array, axis=None))


@pytest.mark.parametrize("spec", ["".join(p) for p in permutations("hwio")])
def test_each_element_lands_where_the_letters_say(spec: str) -> None:
    sizes = {"h": 2, "w": 3, "i": 4, "o": 5}
    array = np.random.Generator(np.random.PCG64(1)).random(tuple(sizes.values()))
    theirs = Placement(f"hwio->{spec}", array.shape, tuple(sizes[axis] for axis in spec)).to_framework(array)
    for place in np.ndindex(array.shape):
        at = dict(zip("hwio", place, strict=True))
        assert theirs[tuple(at[axis] for axis in spec)] == array[place]


@pytest.mark.parametrize("spec", ["io->io", "io->oi"])
def test_both_ways_make_a_copy(spec: str) -> None:
    placement = Placement(spec, (2, 2), (2, 2))
    array = np.zeros((2, 2))
    there, back = placement.to_framework(array), placement.from_framework(array, (2, 2))
    array[:] = 1
    assert not there.any()
    assert not back.any()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_dense_behind_flatten_equals_transposing_the_image(h: int, w: int, c: int, units: int, torch: bool) -> None:
    draw = np.random.Generator(np.random.PCG64(h + 5 * w + 25 * c))
    images, kernel = draw.random((3, h, w, c)), draw.random((h * w * c, units))
    wanted = images.reshape(3, -1) @ kernel
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(3, -1)  # flattened as a channels-first image is
    if torch:
        placed = Placement("hwco->ochw", (h, w, c, units), (units, h * w * c)).to_framework(kernel).T
    else:
        placed = Placement("hwco->chwo", (h, w, c, units), (h * w * c, units)).to_framework(kernel)
    np.testing.assert_allclose(first @ placed, wanted, rtol=1e-13)
    if h * w > 1 and c > 1:  # where the order matters, the untouched kernel gives something else
        assert not np.allclose(first @ kernel, wanted, rtol=1e-13)
