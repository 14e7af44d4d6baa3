"""The canaries: honest arithmetic passes, and each dishonest one makes its canary speak. No framework is needed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from bench import evidence, feeds, parity, probes, workloads
from bench.layers import Conv2D, Dense, Dropout, Layer
from bench.messages import Prove
from bench.placement import Array
from bench.program import Facts, Settings
from bench.worker import Worker
from bench.workload import Workload

SETTINGS = Settings("eager", "fp32", "nhwc", "cpu", 1)
TINY = float(np.finfo(np.float32).tiny)


def bits(kept: int) -> Callable[[Array], Array]:
    """Rounds to so many bits of mantissa: 10 are TF32's, 7 bf16's."""

    def rounded(array: Array) -> Array:
        drop = 23 - kept
        whole = array.astype(np.float32).view(np.int32).astype(np.int64)
        return ((whole + (1 << (drop - 1))) >> drop << drop).astype(np.int32).view(np.float32)

    return rounded


class Fake:
    """A backend in NumPy whose arithmetic can be told to go wrong: how inputs round, what becomes of the products."""

    def __init__(
        self,
        *,
        rounds: Callable[[Array], Array] = lambda array: array,
        flushes: bool = True,
        dtype: Any = np.float32,
        mask: Callable[[int, tuple[int, int], float], Array] | None = None,
        convolves: Callable[[Array], Array] | None = None,
        kinds: dict[str, str] | None = None,
    ) -> None:
        self.rounds, self.flushes, self.dtype = rounds, flushes, dtype
        self.mask, self.convolves, self.kinds = mask or honest, convolves or rounds, kinds or {}
        self.built: list[tuple[Workload, Settings]] = []

    def before_import(self, settings: Settings) -> None: ...

    def after_import(self, settings: Settings) -> Facts:
        return Facts(1, "cpu")

    def build(self, workload: Workload, settings: Settings) -> Any:
        self.built.append((workload, settings))
        return FakeProgram(workload, self, settings.steps_per_call)


class FakeProgram:
    """Dropout, perhaps, and one Dense, or a convolution as large as its image; SGD on the mean cross-entropy."""

    def __init__(self, workload: Workload, fake: Fake, steps_per_call: int = 1) -> None:
        self.fake, self.rate, self.steps_per_call = fake, workload.optimiser.rate, steps_per_call
        self.drops = [layer.rate for layer in workload.layers if isinstance(layer, Dropout)]
        self.convolution = any(isinstance(layer, Conv2D) for layer in workload.layers)
        self.paths = list(workload.parameters())
        kernel, self.bias = (workload.weights(1)[path] for path in self.paths)
        self.kernel = kernel.reshape(-1, kernel.shape[-1])
        self.steps = self.fences = 0

    def product(self, x: Array) -> Array:
        rounds = self.fake.convolves if self.convolution else self.fake.rounds
        a, b = (rounds(v.astype(self.fake.dtype)) for v in (x.reshape(len(x), -1), self.kernel))
        products = a[:, :, None].astype(self.fake.dtype) * b[None].astype(self.fake.dtype)
        if self.fake.flushes:
            products = np.where(np.abs(products) < TINY, 0, products)
        return products.sum(1, dtype=np.float64) + self.bias

    def put(self, x: Array, y: Array) -> tuple[Array, Array]:
        return x, y

    def logits(self, x: Array) -> Array:
        return self.product(x)

    def train(self, batch: tuple[Array, Array]) -> None:
        for step in zip(*batch, strict=True) if self.steps_per_call > 1 else [batch]:
            self.step(*step)

    def step(self, x: Array, y: Array) -> None:
        if self.drops:
            x = x * self.fake.mask(self.steps, x.shape, self.drops[0])
        logits = self.product(x)
        exponents = np.exp(logits - logits.max(1, keepdims=True))
        slope = (exponents / exponents.sum(1, keepdims=True) - np.eye(logits.shape[1])[y]) / len(y)
        self.kernel = self.kernel - self.rate * x.T @ slope
        self.bias = self.bias - self.rate * slope.sum(0)
        self.steps += 1

    def fence(self) -> None:
        self.fences += 1

    def weights(self) -> dict[str, Array]:
        return {"dense_1.kernel": self.kernel, "dense_1.bias": self.bias}

    def infer(self, batch: tuple[Array, Array]) -> Array:
        return self.product(batch[0])

    def kinds(self, logits: Any = None) -> dict[str, str]:
        kind = f"{np.dtype(self.fake.dtype).name} cpu"
        named = (*self.paths, *(() if logits is None else ("logits",)))
        return dict.fromkeys(named, kind) | self.fake.kinds


def honest(step: int, shape: tuple[int, int], rate: float) -> Array:
    return (np.random.Generator(np.random.PCG64(step)).random(shape) >= rate) / (1 - rate)


# --- precision and denormals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["flat", "nchw", "nhwc"])
@pytest.mark.parametrize(("fake", "precision"), [(Fake(), "fp32"), (Fake(dtype=np.float64), "fp64")])
def test_honest_arithmetic_agrees(fake: Fake, precision: str, layout: str) -> None:
    assert probes.disagreement(fake, replace(SETTINGS, precision=precision, layout=layout)) == ""


@pytest.mark.parametrize(
    ("mantissa", "precision", "says"),
    [
        (10, "tf32", ""),
        (7, "bf16", ""),
        (7, "tf32", "1024.0, as bf16 does, wanted 1024.0 in tf32"),
        (10, "bf16", "1024.0, as TF32 does, wanted 1024.0 in bf16"),
        (22, "bf16", "1024.1, wanted 1024.0 in bf16"),
        (22, "tf32", "1024.1, wanted 1024.0 in tf32"),
    ],
)
@pytest.mark.parametrize("where", ["rounds", "convolves"])
def test_a_coarser_precision_is_that_very_one(mantissa: int, precision: str, says: str, where: str) -> None:
    right = {"tf32": bits(10), "bf16": bits(7)}[precision]
    fake = Fake(**({"rounds": right, "convolves": right} | {where: bits(mantissa)}))
    found = probes.disagreement(fake, replace(SETTINGS, precision=precision, layout="nhwc"))
    assert re.sub(r"1024\.1\d+", "1024.1", found).endswith(says) and bool(found) == bool(says)


def test_canaries_make_one_step_a_call_whatever_the_cases_do() -> None:
    assert probes.disagreement(Fake(), replace(SETTINGS, steps_per_call=8)) == ""


PRODUCT = "canary precision: in a matrix product 1024 x 1.0001 summed to "
CONVOLUTION = "canary precision: in a convolution 1024 x 1.0001 summed to "


@pytest.mark.parametrize(
    ("fake", "precision", "says"),
    [
        (Fake(rounds=bits(10)), "fp32", PRODUCT + "1024.0, as TF32 does, wanted 1024.1024 in fp32"),
        (Fake(rounds=bits(7)), "fp32", PRODUCT + "1024.0, as bf16 does, wanted 1024.1024 in fp32"),
        (Fake(rounds=bits(8)), "fp32", PRODUCT + "1024.0, wanted 1024.1024 in fp32"),  # neither's mantissa
        (Fake(), "fp64", PRODUCT + "1024.10"),
        (Fake(rounds=lambda a: a * np.float32("nan")), "fp32", PRODUCT + "nan, wanted"),
        # torch's own default on a GPU: TF32 in convolutions alone.
        (Fake(convolves=bits(10)), "fp32", CONVOLUTION + "1024.0, as TF32 does, wanted 1024.1024 in fp32"),
        (Fake(flushes=False), "fp32", "canary denormals: products of 1e-40 summed to 1.02"),
    ],
    ids=["tf32", "bf16", "8 bits", "fp32 for fp64", "nan", "tf32 in a convolution", "denormals kept"],
)
def test_each_canary_can_speak(fake: Fake, precision: str, says: str) -> None:
    with np.errstate(under="ignore", invalid="ignore"):
        assert probes.disagreement(fake, replace(SETTINGS, precision=precision)).startswith(says)


@pytest.mark.parametrize(("device", "positions"), [("cpu", 1), ("gpu", 169)])
def test_the_convolution_of_a_gpu_is_no_tiny_one(device: str, positions: int) -> None:
    one = probes.convolution(probes.COLUMNS, device)
    (kernel,) = (shape for path, shape in one.parameters().items() if path.endswith("kernel"))
    assert np.prod(kernel[:3]) == probes.TERMS, "every sum has as many terms as the product's"
    assert one.classes == 3 * positions


def test_a_model_without_images_needs_no_convolution() -> None:
    fake = Fake(convolves=bits(10))
    assert probes.disagreement(fake, replace(SETTINGS, layout="flat")) == ""
    assert len(fake.built) == 1


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        ({"dense_1.kernel": "float64 cpu"}, "dense_1.kernel is float64 cpu, wanted float32 cpu"),
        ({"dense_1.bias": "float32 gpu"}, "dense_1.bias is float32 gpu, wanted float32 cpu"),
        ({"logits": "float16 cpu"}, "logits is float16 cpu, wanted float32 cpu"),
        ({"logits": "float32 cpu+gpu"}, "logits is float32 cpu+gpu, wanted float32 cpu"),
    ],
)
def test_a_tensor_of_another_dtype_or_elsewhere_is_named(kinds: dict[str, str], says: str) -> None:
    assert probes.disagreement(Fake(kinds=kinds), SETTINGS) == f"canary placement: {says}"
    assert probes.misplaced(kinds, SETTINGS) == f"canary placement: {says}"


def test_a_silent_fall_back_to_the_cpu_is_seen() -> None:
    said = probes.disagreement(Fake(), replace(SETTINGS, device="gpu"))
    assert said == "canary placement: dense_1.kernel is float32 cpu, wanted float32 gpu"


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_what_is_where_it_should_be_is_not_named(precision: str) -> None:
    kinds = {"a": f"{probes.DTYPES[precision]} cpu", "logits": f"{probes.DTYPES[precision]} cpu"}
    assert probes.misplaced(kinds, replace(SETTINGS, precision=precision)) == ""
    assert probes.misplaced({}, SETTINGS) == ""


def test_1_0001_is_nothing_in_tf32_and_something_in_fp32() -> None:
    # The number that the canary stands on, by the formats' own mantissas.
    value = np.array([1.0001], np.float32)
    assert bits(10)(value)[0] == bits(7)(value)[0] == 1.0
    assert bits(23 - 1)(value)[0] == pytest.approx(1.0001, abs=2e-7)
    # And the one that tells the two apart.
    coarse = np.array([1.002], np.float32)
    assert (bits(10)(coarse)[0], bits(7)(coarse)[0]) == (1 + 2 / 1024, 1.0)
    assert 0 < 1e-20 * 1e-20 < TINY  # a denormal in fp32


@pytest.mark.parametrize(
    "settings", [replace(SETTINGS, device="gpu"), replace(SETTINGS, precision="fp64")], ids=["gpu", "fp64"]
)
def test_denormals_are_asked_of_fp32_on_a_cpu_alone(settings: Settings) -> None:
    dtype = np.float64 if settings.precision == "fp64" else np.float32
    there = dict.fromkeys(("dense_1.kernel", "dense_1.bias", "logits"), f"{np.dtype(dtype).name} {settings.device}")
    assert probes.disagreement(Fake(flushes=False, dtype=dtype, kinds=there), replace(settings, layout="flat")) == ""


def test_the_canaries_are_programs_of_the_mode_s_own_and_one_of_them_trains() -> None:
    fake = Fake()
    probes.disagreement(fake, replace(SETTINGS, layout="nchw"))
    (product, flat), (convolution, whole) = fake.built
    assert flat == replace(SETTINGS, layout="flat")
    assert product.placed()[-1].leaves == (3 * probes.REPEATED,)
    assert whole == replace(SETTINGS, layout="nchw")
    assert isinstance(convolution.placed()[0].layer, Conv2D)


# --- dropout ----------------------------------------------------------------------------------------------------------

MODEL = workloads.get("mlp_dropout")


def judged(mask: Callable[[int, tuple[int, int], float], Array], steps_per_call: int = 1) -> str:
    settings = replace(SETTINGS, steps_per_call=steps_per_call)
    masks = probes.dropout_masks(Fake(mask=mask, dtype=np.float64), settings, 0.5)
    assert masks.shape == (2 * min(2, steps_per_call), 2, 4096)
    broken = parity.dropout_break(MODEL, {"dropout/dropout_1": masks})
    return broken.rung if broken else ""


@pytest.mark.parametrize(("steps_per_call", "steps"), [(1, 2), (2, 4), (8, 4)])
def test_the_masks_that_were_drawn_are_read_from_the_weights(steps_per_call: int, steps: int) -> None:
    settings = replace(SETTINGS, steps_per_call=steps_per_call)
    masks = probes.dropout_masks(Fake(dtype=np.float64), settings, 0.5)
    assert len(masks) == steps
    for step in range(steps):
        np.testing.assert_allclose(masks[step], honest(step, (2, 4096), 0.5), atol=1e-4)


@pytest.mark.parametrize(
    ("mask", "rung"),
    [
        (honest, ""),
        (lambda step, shape, rate: np.ones(shape), "dropout share"),
        (lambda step, shape, rate: honest(step, shape, 0.3) * 0.7 / 0.5, "dropout share"),
        (lambda step, shape, rate: honest(step, shape, rate) * 0.5, "dropout scale"),
        (lambda step, shape, rate: honest(0, shape, rate), "dropout draws"),
        (lambda step, shape, rate: np.repeat(honest(step, shape, rate)[:1], 2, axis=0), "dropout draws"),
    ],
    ids=["honest", "none", "share", "scale", "same step", "same sample"],
)
def test_a_dishonest_dropout_is_found_through_the_weights(mask: Any, rung: str) -> None:
    assert judged(mask) == rung


@pytest.mark.parametrize(
    ("mask", "rung"),
    [
        (honest, ""),
        (lambda step, shape, rate: honest(step // 2, shape, rate), "dropout draws"),
        (lambda step, shape, rate: honest(step % 2, shape, rate), "dropout draws"),
    ],
    ids=["honest", "one mask for a call", "each call the same"],
)
def test_a_call_of_several_steps_draws_for_each_of_them(mask: Any, rung: str) -> None:
    assert judged(mask, 8) == rung


def test_a_rate_is_probed_once_however_many_layers_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[float] = []

    def drawn(backend: Any, settings: Settings, rate: float) -> Array:
        probed.append(rate)
        return np.full(1, rate)

    monkeypatch.setattr(probes, "dropout_masks", drawn)
    monkeypatch.setattr(evidence, "climb", lambda *_: {})
    worker = Worker()
    worker.backend, worker.settings, worker.modes, worker.layouts = Fake(), SETTINGS, ("eager",), ("nhwc",)
    several = replace(MODEL, layers=(Dropout(0.5), Dropout(0.1), Dropout(0.5), Dense(10)))
    worker.prove(Prove("several", {}, str(tmp_path / "proof.npz"), several))
    assert sorted(probed) == [0.1, 0.5]
    with np.load(tmp_path / "proof.npz") as found:
        read = {key: float(found[key][0]) for key in found if key.startswith("dropout/dropout")}
    assert read == {"dropout/dropout_1": 0.5, "dropout/dropout_2": 0.1, "dropout/dropout_3": 0.5}


@pytest.mark.parametrize(
    ("timed", "layers", "measured"),
    [(True, (Dense(10),), False), (False, (Dense(10),), True), (True, (Dropout(0.5), Dense(10)), True)],
    ids=["timed", "parity", "timed with dropout"],
)
def test_first_losses_as_measured_are_made_where_no_timed_process_makes_them(
    timed: bool, layers: tuple[Layer, ...], measured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "dropout_masks", lambda *_: np.ones(1))
    monkeypatch.setattr(evidence, "climb", lambda *_: {})
    monkeypatch.setattr(evidence, "first_losses", lambda *_: np.ones(5))
    worker = Worker()
    worker.backend, worker.settings, worker.modes, worker.layouts = Fake(), SETTINGS, ("eager",), ("nhwc",)
    workload, feed = replace(MODEL, layers=layers), tmp_path / "feed.npz"
    feeds.write(feed, workload, data="synthetic", size=2, count=5, seed=1)
    asked = Prove("made", {"synthetic/2": str(feed)}, str(tmp_path / "proof.npz"), workload, ("train",), timed)
    worker.prove(asked)
    with np.load(tmp_path / "proof.npz") as found:
        kept = {key for key in found if "first/" in key}
    assert kept == {"fp64/first/train/synthetic/2", *(["measured/first/train/synthetic/2"] * measured)}


def test_the_probe_is_a_workload_like_any_other() -> None:
    probe = probes.probe((0.0,) * 10, 4096, (Dropout(0.5),), 1e-6)
    assert [type(place.layer) for place in probe.placed()] == [Dropout, Dense]
    assert probe.classes == 10
