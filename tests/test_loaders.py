"""Input from the host: what each framework's own loader brings, which process carries such a case, what a row says."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import each_framework, side_by_side
from msgspec.structs import replace
from test_overhead import NATIVE, of
from test_table import CASE, MACHINE, sensed
from test_trial import DATA, MLP, SETTINGS, WARM, Fake

from bench import backends, clock, feeds, measuring, overhead, suite, table, trial, workloads
from bench.errors import BenchError
from bench.messages import Burst, Bursts, Inspect
from bench.process import WorkerFailed
from bench.reports import names, whole
from bench.suite import Filters
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


def opened(fake: Loading) -> Trial:
    host = np.zeros((24, 28, 28), np.uint8), np.zeros(24, np.int32), 4
    return Trial(fake, MLP, SETTINGS, "train", DATA, host)  # type: ignore[arg-type]


def test_only_what_is_timed_is_fed_from_the_host() -> None:
    fake = Loading()
    made = opened(fake)
    made.warm(WARM)
    assert fake.log[0] == "load 24 by 4" and "train 8" in fake.log and "train 4" not in fake.log
    del fake.log[:]
    made.burst(Burst(2, 3, 0, 1.0))
    assert fake.log.count("train 8") == 6 and "train 4" not in fake.log
    del fake.log[:]
    made.burst(Burst(1, 1, 2, 1.0))  # what goes on after a fence is seen on batches that are there
    assert fake.log.count("train 8") == 1 and fake.log.count("train 4") >= 2


def test_how_much_of_a_step_waits_is_seen_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Loading()
    made = opened(fake)
    made.warm(WARM)
    made.per_burst = 5
    fed: list[bool] = []

    def burst(step: Any, feed: Any, fence: Any, *, steps: int) -> clock.Timing:
        fed.append(next(feed) == 8)
        return clock.Timing(4_000_000 if fed[-1] else 3_000_000, 1, 0)

    monkeypatch.setattr(clock, "burst", burst)
    assert made._input_share() == pytest.approx(0.25)
    assert fed == [True, False] * 9


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
    measuring.check_bursts(replace(CASE, input="host"), busy, 1.0)
    with pytest.raises(WorkerFailed, match="threads were asked for"):
        measuring.check_bursts(CASE, busy, 1.0)


def test_rows_fed_differently_are_no_rivals_and_stand_side_by_side() -> None:
    assert table.rival(HOST) != table.rival(NATIVE)
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
