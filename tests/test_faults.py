"""Every rung of the ladder breaks: a real adapter with one line changed is caught, its rung and its tensor named.

The same commands pass on the unchanged copy, so that a fault is told from honest work and not from anything else.
"""

from pathlib import Path

import pytest
from conftest import unless
from msgspec import Struct
from seeding import Copy


class Fault(Struct, frozen=True):
    """One line of an adapter, what it becomes, the proof that must break, and what the table must say of it."""

    name: str
    workload: str
    backend: str
    file: str
    old: str
    new: str
    says: str


MODES = {"torch": "eager", "tensorflow": "graph", "jax": "compiled"}
TORCH, TENSORFLOW, JAX = (f"bench/backends/{name}" for name in MODES)
GOLDEN = "fp64 against the golden evidence: "

FAULTS = (
    # Rung 1, logits: the forward pass, as `infer` runs it.
    Fault(
        *("all padding on one side", "cnn", "jax"),
        *(f"{JAX}/layers.py", "pads: Any = ((padding, padding), ", "pads: Any = ((0, 2 * padding), "),
        GOLDEN + "logits differs",
    ),
    Fault(
        *("another activation", "mlp", "tensorflow"),
        *(f"{TENSORFLOW}/layers.py", "tf.nn.relu(x)", "tf.nn.softplus(x)"),
        GOLDEN + "logits differs",
    ),
    Fault(
        *("half the batch", "mlp", "torch"),
        *(f"{TORCH}/program.py", "return self._placed(", "x, y = x[:16], y[:16]; return self._placed("),
        GOLDEN + "logits differs",
    ),
    # The canaries feed ones, which survive this; and only the measured precision does it, so fp64 is no witness.
    Fault(
        *("pixels rounded in fp32 alone", "mlp", "jax"),
        *(f"{JAX}/program.py", "np.array(x, ", 'np.array(x if self.settings.precision == "fp64" else x.round(1), '),
        "parity_failed: fp32 against fp64: logits differs",
    ),
    # Rung 2, the loss, is computed from the adapter's logits by evidence.py: no adapter can break it alone.
    Fault(
        *("loss summed in the evidence", "mlp", "torch"),
        *("bench/evidence.py", "float(np.mean(", "float(np.sum("),
        GOLDEN + "loss differs",
    ),
    # Rung 3, gradients: what stands between the logits and the backward pass.
    Fault(
        *("labels shifted by one", "mlp", "tensorflow"),
        *(f"{TENSORFLOW}/program.py", "tf.constant(y, tf.int32)", "tf.constant((y + 1) % 10, tf.int32)"),
        GOLDEN + "gradient of dense_1.kernel differs",
    ),
    Fault(
        *("loss summed over the batch", "mlp", "jax"),
        *(f"{JAX}/program.py", "with_integer_labels(logits, y).mean()", "with_integer_labels(logits, y).sum()"),
        GOLDEN + "gradient of dense_1.kernel differs",
    ),
    # Rung 4, the losses of 20 steps: the optimiser, and what only `train` does.
    Fault(
        *("learning rate doubled", "mlp", "jax"),
        *(f"{JAX}/optimiser.py", "optax.sgd(rate,", "optax.sgd(2 * rate,"),
        GOLDEN + "losses differs",
    ),
    Fault(
        *("momentum ignored", "cnn", "jax"),
        *(f"{JAX}/optimiser.py", "momentum=momentum or None", "momentum=None"),
        GOLDEN + "losses differs",
    ),
    Fault(
        *("Adam's epsilon before the bias correction", "mlp_dropout", "tensorflow"),
        *(f"{TENSORFLOW}/optimiser.py", "tf.constant(epsilon, dtype) * tf.sqrt(1 - reached[1])"),
        "tf.constant(epsilon, dtype)",
        GOLDEN + "losses differs",
    ),
    Fault(
        *("half the batch in train alone", "mlp", "torch"),
        *(f"{TORCH}/program.py", "loss = self._loss(*batch)", "loss = self._loss(batch[0][:16], batch[1][:16])"),
        GOLDEN + "losses differs",
    ),
    Fault(
        *("a bias that is never trained", "mlp_dropout", "torch"),
        *(
            f"{TORCH}/optimiser.py",
            "[p for p in model.parameters() if p.requires_grad] or",
            "[p for p in model.parameters() if p.requires_grad][:-1] or",
        ),
        GOLDEN + "losses differs",
    ),
    # Rung 5, weights: softmax is blind to a shift of all logits, so no loss and no gradient ever sees this.
    Fault(
        *("a drift of the last bias", "mlp", "torch"),
        *(f"{TORCH}/program.py", "self.update()", "self.update(), self.model[-1].bias.data.add_(0.01)"),
        GOLDEN + "weight of dense_2.bias differs",
    ),
    # Dropout, which the ladder leaves out and a probe of its own judges.
    Fault(
        *("dropout that drops nothing", "mlp_dropout", "tensorflow"),
        *(f"{TENSORFLOW}/plain.py", "target.operand(tf.nn.dropout(target.exact(x), rate)) if training else x", "x"),
        "dropout share of dropout_1 is 0.000, wanted 0.500",
    ),
    Fault(
        *("training in evaluation mode", "mlp_dropout", "jax"),
        *(f"{JAX}/program.py", "model.train()", "model.eval()"),
        "dropout share of dropout_1 is 0.000, wanted 0.500",
    ),
    Fault(
        *("a tenth more dropped", "mlp_dropout", "torch"),
        *(f"{TORCH}/layers.py", "nn.Dropout(rate)", "nn.Dropout(1.1 * rate)"),
        "dropout share of dropout_1 is 0.5",
    ),
    Fault(
        *("the same mask at every step", "mlp_dropout", "jax"),
        *(f"{JAX}/program.py", "jax.random.fold_in(self.key, count)", "self.key"),
        "dropout draws of dropout_1 is 0.000, wanted 0.500",
    ),
    Fault(
        *("the same mask for every sample", "mlp_dropout", "tensorflow"),
        *(f"{TENSORFLOW}/plain.py", "target.exact(x), rate)", "target.exact(x), rate, (1, x.shape[1]))"),
        "dropout draws of dropout_1 is 0.000, wanted 0.500",
    ),
    Fault(
        *("dropout without its scale", "mlp_dropout", "tensorflow"),
        *(f"{TENSORFLOW}/plain.py", "target.exact(x), rate)", "target.exact(x), rate) * (1 - rate)"),
        "dropout scale of dropout_1 differs",
    ),
)


# One for each rung; `make selftest` seeds six more, `make test-all` the rest.
QUICK = (
    *("half the batch", "pixels rounded in fp32 alone", "loss summed in the evidence", "loss summed over the batch"),
    *("half the batch in train alone", "a drift of the last bias", "a tenth more dropped"),
)


def backend_params(names: tuple[str, ...]) -> list[object]:
    return [pytest.param(n, marks=[pytest.mark.needs(n), *unless(n == "torch")], id=n) for n in names]


def lines(stdout: str, backend: str) -> list[str]:
    """The table's lines of one backend, blanks squeezed."""
    return [" ".join(line.split()) for line in stdout.splitlines() if f"| {backend} " in line]


@pytest.mark.parametrize("backend", backend_params(tuple(MODES)))
def test_the_unchanged_adapters_pass(tmp_path: Path, backend: str) -> None:
    """Every proof that a fault below must break."""
    wanted = sorted({fault.workload for fault in FAULTS if fault.backend == backend})
    ended = Copy(tmp_path).stepwatch("parity", *wanted, "--backend", backend, "--mode", MODES[backend])
    found = lines(ended.stdout, backend)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for workload in wanted:
        assert any(line.startswith(f"| {workload} ") and line.endswith("| ok |") for line in found), ended.stdout


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            marks=[pytest.mark.needs(fault.backend), *unless(fault.name in QUICK)],
            id=fault.name.replace(" ", "-"),
        )
        for fault in FAULTS
    ],
)
def test_a_changed_line_is_caught_and_its_rung_named(tmp_path: Path, fault: Fault) -> None:
    copy = Copy(tmp_path)
    copy.change(fault.file, fault.old, fault.new)
    ended = copy.stepwatch("parity", fault.workload, "--backend", fault.backend, "--mode", MODES[fault.backend])
    assert ended.returncode == 1, ended.stdout + ended.stderr
    for line in lines(ended.stdout, fault.backend):
        assert "parity_failed: " in line or "unsupported: " in line, ended.stdout
    assert fault.says in ended.stdout


@pytest.mark.long
@pytest.mark.needs("torch")
def test_a_fault_in_one_layout_leaves_the_other(tmp_path: Path) -> None:
    """The Dense behind a Flatten, turned wrong for channels-first: torch's nhwc row is honest work."""
    copy = Copy(tmp_path)
    copy.change(f"{TORCH}/layers.py", '"hwco->ochw"', '"hwco->ocwh"')
    ended = copy.stepwatch("parity", "cnn", "--backend", "torch", "--mode", "eager")
    nchw, nhwc = lines(ended.stdout, "torch")
    assert ended.returncode == 1
    assert "| nchw |" in nchw and f"parity_failed: {GOLDEN}logits differs" in nchw
    assert "| nhwc |" in nhwc and nhwc.endswith("| ok |")


@pytest.mark.needs("torch", "tensorflow")
def test_the_broken_backend_is_named_and_not_the_other(tmp_path: Path) -> None:
    """The one whose biases are not loaded comes first: were it the reference, the honest one would stand accused."""
    copy = Copy(tmp_path)
    copy.change(
        f"{TORCH}/program.py", "to_framework(weights[path])", "to_framework(weights[path] * (weights[path].ndim > 1))"
    )
    ended = copy.stepwatch("parity", "mlp", "--backend", "torch", "--backend", "tensorflow", "--mode", "eager")
    (torch,), (tensorflow,) = lines(ended.stdout, "torch"), lines(ended.stdout, "tensorflow")
    assert ended.returncode == 1
    assert f"parity_failed: {GOLDEN}logits differs" in torch
    assert tensorflow.endswith("| ok |")


@pytest.mark.needs("torch", "jax")
def test_a_run_prints_no_time_for_a_broken_case_and_measures_the_others(tmp_path: Path) -> None:
    """The broken one's loss is no number, and neither is a thing that JSON has: the record must still be readable."""
    copy = Copy(tmp_path)
    copy.change(f"{TORCH}/program.py", "cross_entropy(forward(x), y)", 'cross_entropy(forward(x), y) * float("nan")')
    code, (torch, jax, null) = copy.run({"backend": ["torch", "jax", "null"]})
    assert code == 1
    assert (torch["status"], torch["step_ms"], torch["samples"]) == ("parity_failed", "", "0")
    assert f"{GOLDEN}gradient of dense_1.kernel differs by nan" in torch["reason"]
    for row in (jax, null):
        assert (row["status"], row["samples"]) == ("ok", "5"), row["reason"]
        assert float(row["step_ms"]) > 0


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param(
            *("bench/trial.py", "program.put(x, y)", "program.put(x, (y + 1) % 10)"),
            id="by-the-worker",
            marks=pytest.mark.long,
        ),
        # It knows when it is timed, by the compile cache that a proof has not.
        pytest.param(
            *(f"{TORCH}/program.py", "torch.from_numpy(y)", "torch.from_numpy((y + bool(self.settings.cache)) % 10)"),
            id="by-the-adapter",
        ),
    ],
)
def test_other_labels_in_the_timed_process_alone_are_caught(tmp_path: Path, file: str, old: str, new: str) -> None:
    copy = Copy(tmp_path)
    copy.change(file, old, new)
    code, (row,) = copy.run({"backend": ["torch"]})
    assert code == 1
    assert (row["status"], row["step_ms"]) == ("parity_failed", "")
    assert "first losses of the timed process differ" in row["reason"]


@pytest.mark.needs("torch")
def test_inference_that_still_drops_is_caught(tmp_path: Path) -> None:
    """No rung sees it, for the ladder leaves dropout out: a comparison of its own does."""
    copy = Copy(tmp_path)
    copy.change(f"{TORCH}/program.py", "self.model.eval()", "pass")
    code, (row,) = copy.run({"backend": ["torch"], "workload": ["mlp_dropout"], "phase": ["infer"]})
    assert code == 1
    assert (row["status"], row["step_ms"]) == ("parity_failed", "")
    assert "dropout of inference" in row["reason"]
