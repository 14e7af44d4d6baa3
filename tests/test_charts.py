"""Colours that tell backends apart: for every eye, on both grounds, and one colour a backend everywhere."""

from itertools import combinations

import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE

from bench import backends
from bench.reports import colours

# Machado, Oliveira & Fernandes 2009, at full severity: the three kinds of colour-blindness, and no colour at all.
EYES = {
    "usual": None,
    "protanopia": {"name": "sRGB1+CVD", "cvd_type": "protanomaly", "severity": 100},
    "deuteranopia": {"name": "sRGB1+CVD", "cvd_type": "deuteranomaly", "severity": 100},
    "tritanopia": {"name": "sRGB1+CVD", "cvd_type": "tritanomaly", "severity": 100},
}
APART = 10.0  # in CAM02-UCS, where 1 is what is just seen side by side
NATIVE = ("torch", "tensorflow", "jax", "null", "control")


def rgb(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def seen(colour: str, eye: str) -> np.ndarray:
    space = EYES[eye]
    return np.clip(rgb(colour) if space is None else cspace_convert(rgb(colour), space, "sRGB1"), 0, 1)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize(("one", "other"), list(combinations(colours.BACKENDS, 2)))
def test_backends_are_told_apart(eye: str, one: str, other: str) -> None:
    found = deltaE(seen(colours.BACKENDS[one], eye), seen(colours.BACKENDS[other], eye), input_space="sRGB1")
    assert found > APART, f"{found:.1f}"


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("ground", ["#fbfbfa", "#14171b"])
@pytest.mark.parametrize("backend", NATIVE)
def test_marks_are_seen_on_both_grounds(backend: str, ground: str) -> None:
    light, dark = sorted((luminance(colours.BACKENDS[backend]), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 2.2, 1.4.11


def test_a_backend_has_one_colour_whatever_stands_beside_it() -> None:
    assert colours.of(["torch"])["torch"] == colours.of(["jax", "torch", "mine.py", "x"])["torch"]
    assert set(backends.REGISTRY) <= set(colours.BACKENDS)


def test_another_packages_backend_keeps_its_colour() -> None:
    alone = colours.of(["by-hand"])["by-hand"]
    assert alone in colours.REST
    assert colours.of(["a.py", "b.py", "by-hand", "torch"])["by-hand"] == alone
    names = [f"backend-{number}" for number in range(20)]
    assert {colours.of([name])[name] for name in names} == set(colours.REST)  # not all the first
    found = colours.of(names[:4])
    assert len(set(found.values())) == 4 and len(colours.of(names)) == 20


def test_others_get_colours_of_their_own() -> None:
    found = colours.of(["torch", "a.py", "b.py", "c.py", "d.py"])
    assert len(set(found.values())) == 5 and found == colours.of(["d.py", "c.py", "b.py", "a.py", "torch"])
    assert [found[name] for name in ("a.py", "b.py", "c.py", "d.py")] == list(colours.REST)
