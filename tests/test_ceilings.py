"""Ceilings with a made-up backend and clock: which sizes are tried, what of, and that the fastest one holds."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from bench import ceilings, clock
from bench.ceilings import Rates
from bench.layers import Dense, ReLU
from bench.messages import Measured
from bench.program import Facts, Settings
from bench.workload import Workload

SETTINGS = Settings("eager", "fp32", "nhwc", "cpu", 2)
MIB = 2**20


class Fake:
    """A backend of programs whose steps last as long as `seconds` says of their workload and batch, by its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[Workload, int], float]) -> None:
        self.seconds, self.now = seconds, 0.0
        self.built: list[tuple[Workload, Settings, int, int]] = []
        monkeypatch.setattr(clock, "perf_counter_ns", lambda: round(self.now * 1e9))

    def before_import(self, settings: Settings) -> None: ...

    def after_import(self, settings: Settings) -> Facts:
        return Facts(2, "cpu")

    def build(self, workload: Workload, settings: Settings) -> Any:
        return FakeProgram(self, workload, settings)


class FakeProgram:
    def __init__(self, fake: Fake, workload: Workload, settings: Settings) -> None:
        self.fake, self.workload, self.settings, self.steps, self.owed = fake, workload, settings, 0, 0.0

    def put(self, x: np.ndarray, y: np.ndarray) -> int:
        assert x.shape == (len(y), *self.workload.input)
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
        self.fake.built.append((self.workload, self.settings, len(y), x.nbytes))
        return len(y)

    def infer(self, batch: int) -> None:
        self.owed += self.fake.seconds(self.workload, batch) * (10 if self.steps == 0 else 1)  # the first call compiles
        self.steps += 1

    def fence(self) -> None:
        self.fake.now += self.owed
        self.owed = 0.0


def steadily(flops: float, moved: float) -> Callable[[Workload, int], float]:
    def seconds(workload: Workload, batch: int) -> float:
        if isinstance(workload.layers[0], Dense):
            return batch * workload.flops_per_sample("infer") / flops
        return workload.bytes_per_step("infer", batch, 4) / moved

    return seconds


def measure(fake: Fake, settings: Settings = SETTINGS) -> Measured:
    return ceilings.measure(fake, settings)


def test_the_rates_are_those_of_the_steps_without_their_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure(Fake(monkeypatch, steadily(1e11, 1e10)))
    assert found.flops_per_second == pytest.approx((1e11,) * ceilings.BURSTS, rel=1e-3)
    assert found.bytes_per_second == pytest.approx((1e10,) * ceilings.BURSTS, rel=1e-3)


def test_a_product_is_square_and_a_copy_larger_than_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, steadily(1e11, 1e10))
    measure(fake)
    products = [entry for entry in fake.built if isinstance(entry[0].layers[0], Dense)]
    copies = [entry for entry in fake.built if isinstance(entry[0].layers[0], ReLU)]
    assert [(workload.input, batch) for workload, _, batch, _ in products] == [((512,), 512), ((1024,), 1024)]
    for workload, _, side, _ in products:
        assert side * workload.flops_per_sample("infer") == pytest.approx(2 * side**3, rel=0.01)
    assert [nbytes for *_, nbytes in copies] == [ceilings.mebibytes("cpu") * MIB]
    assert all(workload.bytes_per_step("infer", batch, 4) == 2 * nbytes for workload, _, batch, nbytes in copies)
    assert all(settings.layout == "flat" for _, settings, *_ in fake.built)


def test_fp64_takes_half_the_samples_for_as_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, steadily(1e11, 1e10))
    measure(fake, Settings("eager", "fp64", "nhwc", "cpu", 2))
    sizes = [batch for workload, _, batch, _ in fake.built if isinstance(workload.layers[0], ReLU)]
    assert sizes == [ceilings.mebibytes("cpu") * MIB // (ceilings.WIDTH * 8)]


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_a_copy_is_of_fp32_where_products_are_coarser(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    fake = Fake(monkeypatch, steadily(1e11, 1e10))
    measure(fake, Settings("eager", precision, "nhwc", "cpu", 2, steps_per_call=8))
    kinds = {type(workload.layers[0]): settings for workload, settings, *_ in fake.built}
    assert (kinds[Dense].precision, kinds[ReLU].precision) == (precision, "fp32")
    assert {settings.steps_per_call for settings in kinds.values()} == {1}


@pytest.mark.parametrize(
    ("caches", "free_gib", "wanted"),
    [
        (("48K", "2048K", "32768K"), 64, 64),
        (("48K", "2048K", "131072K"), 64, 256),
        (("48K", "491520K"), 64, 512),  # a host's whole cache, which a virtual machine shares with others
        (("48K", "491520K"), 2, 128),
        (("48K", "491520K"), 0.5, 64),
        ((), 64, 64),
    ],
)
def test_a_copy_is_larger_than_the_largest_cache_and_leaves_memory_free(
    caches: tuple[str, ...], free_gib: float, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, size in enumerate(caches):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(f"{size}\n")
    monkeypatch.setattr(ceilings, "CACHES", tmp_path)
    monkeypatch.setattr(ceilings, "GROUP", tmp_path / "none")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free_gib * 2**30))
    assert ceilings.mebibytes("cpu") == wanted
    assert ceilings.mebibytes("gpu") == 1024 or free_gib < 16


@pytest.mark.parametrize(("limit", "wanted"), [("max", 512), (str(3 * 2**30), 128)])
def test_a_container_s_memory_is_what_it_is_allowed(
    limit: str, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index3").mkdir()
    (tmp_path / "index3" / "size").write_text("491520K\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{2**30}\n")
    monkeypatch.setattr(ceilings, "CACHES", tmp_path)
    monkeypatch.setattr(ceilings, "GROUP", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * 2**30))
    assert ceilings.mebibytes("cpu") == wanted


@pytest.mark.parametrize(("slow", "best"), [(512, 2e11), (1024, 2e11)])
def test_the_size_that_is_fastest_holds(slow: int, best: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(workload: Workload, batch: int) -> float:
        return steadily(1e11 if batch == slow else 2e11, 1e10)(workload, batch)

    found = measure(Fake(monkeypatch, seconds))
    assert found.flops_per_second == pytest.approx((best,) * ceilings.BURSTS, rel=1e-3)


def test_one_lucky_burst_does_not_make_a_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    lucky, steady = Rates((1.0, 1.0, 9.0), 1.0), Rates((2.0, 2.0, 2.0), 1.5)
    assert ceilings._best([lucky, steady]) == steady
