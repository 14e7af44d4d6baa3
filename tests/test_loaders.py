"""Input from the host: what each framework's own loader brings, which process carries such a case, what a row says."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import each_framework, side_by_side
from msgspec.structs import replace
from test_overhead import NATIVE, of
from test_reports import report
from test_table import CASE, MACHINE, proof, rounds_of, run_of, sample, sensed
from test_trial import DATA, MLP, SETTINGS, WARM, Fake

from bench import backends, clock, feeds, measuring, overhead, suite, table, trial, workloads
from bench.errors import BenchError
from bench.messages import Burst, Bursts, Inspect, Inspected, Warmed
from bench.process import WorkerFailed
from bench.reports import groups, markdown, names, whole
from bench.suite import Filters, Protocol
from bench.trial import Trial

HOST = replace(NATIVE, input="host")


@pytest.fixture(scope="module")
def observed(framework: Any, request: pytest.FixtureRequest) -> Any:
    return side_by_side(framework, "loading.py", request)


@each_framework()
def test_a_loader_brings_what_put_makes_in_the_order_of_the_file(observed: Any, backend: str) -> None:
    cases = observed(backend)["cases"]
    assert len(cases) >= (3 if backends.get(backend).engine else 4)
    for case, batches in cases.items():
        assert len(batches) == 7 and all(len(batch) >= 2 and all(batch) for batch in batches), (case, batches)


def test_samples_are_those_of_the_batches_one_behind_the_other(tmp_path: Path) -> None:
    workload = workloads.get("gpt_tiny")
    feeds.write(tmp_path / "x.npz", workload, data="synthetic", size=4, count=3, seed=1)
    images, labels, size = feeds.samples(tmp_path / "x.npz")
    assert size == 4 and images.shape == (12, *workload.input) and labels.shape == (12, *workload.labels())
    for n, (x, y) in enumerate(feeds.read(tmp_path / "x.npz", workload)):
        np.testing.assert_array_equal(workload.shape_samples(images[4 * n : 4 * n + 4]), x)
        np.testing.assert_array_equal(labels[4 * n : 4 * n + 4], y)


class Loading(Fake):
    """It feeds itself batches of eight from the host; what is put on the device are fours."""

    def load(self, images: np.ndarray, labels: np.ndarray, size: int) -> Any:
        self.log.append(f"load {len(labels)} by {size}")
        return cycle([8])

    def train(self, batch: int) -> None:
        self.log.append(f"train {batch}")


def opened(fake: Loading, phase: str = "train") -> Trial:
    host = np.zeros((24, 28, 28), np.uint8), np.zeros(24, np.int32), 4
    return Trial(fake, MLP, SETTINGS, phase, DATA, host)  # type: ignore[arg-type]


def test_only_what_is_timed_is_fed_from_the_host() -> None:
    fake = Loading()
    made = opened(fake)
    made.warm(WARM)
    assert fake.log[0] == "load 24 by 4" and "train 8" in fake.log and "train 4" not in fake.log
    del fake.log[:]
    made.burst(Burst(2, 3, 0, 1.0))
    assert fake.log.count("train 8") == 6 + trial.FED_FIRST and "train 4" not in fake.log
    del fake.log[:]
    made.burst(Burst(1, 1, 2, 1.0))  # what goes on after a fence is seen on batches that are there
    assert fake.log.count("train 8") == 1 + trial.FED_FIRST and fake.log.count("train 4") >= 2


def test_how_much_of_a_step_waits_is_seen_in_turns_once_the_loader_has_nothing_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = Loading()
    made = opened(fake)
    made.warm(WARM)
    made.per_burst = 5
    seen: list[int] = []

    def burst(step: Any, feed: Any, fence: Any, *, steps: int) -> clock.Timing:
        seen.append(next(feed))
        return clock.Timing(4_000_000 if seen[-1] == 8 else 3_000_000, 1, 0)

    monkeypatch.setattr(clock, "burst", burst)
    del fake.log[:]
    assert made._input_share() == pytest.approx(0.25)
    assert seen == ([8] * 5 + [4] * 5) * 3
    assert fake.log.count("train 8") == 3 * trial.FED_FIRST, "steps before the bursts of each block"


@pytest.mark.parametrize(("phase", "wanted"), [("infer", (2.5, 2.4)), ("train", ())])
def test_inference_shows_by_training_what_its_loader_brings(phase: str, wanted: tuple[float, ...]) -> None:
    fake = Loading()
    made = opened(fake, phase)
    made.warm(WARM)
    made.per_burst = 1
    del fake.log[:]
    assert made.inspect(Inspect()).fed_losses == wanted
    assert fake.log.count("load 24 by 4") == (phase == "infer")
    assert phase == "train" or fake.log[-7:] == ["load 24 by 4", *["train 8"] * 5, "fence", "losses"][-7:]


@pytest.mark.parametrize(("losses", "fails"), [((2.3, 2.2), False), ((2.3, 2.5), True)])
def test_what_a_loader_brings_in_inference_is_held_against_the_proof(losses: Any, fails: bool) -> None:
    case = replace(CASE, phase="infer", input="host")
    feed = f"train/{case.data}/{case.batch}"
    proved = replace(proof(case), first_losses={feed: [2.3, 2.2], f"infer{feed[5:]}": [2.3] * 5})
    subject = measuring.Subject(Protocol(), case, "", proved, sample(case, 0, 1.0).origin, 0.0, False)

    class Worker:
        def expect(self, question: Any, kind: type[Any], until: float) -> Any:
            if kind is Warmed:
                return Warmed((0.1, 0.1, 0.1), 7, True, 0, {}, 1e-7, 10, (2.3,) * 5, 0.1, 0.1)
            if kind is Inspected:
                return Inspected(1e-5, None, 1.0, 0.2, fed_losses=losses)
            wall = (1_000_000,) * question.count
            return Bursts(wall, wall, (0,) * len(wall), 0, True, None, 0.0, sensed(), 0.1)

    if fails:
        with pytest.raises(WorkerFailed, match="first losses of the timed process differ"):
            measuring.pilot(Worker(), subject, 1.0)  # type: ignore[arg-type]
    else:
        found = measuring.pilot(Worker(), subject, 1.0)  # type: ignore[arg-type]
        assert found.input_share == 0.2


def test_a_program_without_the_load_that_its_registry_row_promises_is_refused() -> None:
    host = np.zeros((24, 28, 28), np.uint8), np.zeros(24, np.int32), 4
    with pytest.raises(BenchError, match="its program has no `load`"):
        Trial(Fake(), MLP, SETTINGS, "train", DATA, host)  # type: ignore[arg-type]


def test_the_joules_of_a_step_are_those_of_its_loader_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(trial.energy, "measure", lambda device, step, feed, fence, **_: asked.append(next(feed)))
    made = opened(Loading())
    made.warm(WARM)
    made.per_burst = 1
    made.inspect(Inspect(3, 1.0))
    assert asked == [8]


def test_one_process_carries_a_case_however_it_is_fed() -> None:
    assert HOST.worker == NATIVE.worker and HOST.file != NATIVE.file and str(HOST) == f"{NATIVE} host"
    assert HOST.asked["input"] == "host"


def test_a_loaders_thread_works_beside_the_pool() -> None:
    wall, cpu = (100_000_000,) * 3, (100_000_000 * (CASE.threads + 1),) * 3
    busy = Bursts(wall, cpu, (0,) * 3, 0, True, None, 0.0, sensed(), 0.3)
    fed = replace(CASE, input="host", backend="tensorflow")
    measuring.check_bursts(fed, busy, 1.0)
    for case in (CASE, replace(fed, backend="torch")):
        with pytest.raises(WorkerFailed, match="threads were asked for"):
            measuring.check_bursts(case, busy, 1.0)


def test_rows_fed_differently_are_no_rivals_and_stand_side_by_side() -> None:
    assert table.rival(HOST) != table.rival(NATIVE)
    rivals = [replace(case, backend="tensorflow", mode="graph") for case in (NATIVE, HOST)]
    records = [record for case in (NATIVE, HOST) for record in rounds_of(case, *[2.0] * 6)]
    records += [record for case in rivals for record in rounds_of(case, *[4.0] * 6)]
    cases = (NATIVE, HOST, *rivals)
    both = report([*map(proof, (NATIVE, rivals[0])), *records], run_of(*cases), None)
    said = markdown.render(both)
    assert "Fastest throughout: torch eager." in said
    assert [group.title for group in groups.rivals([both])] == [
        "mlp, train, input resident",
        "mlp, train, input host",
    ]
    made = of(NATIVE, HOST)
    (found,) = overhead.of_inputs(made)
    assert (found.row.case, found.base.case) == (HOST, NATIVE) and found.ratio == pytest.approx(1.0)
    assert "## What input from the host costs" in whole.render(made)
    assert {names.called(row, list(made.rows)) for row in made.rows} == {
        "torch eager input resident",
        "torch eager input host",
    }


@pytest.mark.parametrize("name", backends.REGISTRY)
def test_what_has_no_loader_says_so(name: str) -> None:
    row = backends.get(name)
    told = row.why_not(mode=row.modes[0], layout="flat", device="cpu", input="host")
    assert bool(told) is not bool(row.packages), told
    several = row.why_not(mode=row.modes[0], layout="flat", device="gpu", input="host", steps_per_call=4)
    assert several, "a loader brings one batch at a time"


def test_another_word_for_where_input_comes_from_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[[matrix]]\nworkload = ["mlp"]\nbackend = ["torch"]\ninput = ["disk"]\n')
    with pytest.raises(BenchError, match=r"no input 'disk' in matrix\[0\]; there are resident, host"):
        suite.plan(suite.load(path), MACHINE, Filters())
