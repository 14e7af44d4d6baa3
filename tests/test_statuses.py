"""Every status of docs/statuses.md, reached by a real process: a run of a tiny suite with a seeded fault.

What is read is what a user gets: the exit code and table.csv. Most faults are seeded in the null backend, which has no
framework to import.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
from conftest import unless
from seeding import Copy

NULL = "bench/backends/null/__init__.py"
PROGRAM = "bench/no_model.py"  # what it runs
TORCH, TENSORFLOW, JAX = (f"bench/backends/{name}" for name in ("torch", "tensorflow", "jax"))
BOTH = ["train", "infer"]
TF_WORDS = "OOM when allocating tensor with shape[35184372088832] and type float on CPU:0 by allocator mklcpu"
# Each process of the null backend leaves a mark when it starts: pilots come first, one a case, then the rounds.
START = '"""There is nothing to import."""'
COUNT = "open('processes', 'a').write('x')"
PROCESS = "len(open('processes').read())"


def null_train(copy: Copy, statement: str) -> None:
    """What the null backend's training step does, once a step."""
    copy.change(
        PROGRAM,
        "def train(self, batch: Any) -> None:\n",
        f"def train(self, batch: Any) -> None:\n        {statement}\n",
    )


def processes(copy: Copy) -> int:
    return len((copy.folder / "processes").read_text())


def no_numbers(row: dict[str, str]) -> bool:
    return (row["step_ms"], row["samples_per_second"], row["samples"], row["rounds"]) == ("", "", "0", "0")


def measured(row: dict[str, str]) -> bool:
    return float(row["step_ms"]) > 0 and int(row["samples"]) == 5 * int(row["rounds"]) > 0


def test_the_unchanged_copy_is_ok(tmp_path: Path) -> None:
    """Without a fault there is no status to tell, so that each one below comes from its fault."""
    code, rows = Copy(tmp_path).run({"backend": ["null"], "phase": BOTH})
    assert code == 0
    assert [(row["status"], row["reason"], row["rounds"]) for row in rows] == [("ok", "", "1")] * 2
    assert all(map(measured, rows))


def test_failed_import(tmp_path: Path) -> None:
    """A torch that is found and cannot be imported, as where one of its libraries is missing."""
    copy = Copy(tmp_path)
    (copy.folder / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')\n")
    code, rows = copy.run({"backend": ["torch"], "phase": BOTH}, {"backend": ["null"]})
    assert code == 3
    for row in rows[:2]:
        assert row["status"] == "error"
        assert row["reason"].startswith("ImportError: libcudart.so.12: cannot open shared object file (see logs/")
        assert no_numbers(row)
    assert rows[2]["status"] == "ok"
    assert b"Traceback" in copy.log()


@pytest.mark.needs("torch")
def test_canary(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change(f"{TORCH}/device.py", "torch.set_flush_denormal(True)", "torch.set_flush_denormal(False)")
    code, (row,) = copy.run({"backend": ["torch"]})
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith("canary denormals: ")
    assert no_numbers(row)


@pytest.mark.needs("torch")
def test_canary_of_precision(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change(f"{TORCH}/program.py", '{"fp32": torch.float32', '{"fp32": torch.float16')
    code, (row,) = copy.run({"backend": ["torch"]})
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith("canary precision: ")
    assert no_numbers(row)


def test_compilation_inside_a_burst(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.protocol["warm_up_cap_seconds"] = 0.1
    copy.change(PROGRAM, "self.workload = workload", "self.workload, self.count = workload, 0")
    copy.change(PROGRAM, "        return 0\n", "        self.count += 1\n        return self.count\n")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (3, "error")
    assert "1 compilations inside timed bursts" in row["reason"]
    assert no_numbers(row)


def test_weights_not_finite(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    weights = "def weights(self) -> dict[str, Array]:\n        return "
    copy.change(PROGRAM, f"{weights}{{}}", f'{weights}{{"dense_1.bias": np.array([0.0, np.nan])}}')
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (3, "error")
    assert "a weight is not finite" in row["reason"]
    assert no_numbers(row)


def test_killed(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    null_train(copy, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (3, "crashed")
    assert "the process died of SIGKILL" in row["reason"]
    assert no_numbers(row)


def test_exit_without_an_answer(tmp_path: Path) -> None:
    """Exit code 0 is no answer. What the process last said is in the reason, without what a terminal would obey."""
    copy = Copy(tmp_path)
    null_train(copy, r"import os; os.write(2, b'last \xff\x00\x1b[31m|\"words\"'); os._exit(0)")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (3, "crashed")
    assert "the process ended with exit code 0 and gave no answer; its last line: last " in row["reason"]
    assert row["reason"].isprintable()
    assert no_numbers(row)


def test_a_case_that_kills_its_process_leaves_the_other_case_alone(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change(NULL, START, COUNT)
    null_train(copy, f"import os; {PROCESS} == 3 and os.abort()")  # the first process after the two pilots
    code, (infer, train) = copy.run({"backend": ["null"], "phase": ["infer", "train"]})
    assert (code, train["status"], infer["status"]) == (3, "crashed", "ok")
    assert train["reason"].startswith("1 of 1 rounds failed: the process died of SIGABRT")
    assert no_numbers(train)
    assert measured(infer)
    assert processes(copy) == 4, "the second case was to have a process of its own after the first one's death"


def test_exhausted_memory(tmp_path: Path) -> None:
    """Python's own MemoryError, under a limit of the address space and by a real allocation."""
    copy = Copy(tmp_path)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))"
    null_train(copy, f"{limit}; np.ones(1 << 31)")  # 8 GiB allowed, 16 GiB asked for
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (3, "oom")
    assert "MemoryError: Unable to allocate 16.0 GiB" in row["reason"]
    assert no_numbers(row)


@pytest.mark.parametrize(
    ("backend", "old", "new"),
    [
        pytest.param(backend, old, new, id=backend, marks=[pytest.mark.needs(backend), *unless(backend == "torch")])
        for backend, old, new in (
            ("torch", "loss = self._loss(*batch)", "loss = torch.zeros(1 << 45)"),
            (
                "tensorflow",
                "self.update(gradients)",
                f"raise tf.errors.ResourceExhaustedError(None, None, '{TF_WORDS}')",
            ),
            ("jax", "return model(x)", "return model(x), jnp.zeros(1 << 45)"),
        )
    ],
)
def test_exhausted_memory_in_a_framework(tmp_path: Path, backend: str, old: str, new: str) -> None:
    """Each framework says it in its own words; 128 TiB are more than any machine has.

    TensorFlow's allocator would wait ten seconds for somebody to free them: its exception is raised in its stead.
    """
    copy = Copy(tmp_path)
    copy.change(f"bench/backends/{backend}/program.py", old, new)
    code, (row,) = copy.run({"backend": [backend]})
    assert (code, row["status"]) == (3, "oom"), row["reason"]
    assert no_numbers(row)


def test_hang(tmp_path: Path) -> None:
    """The process is killed, and all that it started."""
    copy = Copy(tmp_path)
    child = "child = subprocess.Popen(['sleep', '1000'])"
    pids = "open('pids', 'w').write(f'{os.getpid()} {child.pid}')"
    null_train(copy, f"import os, subprocess, time; {child}; {pids}; time.sleep(1000)")
    code, (row,) = copy.run({"backend": ["null"]}, options=("--deadline", "3"))
    assert (code, row["status"]) == (3, "timeout")
    assert "no answer within the deadline" in row["reason"]
    assert no_numbers(row)
    assert [pid for pid in map(int, (copy.folder / "pids").read_text().split()) if alive(pid)] == []


def test_what_a_worker_has_started_ends_with_it(tmp_path: Path) -> None:
    """As Inductor's compilers, which outlive it: they would stand beside the next one, and write into its cache."""
    copy = Copy(tmp_path)
    child = "subprocess.Popen(['sleep', '1000']).pid"
    copy.change(NULL, START, f"import subprocess; open('pids', 'a').write(f\"{{{child}}} \")")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (0, "ok"), row["reason"]
    pids = list(map(int, (copy.folder / "pids").read_text().split()))
    assert len(pids) == 2 and [pid for pid in pids if alive(pid)] == []


def alive(pid: int) -> bool:
    """Whether a process still runs a while after it was killed; an orphan that nobody has reaped does not."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.05)
    return True


def test_unsteady(tmp_path: Path) -> None:
    """A step that takes 3 % longer at every call: 30 bursts see it, whatever else the machine does."""
    copy = Copy(tmp_path)
    copy.protocol["bursts"] = 30
    copy.change(PROGRAM, "self.workload = workload", "self.workload, self.pause = workload, 0.005")
    null_train(copy, "import time; time.sleep(self.pause); self.pause *= 1.03")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (0, "unsteady")
    assert "1 of 1 processes grew faster or slower by over 3 % while they were timed" in row["reason"]
    assert float(row["step_ms"]) > 0
    # A busy machine can make any row unsteady: this one is so because of its fault.
    (sample,) = (line for line in records(copy) if line["type"] == "Sample")
    assert median(sample["wall_ns"][20:]) > 1.5 * median(sample["wall_ns"][:10])


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=[pytest.mark.needs(name), *unless(name == "torch")])
        for name in ("torch", "keras-torch")
    ],
)
def test_compile_without_a_compiler(tmp_path: Path, backend: str) -> None:
    copy = Copy(tmp_path)
    code, (row,) = copy.run({"backend": [backend], "mode": ["compiled"]}, PATH=str(copy.home), CXX=None)
    assert (code, row["status"]) == (0, "unsupported")
    assert row["reason"].startswith("torch.compile on a CPU wants a C++ compiler, found none: install g++ or set CXX")
    assert no_numbers(row)


def test_unsupported_by_the_registry(tmp_path: Path) -> None:
    code, (eager, compiled) = Copy(tmp_path).run({"backend": ["null"], "mode": ["eager", "compiled"]})
    assert (code, eager["status"], compiled["status"]) == (0, "ok", "unsupported")
    assert compiled["reason"] == "the null backend computes nothing: one mode is enough"
    assert no_numbers(compiled)


def test_missing_framework(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change("bench/backends/__init__.py", 'packages=("torch",)', 'packages=("torch_that_nobody_has",)')
    code, (torch, null) = copy.run({"backend": ["torch", "null"]})
    assert (code, torch["status"], null["status"]) == (0, "skipped", "ok")
    assert torch["reason"] == "torch_that_nobody_has not installed: pip install 'stepwatch[torch]'"
    assert no_numbers(torch)


def test_garbage_on_stdout(tmp_path: Path) -> None:
    """All 256 bytes and what looks like an answer, on both streams, before anything else and amid the steps."""
    copy = Copy(tmp_path)
    garbage = r"bytes(range(256)) + b'\n{\"type\":\"Failed\",\"status\":\"error\",\"reason\":\"forged\"}\n'"
    shout = f"import os; garbage = {garbage}; os.write(1, garbage), os.write(2, garbage)"
    copy.change(NULL, START, shout)
    null_train(copy, f"if not getattr(self, 'said', 0): self.said = 1; {shout}")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"], row["reason"]) == (0, "ok", "")
    assert measured(row)
    # Twice on two streams in each of two processes, the pilot's and the round's.
    assert copy.log().count(bytes(range(256))) == 8


def test_a_case_that_fails_in_one_of_four_rounds_keeps_its_numbers(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change(NULL, START, COUNT)
    null_train(
        copy, f"if {PROCESS} == 3: raise RuntimeError('seeded')"
    )  # the second round; the pilot is the first mark
    code, (row,) = copy.run({"backend": ["null"]}, rounds=4)
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith("1 of 4 rounds failed: RuntimeError: seeded")
    assert row["rounds"] == "3"
    assert measured(row)
    assert processes(copy) == 5


def test_a_case_that_fails_in_most_rounds_has_no_numbers(tmp_path: Path) -> None:
    """Though one round was good; and none is tried once no number can come of it."""
    copy = Copy(tmp_path)
    copy.change(NULL, START, COUNT)
    null_train(copy, f"if {PROCESS} > 2: raise RuntimeError('seeded')")
    code, (row,) = copy.run({"backend": ["null"]}, rounds=6)
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith("4 of 6 rounds failed: RuntimeError: seeded")
    assert no_numbers(row)
    samples = [line for line in records(copy) if line["type"] == "Sample"]
    assert len(samples) == 1, "the good round stays on record"
    assert processes(copy) == 6, "one pilot, one good round, four failures; the last round was to be left out"


# --- the measurement protocol -----------------------------------------------------------------------------------------


LOSS = "\n            return chosen"


# `make selftest` has one of them.
@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "mode", "old", "new"),
    [
        pytest.param(backend, mode, old, new, id=f"{backend}-{mode}-{new.split()[0]}", marks=pytest.mark.needs(backend))
        for backend, mode, old, new in (
            ("torch", "compiled", f'if self.settings.mode == "eager":{LOSS}', f"if True:{LOSS}"),
            ("tensorflow", "graph", 'if settings.mode != "eager":', 'if settings.mode == "never":'),
            ("tensorflow", "compiled", 'if settings.mode != "eager":', 'if settings.mode == "never":'),
            # A graph that XLA does not run is traced as often as one that it does.
            ("tensorflow", "compiled", '"jit_compile": settings.mode == "compiled"', '"jit_compile": False'),
            (
                "jax",
                "compiled",
                "self._jit(self._steps if several else self._step, donate_argnums=range(HELD))",
                "self._step",
            ),
        )
    ],
)
def test_eager_in_place_of_compiled(tmp_path: Path, backend: str, mode: str, old: str, new: str) -> None:
    copy = Copy(tmp_path)
    copy.change(f"bench/backends/{backend}/program.py", old, new)
    code, (row,) = copy.run({"backend": [backend], "mode": [mode]})
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith(f"mode {mode} compiled nothing: the steps ran uncompiled")
    assert no_numbers(row)


@pytest.mark.long
@pytest.mark.needs("tensorflow")
def test_compiled_in_place_of_eager(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change(f"{TENSORFLOW}/program.py", 'if settings.mode != "eager":', 'if settings.mode != "never":')
    code, (row,) = copy.run({"backend": ["tensorflow"], "mode": ["eager"]})
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith("mode eager compiled 1 programs, wanted none")
    assert no_numbers(row)


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(  # `make selftest` has it
            *('{"fp32": torch.float32', '{"fp32": torch.float64', "dense_1.kernel is float64 cpu, wanted float32 cpu"),
            marks=pytest.mark.long,
        ),
        ("self._forward(batch[0])", "self._forward(batch[0]).double()", "logits is float64 cpu, wanted float32 cpu"),
    ],
    ids=["everywhere", "logits"],
)
def test_canary_of_placement(tmp_path: Path, old: str, new: str, says: str) -> None:
    """fp64 that leaks in makes every number better, but for the time: no proof in fp32 could tell."""
    copy = Copy(tmp_path)
    copy.change(f"{TORCH}/program.py", old, new)
    code, (row,) = copy.run({"backend": ["torch"]})
    assert (code, row["status"]) == (3, "error")
    assert row["reason"].startswith(f"canary placement: {says}")
    assert no_numbers(row)


@pytest.mark.needs("torch")
def test_more_cores_than_threads(tmp_path: Path) -> None:
    """As if eight more threads than the one that was asked for computed beside it: these would want eight cores."""
    copy = Copy(tmp_path)
    copy.protocol["burst_seconds"] = 0.05  # of shorter ones the kernel's counters say too little
    copy.change("bench/clock.py", "cpu = process_time_ns() - cpu", "cpu = 9 * (process_time_ns() - cpu)")
    code, (row,) = copy.run({"backend": ["torch"], "threads": [1], "batch": [512]})
    assert (code, row["status"]) == (3, "error")
    assert "cores, 1 threads were asked for" in row["reason"]
    assert no_numbers(row)


def test_a_warm_up_that_never_settles(tmp_path: Path) -> None:
    """It compiles as long as it is warmed: the cap ends that, and the row keeps its numbers, marked."""
    copy = Copy(tmp_path)
    copy.protocol["warm_up_cap_seconds"] = 0.2
    copy.change(PROGRAM, "self.workload = workload", "self.workload, self.count = workload, 0")
    warming = "import sys; self.count += sys._getframe(1).f_globals['__name__'] == 'bench.warm_up'"
    copy.change(PROGRAM, "        return 0\n", f"        {warming}\n        return self.count\n")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (0, "unsteady")
    assert "steps in 0.2 s did not warm it up" in row["reason"]
    assert measured(row)


def test_a_framework_that_cannot_say_how_often_it_compiled(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change(PROGRAM, "        return 0\n", "        return None\n")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (0, "ok")
    assert row["reason"].startswith("its framework cannot say how often it compiled")
    assert measured(row)


def test_a_process_that_stood_still(tmp_path: Path) -> None:
    """Stopped by a signal inside a burst of the round, and continued a second later. The median does not see it."""
    copy = Copy(tmp_path)
    copy.change(NULL, START, COUNT)
    stop = "subprocess.run(['sh', '-c', 'kill -STOP $PPID; sleep 1; kill -CONT $PPID'])"
    timed = f"{PROCESS} == 2 and sys._getframe(3).f_code.co_name == 'bursts'"  # the pilot is the first process
    null_train(copy, "if not getattr(self, 'stood', 0): self._stand()")
    stand = f"    def _stand(self) -> None:\n        import subprocess, sys\n        if {timed}:\n"
    stand += f"            self.stood = 1; {stop}\n\n"
    copy.change(PROGRAM, "    def fence(self)", f"{stand}    def fence(self)")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (0, "unsteady")
    assert "a process stood still: one burst took " in row["reason"]
    assert measured(row)
    (sample,) = (line for line in records(copy) if line["type"] == "Sample")
    assert max(sample["wall_ns"]) >= 1e9
    assert float(row["step_ms"]) < 1


FENCE = "device.fence((held, list(self._losses), self._pending))"


# `make selftest` has both, and an honest fence.
@pytest.mark.long
@pytest.mark.needs("jax")
@pytest.mark.parametrize("fence", ["pass", "device.fence(list(self._losses))"], ids=["none", "losses only"])
def test_a_fence_that_waits_for_too_little(tmp_path: Path, fence: str) -> None:
    copy = Copy(tmp_path)
    copy.change(f"{JAX}/program.py", FENCE, fence)
    # Half a millisecond a call, of which JAX queues some thirty: enough to be left behind.
    code, (row,) = copy.run({"backend": ["jax"], "phase": ["infer"], "batch": [512]})
    assert (code, row["status"]) == (3, "error")
    assert "not quiet after the fence: " in row["reason"]
    assert no_numbers(row)


@pytest.mark.long
@pytest.mark.needs("jax")
def test_an_honest_fence_is_quiet(tmp_path: Path) -> None:
    code, (row,) = Copy(tmp_path).run({"backend": ["jax"], "phase": ["infer"], "batch": [512]})
    assert (code, row["status"]) == (0, "ok"), row["reason"]


def test_a_machine_that_slept(tmp_path: Path) -> None:
    """CLOCK_BOOTTIME ran on while CLOCK_MONOTONIC stood, as after a suspended laptop."""
    copy = Copy(tmp_path)
    clocks = "time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)"
    copy.change("bench/sensors.py", clocks, "60 * time.monotonic()")
    code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (3, "error")
    assert "the machine slept " in row["reason"] and "measure again" in row["reason"]
    assert no_numbers(row)


@contextmanager
def neighbours() -> Iterator[None]:
    """As many busy processes as there are cores."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.alone
def test_a_busy_neighbour(tmp_path: Path) -> None:
    copy = Copy(tmp_path, heeds_neighbours=True)
    copy.protocol |= {"bursts": 20, "burst_seconds": 0.05}
    with neighbours():
        code, (row,) = copy.run({"backend": ["null"]})
    assert (code, row["status"]) == (0, "unsteady"), row["reason"]
    assert "other processes used " in row["reason"] and "beside 1 of 1 processes" in row["reason"]
    assert float(row["others_cores"]) > 0.1
    assert float(row["step_ms"]) > 0  # an unsteady row keeps its numbers


def records(copy: Copy) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (copy.out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
