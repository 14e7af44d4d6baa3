"""Files of the user's own, through the command line: good ones have rows, bad ones one clear line and never a time."""

import csv
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from itertools import repeat
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import unless
from seeding import Copy

from bench import fences, own, programs, quiet, revisions, run, worker
from bench.__main__ import main
from bench.docket import Docket
from bench.errors import BenchError
from bench.own import ClassProgram, Own, StepProgram
from bench.program import Settings

ROOT = Path(__file__).parent.parent
EXAMPLES = {"torch_step": "torch", "tensorflow_step": "tensorflow", "jax_program": "jax"}
EXAMPLES |= {"keras_step": "keras-tensorflow", "numpy_step": ""}
STEP = """
    import numpy as np
    BATCH = 4
    def make_step():
        x = np.ones(1000)
        def step():
            {}
        return step
"""
PROGRAM = """
    import numpy as np
    class Program:
        batch, input, classes = 4, (3,), 10
        def __init__(self):
            self.w, self.taken = np.full((3, 10), 0.1), []
        def put(self, x, y):
            return x.astype(np.float64), y
        def _back(self, x, y):
            z = x @ self.w
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            loss = -np.log(p[np.arange(len(y)), y]).mean()
            p[np.arange(len(y)), y] -= 1
            return loss, x.T @ p / len(y)
        def train(self, batch):
            loss, gradient = self._back(*batch)
            self.w -= {rate} * gradient
            self.taken = [*self.taken, loss][-32:]
        def infer(self, batch):
            return batch[0] @ self.w
        def fence(self):
            pass
        def logits(self, x):
            return x @ self.w
        def gradients(self, x, y):
            return {{"w": self._back(x, y)[1]}}
        def weights(self):
            return {{"w": self.w}}
        def losses(self):
            found, self.taken = np.array(self.taken), []
            return found
"""


class Queued:
    """A tensor of torch's on a device."""

    def __init__(self, where: str) -> None:
        self.device = SimpleNamespace(type=where)


class Array:
    """One of JAX's."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> str:
    Path(name).write_text(dedent(text))
    return name


def rows(*arguments: str, code: int = 0) -> list[dict[str, str]]:
    told = [word for path in arguments for word in ("--program", path)]
    assert main(["run", *told, "--rounds", "1", "--patience", "0", "--device", "cpu", "--out", "out"]) == code
    with open("out/table.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.needs(f), *unless(f in ("torch", "jax"))]) if f else n
        for n, f in EXAMPLES.items()
    ],
)
def test_an_example_is_short_and_has_a_row(name: str, here: Path) -> None:
    path = ROOT / "examples" / f"{name}.py"
    assert len(path.read_text().splitlines()) < 40
    (row,) = rows(str(path))
    assert row["status"] in ("ok", "unsteady") and float(row["step_ms"]) > 0
    assert (row["batch"], row["relative"], row["workload"]) == ("64", "", "own")
    assert row["status"] == "unsteady" or row["reason"].startswith("unproved")


def test_two_programs_are_proved_against_each_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write("one.py", PROGRAM.format(rate=0.1)), write("two.py", PROGRAM.format(rate=0.1))
    found = rows(one, two)
    assert [(row["backend"], row["phase"]) for row in found] == [
        ("one.py", "train"), ("one.py", "infer"), ("two.py", "train"), ("two.py", "infer")
    ]  # fmt: skip
    assert all(row["relative"] and "unproved" not in row["reason"] for row in found)
    assert found[2]["parity_error"] == "0"
    assert "own, train" in capsys.readouterr().out


def test_a_program_that_does_other_work_has_no_time(here: Path) -> None:
    one, two = write("one.py", PROGRAM.format(rate=0.1)), write("two.py", PROGRAM.format(rate=0.2))
    found = rows(one, two, code=1)
    assert [row["status"] == "parity_failed" for row in found] == [False, False, True, True]
    assert found[2]["step_ms"] == "" and "losses differs" in found[2]["reason"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def make_step(", "does not import: SyntaxError"),
        ("import nowhere_to_be_found", "does not import: ModuleNotFoundError"),
        ("raise SystemExit(3)", "does not import: SystemExit"),
        ("x = 1", "found neither"),
        ("def make_step(): pass\nclass Program: pass", "found both"),
        ("class Program:\n    def train(self, batch): pass", "its Program lacks fence and weights"),
        ("class Program:\n    train = fence = weights = print", "lacks put and input and classes"),
        ("BATCH = 0\ndef make_step(): pass", "whole number from 1, found 0"),
        ("BATCH = '64'\ndef make_step(): pass", "found '64'"),
        ("import os; os._exit(7)", "exit code 7"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    text: str, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--program", write("model.py", text), "--out", "out"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.strip().splitlines()) == 1
    assert "model.py" in said.err and says in said.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--program", "nowhere.py"], "cannot read --program nowhere.py"),
        (["--program", "."], "wants a Python file"),
        (["--program", "model.txt"], "wants a Python file"),
        (["quick", "--program", "model.py"], "takes the place of a suite"),
        (["--program", "model.py", "--backend", "torch"], "takes the place of a suite"),
        (["--program", "model.py", "--program", "model.py"], "named twice"),
        (["--program", "model.py", "--device", "gpu"], "no NVIDIA"),
    ],
)
def test_a_wrong_request(
    arguments: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("model.py", STEP.format("return x.sum()"))
    if "gpu" in arguments:
        monkeypatch.setattr("bench.machine.gpus", tuple)
    assert main(["run", *arguments, "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.strip().splitlines()) == 1
    assert not Path("out").exists()


NOT_FINITE = "return (x * float('nan')).sum()"
OTHER_SHAPE = "step.n = getattr(step, 'n', 0) + 1; return np.ones(step.n % 2 + 1)"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("pass", "a step returned None: nothing says when it is done"),
        ("return object()", "a step returned a object"),
        (NOT_FINITE, "a weight is not finite"),
        (OTHER_SHAPE, "what a step returns changes: host (2,)"),
        ("step.n = getattr(step, 'n', 0) + 1; return 1.0 if step.n < 100 else None", "a step returned None"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_step_that_cannot_be_timed_has_no_time(body: str, says: str, here: Path) -> None:
    (row,) = rows(write("model.py", STEP.format(body)), code=3)
    assert row["step_ms"] == "" and says in row["reason"]


GOES_ON = """
    import queue
    import threading
    import numpy as np
    def make_step():
        x, waiting = np.ones((600, 600)), queue.SimpleQueue()
        def work():
            while True:
                waiting.get()() @ x
        threading.Thread(target=work, daemon=True).start()
        def step():
            waiting.put(lambda: x)
            return 1.0
        return step
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (STEP.format(NOT_FINITE), "a weight is not finite"),
        pytest.param(STEP.format(OTHER_SHAPE), "what a step returns changes", marks=pytest.mark.long),
        pytest.param(STEP.format("pass"), "a step returned None: nothing says when", marks=pytest.mark.long),
        pytest.param(GOES_ON, "work goes on after the step returned", marks=pytest.mark.long),
    ],
)
def test_a_gate_of_a_step_that_cannot_be_timed_is_invalid(
    text: str, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("model.py", text)
    told = ("--program", path, "--base-flags", "OTHERWISE=1", "--device", "cpu", "--patience", "0", "--out", "gate")
    assert main(["gate", *told, "--format", "json"]) == 4
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["word"] == "INVALID" and says in cell["reason"]
    page = Path("gate", "gate.md").read_text()
    assert "not measured: no case was left that it could guard" in page
    assert '"backend":"control"' not in Path("gate", "pairs.jsonl").read_text()


@pytest.mark.parametrize(
    ("then", "says"),
    [(None, "a step returned None"), ({}, "a step returned {}"), (np.ones(1), r"changes: host \(\), then host \(1,\)")],
)
@pytest.mark.parametrize("honest", [1, own.NOTED + 1])
def test_what_a_step_returns_stays_what_it_was(honest: int, then: Any, says: str) -> None:
    given = iter([1.0] * honest)
    program = StepProgram("model.py", lambda: next(given, then))
    for _ in range(honest):
        program.train(None)
    assert program.compilations() is None and program.weights()["returned 0"] == 1.0
    with pytest.raises(BenchError, match=says):
        program.train(None)
        program.compilations()
    with pytest.raises(BenchError, match=says):
        program.weights()


def test_a_value_of_another_kind_wants_another_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(Array=Array, block_until_ready=print))
    given = iter([1.0, Array()])
    program = StepProgram("model.py", lambda: next(given))
    program.train(None)
    with pytest.raises(BenchError, match=r"changes: host \(\), then jax \(\)"):
        program.train(None)


def test_weights_whose_shapes_change_have_no_time(here: Path) -> None:
    text = PROGRAM.format(rate=0.1).replace("def infer", "def _infer")
    text = text.replace('return {"w": self.w}', 'return {"w": self.w, "grown": np.zeros(self.n)}')
    text = text.replace("self.w, self.taken =", "self.n = 0\n            self.w, self.taken =")
    text = text.replace("self.w -=", "self.n += 1\n            self.w -=")
    (row,) = rows(write("model.py", text), code=3)
    assert row["step_ms"] == "" and "the shapes of weights() change" in row["reason"]


def test_weights_keep_their_names_too() -> None:
    given = iter([{"w": np.ones(2)}, {"w": np.ones(2)}, {"v": np.ones(2)}])
    program = ClassProgram("model.py", SimpleNamespace(weights=lambda: next(given)), proves=False)
    assert list(program.weights()) == list(program.weights()) == ["w"]
    with pytest.raises(BenchError, match=r"model\.py: the shapes of weights\(\) change"):
        program.weights()


@pytest.mark.parametrize("given", [{}, None, [np.ones(2)]], ids=str)
def test_weights_without_an_array_tell_nothing(given: Any) -> None:
    program = ClassProgram("model.py", SimpleNamespace(weights=lambda: given), proves=False)
    with pytest.raises(BenchError, match=r"model\.py: weights\(\) wants a dict of at least one array, found") as said:
        program.weights()
    assert str(said.value).endswith(f"found {str(given)!r}")


@pytest.mark.parametrize("where", ["meta", "mps", "xpu"])
def test_a_tensor_on_a_device_that_nobody_waits_for(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=Queued))
    program = StepProgram("model.py", lambda: Queued(where))
    with pytest.raises(BenchError, match=f"returned a torch {where} tensor; only cpu and cuda can be waited for"):
        program.train(None)


def test_an_input_that_is_no_shape(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    write("model.py", PROGRAM.format(rate=0.1).replace("(3,)", "784"))
    with pytest.raises(BenchError, match=r"model\.py: its `input` wants a tuple, a sample's shape, found 784"):
        Own("model.py", str(here)).after_import(Settings("own", "own", "own", "cpu", 1))
    sys.modules.pop("model", None)


def test_a_step_whose_work_goes_on_in_a_thread_has_no_time(here: Path) -> None:
    (row,) = rows(write("model.py", GOES_ON), code=3)
    assert row["step_ms"] == "" and "work goes on after the step returned" in row["reason"]


class Machine:
    """A made-up process: a step leaves `work` seconds to do and, once it is done, a pool that spins for `spin`."""

    def __init__(self, work: float, spin: float) -> None:
        self.work, self.spin = work, spin
        self.now = self.cpu = self.left = 0.0

    def step(self, batch: object) -> None:
        self.left = max(self.left + self.work, self.spin)

    def sleep(self, seconds: float) -> None:
        used = min(seconds, self.left)
        self.now, self.cpu, self.left = self.now + seconds, self.cpu + used, self.left - used


@pytest.mark.parametrize(
    ("work", "spin", "steps", "says"),
    [
        (0.0, 0.0, 50, ""),
        (0.0, 0.005, 50, ""),
        (0.0, 0.2, 50, ""),  # as Intel's OpenMP does, however many steps there were
        (0.03, 0.0, 20, r"busy for 0\.6\d s after its last step, and for 0\.0\d s after a single one"),
        (0.03, 0.0, 500, "5 s later this process was still busy"),
        (0.0, 60.0, 1, "5 s later this process was still busy"),
    ],
)
def test_work_that_grows_with_the_steps_is_no_spinning(
    work: float, spin: float, steps: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(work, spin)
    monkeypatch.setattr(quiet, "perf_counter", lambda: machine.now)
    monkeypatch.setattr(quiet, "process_time", lambda: machine.cpu)
    monkeypatch.setattr(quiet, "sleep", machine.sleep)
    for _ in range(steps):
        machine.step(None)
    with pytest.raises(BenchError, match=says) if says else nullcontext():
        assert quiet.allowed(machine.step, repeat(None), lambda: None, threads=2) > 0


def test_a_fence_that_does_not_wait_is_found(here: Path) -> None:
    text = """
        import threading
        import numpy as np
        class Program:
            def batches(self):
                return [0]
            def __init__(self):
                self.work = []
            def train(self, batch):
                def grind():
                    x = np.ones(300_000)
                    for _ in range(300):
                        np.exp(x).sum()
                self.work.append(threading.Thread(target=grind)); self.work[-1].start()
                if len(self.work) > 4:  # so that two cores are at work whenever the fence has not waited
                    self.work.pop(0).join()
            def fence(self):
                pass
            def weights(self):
                for thread in self.work:
                    thread.join()
                return {"done": np.zeros(1)}
    """
    (row,) = rows(write("model.py", text), code=3)
    assert row["status"] == "error" and "not quiet after the fence" in row["reason"]


def test_a_file_that_changes_while_it_is_measured_is_invalid(here: Path) -> None:
    path = Path(write("model.py", STEP.format("return x.sum()")))
    comparison = SimpleNamespace(
        harness=run.harness(), digests={str(path): programs.digest(path)}, candidate=SimpleNamespace(revision="")
    )
    docket = SimpleNamespace(comparison=comparison)
    Docket.check_files(docket)  # type: ignore[arg-type]
    path.write_text("")
    with pytest.raises(BenchError, match=r"INVALID: model\.py was changed") as caught:
        Docket.check_files(docket)  # type: ignore[arg-type]
    assert caught.value.exit_code == 4


def test_a_stepwatch_that_changes_while_it_measures_is_invalid() -> None:
    comparison = SimpleNamespace(harness="0123abc", digests={}, candidate=SimpleNamespace(revision=""))
    with pytest.raises(BenchError, match="INVALID: the code of Stepwatch was 0123abc when") as caught:
        Docket.check_files(SimpleNamespace(comparison=comparison))  # type: ignore[arg-type]
    assert caught.value.exit_code == 4


def test_a_revision_reads_its_own_files_by_relative_paths(here: Path) -> None:
    """What both opened from the present folder would be the candidate's in both arms: no change of it could be seen."""
    for folder, batch in (("base", 4), (".", 8)):
        Path(folder).mkdir(exist_ok=True)
        write(f"{folder}/config.txt", str(batch))
        write(f"{folder}/model.py", "BATCH = int(open('config.txt').read())\ndef make_step(): return lambda: 1.0")
    told: dict[str, Any] = {"device": "cpu", "threads": 1, "deadline": 60}
    assert programs.look("model.py", **told).batch == 8
    assert programs.look("model.py", **told, root=str(here / "base"), elsewhere=str(here)).batch == 4


def test_a_module_of_the_other_revision_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("base", "candidate"):
        Path(folder).mkdir()
        write(f"{folder}/model.py", STEP.format("return 1.0") + "\n    import stray_of_the_other")
    write("candidate/stray_of_the_other.py", "")
    monkeypatch.setattr(sys, "path", [*sys.path, str(here / "candidate")])  # as an editable install puts it there
    settings = Settings("own", "own", "own", "cpu", 1)
    with pytest.raises(BenchError, match="imports stray_of_the_other from the other revision's checkout"):
        Own("base/model.py", str(here / "base"), str(here / "candidate")).after_import(settings)
    Own("candidate/model.py", str(here / "candidate"), str(here / "base")).after_import(settings)
    # A step that imports only when it is made is asked again by the worker, after the warm-up.
    sys.modules.pop("stray_of_the_other")
    write("base/model.py", "BATCH = 4\ndef make_step():\n    import stray_of_the_other\n    return lambda: 1.0\n")
    late = Own("base/model.py", str(here / "base"), str(here / "candidate"))
    late.after_import(settings)
    late.build(None, settings)
    with pytest.raises(BenchError, match="imports stray_of_the_other"):
        late.check_origin()
    for name in ("model", "stray_of_the_other"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("where", ["beside", "root", "through a helper"])
def test_a_package_of_the_user_s_that_is_called_bench(where: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = here / "bench" if where == "root" else here / "code" / "bench"
    package.mkdir(parents=True)
    (here / "code").mkdir(exist_ok=True)
    (package / "helper.py").write_text("x = 1")
    wanting = "from bench.helper import x\n"
    write("code/wanting_bench.py", wanting)
    model = write("code/model.py", ("import wanting_bench\n" if "helper" in where else wanting) + "BATCH = 4\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(BenchError, match=r"model\.py imports .*bench, but in a worker 'bench' is Stepwatch itself"):
        own.loaded(Path(model), str(here))
    # Nobody wants the folder; and Stepwatch's own is no other.
    write("code/model.py", "BATCH = 4\n")
    assert own.loaded(Path(model), str(here)).BATCH == 4
    write("code/model.py", "import bench.errors\nBATCH = 4\n")
    (package / "helper.py").unlink()
    assert own.loaded(Path(model), str(ROOT)).BATCH == 4
    for name in ("model", "wanting_bench"):
        sys.modules.pop(name, None)


def test_a_commit_without_a_difference_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = Path("model.py")
    model.write_text("")
    for words in (["init"], ["add", "."], ["commit", "-m", "one"], ["commit", "--allow-empty", "-m", "two"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)
    first = revisions.commit_of("HEAD~1")
    Path("stray.py").write_text("")
    assert revisions.same(first) and revisions.same(revisions.commit_of("HEAD"))
    revisions.check_holds(first, "model.py")
    with pytest.raises(BenchError, match=rf"revision {first} does not hold stray\.py: nothing to compare with"):
        revisions.check_holds(first, "stray.py")
    subprocess.run(["git", "add", "--intent-to-add", "stray.py"], check=True)
    assert not revisions.same(first)
    subprocess.run(["git", "rm", "--cached", "stray.py"], check=True, capture_output=True)
    model.write_text("a = 1\n")
    assert not revisions.same(first)


@pytest.mark.parametrize(
    "measured",
    [False, pytest.param(True, marks=[pytest.mark.long, pytest.mark.alone])],
    ids=["what it refuses", "and its verdict"],
)
def test_a_gate_of_two_revisions(tmp_path: Path, measured: bool) -> None:
    copy = Copy(tmp_path / "copy")
    for old, new in (("= 1.0", "= 0.02"), ("= 20", "= 9"), ("= 0.05", "= 0.002")):
        field = {"= 1.0": "warm_up_seconds: Annotated[float, Meta(ge=0, le=600)] ", "= 20": "ge=3, le=10_000)] "}
        before = field.get(old, "burst_seconds: Annotated[float, Meta(gt=0, le=60)] ")
        copy.change("bench/suite.py", f"{before}{old}\n", f"{before}{new}\n")
    user = tmp_path / "user"
    (user / "inside").mkdir(parents=True)
    model, helper = user / "inside" / "model.py", user / "helper.py"

    def git(*words: str) -> str:
        told = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(told, check=True, capture_output=True, text=True, cwd=user).stdout

    def gate(*words: str, program: str = "inside/model.py") -> "subprocess.CompletedProcess[str]":
        told = ["gate", "--program", program, "--device", "cpu", "--patience", "0", "--out", "out", *words]
        environment = os.environ | {"PYTHONPATH": str(copy.folder)}
        command = [sys.executable, "-m", "bench", *told]
        return subprocess.run(command, cwd=user, env=environment, capture_output=True, text=True, timeout=300)

    # What gets slower is not the file that is named, but a module of the repository that it imports.
    until = "    until = time.perf_counter_ns() + {}\n    while time.perf_counter_ns() < until: pass\n"
    spin = f"import time\ndef spin():\n{until}"
    text = STEP.format("import helper; helper.spin(); return x.sum()")
    git("init")
    model.write_text(dedent(text))
    helper.write_text(spin.format(200_000))
    git("add", ".")
    git("commit", "-m", "one")
    git("tag", "fast")
    for words, says in (
        (("--base-ref", "fast"), "two identical arms"),
        (("--base-ref", "never"), "no such revision"),
        (("--base-ref", "fast", "--backend", "torch"), "leave out filters"),
    ):
        ended = gate(*words)
        assert ended.returncode == 2 and says in ended.stderr and len(ended.stderr.splitlines()) == 1
    # What git does not track is in no revision: an unrelated file makes no difference, a new program has no base.
    stray, git_knows = user / "inside" / "stray.py", git("ls-files")
    stray.write_text(dedent(text))
    for program, says in (
        ("inside/model.py", "two identical arms"),
        ("inside/stray.py", "does not hold inside/stray.py"),
    ):
        ended = gate("--base-ref", "fast", program=program)
        assert ended.returncode == 2 and says in ended.stderr and len(ended.stderr.splitlines()) == 1
    assert "stray" not in git_knows and not (user / "out.base").exists()
    # Another revision that does not work, and one that does other work.
    for broken, code, says in (
        ("import nowhere_to_be_found", 2, "does not import: ModuleNotFoundError"),
        (text.replace("BATCH = 4", "BATCH = 8"), 4, "train on batches of 8 in the base"),
    ):
        model.write_text(dedent(broken))
        git("commit", "-am", "broken")
        git("tag", "--force", "broken")
        model.write_text(dedent(text))
        ended = gate("--base-ref", "broken")
        assert ended.returncode == code and says in ended.stderr, ended.stderr
    assert not (user / "out").exists() and not (user / "out.base").exists()
    if not measured:
        return
    helper.write_text(spin.format(300_000))
    ended = gate("--base-ref", "fast", program=str(model))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stdout.startswith("# FAIL: 1 of 1 cases") and "Unproved" in ended.stdout
    assert "-dirty-" in ended.stdout
    assert not (user / "out.base").exists() and len(git("worktree", "list").splitlines()) == 1


def test_a_tree_that_changes_is_another_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["init"], ["commit", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)
    clean = revisions.present()
    seen = {clean}
    for text in ("a = 1\n", "a = 2\n"):
        Path("helper.py").write_text(text)
        seen.add(revisions.present())
    subprocess.run(["git", "add", "."], check=True)
    seen.add(revisions.present())
    assert len(seen) == 4 and all(name.startswith(clean) for name in seen)
    digests = {str(tmp_path / "gone.py"): "0123456789ab"}
    comparison = SimpleNamespace(harness=run.harness(), digests=digests, candidate=SimpleNamespace(revision=clean))
    with pytest.raises(BenchError, match=r"INVALID: .*gone\.py was removed while the gate measured") as caught:
        Docket.check_files(SimpleNamespace(comparison=comparison))  # type: ignore[arg-type]
    assert caught.value.exit_code == 4
    digests.clear()
    with pytest.raises(BenchError, match=r"INVALID: the working tree was \w+ when") as caught:
        Docket.check_files(SimpleNamespace(comparison=comparison))  # type: ignore[arg-type]
    assert caught.value.exit_code == 4


def test_a_tree_is_told_apart_whatever_its_files_and_names_are_written_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table, strange = Path("table.csv"), Path("gr\u00f6\u00dfe \u00fc\n.py")
    table.write_bytes("gr\u00f6\u00dfe\n".encode("latin-1"))
    for words in (["init"], ["add", "."], ["commit", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)
    seen = {revisions.present()}
    changes = (table, "m\u00e4\u00dfig\n"), (table, "m\u00fc\u00dfig\n"), (strange, "a = 1\n"), (strange, "a = 2\n")
    for file, text in changes:
        file.write_bytes(text.encode("latin-1"))
        seen.add(revisions.present())
    assert len(seen) == 5


def test_git_s_own_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="found none: fatal: not a git repository"):
        revisions.top()
    for words in (["init"], ["commit", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)
    with pytest.raises(BenchError, match=r"cannot be checked out into gate\.base: fatal: "):
        revisions.check_out("0123456", Path("gate.base"))


def test_a_folder_in_the_way_of_a_checkout_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["init"], ["commit", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)
    Path("gate.base").mkdir()
    Path("gate.base", "model.py").write_text("")
    with pytest.raises(BenchError, match=r"is to be checked out into gate\.base, which is there: remove it"):
        revisions.check_out(revisions.present(), Path("gate.base"))
    assert Path("gate.base", "model.py").exists()


def test_a_number_says_nothing_of_what_a_gpu_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    cuda = SimpleNamespace(synchronize=lambda: waited.append("torch"), is_initialized=lambda: used)
    live, used = Array(), True
    jax = SimpleNamespace(Array=Array, block_until_ready=waited.append, live_arrays=lambda: [live])
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, Tensor=Queued))
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    on_cpu, on_gpu, array = Queued("cpu"), Queued("cuda"), Array()
    for result in (1.5, on_cpu, {"loss": 1.5, "logits": on_cpu}):
        waited.clear()
        fences.waiting("model.py", result, "gpu")(result)
        assert waited == ["torch", [*fences.leaves(result), live]], result
        fences.waiting("model.py", result, "cpu")(result)
        assert len(waited) == 2
    waited.clear()
    fences.waiting("model.py", (1.5, on_gpu), "gpu")((1.5, on_gpu))
    assert waited == ["torch"]
    # A loss that is there says nothing of an update that was asked for after it.
    waited.clear()
    used = False
    fences.waiting("model.py", array, "gpu")(array)
    fences.waiting("model.py", array, "cpu")(array)
    assert waited == [[array, live], array]


@pytest.mark.parametrize(
    ("frameworks", "idle"),
    [
        ({}, "it imports no framework that Stepwatch knows to use"),
        ({"torch": False}, "torch did not use"),
        ({"torch": False, "jax": False}, "torch and jax did not use"),
        ({"torch": True}, ""),
        ({"torch": False, "jax": True}, ""),
        ({"tensorflow": False}, "tensorflow did not use"),
        ({"tensorflow": True}, ""),
    ],
)
def test_a_file_that_leaves_the_gpu_alone_has_no_row_that_says_gpu(
    monkeypatch: pytest.MonkeyPatch, frameworks: dict[str, bool], idle: str
) -> None:
    for name in ("torch", "jax", "tensorflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, used in frameworks.items():
        made = SimpleNamespace(
            cuda=SimpleNamespace(is_initialized=lambda used=used: used),
            default_backend=lambda used=used: "gpu" if used else "cpu",
            config=SimpleNamespace(list_physical_devices=lambda kind, used=used: [kind] if used else []),
        )
        monkeypatch.setitem(sys.modules, name, made)
    assert fences.idle_gpu() == idle
    mine, gpu = Own("model.py"), Settings("own", "own", "own", "gpu", 1)
    mine.check_device(msgspec.structs.replace(gpu, device="cpu"))
    with pytest.raises(BenchError, match=f"its row would say gpu, and {idle} the GPU") if idle else nullcontext():
        mine.check_device(gpu)


def test_jax_is_not_asked_where_another_has_used_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow imports it; a client of its own beside the program's would take most of the memory."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(default_backend=lambda: pytest.fail("it was asked")))
    devices = SimpleNamespace(list_physical_devices=lambda kind: [kind])
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=devices))
    assert fences.idle_gpu() == ""


def test_a_warmed_file_is_asked_whether_it_used_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Trial", lambda *_: SimpleNamespace(warm=lambda question: "warmed"))
    monkeypatch.setattr(fences, "idle_gpu", lambda: "torch did not use")
    mine = worker.Worker()
    mine.backend, question = Own("model.py"), SimpleNamespace(phase="train")
    mine.backend.kind = None
    mine.settings = Settings("own", "own", "own", "cpu", 1)
    assert mine.warm(question) == "warmed"  # type: ignore[arg-type, comparison-overlap]
    mine.settings = Settings("own", "own", "own", "gpu", 1)
    with pytest.raises(BenchError, match="would say gpu, and torch did not use the GPU"):
        mine.warm(question)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_there_is_not_is_a_wrong_request(here: Path, device: str) -> None:
    write("model.py", STEP.format("return x.sum()"))
    for verb in ("run", "gate"):
        told = [verb, "--program", "model.py", "--device", device]
        assert main([*told, "--base-flags", "FOO=1"] if verb == "gate" else told) == 2
