"""A proof whose rungs hold, and which one batch size alone breaks: only the cases of that batch go without a time."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from test_table import CASE, MACHINE, proof, run_of

from bench import feeds, measuring, parity, proofs, run, workloads
from bench.arms import Launch
from bench.errors import Unsupported
from bench.evidence import Evidence
from bench.messages import Prove
from bench.process import WorkerFailed
from bench.program import Settings
from bench.prover import Prover
from bench.reports.markdown import machine_line
from bench.suite import Filters
from bench.table import Report
from bench.verbs import parity as verb
from bench.worker import Worker
from bench.workload import Proof

NAMES = ("train/synthetic/16", "train/synthetic/64")
HONEST = [2.3, 2.2, 2.1, 2.0, 1.9]
WRONG = [2.3, 2.2001, 2.1, 2.0, 1.9]
SUBJECT = proofs.subject_of(CASE, (("synthetic", 16), ("synthetic", 64)), 1)


def evidence(**changed: list[float]) -> Evidence:
    """Rungs that agree with themselves, and the first losses of two batch sizes, some of them `precision_batch` = ."""
    found: Evidence = {}
    for precision in ("fp64", "measured"):
        found[f"{precision}/logits"] = np.ones((2, 10))
        for name in NAMES:
            key = f"{precision}_{name.rpartition('/')[2]}"
            found[f"{precision}/first/{name}"] = np.array(changed.get(key, HONEST))
    return found


@pytest.fixture(autouse=True)
def rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rungs are test_parity's business: here they hold."""
    held = parity.Agreement(0.0, None)
    monkeypatch.setattr(parity, "compare", lambda *_: held)
    monkeypatch.setattr(parity, "compare_brief", lambda *_: held)


def test_honest_batches_break_nothing() -> None:
    verdict = proofs.judge(SUBJECT, evidence(), evidence())
    assert (verdict.broken, verdict.broken_feeds, set(verdict.first_losses)) == ("", {}, set(NAMES))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        # A wrong gradient in both precisions, as a compiler that gets one batch size wrong has it.
        ({"fp64_16": WRONG, "measured_16": WRONG}, "from the first proof"),
        ({"measured_16": [2.3, 2.5, 2.1, 2.0, 1.9]}, "allowed"),
        ({"fp64_16": [2.3, float("nan"), 2.1, 2.0, 1.9]}, "differ by nan"),
        ({"measured_16": HONEST[:4]}, "differ by inf"),
    ],
    ids=["both", "measured", "nan", "one missing"],
)
def test_one_batch_size_breaks_alone(changed: dict[str, list[float]], says: str) -> None:
    verdict = proofs.judge(SUBJECT, evidence(**changed), evidence())
    assert verdict.broken == ""
    assert set(verdict.broken_feeds) == {NAMES[0]} and set(verdict.first_losses) == {NAMES[1]}
    assert says in verdict.broken_feeds[NAMES[0]]


def test_what_the_eager_program_lacks_is_known_before_anything_is_compiled(tmp_path: Path) -> None:
    """TensorFlow's compiled ResNet-50 was compiled for ten minutes before its eager program was refused."""
    built: list[tuple[str, str]] = []

    def build(workload: object, settings: Settings) -> object:
        built.append((settings.mode, settings.layout))
        raise Unsupported("no such pooling")

    worker = Worker()
    worker.backend, worker.modes = SimpleNamespace(build=build), ("graph", "eager", "compiled")  # type: ignore[assignment]
    worker.layouts, worker.settings = ("nhwc", "nchw"), Settings("compiled", "fp32", "nchw", "cpu", 1)
    feeds.write(tmp_path / "feed.npz", workloads.get("cnn"), data="synthetic", size=8, count=5, seed=1)
    question = Prove("cnn", {"synthetic/8": str(tmp_path / "feed.npz")}, str(tmp_path / "proof.npz"))
    with pytest.raises(Unsupported, match="no such pooling"):
        worker.prove(question)
    # In the headline layout: eager TensorFlow has no other on a CPU, where its compiled mode has both.
    assert built == [("eager", "nhwc")]


class Counting:
    """A program whose losses are what it counts; of one that `forgets` each call begins anew."""

    def __init__(self, settings: Settings, forgets: bool) -> None:
        self.settings, self.forgets, self.steps, self.made = settings, forgets, 0, list[float]()

    def put(self, x: np.ndarray, y: np.ndarray) -> int:
        return len(x) if self.settings.steps_per_call > 1 else 1

    def train(self, count: int) -> None:
        self.steps = 0 if self.forgets else self.steps
        self.made += [float(self.steps + n) for n in range(count)]
        self.steps += count

    def fence(self) -> None: ...

    def losses(self) -> np.ndarray:
        found, self.made = np.array(self.made), []
        return found


@pytest.mark.parametrize(
    ("steps_per_call", "made"), [(1, set()), (2, {"single", "several"}), (8, {"single", "several"})]
)
@pytest.mark.parametrize("forgets", [False, True], ids=["honest", "forgets"])
def test_two_whole_calls_are_proved_where_the_ladder_is_too_short(
    steps_per_call: int, made: set[str], forgets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three steps, as gpt's has: eight in a call would be tried as three in one."""
    monkeypatch.setattr("bench.worker.evidence.climb", lambda *_: {})
    built: list[Settings] = []

    def build(workload: object, settings: Settings) -> Counting:
        built.append(settings)
        return Counting(settings, forgets and settings.steps_per_call > 1)

    worker = Worker()
    worker.backend, worker.modes, worker.layouts = SimpleNamespace(build=build), ("compiled",), ("nhwc",)  # type: ignore[assignment]
    worker.settings = Settings("compiled", "fp32", "flat", "cpu", 1, steps_per_call=steps_per_call)
    short = replace(workloads.get("mlp"), proof=Proof(steps=3, batch=4))
    worker.prove(Prove("short", {}, str(tmp_path / "proof.npz"), short))
    with np.load(tmp_path / "proof.npz") as file:
        found = {key: file[key] for key in file if key.startswith("calls/")}
    assert {key.removeprefix("calls/") for key in found} == made
    assert {s.precision for s in built[: len(made)]} <= {"fp64"}
    for key, losses in found.items():
        assert len(losses) == 2 * steps_per_call, key
    broken = parity.calls_break(found)
    assert bool(broken) == bool(made and forgets)
    if broken:
        verdict = proofs.judge(SUBJECT, evidence() | found, None)
        assert verdict.broken.startswith("losses of several steps a call differs by ")


def test_a_ladder_of_two_calls_needs_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.worker.evidence.climb", lambda *_: {})
    worker = Worker()
    worker.backend, worker.modes, worker.layouts = SimpleNamespace(build=lambda *_: None), ("compiled",), ("nhwc",)  # type: ignore[assignment]
    worker.settings = Settings("compiled", "fp32", "flat", "cpu", 1, steps_per_call=8)
    worker.prove(Prove("mlp", {}, str(tmp_path / "proof.npz")))
    with np.load(tmp_path / "proof.npz") as file:
        assert not list(file), "of twenty steps: two calls of eight, and one of four"


def test_nobody_is_held_against_first_losses_that_were_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first backend's compiler is wrong at one batch size, in fp64 too: the honest ones after it are not blamed."""
    first = evidence(fp64_16=WRONG, measured_16=WRONG) | {f"eager/first/{NAMES[0]}": np.array(HONEST)}
    files = {name: tmp_path / name for name in ("torch", "jax", "tensorflow")}
    for file in files.values():
        file.touch()
    found = {files["torch"]: first, files["jax"]: evidence(), files["tensorflow"]: evidence(fp64_16=WRONG)}
    monkeypatch.setattr(proofs, "load", found.__getitem__)
    monkeypatch.setattr(proofs, "path_of", lambda subject, _: files[subject.backend])
    cases = [replace(CASE, backend=backend, batch=batch) for backend in files for batch in (16, 64)]
    prover = Prover(run_of(*cases), tmp_path, {}, lambda *_: "")
    broken = {b: set(prover.finish([c for c in cases if c.backend == b])[0].broken_feeds) for b in files}
    assert broken == {"torch": {NAMES[0]}, "jax": set(), "tensorflow": {NAMES[0]}}


def test_first_losses_as_measured_are_the_timed_process_s_affair() -> None:
    """It makes them by the program that is timed; the proof makes its own only where dropout is on there."""
    bare = {name: array for name, array in evidence(fp64_16=WRONG).items() if not name.startswith("measured/first")}
    assert set(proofs.judge(SUBJECT, bare, evidence()).broken_feeds) == {NAMES[0]}
    assert proofs.judge(SUBJECT, bare, None).broken_feeds == {}


def test_a_mode_alone_is_held_against_eager() -> None:
    """As where a filter leaves nothing else of the suite: without another backend a wrong gradient has one witness."""
    lone = evidence() | {f"eager/first/{NAMES[0]}": np.array(WRONG)}
    assert "from the same in mode eager" in proofs.judge(SUBJECT, lone, None).broken_feeds[NAMES[0]]
    lone[f"eager/first/{NAMES[0]}"] = np.array(HONEST)
    assert proofs.judge(SUBJECT, lone, None).broken_feeds == {}


def test_under_adam_only_what_comes_after_steps_may_stand_further_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousandth off, as bf16 is: losses of training may be, by Adam's bound; what no step has changed may not."""
    monkeypatch.setattr(parity, "dropout_break", lambda *_: None)
    off = [1.001 * loss for loss in HONEST]
    names = [f"{phase}/synthetic/16" for phase in ("train", "infer")]
    found: Evidence = {}
    for precision, losses in (("fp64", HONEST), ("measured", off)):
        found[f"{precision}/logits"] = np.ones((2, 10))
        found |= {f"{precision}/first/{name}": np.array(losses) for name in names}
    subject = replace(SUBJECT, workload="mlp_dropout", feeds=(("synthetic", 16),))
    verdict = proofs.judge(subject, found, None, golden=False)
    assert (verdict.broken, set(verdict.broken_feeds)) == ("", {"infer/synthetic/16"})
    assert "allowed 1e-04" in verdict.broken_feeds["infer/synthetic/16"]
    found["dropout/inference"] = 1.001 * np.ones((2, 10))
    assert "dropout of inference differs" in proofs.judge(subject, found, None, golden=False).broken
    # And so in the timed process.
    case = replace(CASE, workload="lstm_text", data="synthetic", batch=16)
    record = replace(proof(case), first_losses=dict.fromkeys(names, HONEST))
    measuring._check_losses(case, tuple(off), record)
    with pytest.raises(WorkerFailed, match="from the proof's, allowed 1e-04"):
        measuring._check_losses(replace(case, phase="infer"), tuple(off), record)


def test_a_case_of_the_broken_batches_has_no_time_and_another_has() -> None:
    case = replace(CASE, data="synthetic", batch=16)
    record = replace(proof(case), first_losses={NAMES[1]: HONEST}, broken_feeds={NAMES[0]: "differ by 0.0001"})
    assert run_of(case).planned
    with pytest.raises(WorkerFailed, match=r"differ by 0\.0001") as caught:
        measuring._check_losses(case, tuple(HONEST), record)
    assert caught.value.failed.status == "parity_failed"
    measuring._check_losses(replace(case, batch=64), tuple(HONEST), record)
    with pytest.raises(WorkerFailed, match="the proof lacks batch 8"):
        measuring._check_losses(replace(case, batch=8), tuple(HONEST), record)


def test_a_proof_that_broke_on_some_batches_is_made_again_by_retry() -> None:
    from bench.records import failed

    assert failed(replace(proof(CASE), broken_feeds={NAMES[0]: "differ"})) and not failed(proof(CASE))


def test_these_rungs_are_a_workload_s() -> None:
    assert workloads.get(SUBJECT.workload).classes == 10


def test_a_proof_of_fewer_steps_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    # How much is proved is no part of the work's digest: kept evidence of twenty steps would break against ten.
    workload = workloads.get(SUBJECT.workload)
    whole = proofs.path_of(SUBJECT, MACHINE)
    assert proofs.path_of(SUBJECT, MACHINE) == whole
    monkeypatch.setattr(workloads, "get", lambda name: replace(workload, proof=Proof(workload.proof.batch, 10)))
    assert proofs.path_of(SUBJECT, MACHINE) != whole
    assert proofs.path_of(replace(SUBJECT, steps_per_call=8), MACHINE) != proofs.path_of(SUBJECT, MACHINE)


def test_a_proof_of_another_shell_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --xla_cpu_enable_fast_math, say, evidence that was kept without it would vouch for other arithmetic."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    plain = proofs.path_of(SUBJECT, MACHINE)
    monkeypatch.setenv("UNRELATED", "1")
    assert proofs.path_of(SUBJECT, MACHINE) == plain
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert proofs.path_of(SUBJECT, MACHINE) != plain
    # A gate's arm that is told otherwise is its own.
    assert proofs.path_of(SUBJECT, MACHINE, None, Launch(environment={"XLA_FLAGS": "--none"})) not in (
        plain,
        proofs.path_of(SUBJECT, MACHINE),
    )


def test_a_run_records_what_the_shell_tells_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"XLA_FLAGS": "--x", "TF_VAR_password": "secret", "OMP_NUM_THREADS": "1", "ONEDNN_VERBOSE": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    plan = run_of(CASE)
    made = run.create(plan.suite, list(plan.planned), MACHINE, plan.filters, 300.0, "")
    assert {name: made.variables.get(name) for name in told} == {
        "XLA_FLAGS": "--x",
        "TF_VAR_password": None,  # Terraform's
        "OMP_NUM_THREADS": None,  # which the adapter sets itself
        "ONEDNN_VERBOSE": "1",
    }
    said = machine_line(Report(made, (), None, ""))
    assert "XLA_FLAGS=--x; commit " in said and "secret" not in said


@pytest.mark.parametrize("timed", [True, False])
def test_a_proof_is_told_whether_a_timed_process_follows(
    timed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which makes first losses as measured itself; `stepwatch parity` has none, and looks at the arithmetic itself."""
    said: list[Any] = []
    monkeypatch.setattr(proofs, "Process", lambda *_: SimpleNamespace(send=said.append))
    told = replace(SUBJECT, timed=timed)
    proofs.Making(told, tmp_path / "x.npz", {}, log=tmp_path / "log", deadline=1.0)
    assert said[-1].timed is timed
    assert proofs.path_of(told, MACHINE) != proofs.path_of(replace(SUBJECT, timed=not timed), MACHINE)


@pytest.mark.needs("torch")
def test_the_verb_parity_is_followed_by_no_timed_process() -> None:
    subjects, _ = verb._subjects(Filters(workload=("mlp",), backend=("torch",)), "cpu", MACHINE, 4)
    assert subjects and not any(subject.timed for subject in subjects)
