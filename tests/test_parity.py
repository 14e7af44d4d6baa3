"""The judge of two evidences: its metric as documented, the order of the rungs, the golden brief, dropout's draws."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import machine, parity, proofs, workloads
from bench.errors import BenchError
from bench.evidence import Evidence, cross_entropy
from bench.layers import Dense, Dropout
from bench.parity import RUNGS, Golden, compare, compare_brief, dropout_break, first_losses_differ, shorten
from bench.placement import Array
from bench.proofs import Subject
from bench.verbs import parity as verb
from bench.workload import SGD, Proof, Workload

MLP, CNN, DROPOUT = (workloads.get(name) for name in ("mlp", "cnn", "mlp_dropout"))


def evidence(seed: int = 0) -> Evidence:
    """An evidence in the shapes of the MLP's: one tensor on the first two rungs, four gradients and four weights."""
    draw = np.random.Generator(np.random.PCG64(seed))
    found: Evidence = {"logits": draw.standard_normal((32, 10)), "loss": np.array([2.3])}
    found |= {f"gradient/{path}": 0.01 * draw.standard_normal(s) for path, s in MLP.parameters().items()}
    found["losses"] = 2 + draw.random(20)
    return found | {f"weight/{path}": draw.standard_normal(s) for path, s in MLP.parameters().items()}


def changed(found: Evidence, key: str, change: Callable[[Array], Array]) -> Evidence:
    return {**found, key: change(found[key].copy())}


def one_element(share: float) -> Callable[[Array], Array]:
    """Moves one element so that the tensor's error is `share`."""

    def change(array: Array) -> Array:
        array.flat[array.size // 2] += share * np.linalg.norm(array)
        return array

    return change


def test_a_rung_may_be_allowed_more_than_the_others() -> None:
    last, before = "weight/dense_1.bias", "gradient/dense_1.bias"
    off = changed(evidence(), last, one_element(1e-3))
    bounds = dict.fromkeys(RUNGS, 1e-4) | {"weight": 5e-3}
    assert str(compare(off, evidence(), 1e-4).broken) == "weight of dense_1.bias differs by 0.001, allowed 1e-04"
    assert compare(off, evidence(), bounds).broken is None
    further = changed(evidence(), last, one_element(6e-3))
    assert str(compare(further, evidence(), bounds).broken).endswith("differs by 0.006, allowed 5e-03")
    assert compare(changed(evidence(), before, one_element(1e-3)), evidence(), bounds).broken is not None


@pytest.mark.parametrize("precision", ["fp64", "fp32", "tf32", "bf16"])
def test_only_gradients_and_weights_may_stand_further_off(precision: str) -> None:
    for workload in map(workloads.get, ("resnet50", "resnet50_tiny", "gpt")):
        found, floor = parity.bounds(workload, precision), parity.tolerance(workload, precision)
        assert tuple(found) == RUNGS
        first = parity.tolerance(workload, precision, stepped=False)
        assert found["logits"] == found["loss"] == first <= floor == found["losses"]
        assert first <= found["gradient"] <= found["weight"] >= floor
        if precision == "fp64":
            assert set(found.values()) == {floor}, "the proof itself gives nothing away"


def test_two_whole_models_alone_may_stand_further_off_in_fp32() -> None:
    """Where one ReLU that rounding turned over was seen to move all gradients: it is no allowance for everyone."""
    widened = {name for name in workloads.shipped() if workloads.get(name).proof.rounding != 1}
    assert widened == {"resnet50", "speech_cnn"}
    for workload in map(workloads.get, widened):
        found = parity.bounds(workload, "fp32")
        assert (found["logits"], found["gradient"], found["weight"]) == (1e-4, pytest.approx(0.03), pytest.approx(0.03))


def test_only_fp32_gradients_of_a_model_with_millions_of_relus_may_stand_further_off() -> None:
    whole, tiny = workloads.get("resnet50"), workloads.get("resnet50_tiny")
    assert parity.bounds(whole, "fp32")["gradient"] == 300 * parity.bounds(tiny, "fp32")["gradient"]
    for precision in ("fp64", "tf32", "bf16"):
        assert parity.bounds(whole, precision) == parity.bounds(tiny, precision)


# --- the metric -------------------------------------------------------------------------------------------------------


def test_the_same_evidence_agrees_to_the_last_bit() -> None:
    agreement = compare(evidence(), evidence(), 0.0)
    assert agreement == parity.Agreement(0.0, None)


@pytest.mark.parametrize("key", evidence())
@pytest.mark.parametrize(("share", "breaks"), [(0.9e-6, False), (1.1e-6, True)])
def test_the_error_is_the_frobenius_norm_of_the_difference_over_the_tensors_own(
    key: str, share: float, breaks: bool
) -> None:
    agreement = compare(changed(evidence(), key, one_element(share)), evidence(), 1e-6)
    assert agreement.error == pytest.approx(share, rel=1e-6)
    assert (agreement.broken is not None) == breaks
    if agreement.broken:
        rung, tensor = key.split("/")[0], key.split("/")[-1]
        assert (agreement.broken.rung, agreement.broken.tensor) == (rung, tensor)


@settings(max_examples=20)
@given(st.floats(1e-9, 1e9), st.integers(0, 3))
def test_the_error_does_not_depend_on_the_unit(unit: float, seed: int) -> None:
    found, wanted = changed(evidence(seed), "gradient/dense_1.bias", one_element(1e-3)), evidence(seed)
    here = compare(found, wanted, 1.0).error
    there = compare({k: unit * a for k, a in found.items()}, {k: unit * a for k, a in wanted.items()}, 1.0).error
    assert here == pytest.approx(there)


def test_a_tensor_that_is_nothing_beside_its_rung_is_measured_by_the_rung() -> None:
    # A bias in front of a normalisation has gradient zero in theory, and rounding in practice.
    wanted = changed(evidence(), "gradient/dense_1.bias", np.zeros_like)
    whole = np.sqrt(sum(np.sum(a**2) for key, a in wanted.items() if key.startswith("gradient/")))
    noise = np.full(128, 1e-9 * whole / np.sqrt(128))
    agreement = compare(changed(wanted, "gradient/dense_1.bias", lambda a: noise), wanted, 1e-5)
    assert agreement.error == pytest.approx(1e-6)
    assert agreement.broken is None


def test_the_scale_of_a_small_tensor_is_that_of_its_own_rung() -> None:
    # Weights are a hundred times larger than these gradients; they must not excuse a gradient.
    wanted = changed(evidence(), "gradient/dense_1.bias", np.zeros_like)
    wanted = changed(wanted, "weight/dense_1.kernel", lambda a: 1e9 * a)
    agreement = compare(changed(wanted, "gradient/dense_1.bias", lambda a: a + 1e-3), wanted, 1e-3)
    assert agreement.broken is not None
    assert agreement.broken.tensor == "dense_1.bias"


def test_a_rung_of_zeros_agrees_with_itself_and_with_nothing_else() -> None:
    wanted = {key: np.zeros_like(array) for key, array in evidence().items()}
    assert compare(wanted, wanted, 0.0) == parity.Agreement(0.0, None)
    assert compare(evidence(), wanted, 1e-3).broken is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["logits", "losses", "weight/dense_2.bias"])
@pytest.mark.parametrize("where", ["found", "wanted", "both"])
def test_what_is_not_finite_never_agrees(value: float, key: str, where: str) -> None:
    def spoil(array: Array) -> Array:
        array.flat[0] = value
        return array

    found = changed(evidence(), key, spoil) if where != "wanted" else evidence()
    wanted = changed(evidence(), key, spoil) if where != "found" else evidence()
    with np.errstate(invalid="ignore"):
        agreement = compare(found, wanted, 1e6)
    assert agreement.broken is not None
    assert agreement.error == np.inf


@pytest.mark.parametrize("key", evidence())
def test_a_missing_tensor_never_agrees(key: str) -> None:
    found = {name: array for name, array in evidence().items() if name != key}
    agreement = compare(found, evidence(), 1e6)
    assert agreement.broken is not None
    assert agreement.broken.tensor == key.split("/")[-1]
    assert agreement.error == np.inf


def test_a_tensor_that_the_other_lacks_never_agrees() -> None:
    whole, agreed = evidence(), []
    for key in whole:
        wanted = {name: array for name, array in whole.items() if name != key}
        agreed += [key] if compare(whole, wanted, 1e6).broken is None else []
    assert agreed == []


def test_nothing_at_all_never_agrees() -> None:
    assert compare({}, {}, 1e6).broken is not None


@pytest.mark.parametrize("shape", [(10, 32), (320,), (32, 9), (1, 32, 10)])
def test_another_shape_never_agrees(shape: tuple[int, ...]) -> None:
    found = changed(evidence(), "logits", lambda array: np.resize(array, shape))
    agreement = compare(found, evidence(), 1e6)
    assert agreement.broken is not None
    assert agreement.broken.rung == "logits"


# --- the order of the rungs -------------------------------------------------------------------------------------------

ONE_OF_EACH = {rung: next(key for key in evidence() if key.split("/")[0] == rung) for rung in RUNGS}


@pytest.mark.parametrize(("first", "second"), [*pairwise(RUNGS), (RUNGS[0], RUNGS[-1])])
def test_the_first_broken_rung_is_named_however_small_its_error(first: str, second: str) -> None:
    found = changed(evidence(), ONE_OF_EACH[second], one_element(1.0))
    found = changed(found, ONE_OF_EACH[first], one_element(1e-5))
    for order in (found, dict(reversed(found.items()))):
        agreement = compare(order, dict(reversed(evidence().items())), 1e-6)
        assert agreement.broken is not None
        assert agreement.broken.rung == first
        assert agreement.broken.error == pytest.approx(1e-5)
        assert agreement.error == pytest.approx(1.0)  # the largest, wherever it is


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (
            parity.Break("gradient", "dense_1.kernel", 0.0123, 1e-12),
            "gradient of dense_1.kernel differs by 0.012, allowed 1e-12",
        ),
        (parity.Break("logits", "logits", 2.0, 1e-4), "logits differs by 2, allowed 1e-04"),
        (
            parity.Break("dropout share", "dropout_1", 0.25, 0.5),
            "dropout share of dropout_1 is 0.250, wanted 0.500 within binomial bounds",
        ),
    ],
)
def test_a_break_says_where_and_how_far(broken: parity.Break, text: str) -> None:
    assert str(broken) == text


@pytest.mark.parametrize(
    ("workload", "precision", "allowed"),
    [(MLP, "fp64", 1e-12), (CNN, "fp64", 1e-12), (DROPOUT, "fp64", 1e-9), (MLP, "fp32", 1e-4), (DROPOUT, "fp32", 2e-2)],
)
def test_tolerances(workload: Workload, precision: str, allowed: float) -> None:
    assert parity.tolerance(workload, precision) == allowed


def test_what_no_step_of_adam_has_changed_is_held_as_under_sgd() -> None:
    """In bf16 an LSTM's logits stand 0.005 from fp64: within Adam's bound a model run in bf16 would pass for fp32."""
    found = parity.bounds(workloads.get("lstm_text"), "fp32")
    assert {rung: found[rung] for rung in ("logits", "loss", "gradient")} == dict.fromkeys(
        ("logits", "loss", "gradient"), 1e-4
    )
    assert found["losses"] == found["weight"] == 2e-2


# --- the golden evidence in brief -------------------------------------------------------------------------------------

PERTURBED: dict[str, Callable[[Array], Array]] = {
    "one element": one_element(1e-6),
    "scale": lambda array: array * (1 + 1e-6),
    "sign": lambda array: -array,
    "zero": np.zeros_like,
    "noise": lambda array: array * (1 + 1e-3 * np.random.Generator(np.random.PCG64(9)).standard_normal(array.shape)),
}


@pytest.mark.parametrize("key", evidence())
@pytest.mark.parametrize("name", PERTURBED)
def test_the_brief_catches_what_the_whole_does(key: str, name: str) -> None:
    found, wanted = changed(evidence(), key, PERTURBED[name]), evidence()
    whole = compare(found, wanted, 1e-9)
    brief = compare_brief(found, shorten(MLP, wanted), 1e-9)
    assert whole.broken is not None
    assert brief.broken is not None
    assert (brief.broken.rung, brief.broken.tensor) == (whole.broken.rung, whole.broken.tensor)


@pytest.mark.parametrize("key", [key for key in evidence() if key.endswith("kernel")])
@pytest.mark.parametrize("turn", [lambda a: a.T.reshape(a.shape), lambda a: a[::-1], lambda a: a[:, ::-1]])
def test_the_brief_catches_a_kernel_that_lies_otherwise(key: str, turn: Callable[[Array], Array]) -> None:
    # The norm is the same to the last bit: this is what the projection is for.
    found = changed(evidence(), key, turn)
    broken = compare_brief(found, shorten(MLP, evidence()), 1e-9).broken
    assert broken is not None
    assert broken.tensor == key.split("/")[-1]


def test_the_brief_agrees_with_its_own_evidence() -> None:
    assert compare_brief(evidence(), shorten(MLP, evidence()), 1e-15).broken is None


@pytest.mark.parametrize("key", evidence())
def test_the_brief_misses_no_missing_tensor(key: str) -> None:
    found = {name: array for name, array in evidence().items() if name != key}
    broken = compare_brief(found, shorten(MLP, evidence()), 1e6).broken
    assert broken is not None
    assert broken.tensor == key.split("/")[-1]


def test_the_brief_wants_all_twenty_losses() -> None:
    brief = shorten(MLP, evidence())
    assert len(brief.losses) == 20
    for losses in (evidence()["losses"][:19], np.append(evidence()["losses"], 2.0), np.full(20, np.nan)):
        broken = compare_brief({**evidence(), "losses": losses}, brief, 1e6).broken
        assert broken is not None
        assert broken.rung == "losses"


@pytest.mark.parametrize("name", sorted(workloads.shipped()))
def test_every_shipped_workload_has_golden_evidence_of_its_own_declaration(name: str) -> None:
    workload = workloads.get(name)
    brief = parity.golden(workload)
    assert isinstance(brief, Golden)
    certain = workload.deterministic()
    wanted = {f"{rung}/{path}" for rung in ("gradient", "weight") for path in certain.parameters()}
    wanted |= {f"weight/{path}" for path in certain.state()}
    assert set(brief.tensors) == {"logits", "loss", *wanted}
    assert (brief.workload, brief.digest) == (name, certain.digest)
    assert all(np.isfinite([*brief.losses, *(x for pair in brief.tensors.values() for x in pair)]))


def test_what_one_program_alone_computed_is_no_golden_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the others had no answer in time. Where there is no other, as with one framework installed, it is."""
    monkeypatch.setattr(verb, "GOLDEN", tmp_path)
    verb._write({"mlp": verb.Held(evidence(), evidence())}, whole=False)
    assert not (tmp_path / "mlp.json").exists() and "evidence of mlp is not written" in capsys.readouterr().out
    verb._write({"mlp": verb.Held(evidence(), evidence())}, whole=True)
    assert (tmp_path / "mlp.json").exists()


@pytest.mark.parametrize("proof", [Proof(steps=10), Proof(batch=16)])
def test_golden_evidence_of_another_proof_is_an_error(tmp_path: Path, proof: Proof) -> None:
    (tmp_path / "mlp.json").write_bytes(msgspec.json.encode(shorten(MLP, evidence())))
    with pytest.raises(BenchError, match=r"is of 20 steps of 32 samples by seed 7, .*--write-golden mlp"):
        parity.golden(replace(MLP, proof=proof), tmp_path)


def test_golden_evidence_of_another_declaration_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mlp.json").write_bytes(msgspec.json.encode(shorten(MLP, evidence())))
    assert parity.golden(MLP, tmp_path) is not None
    other = replace(MLP, optimiser=SGD(rate=0.02))
    with pytest.raises(BenchError, match=f"digest {MLP.digest}.*{other.digest}.*--write-golden mlp"):
        parity.golden(other, tmp_path)
    assert parity.golden(CNN, tmp_path) is None


def test_the_golden_evidence_is_the_mean_of_all_that_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three proofs, the second of which does not hold. Each is loaded alone: large ones do not fit side by side."""
    scaled = {1: 1.0, 2: 50.0, 3: 1 + 4e-13}
    wanted = {key: array * (1 + 2e-13) for key, array in evidence().items()}
    runs = iter(scaled)
    monkeypatch.setattr(proofs, "path_of", lambda *_: tmp_path / "proof")
    monkeypatch.setattr(proofs, "cached", lambda _: (tmp_path / "proof").write_bytes(b""))
    monkeypatch.setattr(proofs, "Making", lambda *_, **__: SimpleNamespace(finish=lambda: None))
    monkeypatch.setattr(proofs, "load", lambda _: both(scaled[next(runs)]))
    monkeypatch.setattr(verb, "GOLDEN", tmp_path)
    subject = Subject("mlp", "torch", "eager", "fp32", "flat", "cpu", 2, (("digits", 64),), 1, timed=False)
    proved: dict[str, verb.Held] = {}
    told = {"proved": proved, "fresh": False, "deadline": 1.0, "feed": tmp_path / "feed"}
    statuses = [verb._prove(subject, machine.read(), golden=False, **told)[0] for _ in scaled]  # type: ignore[arg-type]
    assert statuses == ["ok", "parity_failed", "ok"]
    verb._write(proved, whole=False)
    brief = parity.golden(MLP, tmp_path)
    assert brief is not None and compare_brief(wanted, brief, 1e-13).broken is None
    assert compare_brief(evidence(), brief, 1e-13).broken is not None


def both(scale: float) -> Evidence:
    """What a proof leaves: the fp64 run and the measured one, alike."""
    found = {key: array * scale for key, array in evidence().items()}
    return {f"{run}/{key}": array for run in ("fp64", "measured") for key, array in found.items()}


# --- dropout ----------------------------------------------------------------------------------------------------------

SIZE = 4096


def drawn(seed: int, rate: float = 0.5) -> Array:
    """What an honest Dropout makes of ones: (2 steps, 2 samples, 4096)."""
    kept = np.random.Generator(np.random.PCG64(seed)).random((2, 2, SIZE)) >= rate
    return kept / (1 - rate)


def judged(values: Array, rate: float = 0.5) -> str:
    """The rung that broke, or nothing."""
    workload = replace(DROPOUT, layers=(Dense(64), Dropout(rate), Dense(10)))
    broken = dropout_break(workload, {"dropout/dropout_1": values})
    return broken.rung if broken else ""


def test_a_coarse_precision_cannot_write_down_the_scale() -> None:
    values = {"dropout/dropout_1": drawn(1) * 1.0036}
    assert str(dropout_break(DROPOUT, values)).startswith("dropout scale")
    assert dropout_break(DROPOUT, values, "bf16") is None
    assert dropout_break(DROPOUT, {"dropout/dropout_1": drawn(1) * 1.02}, "bf16") is not None


def test_small_tensors_are_held_against_a_share_of_all() -> None:
    wanted = {"gradient/a": np.full(4, 1.0), "gradient/b": np.full(4, 1e-2)}
    found = {"gradient/a": np.full(4, 1.0), "gradient/b": np.full(4, 2e-2)}
    wanted |= {"logits": np.ones(2)}
    found |= {"logits": np.ones(2)}
    assert compare(found, wanted, 0.5).error == pytest.approx(1.0)
    assert compare(found, wanted, 0.5, 0.1).error == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_thousand_honest_seeds_pass(rate: float) -> None:
    # Ten counts a seed, each beyond its bounds once in five hundred million.
    assert [seed for seed in range(1000 if rate == 0.5 else 100) if judged(drawn(seed, rate), rate)] == []


@pytest.mark.parametrize(
    ("values", "rung"),
    [
        (np.ones((2, 2, SIZE)), "dropout share"),
        (np.zeros((2, 2, SIZE)), "dropout share"),
        (drawn(1, 0.4) * 0.6 / 0.5, "dropout share"),
        (drawn(1, 0.6) * 0.4 / 0.5, "dropout share"),
        (drawn(1) * 0.5, "dropout scale"),  # not scaled in training, but at inference
        (drawn(1) * 1.001, "dropout scale"),
        (np.stack([drawn(1)[0]] * 2), "dropout draws"),  # the same in every step
        (np.stack([drawn(1)[:, 0]] * 2, axis=1), "dropout draws"),  # the same for all samples
        (np.stack([drawn(1)[0], drawn(1)[0][::-1]]), "dropout draws"),  # the samples' masks change places
        (np.stack([drawn(1)[0], 2 - drawn(1)[0]]), "dropout draws"),  # the second step keeps what the first dropped
    ],
    ids=["none", "all", "too few", "too many", "unscaled", "wrong scale", "steps", "samples", "swapped", "opposite"],
)
def test_a_dishonest_dropout_breaks(values: Array, rung: str) -> None:
    assert judged(values) == rung


def test_what_the_masks_were_read_with_may_round() -> None:
    values = drawn(1)
    noise = 1e-5 * np.random.Generator(np.random.PCG64(3)).standard_normal(values.shape)
    assert judged(values + noise) == ""


def test_the_broken_layer_is_named() -> None:
    workload = replace(DROPOUT, layers=(Dropout(0.5), Dense(64), Dropout(0.5), Dense(10)))
    found = {"dropout/dropout_1": drawn(1), "dropout/dropout_2": np.ones((2, 2, SIZE))}
    broken = dropout_break(workload, found)
    assert broken is not None
    assert broken.tensor == "dropout_2"


def test_a_model_without_dropout_needs_no_masks() -> None:
    assert dropout_break(MLP, {}) is None


def test_a_dropout_that_drops_nothing_needs_no_masks() -> None:
    # The worker draws none for a rate of 0.
    assert dropout_break(replace(DROPOUT, layers=(Dense(64), Dropout(0.0), Dense(10))), {}) is None


@pytest.mark.parametrize(("found", "breaks"), [(1.0, False), (1.0 + 1e-6, False), (1.1, True), (np.nan, True)], ids=str)
def test_inference_with_dropout_is_that_of_the_model_without(found: float, breaks: bool) -> None:
    logits = np.ones((2, 10))
    broken = parity.inference_break({"dropout/inference": found * logits, "measured/logits": logits}, 1e-4)
    assert (broken is not None) == breaks
    if broken:
        assert str(broken).startswith("dropout of inference differs by")


def test_a_model_without_dropout_has_no_second_inference() -> None:
    assert parity.inference_break({"measured/logits": np.ones((2, 10))}, 1e-4) is None


# --- the first losses of a timed process ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "far"),
    [
        ((), np.inf),  # losses that are not there agree with nothing
        ((2.0, 2.1), np.inf),
        ((2.0, 2.1, 2.2), None),
        ((2.0, 2.1 * (1 + 1e-5), 2.2), None),
        ((2.0, 2.11, 2.2), 0.01 / np.linalg.norm([2.0, 2.1, 2.2])),
        ((2.0, 2.1, 2.2, 2.3), np.inf),  # one more than the proof has
    ],
)
def test_first_losses(found: tuple[float, ...], far: float | None) -> None:
    differ = first_losses_differ(found, np.array([2.0, 2.1, 2.2]), 1e-4)
    assert differ == (far if far is None else pytest.approx(far))


def test_a_lost_sample_is_no_loss_at_all() -> None:
    assert np.isnan(cross_entropy(np.zeros((3, 10)), np.zeros(4, np.int32)))
    assert cross_entropy(np.zeros((4, 10)), np.zeros(4, np.int32)) == pytest.approx(np.log(10))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_first_losses_that_are_not_finite_differ(value: float) -> None:
    assert first_losses_differ((2.0, value), np.array([2.0, 2.1]), 1e6) is not None
