"""The order in which processes measure: complete, seeded, different from round to round, one worker a process."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_table import CASE, JAX, NULL, ceiling, failure, pilot, proof, run_of, sample

from bench import backends, schedule
from bench.case import Case
from bench.records import PILOT_ROUND, Record, latest
from bench.suite import Planned, Protocol

CASES = [
    replace(CASE, backend=backend, mode=mode, phase=phase, batch=batch)
    for backend, mode in (("torch", "eager"), ("torch", "compiled"), ("jax", "compiled"), ("tensorflow", "graph"))
    for phase in ("train", "infer")
    for batch in (1, 64)
]

some_cases = st.lists(st.sampled_from(CASES), unique=True)


def order(cases: list[Case], *, count: int = 4, seed: int = 1) -> list[tuple[int, list[list[Case]]]]:
    return list(schedule.rounds(cases, count=count, seed=seed))


@given(some_cases, st.integers(0, 5), st.integers(0, 2**32))
def test_every_case_comes_once_a_round(cases: list[Case], count: int, seed: int) -> None:
    found = order(cases, count=count, seed=seed)
    assert [number for number, _ in found] == list(range(count))
    for _, processes in found:
        assert Counter(case for process in processes for case in process) == Counter(cases)


@given(some_cases, st.integers(0, 2**32))
def test_a_process_carries_one_worker_s_cases_and_all_of_them(cases: list[Case], seed: int) -> None:
    for _, processes in order(cases, count=2, seed=seed):
        workers = [{case.worker for case in process} for process in processes]
        assert all(len(worker) == 1 for worker in workers)
        assert len(set.union(set(), *workers)) == len(processes)


def test_groups_keep_the_suite_s_order() -> None:
    grouped = schedule.groups(CASES)
    assert [case for group in grouped for case in group] == CASES
    assert [group[0].worker for group in grouped] == list(dict.fromkeys(case.worker for case in CASES))


def test_the_same_seed_gives_the_same_order_and_another_another() -> None:
    assert order(CASES) == order(CASES)
    assert order(CASES, seed=1) != order(CASES, seed=2)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    # A resumed run draws the rounds anew; what is drawn for one must not depend on those before it.
    assert order(CASES, count=9)[:4] == order(CASES, count=4)


def test_rounds_differ_in_the_order_of_processes_and_of_cases() -> None:
    found = [processes for _, processes in order(CASES, count=12)]
    assert len({tuple(process[0].worker for process in processes) for processes in found}) > 6
    own = [tuple(next(p for p in processes if p[0].worker == CASES[0].worker)) for processes in found]
    assert len(set(own)) > 6


def test_every_installed_backend_is_asked_for_the_ceilings_whatever_is_filtered_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends.Backend, "missing", lambda row: "" if row.name != "tensorflow" else "not installed")
    found = schedule.for_ceilings([CASE, replace(CASE, phase="infer"), replace(CASE, threads=1), NULL])
    named = [(case.backend, case.mode, case.threads, case.layout) for case in found]
    assert named == [
        ("torch", "eager", CASE.threads, CASE.layout),
        ("torch", "eager", 1, CASE.layout),
        ("jax", "compiled", CASE.threads, "flat"),
        ("jax", "compiled", 1, "flat"),
    ]
    assert schedule.for_ceilings([NULL]) == []
    keras = schedule.for_ceilings([replace(CASE, backend="keras-torch")])
    assert [case.backend for case in keras] == ["torch", "jax"], "Keras reaches no more than what it runs on"


def test_every_worker_goes_first_at_times() -> None:
    first = Counter(processes[0][0].worker for _, processes in order(CASES, count=200))
    assert len(first) == 4
    assert min(first.values()) > 25  # 50 expected; below 26 once in 10^4 draws, and the seed is fixed


# --- every process of a run, and what is left of it -------------------------------------------------------------------

INFER = replace(CASE, phase="infer")
COMPILED = replace(CASE, mode="compiled")


def kinds(works: list[schedule.Work]) -> list[str]:
    return [work.kind for work in works]


def test_proofs_come_first_then_ceilings_pilots_and_rounds() -> None:
    found = schedule.works(run_of(CASE, INFER, JAX, NULL, rounds=2))
    asked = sum(not row.missing() for row in backends.NATIVE.values())
    asked += sum(bool(backends.get(case.backend).missing()) for case in (CASE, JAX))
    assert kinds(found) == ["proof"] * 2 + ["ceiling"] * asked + ["pilot"] * 4 + ["round"] * 6
    assert [work.round for work in found if work.kind == "round"] == [0, 0, 0, 1, 1, 1]
    assert {work.round for work in found if work.kind != "round"} == {PILOT_ROUND}
    proofs = [work.cases for work in found if work.kind == "proof"]
    assert proofs == [(CASE, INFER), (JAX,)]  # the null backend computes nothing to prove, and has no ceilings
    assert all(work.expected > 0 for work in found)


def test_what_will_not_be_measured_has_no_process() -> None:
    assert schedule.works(run_of(Planned(CASE, "unsupported", "because"))) == []


def test_a_suite_may_do_without_ceilings() -> None:
    found = schedule.works(run_of(CASE, rounds=1, protocol=Protocol(ceilings=False)))
    assert kinds(found) == ["proof", "pilot", "round"]


@pytest.mark.parametrize(
    ("cases", "wanted"),
    [
        ([CASE, INFER], [CASE]),
        ([COMPILED, CASE], [CASE]),  # torch's headline is eager, wherever it stands in the suite
        ([COMPILED], [COMPILED]),  # without it, what there is
        ([replace(CASE, threads=1), CASE], [replace(CASE, threads=1), CASE]),
        ([replace(CASE, precision="fp64"), CASE], [replace(CASE, precision="fp64"), CASE]),
        ([replace(CASE, device="gpu"), CASE], [replace(CASE, device="gpu"), CASE]),
        ([NULL], []),
        ([CASE, JAX], [CASE, JAX]),
    ],
)
def test_ceilings_are_measured_once_a_backend_in_its_headline_mode(cases: list[Case], wanted: list[Case]) -> None:
    assert schedule.first_of_each_backend(cases) == wanted


def left(kind: str, records: list[Record], *cases: Case, number: int = PILOT_ROUND, rounds: int = 6) -> list[Case]:
    work = schedule.Work(kind, cases or (CASE, INFER), number)
    return schedule.left(run_of(CASE, INFER, rounds=rounds), work, latest(records))


@pytest.mark.parametrize(
    ("kind", "number", "records", "wanted"),
    [
        ("proof", -1, [], [CASE, INFER]),
        ("proof", -1, [proof(CASE)], []),
        ("proof", -1, [proof(CASE, broken="logits differ")], []),
        ("proof", -1, [failure(CASE, PILOT_ROUND)], [INFER]),  # it could not be made; a kill fell before the second
        ("ceiling", -1, [], [CASE, INFER]),
        ("ceiling", -1, [ceiling(INFER)], []),
        ("ceiling", -1, [ceiling(CASE, (), (), reason="oom: no memory")], []),
        ("ceiling", -1, [ceiling(JAX)], [CASE, INFER]),
        ("pilot", -1, [proof(CASE)], [CASE, INFER]),
        ("pilot", -1, [proof(CASE), pilot(CASE)], [INFER]),
        ("pilot", -1, [proof(CASE), failure(CASE, PILOT_ROUND)], [INFER]),
        ("pilot", -1, [proof(CASE, broken="logits differ")], []),
        ("round", 2, [proof(CASE), pilot(CASE), pilot(INFER)], [CASE, INFER]),
        ("round", 2, [pilot(CASE), pilot(INFER), sample(CASE, 2, 1.0)], [INFER]),
        ("round", 2, [pilot(CASE), pilot(INFER), sample(CASE, 1, 1.0)], [CASE, INFER]),
        ("round", 2, [pilot(CASE), failure(INFER, PILOT_ROUND)], [CASE]),
        ("round", 5, [pilot(CASE), pilot(INFER), *(failure(CASE, n) for n in range(3))], [CASE, INFER]),
        ("round", 5, [pilot(CASE), pilot(INFER), *(failure(CASE, n) for n in range(4))], [INFER]),
        ("round", 2, [proof(CASE, broken="logits differ"), pilot(CASE), pilot(INFER)], []),
    ],
)
def test_what_is_left_of_a_process(kind: str, number: int, records: list[Record], wanted: list[Case]) -> None:
    assert left(kind, records, number=number) == wanted
