"""Seeded faults: a real adapter with one line changed, or a real run folder damaged; each caught by the check named.

Seen from outside: an exit code and the words of a reason. From 17 on they want a GPU.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from bench import backends, machine
from bench.selftest.finding import Finding
from bench.selftest.seeding import Copy, Matrix

TORCH, TENSORFLOW, JAX = (f"bench/backends/{name}" for name in ("torch", "tensorflow", "jax"))
NULL = "bench/backends/null/__init__.py"
FENCE = "device.fence((held, list(self._losses), self._pending))"
JIT = "loss = self._train("
AFRESH = "jax.jit(lambda *told: self._step(*told))"
TIMED = "        program, step, feed = self.program, self.step, self.feed\n        compiled ="
GONE = "        import os; question.count > 2 and os.kill(os.getpid(), 9)  # a round's bursts, not a pilot's two\n"
LOSS = "self._losses.append(loss.detach())"
# Half a millisecond a call, of which JAX queues some thirty: enough to be left behind, and soon over.
QUEUED: Matrix = {"phase": ["infer"], "batch": [512]}


class Changed(Struct, frozen=True):
    """One line of an adapter, what becomes of it, what is run, and the words of the check that must catch it."""

    number: int
    name: str
    backend: str
    file: str
    old: str
    new: str
    says: str
    parity: str = ""  # the workload to prove; otherwise a tiny suite is run
    matrix: Matrix = {}
    mode: str = "default"
    device: str = "cpu"


CHANGED = (
    Changed(
        *(1, "no final fence", "jax", f"{JAX}/program.py", FENCE, "pass"),
        says="not quiet after the fence",
        matrix=QUEUED,
    ),
    Changed(
        *(2, "a fence on the losses only", "jax", f"{JAX}/program.py", FENCE),
        new="device.fence(list(self._losses))",
        says="not quiet after the fence",
        matrix=QUEUED,
    ),
    Changed(
        *(3, "fp64 leaking in", "torch", f"{TORCH}/program.py"),
        old='{"fp32": torch.float32,',
        new='{"fp32": torch.float64,',
        says="canary placement: dense_1.kernel is float64 cpu",
    ),
    Changed(
        *(4, "recompiling at every step", "jax", f"{JAX}/program.py", JIT, JIT.replace("self._train", AFRESH)),
        says="compilations inside timed bursts",
    ),
    Changed(
        *(5, "eager in place of compiled", "tensorflow", f"{TENSORFLOW}/program.py"),
        old='if settings.mode != "eager":',
        new='if settings.mode == "never":',
        says="compiled nothing: the steps ran uncompiled",
        mode="compiled",
    ),
    Changed(
        *(6, "another batch size", "torch", f"{TORCH}/program.py"),
        old="self._placed(torch.from_numpy(x), torch.from_numpy(y))",
        new="self._placed(torch.from_numpy(x[:16]), torch.from_numpy(y[:16]))",
        says="fp64 against the golden evidence: logits differs",
        parity="mlp",
    ),
    Changed(
        *(7, "a transposed kernel", "torch", f"{TORCH}/layers.py", '"hwio->oihw"', '"hwio->oiwh"'),
        says="fp64 against the golden evidence: logits differs",
        parity="cnn",
    ),
    Changed(
        *(8, "labels shifted by one", "tensorflow", f"{TENSORFLOW}/program.py"),
        old="tf.constant(y, tf.int32)",
        new="tf.constant((y + 1) % 10, tf.int32)",
        says="gradient of dense_1.kernel differs",
        parity="mlp",
    ),
    Changed(
        *(9, "a doubled learning rate", "jax", f"{JAX}/optimiser.py", "optax.sgd(rate,", "optax.sgd(2 * rate,"),
        says="losses differs",
        parity="mlp",
    ),
    Changed(
        *(10, "dropout that drops nothing", "tensorflow", f"{TENSORFLOW}/plain.py"),
        old="target.operand(tf.nn.dropout(target.exact(x), rate)) if training else x",
        new="x",
        says="dropout share of dropout_1 is 0.000",
        parity="mlp_dropout",
    ),
    Changed(
        *(11, "weights that become NaN after the proof", "torch", f"{TORCH}/program.py", LOSS),
        new=f"{LOSS}; self.taken = getattr(self, 'taken', 0) + 1; "
        "self.taken > 40 and self.model[-1].bias.data.fill_(float('nan'))",
        says="a weight is not finite",
    ),
    Changed(
        *(15, "a process that dies midway", "null", "bench/trial.py", TIMED, GONE + TIMED),
        says="the process died of SIGKILL",
    ),
    Changed(
        *(16, "a clock that steps back", "null", "bench/clock.py"),
        old="    ended = perf_counter_ns()\n    cpu = ",
        new="    ended = started - 5\n    cpu = ",
        says="the clock stepped back by 5 ns",
    ),
    Changed(
        *(17, "TF32 on in one framework", "torch", f"{TORCH}/device.py"),
        old='set_float32_matmul_precision("high" if tf32 else "highest")',
        new='set_float32_matmul_precision("high")',
        says="as TF32 does",
        device="gpu",
    ),
    Changed(
        *(18, "silent fall-back to the CPU", "torch", f"{TORCH}/program.py"),
        old='torch.device("cuda:0" if settings.device == "gpu" else "cpu")',
        new='torch.device("cpu")',
        says="canary placement: dense_1.kernel is float32 cpu",
        device="gpu",
    ),
    Changed(
        *(19, "no final fence on a GPU", "torch", f"{TORCH}/program.py"),
        old="    def fence(self) -> None:\n        device.fence()\n",
        new="    def fence(self) -> None:\n        pass\n",
        says="not quiet after the fence",
        matrix={"workload": ["cnn"], "batch": [4096]},  # the device is busy for longer than the host queues
        device="gpu",
    ),
)


def names() -> list[str]:
    return [f"control: {backend}" for backend in ("null", *_controls())] + [
        *(f"{fault.number}: {fault.name}" for fault in CHANGED),
        *(f"{number}: {name}" for number, name, _ in DAMAGED),
    ]


def one(name: str) -> Finding:
    """Seeds one fault, or none (`control: BACKEND`), and says whether it was caught by the check named for it."""
    with tempfile.TemporaryDirectory(prefix="stepwatch-selftest-") as folder:
        copy = Copy(Path(folder))
        if name.startswith("control: "):
            return _control(copy, name.removeprefix("control: "))
        number = int(name.partition(":")[0])
        for fault in CHANGED:
            if fault.number == number:
                return _changed(copy, fault, name)
        return next(damage(copy, name) for n, _, damage in DAMAGED if n == number)


def _controls() -> list[str]:
    return sorted({fault.backend for fault in CHANGED} - {"null"})


def _finding(name: str, wanted: str, said: str, caught: bool) -> Finding:
    return Finding("faults", name, wanted, said, "holds" if caught else "broken")


def _control(copy: Copy, backend: str) -> Finding:
    """The same commands without a fault: a check that fires here fires always."""
    if reason := backends.get(backend).missing():
        return Finding("faults", f"control: {backend}", "no check fires", reason, "skipped")
    said = []
    if backend != "null":
        ended = copy.stepwatch("parity", "mlp", "--backend", backend, "--mode", backends.get(backend).modes[0])
        said += [] if ended.returncode == 0 else [ended.stdout.strip().splitlines()[-1]]
    matrices: list[Matrix] = [{"backend": [backend]}]
    matrices += [QUEUED | {"backend": [backend]}] if backend == "jax" else []
    _, rows = copy.run(*matrices)
    said += [f"{row['status']}: {row['reason']}" for row in rows if row["status"] not in ("ok", "unsteady")]
    return _finding(f"control: {backend}", "no check fires", "; ".join(said) or "none fired", not said)


def _changed(copy: Copy, fault: Changed, name: str) -> Finding:
    row = backends.get(fault.backend)
    if reason := row.missing():
        return Finding("faults", name, fault.says, reason, "skipped")
    if fault.device == "gpu" and not machine.gpus():
        return Finding("faults", name, fault.says, "there is no GPU here", "skipped")
    copy.change(fault.file, fault.old, fault.new)
    mode = row.modes[0] if fault.mode == "default" else fault.mode
    if fault.parity:
        ended = copy.stepwatch("parity", fault.parity, "--backend", fault.backend, "--mode", mode)
        lines = [" ".join(line.split()) for line in ended.stdout.splitlines() if f"| {fault.backend} " in line]
        said = "; ".join(line.rpartition("parity_failed: ")[2].strip(" |") for line in lines) or ended.stderr.strip()
        return _finding(name, fault.says, said, ended.returncode == 1 and fault.says in said)
    # A burst long enough to leave something behind, and a warm-up that does not wait half a minute to be steady.
    copy.protocol |= {"burst_seconds": 0.05, "warm_up_cap_seconds": 2.0}
    code, rows = copy.run(fault.matrix | {"backend": [fault.backend], "mode": [mode], "device": [fault.device]})
    said = "; ".join(row["reason"] for row in rows)
    return _finding(name, fault.says, said, code == 3 and fault.says in said)


def _finished(copy: Copy) -> Path:
    """An honest run of the null backend, to be damaged: its results.jsonl."""
    copy.run({"backend": ["null"]}, rounds=2)
    return copy.out / "results.jsonl"


def _missing(copy: Copy, name: str) -> Finding:
    path = _finished(copy)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not (b'"Sample"' in line and b'"round":1' in line)))
    said = copy.stepwatch("report", str(copy.out)).stdout
    wanted = "1 of 2 rounds are measured"
    return _finding(name, wanted, _line(said, wanted), wanted in said)


def _twice(copy: Copy, name: str) -> Finding:
    path = _finished(copy)
    lines = path.read_bytes().splitlines(keepends=True)
    sample = next(line for line in lines if b'"Sample"' in line)
    path.write_bytes(b"".join([*lines, sample.replace(b'"steps":', b'"steps":9', 1)]))
    ended = copy.stepwatch("report", str(copy.out))
    wanted = "is there twice"
    return _finding(name, wanted, ended.stderr.strip(), ended.returncode == 2 and wanted in ended.stderr)


def _empty(copy: Copy, name: str) -> Finding:
    path = _finished(copy)
    path.write_bytes(b"")
    ended = copy.stepwatch("report", str(copy.out))
    wanted = "holds no results yet"
    return _finding(name, wanted, ended.stderr.strip(), ended.returncode == 2 and wanted in ended.stderr)


def _line(text: str, words: str) -> str:
    return next((line for line in text.splitlines() if words in line), text.strip()[-200:])


Damage = Callable[[Copy, str], Finding]
DAMAGED: tuple[tuple[int, str, Damage], ...] = (
    (12, "a missing cell", _missing),
    (13, "a duplicate cell", _twice),
    (14, "an empty results.jsonl", _empty),
)
