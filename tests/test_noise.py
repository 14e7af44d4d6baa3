"""What makes a row unsteady, on samples made by hand: each cause on either side of its quarter, and in its words."""

from typing import Any

import pytest
from msgspec.structs import replace
from test_table import CASE, DRIFTING, pilot, sample, sensed

from bench import noise
from bench.noise import Noise
from bench.records import Sample

GPU = replace(CASE, device="gpu")


def process(number: int, milliseconds: float | list[float] = 2.0, **seen: Any) -> Sample:
    return sample(CASE, number, milliseconds, seen=sensed(**seen))


def of(*samples: Sample) -> Noise:
    return noise.of(samples, 2)


def test_a_quiet_machine_makes_no_words() -> None:
    assert of(*(process(n) for n in range(6))) == Noise(0.0, 0.0, False, "")


@pytest.mark.parametrize("disturbed", range(5))
@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"others": 0.9}, "other processes used 0.9 of 2 cores beside {} of 4 processes"),
        ({"stolen": 0.5}, "the hypervisor took 0.5 of 2 cores from {} of 4 processes"),
        ({"foreign": 2}, "2 other processes computed on the GPU beside {} of 4"),
        ({"throttled": 0.3}, "a quota held back {} of 4 processes, 0.3 s each"),
    ],
    ids=["neighbour", "steal", "gpu", "quota"],
)
def test_more_than_a_quarter_of_the_processes_is_too_many(disturbed: int, seen: dict[str, Any], words: str) -> None:
    found = of(*(process(n, **(seen if n < disturbed else {})) for n in range(4)))
    assert found.disturbed is (disturbed > 1)
    assert found.words == (words.format(disturbed) if disturbed > 1 else "")


def test_drift_makes_a_row_unsteady_and_blames_no_neighbour() -> None:
    for drifting, words in ((1, ""), (2, "2 of 4 processes grew faster or slower by over 3 % while they were timed")):
        found = of(*(process(n, DRIFTING if n < drifting else 2.0) for n in range(4)))
        assert (found.disturbed, found.words) == (False, words)


@pytest.mark.parametrize(
    ("bursts", "steps", "still"),
    [
        ([50.0] * 19 + [1100.0], 1, True),
        ([50.0] * 19 + [499.0], 1, False),  # under half a second
        ([100.0] * 19 + [900.0], 1, False),  # under ten times the others
        ([900.0] * 20, 1, False),  # all are as long
        ([5.0] * 19 + [110.0], 10, True),  # a burst, not a step, is what lasts
    ],
)
def test_a_burst_in_which_the_process_stood_still(bursts: list[float], steps: int, still: bool) -> None:
    one = sample(CASE, 0, bursts, steps=steps, seen=sensed())
    found = of(one, *(sample(CASE, n, 50.0 / steps, steps=steps, seen=sensed()) for n in range(1, 8)))
    said = "a process stood still: one burst took 1.1 s, their median is 0.050 s"  # one process of eight is enough
    assert found.words == (said if still else "")
    assert not found.disturbed


def test_all_that_happened_is_said() -> None:
    found = of(*(process(n, DRIFTING, others=1.0, stolen=0.2, foreign=1, throttled=0.5) for n in range(4)))
    for words in (
        "other processes used 1.0",
        "the hypervisor took 0.2",
        "1 other processes computed",
        "a quota",
        "grew",
    ):
        assert words in found.words
    assert found.words.count("; ") == 4


def test_cores_are_the_medians_over_processes() -> None:
    found = of(*(process(n, others=others, stolen=others / 2) for n, others in enumerate((0.0, 0.05, 2.0))))
    assert found.others_cores == pytest.approx(0.05, abs=0.05)
    assert found.stolen_cores == pytest.approx(0.025, abs=0.05)


def test_where_nobody_could_look_nothing_is_known() -> None:
    found = of(*(process(n, others=None, stolen=None) for n in range(4)))
    assert found == Noise(None, None, False, "")


def test_processes_that_could_not_look_do_not_count_as_quiet_ones() -> None:
    seen = [process(0, others=1.5), process(1, others=1.5), *(process(n, others=None) for n in (2, 3))]
    assert of(*seen).others_cores == pytest.approx(1.5, abs=0.05)


def test_a_case_without_a_process_is_quiet() -> None:
    assert of() == Noise(None, None, False, "")


@pytest.mark.parametrize(("seconds", "cores", "told"), [(2.0, 0.9, True), (2.0, 0.05, False), (0.002, 1.9, False)])
def test_a_neighbour_beside_the_first_calls_is_told_where_they_last_long_enough_to_see_one(
    seconds: float, cores: float, told: bool
) -> None:
    found = replace(pilot(CASE, cold=seconds), first_calls=(seconds, 0.0, 0.0), first_others_cores=cores)
    said = noise.of([sample(CASE, number, 1.0) for number in range(6)], 2, found).words
    assert ("beside the pilot's first calls" in said) is told
