"""Pure: two evidences -> agreement, or the first rung and tensor that broke. Also the golden evidence in brief."""

import hashlib
from collections.abc import Mapping
from itertools import combinations
from math import inf, isfinite, sqrt
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from bench.errors import BenchError
from bench.evidence import SEED, Evidence
from bench.layers import Dropout
from bench.placement import Array
from bench.recipe import Recipe
from bench.workload import SGD, Workload

RUNGS = ("logits", "loss", "gradient", "losses", "weight")
# How far a measured precision may stand from the fp64 run: about thirty times what was seen on the shipped workloads.
FLOOR = {
    "fp64": {"SGD": 1e-12, "Adam": 1e-9},
    # A unit that rounding wakes for one sample moves by whole steps of Adam: 0.005 was seen under weight decay.
    "fp32": {"SGD": 1e-4, "Adam": 2e-2},
    "tf32": {"SGD": 2e-2, "Adam": 1e-1},
    "bf16": {"SGD": 1e-1, "Adam": 1e-1},
}
# Gradients, and with them weights, may stand further off. In ResNet's blocks three frameworks stand 0.46 from fp64 in
# bf16, all of them (elsewhere 0.08), and torch 0.08 in TF32 (0.023 in the CNN).
SLOPES = {"tf32": 3e-1, "bf16": 6e-1}
# After the last step rounding has woken a unit for one sample in one of the steps, and a bias that began at 0 shows it:
# under a learning-rate schedule 6e-4 in three frameworks alike.
LAST = {"fp32": 5e-3}
# Tensors much smaller than all of their rung together are held against a share of those. In coarse precisions a sum
# that cancels, of a bias before a BatchNorm say, is rounding alone.
SHARE = 1e-3
COARSE_SHARE = {"tf32": 0.1, "bf16": 0.1}
# Losses of calls of several steps in fp64 against as many calls of one: so many steps of a deep model enlarge rounding.
# A batch that comes twice, or weights that a call does not move on, stand 1e-3 off and more.
CALLS = 1e-6
# Of an honest mask's counts, one in a thousand million lies outside the bounds.
DROPOUT_ERROR = 1e-9


class Break(Struct, frozen=True):
    """The first rung, in the ladder's order, with a tensor beyond its tolerance, and that tensor's error."""

    rung: str
    tensor: str
    error: float
    tolerance: float

    def __str__(self) -> str:
        where = self.rung if self.tensor == self.rung else f"{self.rung} of {self.tensor}"
        if self.rung in ("dropout share", "dropout draws"):
            return f"{where} is {self.error:.3f}, wanted {self.tolerance:.3f} within binomial bounds"
        return f"{where} differs by {self.error:.2g}, allowed {self.tolerance:.0e}"


class Agreement(Struct, frozen=True):
    """The largest error over all tensors, and what broke, if anything did."""

    error: float
    broken: Break | None


class Golden(Struct, frozen=True):
    """A workload's fp64 evidence in brief: each tensor's Frobenius norm and one seeded projection; 20 losses whole."""

    workload: str
    digest: str
    steps: int
    batch: int
    seed: int
    losses: list[float]
    tensors: dict[str, tuple[float, float]]


def tolerance(workload: Workload, precision: str, *, stepped: bool = True) -> float:
    """Allowed error of logits and losses. Adam divides by the root of small second moments, which enlarges rounding.

    Not `stepped`: of what no step has changed yet. In fp64 that is allowed Adam's bound all the same: of large models
    two programs' logits stand over 1e-12 apart.
    """
    plain = isinstance(workload.optimiser, SGD) or not (stepped or precision == "fp64")
    return FLOOR[precision]["SGD" if plain else "Adam"]


def bounds(workload: Workload, precision: str) -> dict[str, float]:
    """Allowed error per tensor by rung, as measured against fp64. Only losses and weights come after steps."""
    first, floor = (tolerance(workload, precision, stepped=stepped) for stepped in (False, True))
    slopes = max(first, SLOPES.get(precision, 0.0), first * workload.proof.rounding if precision == "fp32" else 0.0)
    weight = max(floor, slopes, LAST.get(precision, 0.0))
    return dict.fromkeys(RUNGS, first) | {"gradient": slopes, "losses": floor, "weight": weight}


def compare(found: Evidence, wanted: Evidence, allowed: float | Mapping[str, float], share: float = SHARE) -> Agreement:
    """Per tensor `|a-b| / max(|b|, share x |all tensors of its rung|)` in the Frobenius norm; NaN never agrees.

    `allowed`: of every tensor, or by rung.
    """
    # A tensor that only one side has agrees with nothing; two empty evidences are no agreement either.
    errors = {key: float("inf") for key in found.keys() ^ wanted.keys() if _rung(key) in RUNGS}
    if not wanted:
        errors["logits"] = float("inf")
    for keys in _by_rung(wanted).values():
        whole = sqrt(sum(float(np.sum(np.square(wanted[key]))) for key in keys))
        for key in keys:
            if key not in found or found[key].shape != wanted[key].shape:
                errors[key] = float("inf")
                continue
            scale = max(float(np.linalg.norm(wanted[key])), share * whole)
            errors[key] = float(np.linalg.norm(found[key] - wanted[key])) / (scale or 1.0)
    return _judged(errors, allowed)


def compare_brief(found: Evidence, golden: Golden, allowed: float) -> Agreement:
    """The same against the golden evidence in brief: norms and projections in place of whole tensors."""
    errors = {"losses": _relative(found.get("losses", np.zeros(0)), np.array(golden.losses))}
    brief = summary(found)
    for rung in RUNGS:
        keys = [key for key in golden.tensors if _rung(key) == rung]
        whole = sqrt(sum(golden.tensors[key][0] ** 2 for key in keys))
        for key in keys:
            norm, projection = golden.tensors[key]
            if key not in brief:
                errors[key] = float("inf")
                continue
            scale = max(norm, SHARE * whole) or 1.0
            errors[key] = max(abs(brief[key][0] - norm), abs(brief[key][1] - projection)) / scale
    return _judged(errors, allowed)


def summary(found: Evidence) -> dict[str, tuple[float, float]]:
    """Norm and projection of each tensor. The projection is onto a vector of +-1 seeded by the tensor's own name."""
    brief = {}
    for key, array in found.items():
        if _rung(key) in RUNGS and key != "losses":
            word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
            signs = 2 * np.random.Generator(np.random.PCG64(word)).integers(0, 2, array.size) - 1
            brief[key] = (float(np.linalg.norm(array)), float(array.ravel() @ signs))
    return brief


def shorten(workload: Workload, found: Evidence) -> Golden:
    """The golden evidence in brief of a trusted fp64 run."""
    losses = [float(x) for x in found["losses"]]
    proof, digest = workload.proof, workload.deterministic().digest
    return Golden(workload.name, digest, proof.steps, proof.batch, SEED, losses, summary(found))


def golden(workload: Workload, folder: Path = Path(__file__).parent / "workloads" / "golden") -> Golden | None:
    """The committed evidence of `workload`, None where there is none; `BenchError` if of another one or its proof."""
    path = folder / f"{workload.name}.json"
    if workload.recipe != Recipe() or not path.exists():
        return None
    brief = msgspec.json.decode(path.read_bytes(), type=Golden)
    proof = workload.proof
    if (brief.steps, brief.batch, brief.seed) != (proof.steps, proof.batch, SEED):
        raise BenchError(
            f"golden evidence {path} is of {brief.steps} steps of {brief.batch} samples by seed {brief.seed}, workload "
            f"{workload.name} wants {proof.steps} of {proof.batch} by {SEED}; meant? stepwatch parity --write-golden "
            f"{workload.name}"
        )
    if brief.digest != workload.deterministic().digest:
        raise BenchError(
            f"golden evidence {path} is of digest {brief.digest}, workload {workload.name} has "
            f"{workload.deterministic().digest}; meant? stepwatch parity --write-golden {workload.name}"
        )
    return brief


def inference_break(found: Mapping[str, Array], allowed: float) -> Break | None:
    """Whether a model with Dropout infers as the same model without: the ladder, which leaves it out, cannot see it."""
    if "dropout/inference" not in found:
        return None
    far = _relative(found["dropout/inference"], found["measured/logits"])
    return None if far <= allowed else Break("dropout", "inference", far, allowed)


def calls_break(found: Mapping[str, Array]) -> Break | None:
    """Whether calls of several steps make other losses than calls of one, where the ladder has too few steps to see."""
    if "calls/several" not in found:
        return None
    far = _relative(found["calls/several"], found["calls/single"])
    return None if far <= CALLS else Break(rung := "losses of several steps a call", rung, far, CALLS)


def dropout_break(workload: Workload, found: Mapping[str, Array], precision: str = "fp32") -> Break | None:
    """Whether each Dropout dropped its share, scaled the rest, and drew anew for each sample and step."""
    allowed = 1e-2 if precision in COARSE_SHARE else 1e-4  # bf16 knows 1 / 0.9 to 4e-3
    for place in workload.walk():
        if not isinstance(place.layer, Dropout) or not place.layer.rate:
            continue
        rate, values = place.layer.rate, found[f"dropout/{place.path}"]
        values = values.reshape(-1, values.shape[-1])
        kept = np.abs(values) > 0.5  # a kept one is 1 / (1 - rate) and at least 1; a dropped one is 0 but for rounding
        for mask in ~kept:
            if not _plausible(int(mask.sum()), mask.size, rate):
                return Break("dropout share", place.path, float(mask.mean()), rate)
        # Rows: two samples in the first step, the same two in the next.
        for a, b in combinations(kept, 2):
            if not _plausible(int((a != b).sum()), a.size, 2 * rate * (1 - rate)):
                return Break("dropout draws", place.path, float((a != b).mean()), 2 * rate * (1 - rate))
        off = float(np.max(np.abs(values[:2][kept[:2]] * (1 - rate) - 1)))
        if off > allowed:
            return Break("dropout scale", place.path, off, allowed)
    return None


def first_losses_differ(found: tuple[float, ...], wanted: Array, allowed: float) -> float | None:
    """The relative error of a timed process's first losses against the proof's, if beyond `allowed`; else None."""
    if len(found) != len(wanted):
        return inf  # losses that are not there agree with nothing
    error = _relative(np.array(found), wanted)
    return error if not error <= allowed else None


def _plausible(count: int, n: int, chance: float) -> bool:
    """Whether both binomial tails beyond `count` of `n` hold more than `DROPOUT_ERROR`."""
    k = np.arange(n + 1)
    # log of the binomial coefficients, by C(n, k) = C(n, k-1) (n-k+1) / k
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(n, 0, -1)) - np.log(np.arange(1, n + 1)))])
    mass = np.exp(logs + k * np.log(chance) + (n - k) * np.log1p(-chance))
    return bool(mass[: count + 1].sum() > DROPOUT_ERROR and mass[count:].sum() > DROPOUT_ERROR)


def _relative(found: Array, wanted: Array) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    return float(np.linalg.norm(found - wanted) / (np.linalg.norm(wanted) or 1.0))


def _rung(key: str) -> str:
    return key.split("/")[0]


def _by_rung(evidence: Evidence) -> dict[str, list[str]]:
    return {rung: [key for key in evidence if _rung(key) == rung] for rung in RUNGS}


def _judged(errors: dict[str, float], allowed: float | Mapping[str, float]) -> Agreement:
    worst = max((e if isfinite(e) else float("inf") for e in errors.values()), default=float("inf"))
    for rung in RUNGS:
        within = allowed[rung] if isinstance(allowed, Mapping) else allowed
        for key, error in errors.items():
            if _rung(key) == rung and not error <= within:
                return Agreement(worst, Break(rung, key.split("/", 1)[-1], error, within))
    return Agreement(worst, None)
