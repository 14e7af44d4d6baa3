"""Break-even by its closed form, at its edges, and its interval against a truth that is known."""

from math import inf

import numpy as np
import pytest
from test_table import CASE, failure, pilot, sample

from bench import break_even
from bench.break_even import BreakEven, Course
from bench.records import Record, latest

ROUNDS = 6


def course(extra: float, step: float, rounds: int = ROUNDS) -> Course:
    return Course((extra,) * rounds, (step,) * rounds)


def test_where_two_courses_cross() -> None:
    found = break_even.between(course(10.0, 0.1), course(2.0, 0.3))
    assert found.steps == pytest.approx(40)  # (10 - 2) / (0.3 - 0.1)
    assert found.seconds == pytest.approx(10 + 40 * 0.1)
    assert found.seconds == pytest.approx(2 + 40 * 0.3)  # both have run as long by then
    assert (found.low, found.high) == (pytest.approx(40), pytest.approx(40))


@pytest.mark.parametrize(
    ("compiled", "base", "steps"),
    [
        ((10.0, 0.3), (2.0, 0.1), inf),  # slower in every step
        ((10.0, 0.1), (2.0, 0.1), inf),  # no faster
        ((2.0, 0.1), (10.0, 0.3), 0.0),  # ahead from the start
        ((2.0, 0.1), (2.0, 0.3), 0.0),
        ((2.0, 0.1), (2.0, 0.1), 0.0),  # never behind
        ((2.0, 0.3), (10.0, 0.1), inf),  # ahead at first, behind for ever after
    ],
)
def test_at_the_edges(compiled: tuple[float, float], base: tuple[float, float], steps: float) -> None:
    found = break_even.between(course(*compiled), course(*base))
    assert (found.steps, found.low, found.high) == (steps, steps, steps)
    assert found.seconds == (inf if steps == inf else pytest.approx(compiled[0]))


@pytest.mark.parametrize("rounds", range(1, 8))
def test_under_five_rounds_there_is_no_interval(rounds: int) -> None:
    found = break_even.between(course(10.0, 0.1, rounds), course(2.0, 0.3, rounds))
    assert found.steps == pytest.approx(40)
    assert (found.low is None, found.high is None) == (rounds < 5,) * 2


def test_a_cold_start_happened_once() -> None:
    found = break_even.between(Course((10.0,), (0.1,) * ROUNDS), Course((2.0,), (0.3,) * ROUNDS))
    assert found == BreakEven(found.steps, found.seconds, pytest.approx(40), pytest.approx(40))


def test_a_gain_that_noise_could_undo_has_no_upper_bound() -> None:
    base = (0.30, 0.29, 0.31, 0.30, 0.29, 0.31)
    compiled = (0.28, 0.33, 0.27, 0.29, 0.34, 0.26)
    found = break_even.between(Course((10.0,) * 6, compiled), Course((2.0,) * 6, base))
    assert found.steps < inf and found.low is not None and found.low < inf
    assert found.high == inf


def test_the_same_rounds_give_the_same_interval() -> None:
    draw = np.random.Generator(np.random.PCG64(1))
    one, other = (
        Course(tuple(draw.normal(e, 0.5, 6)), tuple(draw.normal(s, 0.01, 6))) for e, s in ((10, 0.1), (2, 0.3))
    )
    assert break_even.between(one, other) == break_even.between(one, other)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The truth is 40 steps; both modes share each round's noise, as two processes of one round do."""
    draw = np.random.Generator(np.random.PCG64(7))
    held, tried = 0, 200
    for _ in range(tried):
        shared = draw.normal(0, 0.03, 10)
        compiled = Course(tuple(draw.normal(10, 0.4, 10)), tuple(0.1 * np.exp(shared + draw.normal(0, 0.01, 10))))
        base = Course(tuple(draw.normal(2, 0.1, 10)), tuple(0.3 * np.exp(shared + draw.normal(0, 0.01, 10))))
        found = break_even.between(compiled, base)
        assert found.low is not None and found.high is not None
        assert found.low <= found.steps <= found.high
        held += found.low <= 40 <= found.high
    assert held / tried >= 0.9
    assert held < tried  # an interval that always holds says too little


# --- courses from records ---------------------------------------------------------------------------------------------


def test_a_warm_course_is_the_first_calls_beyond_as_many_steps() -> None:
    samples = {number: sample(CASE, number, 20.0, warm=0.5) for number in range(3)}  # calls: 0.5, 0.1 and 0.1 s
    found = break_even.warm(samples, [1, 2])
    assert found is not None
    assert found.step == pytest.approx((0.02, 0.02))
    assert found.extra == pytest.approx((0.1 + 0.7 - 3 * 0.02,) * 2)  # its build, and its first calls
    assert break_even.warm(samples, []) is None


def test_a_step_is_the_median_of_bursts_over_their_steps() -> None:
    assert break_even.step_ns(sample(CASE, 0, [1.0, 9.0, 2.0], steps=7)) == pytest.approx(2e6)


@pytest.mark.parametrize(
    ("records", "rounds", "extra"),
    [
        ([pilot(CASE, cold=4.0)], [0, 1, 2], 0.1 + 4.2 - 3 * 0.02),
        ([pilot(CASE, cold=4.0)], [], None),
        ([failure(CASE, -1)], [0], None),
        ([], [0], None),
    ],
    ids=["measured", "no rounds", "failed pilot", "no pilot"],
)
def test_a_cold_course_is_the_pilot_s(records: list[Record], rounds: list[int], extra: float | None) -> None:
    samples = {number: sample(CASE, number, value) for number, value in enumerate((10.0, 20.0, 30.0))}
    found = break_even.cold(CASE, latest(records), samples, rounds)
    assert (found is None) is (extra is None)
    if found is not None and extra is not None:
        assert found.extra == pytest.approx((extra,))
        assert found.step == pytest.approx((0.01, 0.02, 0.03))
