"""One case in its worker with a made-up program: what is called in which order, and what each check looks at."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from test_table import CASE, run_of, sensed

from bench import clock, measuring, quiet, trial, workloads
from bench.case import Case
from bench.errors import BenchError
from bench.messages import Burst, Bursts, Inspect, Inspected, Warm, Warmed
from bench.process import WorkerFailed
from bench.program import Facts, Settings
from bench.trial import Trial

MLP = workloads.get("mlp")
SETTINGS = Settings("eager", "fp32", "flat", "cpu", 2)
DATA = [(np.zeros((4, 28, 28, 1), np.float32), np.zeros(4, np.int32)) for _ in range(6)]
WARM = Warm("mlp", "train", "throughput", "", steps=7)
INSPECT = Inspect()


class Fake:
    """A program that writes down what is asked of it; `told` replaces what it says of itself."""

    def __init__(self, **told: Any) -> None:
        self.told, self.log = told, []
        self.built = 0

    def before_import(self, settings: Settings) -> None: ...

    def after_import(self, settings: Settings) -> Facts:
        return Facts(2, "cpu")

    def build(self, workload: Any, settings: Settings) -> "Fake":
        self.built += 1
        return self

    def put(self, x: np.ndarray, y: np.ndarray) -> int:
        return len(y)

    def train(self, batch: int) -> None:
        self.log.append("train" if batch > 1 else "train one")

    def infer(self, batch: int) -> str:
        self.log.append("infer" if batch > 1 else "infer one")
        return "logits"

    def fence(self) -> None:
        if self.log and self.log[-1] != "fence":
            self.log.append("fence")

    def compilations(self) -> int | None:
        counts = self.told.get("compilations", [0])
        return counts.pop(0) if len(counts) > 1 else counts[0]

    def kinds(self, logits: Any = None) -> dict[str, str]:
        self.log.append("kinds" if logits is None else "kinds of logits")
        return self.told.get("kinds", {"dense_1.kernel": "float32 cpu"})

    def peak_bytes(self) -> int | None:
        return self.told.get("peak_bytes")

    def weights(self) -> dict[str, np.ndarray]:
        return self.told.get("weights", {"dense_1.kernel": np.zeros(3)})

    def losses(self) -> np.ndarray:
        self.log.append("losses")
        return np.array([2.5, 2.4])

    def logits(self, x: np.ndarray) -> np.ndarray:
        self.log.append("logits")
        return np.zeros((len(x), 10))


def opened(fake: Fake, phase: str = "train", settings: Settings = SETTINGS) -> Trial:
    return Trial(fake, MLP, settings, phase, DATA)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on after a fence, and nobody waits 20 ms to see that."""
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: 0.0)


# --- warm-up ----------------------------------------------------------------------------------------------------------


def test_three_first_calls_are_fenced_and_the_first_five_steps_give_the_losses() -> None:
    fake = Fake()
    found = opened(fake).warm(WARM)
    assert fake.log[:6] == ["train", "fence", "train", "fence", "train", "fence"]
    assert fake.log[6:11] == ["train", "train", "fence", "kinds", "losses"]
    assert len(found.first_calls) == trial.FIRST_CALLS
    assert found.losses == (2.5, 2.4)
    assert fake.log.count("train") == 5 + 7  # and the pilot's warm-up again, exactly
    assert (found.steps, found.settled, found.steps_per_burst) == (7, True, 0)


@pytest.mark.parametrize(("chained", "shapes"), [(2, (2, 4)), (8, (8, 4))])
def test_several_steps_a_call_are_put_together_and_their_first_losses_kept(
    chained: int, shapes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, put, kept = Fake(), [], []
    monkeypatch.setattr(fake, "put", lambda x, y: put.append((x.shape, y.shape)) or 4)
    # A program keeps the losses of its last 32 steps: they are read after each of the calls that are timed apart.
    monkeypatch.setattr(fake, "train", lambda batch: kept.extend([float(len(kept) + n) for n in range(chained)]))
    calls = iter(range(0, 1000, chained))
    monkeypatch.setattr(fake, "losses", lambda: np.arange(start := next(calls), start + chained, dtype=float))
    found = opened(fake, settings=replace(SETTINGS, steps_per_call=chained)).warm(WARM)
    assert {x[:2] for x, _ in put} == {shapes} == {y for _, y in put}
    assert found.losses == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_in_training_nobody_asks_for_logits() -> None:
    # An inference would compile another program, in a process that is to be timed.
    fake = Fake()
    made = opened(fake)
    made.warm(WARM)
    made.burst(Burst(2, 3, 2, 1.0))
    made.inspect(INSPECT)
    assert not any("logits" in call or "infer" in call for call in fake.log)


def test_in_inference_the_logits_are_looked_at_too() -> None:
    fake = Fake()
    opened(fake, "infer").warm(WARM)
    assert "kinds of logits" in fake.log
    assert "train" not in fake.log


@pytest.mark.parametrize("phase", ["train", "infer"])
def test_a_tensor_elsewhere_ends_the_trial(phase: str) -> None:
    fake = Fake(kinds={"dense_1.kernel": "float64 cpu"})
    with pytest.raises(BenchError, match=r"canary placement: dense_1\.kernel is float64 cpu, wanted float32 cpu"):
        opened(fake, phase).warm(WARM)


def test_the_pilot_finds_the_warm_up_and_the_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def steps_per_burst(*_: Any, seconds: float) -> int:
        asked["seconds"] = seconds
        return 17

    monkeypatch.setattr(trial.warm_up, "steps_per_burst", steps_per_burst)
    monkeypatch.setattr(trial.clock, "fence_seconds", lambda fence: 0.001)
    question = Warm("mlp", "train", "throughput", "", minimum_steps=12, cap_seconds=30.0, burst_seconds=0.05)
    found = opened(Fake()).warm(question)
    assert (found.steps, found.settled, found.steps_per_burst) == (12, True, 17)
    assert asked["seconds"] == pytest.approx(0.2)  # 200 fences are longer than 50 ms
    assert found.fence_seconds == 0.001


@pytest.mark.parametrize("count", [0, 3, None])
def test_how_often_it_compiled_is_handed_on(count: int | None) -> None:
    assert opened(Fake(compilations=[count])).warm(WARM).compilations == count


# --- bursts -----------------------------------------------------------------------------------------------------------


def burst(fake: Fake, question: Burst | None = None, **told: Any) -> Bursts:
    made = opened(fake, **told)
    made.warm(WARM)
    fake.log.clear()
    return made.burst(question or Burst(3, 4, 5, 0.0))


def test_bursts_are_timed_and_then_one_more_is_listened_after() -> None:
    fake = Fake()
    found = burst(fake)
    assert len(found.wall_ns) == len(found.cpu_ns) == len(found.switches) == 4
    steps = "".join("t" if call == "train" else "|" for call in fake.log)
    assert steps == "ttt|" * 4 + "ttttt|"
    assert (found.left_over, found.compilations, found.finite) == (0.0, 0, True)
    assert len(found.sensed.readings) >= 2


@pytest.mark.parametrize(
    ("heard", "left", "looks"),
    [([0.0], 0.0, 1), ([0.5, 0.001], 0.001, 2), ([0.5, 0.4, 0.6], 0.4, 3), ([0.5, 0.6, 0.4], 0.4, 3)],
)
def test_what_seems_left_over_is_listened_to_again(
    heard: list[float], left: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = list(heard)
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: rest.pop(0))
    monkeypatch.setattr(quiet, "allowed", lambda *_, **__: 0.0)
    assert burst(Fake(), Burst(3, 4, 5, 0.01)).left_over == left
    assert len(heard) - len(rest) == looks


@pytest.mark.parametrize(
    ("heard", "question", "again"),
    [([0.004] * 20, 0.001, 0.013), ([0.0], 0.001, 0.0), ([0.004] * 20, 0.0, 0.0)],
    ids=["it seems too much", "it is quiet", "a pilot's, which asks for it last"],
)
def test_what_idle_threads_spin_is_measured_again_in_the_process_that_seems_loud(
    heard: list[float], question: float, again: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = list(heard)
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: rest.pop(0))
    assert burst(Fake(), Burst(3, 4, 5, question)).quiet_seconds == pytest.approx(again)


def test_a_compilation_inside_the_bursts_is_counted() -> None:
    # Said once in the warm-up, once before the bursts and once after them.
    assert burst(Fake(compilations=[1, 1, 3])).compilations == 2
    assert burst(Fake(compilations=[None])).compilations == 0  # not known


@pytest.mark.parametrize(("value", "finite"), [(1.0, True), (float("nan"), False), (float("inf"), False)])
def test_weights_are_looked_at_afterwards(value: float, finite: bool) -> None:
    assert burst(Fake(weights={"a": np.zeros(2), "b": np.array([0.0, value])})).finite is finite


def test_a_device_s_own_peak_counts_before_the_host_s() -> None:
    assert burst(Fake(peak_bytes=123)).peak_bytes == 123
    host = burst(Fake()).peak_bytes
    assert host is None or host >= 0
    gpu = replace(SETTINGS, device="gpu")  # the host's memory is not what such a row speaks of
    assert burst(Fake(kinds={"dense_1.kernel": "float32 gpu"}), settings=gpu).peak_bytes is None


def test_a_gpu_is_listened_to_by_reading_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: 1.0)  # a host that is busy with something else
    fake = Fake(kinds={"dense_1.kernel": "float32 gpu"})
    gpu = Settings("eager", "fp32", "flat", "gpu", 2)
    found = burst(fake, Burst(3, 4, 5, quiet.BACKLOG), settings=gpu)
    assert found.left_over < 1.0
    # Each burst of its own, and a read after its fence.
    assert [entry for entry in fake.log if entry in ("fence", "losses")][-4:] == ["fence", "losses"] * 2


@pytest.mark.parametrize(("workload", "reads"), [(MLP, 0), (None, 2)], ids=["ours", "the user's own"])
def test_only_of_a_file_of_the_user_s_own_are_weights_read_too(
    workload: Any, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose losses may come of another program; ours come of the last step's own, and are a few bytes."""
    fake, gpu = Fake(kinds={"dense_1.kernel": "float32 gpu"}), Settings("eager", "fp32", "flat", "gpu", 2)
    made = Trial(fake, workload, gpu, "train", DATA)  # type: ignore[arg-type]
    made.warm(WARM)
    fake.log.clear()
    monkeypatch.setattr(fake, "weights", lambda: fake.log.append("weights") or {})
    made.burst(Burst(3, 4, 5, quiet.BACKLOG))
    assert fake.log.count("weights") == 1 + reads  # once to see that all are finite


# --- what the pilot asks last -----------------------------------------------------------------------------------------


def inspected(
    monkeypatch: pytest.MonkeyPatch,
    *,
    dispatch: float,
    step: float,
    batch: int = 4,
    device: str = "cpu",
    question: Inspect = INSPECT,
) -> tuple[Inspected, Fake]:
    monkeypatch.setattr(clock, "dispatch_seconds", lambda *_, **__: dispatch)
    real = clock.burst

    def timed(program_step: Any, feed: Any, fence: Any, *, steps: int) -> clock.Timing:
        real(program_step, feed, fence, steps=steps)
        return clock.Timing(round(step * steps * 1e9), 0, 0)

    settings = replace(SETTINGS, device=device)
    fake = Fake(kinds={"dense_1.kernel": f"float32 {device}"})
    data = [(x[:batch], y[:batch]) for x, y in DATA]
    made = Trial(fake, MLP, settings, "train", data)  # type: ignore[arg-type]
    made.warm(WARM)
    monkeypatch.setattr(clock, "burst", timed)
    return made.inspect(question), fake


@pytest.mark.parametrize(
    ("device", "dispatch"), [("cpu", 0.0095), ("cpu", 0.0085), ("gpu", 0.0095)], ids=["cpu", "early", "a gpu's"]
)
def test_a_call_that_may_block_is_tried_on_one_image(
    device: str, dispatch: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU any call may: its times scatter by more than tells them apart."""
    found, fake = inspected(monkeypatch, dispatch=dispatch, step=0.01, device=device)
    assert found.one_image_seconds == pytest.approx(0.01)  # by the made-up clock, as all steps
    assert "train one" in fake.log


@pytest.mark.parametrize(
    ("device", "dispatch", "batch"),
    [("gpu", 0.0085, 4), ("cpu", 0.0095, 1)],
    ids=["it returns early", "it is one image"],
)
def test_otherwise_no_image_is_tried(device: str, dispatch: float, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found, fake = inspected(monkeypatch, dispatch=dispatch, step=0.01, batch=batch, device=device)
    assert (found.one_image_seconds, found.dispatch_seconds) == (None, dispatch)
    assert batch == 1 or "train one" not in fake.log


# --- what the parent makes of the answers -----------------------------------------------------------------------------

GOOD = Bursts(
    wall_ns=(10**8,) * 5,
    cpu_ns=(2 * 10**8,) * 5,
    switches=(0,) * 5,
    compilations=0,
    finite=True,
    peak_bytes=None,
    left_over=0.001,
    sensed=sensed(),
    seconds=0.5,
)


def judged(bursts: Bursts, case: Case) -> str:
    subject = measuring.Subject(run_of(case).suite.protocol, case, "", None, None, 0.0, False)  # type: ignore[arg-type]
    try:
        measuring.check_bursts(subject.case, bursts, 0.002)
    except WorkerFailed as error:
        assert error.failed.status == "error"
        return error.failed.reason
    return ""


TWO = replace(CASE, threads=2)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, ""),
        ({"compilations": 2}, "2 compilations inside timed bursts"),
        ({"finite": False}, "a weight is not finite"),
        ({"left_over": 0.0021}, "not quiet after the fence: 2.1 ms of work went on, allowed 2"),
        ({"left_over": 0.002}, ""),
        ({"left_over": 0.004, "quiet_seconds": 0.013}, ""),
        ({"left_over": 0.037, "quiet_seconds": 0.001}, "not quiet after the fence: 37 ms of work went on, allowed 2"),
        ({"sensed": sensed(suspended=30.0)}, "the machine slept 30 s during the timed bursts; measure again"),
        ({"sensed": sensed(suspended=0.0005)}, ""),
        ({"sensed": sensed(suspended=None)}, ""),
        ({"cpu_ns": (int(2.2e8),) * 5}, ""),  # TensorFlow's own thread hands over to its pool
        ({"cpu_ns": (3 * 10**8,) * 5}, "the timed steps used 3.00 cores, 2 threads were asked for"),
        ({"cpu_ns": (2 * 10**8,) * 4 + (10**9,)}, ""),  # one burst of five
    ],
)
def test_bursts_that_are_not_of_the_steps_alone_are_an_error(told: dict[str, Any], words: str) -> None:
    said = judged(replace(GOOD, **told), TWO)
    assert said.startswith(words) if words else said == ""


def test_a_gpu_s_host_may_use_what_it_likes() -> None:
    assert judged(replace(GOOD, cpu_ns=(9 * 10**8,) * 5), replace(TWO, device="gpu")) == ""


@pytest.mark.parametrize(
    ("case", "compilations", "words"),
    [
        (TWO, 0, ""),
        (TWO, 3, "mode eager compiled 3 programs, wanted none"),
        (TWO, None, ""),
        (replace(TWO, mode="compiled"), 1, ""),
        (replace(TWO, mode="compiled"), 0, "mode compiled compiled nothing: the steps ran uncompiled"),
        (replace(TWO, backend="tensorflow", mode="graph"), 0, "mode graph compiled nothing"),
        (replace(TWO, mode="compiled"), None, ""),  # the row says that it is taken on trust
        (replace(TWO, backend="null"), 3, ""),
    ],
)
def test_a_mode_is_what_was_compiled(case: Case, compilations: int | None, words: str) -> None:
    warmed = Warmed((0.1,) * 3, 7, True, compilations, {}, 1e-6, 0, (), 0.1, 0.2)
    try:
        measuring._check_mode(case, warmed)
        said = ""
    except WorkerFailed as error:
        said = error.failed.reason
    assert said.startswith(words) if words else said == ""
