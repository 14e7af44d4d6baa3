"""What bounds a step, on made-up ceilings: the three shares by hand, and which of them is the largest."""

import pytest
from msgspec.structs import replace
from test_table import CASE, JAX, ceiling, pilot

from bench import bounds, workloads
from bench.bounds import Bounds, Ceilings
from bench.records import Record

MLP = workloads.get("mlp")
FOUND = Ceilings(1e11, "torch eager", (9e10, 1.1e11), 1e10, "jax compiled", (9e9, 1.1e10))
ARITHMETIC = 64 * MLP.flops_per_sample("train") / 1e11  # seconds
MEMORY = MLP.bytes_per_step("train", 64, 4) / 1e10


def best(*records: Record, precision: str = "fp32", device: str = "cpu", threads: int = 4) -> Ceilings | None:
    return bounds.ceilings(records, precision=precision, device=device, threads=threads)


# --- ceilings ---------------------------------------------------------------------------------------------------------


def test_each_ceiling_is_the_best_backend_s_and_says_whose() -> None:
    product = ceiling(CASE, flops=(90.0, 100.0, 300.0), moved=(5.0, 6.0, 7.0))
    copy = ceiling(JAX, flops=(80.0, 99.0, 999.0), moved=(6.0, 8.0, 9.0))
    rates = 100.0, "torch eager", (90.0, 300.0), 8.0, "jax compiled", (6.0, 9.0)
    assert best(product, copy) == Ceilings(*rates, kind="fp32, cpu, 4 threads")
    assert best(copy, product) == best(product, copy)


@pytest.mark.parametrize("axis", [{"precision": "fp64"}, {"device": "gpu"}, {"threads": 1}])
def test_a_ceiling_of_another_kind_is_none(axis: dict[str, object]) -> None:
    other = ceiling(replace(CASE, **axis))
    assert best(other) is None
    assert best(other, **axis) is not None  # type: ignore[arg-type]
    assert best(other, ceiling(JAX)) == best(ceiling(JAX))


def test_a_ceiling_that_could_not_be_measured_is_none() -> None:
    failed = ceiling(CASE, (), (), reason="oom: no memory")
    assert best(failed) is None
    assert best(failed, ceiling(JAX)) == best(ceiling(JAX))
    assert best(pilot(CASE)) is None
    assert best() is None


def test_what_others_used_beside_a_ceiling_is_told_with_it() -> None:
    beside = replace(ceiling(CASE), others_cores=0.9)
    found = best(replace(ceiling(JAX, flops=(1.0,), moved=(1.0,)), others_cores=0.1), beside)
    assert found is not None and found.others_cores == 0.9
    quiet = best(ceiling(CASE))
    assert quiet is not None and quiet.others_cores is None


@pytest.mark.parametrize(
    ("cores", "others", "told"),
    [(1.0, 0.0, True), (1.4, 0.0, True), (1.9, 0.0, False), (1.0, 0.9, False), (None, 0.0, False)],
)
def test_a_thread_pool_that_is_too_small_is_told(cores: float | None, others: float, told: bool) -> None:
    two = replace(CASE, threads=2)
    record = replace(ceiling(two), cores=cores, others_cores=others)
    assert ("thread pool may be smaller" in bounds.idle_threads(two, [record])) is told
    assert bounds.idle_threads(replace(JAX, threads=2), [record]) == ""
    many = replace(two, threads=64)  # more than the largest product that is tried may keep busy
    assert bounds.idle_threads(many, [replace(record, threads=64)]) == ""
    assert bounds.idle_threads(replace(two, threads=1), [replace(record, threads=1)]) == ""
    assert bounds.idle_threads(replace(two, device="gpu"), [replace(record, device="gpu")]) == ""


# --- shares -----------------------------------------------------------------------------------------------------------


def test_the_shares_are_the_floors_over_the_step() -> None:
    step = 4 * max(ARITHMETIC, MEMORY)
    found = bounds.of(CASE, MLP, step, pilot(CASE, dispatch=step / 10), FOUND)
    assert found.utilisation == pytest.approx(ARITHMETIC / step)
    assert found.memory_share == pytest.approx(MEMORY / step)
    assert found.dispatch_share == pytest.approx(0.1)


@pytest.mark.parametrize(("share", "bound"), [(None, "other"), (0.01, "other"), (0.9, "input")])
def test_a_step_that_waits_for_most_of_its_time_is_bound_by_input(share: float | None, bound: str) -> None:
    step = 4 * max(ARITHMETIC, MEMORY)
    made = replace(pilot(CASE, dispatch=step / 10), input_share=share)
    assert (bounds.of(CASE, MLP, step, made, FOUND).bound_by == "input") is (bound == "input")


@pytest.mark.parametrize(
    ("flops", "moved", "dispatch", "wanted"),
    [(1.0, 1e-6, 0.1, "arithmetic"), (1e-6, 1.0, 0.1, "memory"), (0.1, 0.1, 0.8, "dispatch")],
)
def test_the_largest_share_bounds_it(flops: float, moved: float, dispatch: float, wanted: str) -> None:
    """`flops` and `moved`: the shares that the ceilings give a step of one second."""
    ceilings = replace(FOUND, flops_per_second=ARITHMETIC * 1e11 / flops, bytes_per_second=MEMORY * 1e10 / moved)
    found = bounds.of(CASE, MLP, 1.0, pilot(CASE, dispatch=dispatch), ceilings)
    assert (found.utilisation, found.memory_share) == (pytest.approx(flops), pytest.approx(moved))
    assert found.bound_by == wanted


def test_without_ceilings_nothing_is_said() -> None:
    assert bounds.of(CASE, MLP, 1.0, pilot(CASE), None) == Bounds(None, None, None, None)


def test_fp64_moves_twice_as_much() -> None:
    single = bounds.of(CASE, MLP, 1.0, pilot(CASE), FOUND)
    double = bounds.of(replace(CASE, precision="fp64"), MLP, 1.0, pilot(CASE), FOUND)
    assert single.memory_share and double.memory_share
    assert 1.5 * single.memory_share < double.memory_share <= 2 * single.memory_share
    assert single.utilisation == double.utilisation


@pytest.mark.parametrize(
    ("batch", "dispatch", "one_image", "share"),
    [
        (64, 0.3, None, 0.3),  # the call returned with its work undone
        (64, 2.0, None, 1.0),  # never more than all of it
        (64, 1.0, 0.25, 0.25),  # it blocks: what one image takes beyond its own floor
        (64, 1.0, 3.0, 1.0),
        (64, 0.89, 0.25, 0.25),  # times scatter: it may block for all that
        (64, 0.3, 0.5, 0.3),
        (1, 1.0, None, 1.0),  # a batch of one that blocks is its own measure
        (1, 0.2, None, 0.2),
    ],
)
def test_the_host_s_share(batch: int, dispatch: float, one_image: float | None, share: float) -> None:
    """Of a step of one second, beside which the floor of one image is nothing."""
    case = replace(CASE, batch=batch)
    found = bounds.of(case, MLP, 1.0, pilot(case, dispatch=dispatch, one_image=one_image), FOUND)
    assert found.dispatch_share == pytest.approx(share, abs=1e-3)


def test_one_image_s_own_work_is_not_the_host_s() -> None:
    slow = replace(FOUND, flops_per_second=MLP.flops_per_sample("train") / 0.2)  # one image: 0.2 s of arithmetic
    found = bounds.of(CASE, MLP, 1.0, pilot(CASE, dispatch=1.0, one_image=0.5), slow)
    assert found.dispatch_share == pytest.approx(0.3)
    cheap = bounds.of(CASE, MLP, 1.0, pilot(CASE, dispatch=1.0, one_image=0.1), slow)
    assert cheap.dispatch_share == 0.0  # never less than nothing
