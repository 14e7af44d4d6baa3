"""Pure functions on samples. The unit is the process: bursts of one process are never taken for independent ones."""

from collections.abc import Sequence
from functools import cache
from math import comb, exp, hypot, inf, log
from statistics import median  # of twenty values in a fifth of NumPy's time

import numpy as np
import numpy.typing as npt

DRAWS = 5_000
FEWEST_PROCESSES = 5
# What is less probable is left out: a middle of a resample over 8 standard deviations off, or of values 40 apart.
REACH, GAP, LEAST = 4, 40, 1e-13
Values = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Middle = tuple[Values, Values, Places]  # lower ones and upper ones, each in order, and which upper one is whose
Interval = tuple[float, float]


def estimate(processes: Sequence[Sequence[float]]) -> float:
    """The median over processes of the median over their bursts."""
    return float(median([median(bursts) for bursts in processes]))


def bootstrap(processes: Sequence[Sequence[float]], *, seed: int = 0) -> Interval | None:
    """95 % percentile interval of `estimate`: processes resampled, then bursts in each (Davison & Hinkley 1997, 3.8).

    None with fewer than `FEWEST_PROCESSES`: simulated, from 2, 3 and 4 it covers 60, 81 and 86 %, from 5 on 94 %.
    """
    if len(processes) < FEWEST_PROCESSES:
        return None
    return _ends(_resampled_estimates(processes, _middle(len(processes), seed)))


def unpaired_ratio(
    candidate: Sequence[Sequence[float]], base: Sequence[Sequence[float]], *, seed: int = 0
) -> tuple[float, Interval | None]:
    """Candidate over base of two runs that share no round: ratio of their estimates, 95 % interval of both resampled.

    None for the interval where either has fewer than `FEWEST_PROCESSES`.
    """
    found = estimate(candidate) / estimate(base)
    if min(len(candidate), len(base)) < FEWEST_PROCESSES:
        return found, None
    draw = np.random.Generator(np.random.PCG64(seed))
    above, below = (
        draw.permuted(_resampled_estimates(x, _middle_of_uniforms(len(x), draw))) for x in (candidate, base)
    )
    return found, _ends(above / below)


def _ends(drawn: Values) -> Interval:
    """The 2.5th and 97.5th percentile, interpolated; of a sorted copy, in a quarter of `np.percentile`'s time."""
    ordered = np.sort(drawn)
    places = (0.025 * (len(ordered) - 1), 0.975 * (len(ordered) - 1))
    low, high = np.interp(places, np.arange(len(ordered)), ordered)
    return float(low), float(high)


def _resampled_estimates(processes: Sequence[Sequence[float]], middle: Middle) -> Values:
    """The estimate of resampled processes, each of them resampled: as often as `middle` has draws.

    A resampled process is a draw from the mixture of what each process's resampled median may be, of which there are
    few values: the estimate is the median of as many such draws as there are processes. Nothing is resampled bursts by
    bursts, and it is the same distribution.
    """
    values, weights = [], []
    for bursts in processes:
        ordered = np.sort(np.asarray(bursts, np.float64))
        below_middle, above_middle, share = _middle_of_resample(len(ordered))
        values.append((ordered[below_middle] + ordered[above_middle]) / 2)
        weights.append(share)
    support = np.concatenate(values)
    order = np.argsort(support)
    support = support[order]
    below = np.cumsum(np.concatenate(weights)[order]) / len(processes)
    below[-1] = 1.0
    lower, upper, whose = middle
    return (_values(support, below, lower) + _values(support, below, upper)[whose]) / 2


def _values(support: Values, below: Values, ordered: Values) -> Values:
    """The quantiles at so many probabilities, which are in order: so each value is looked up, not each probability."""
    return np.repeat(support, np.diff(np.searchsorted(ordered, below, side="right"), prepend=0))


@cache
def _middle_of_resample(n: int) -> tuple[Places, Places, Values]:
    """Places, from 0, of the two middle values of n draws out of n in order, and how probable each two are.

    One and the same where n is odd. Of 2m draws, m are at or below a, the greatest of them at a, and m at or above b:
    C(2m, m) (P_a^m - P_(a-1)^m) (Q_b^m - Q_(b+1)^m); a = b takes what is left of a's own probability.
    """
    from scipy.special import betainc, gammaln  # a third of a second that only who wants an interval waits for

    m, reach = (n + 1) // 2, int(REACH * n**0.5) + 1
    near = np.arange(max(0, m - 1 - reach), min(n, m + reach))
    own = betainc(m, n - m + 1, (near + 1) / n) - betainc(m, n - m + 1, near / n)  # the m-th smallest is here
    if n % 2:
        kept = own > LEAST
        return near[kept], near[kept], own[kept]
    with np.errstate(divide="ignore"):
        place = np.arange(1, n + 1)
        reached = m * np.log(place / n) + np.log1p(-(((place - 1) / place) ** m))
    ways = gammaln(n + 1) - 2 * gammaln(m + 1)
    pairs = [(near, near, own)]
    for gap in range(1, min(GAP, n)):  # between a and b nothing is drawn: they are close
        lower = near[near + gap < n]
        share = np.exp(ways + reached[lower] + reached[n - 1 - lower - gap])
        own[: len(lower)] -= share
        pairs.append((lower, lower + gap, share))
    lower, upper, shares = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    kept = shares > LEAST
    return lower[kept], upper[kept], shares[kept]


def _middle_of_uniforms(count: int, draw: np.random.Generator) -> Middle:
    """`DRAWS` times the two middle ones of so many uniform numbers, in the order of the first; one if it is odd.

    The k-th smallest of n is Beta(k, n-k+1); what lies above it is uniform (David & Nagaraja 2003, 2.5).
    """
    k = (count + 1) // 2
    lower = np.sort(draw.beta(k, count - k + 1, DRAWS))
    if count % 2:
        return lower, lower, np.arange(DRAWS)
    upper = 1 - (1 - lower) * draw.random(DRAWS) ** (1 / (count - k))
    order = np.argsort(upper, kind="stable")
    return lower, upper[order], np.argsort(order, kind="stable")


@cache
def _middle(count: int, seed: int) -> Middle:
    return _middle_of_uniforms(count, np.random.Generator(np.random.PCG64(seed)))


def sign_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Exact interval of the median by the sign test's order statistics: low, high and the coverage it really has.

    (-inf, inf, 1) where so few values allow none (under 6 at 95 %).
    """
    n, ordered = len(values), sorted(values)
    rank = max((k for k in range(1, n // 2 + 1) if _tail(k - 1, n) <= (1 - confidence) / 2), default=0)
    if not rank:
        return -inf, inf, 1.0
    return ordered[rank - 1], ordered[n - rank], 1 - 2 * _tail(rank - 1, n)


def ratio(candidate: Sequence[float], base: Sequence[float]) -> tuple[float, Interval | None]:
    """Candidate over base, paired: exp of the median log ratio, and its exact interval (None under 6 pairs)."""
    logs = [log(c / b) for c, b in zip(candidate, base, strict=True)]
    low, high, _ = sign_interval(logs)
    return exp(median(logs)), None if low == -inf else (exp(low), exp(high))


@cache
def samples_for(percentile: float) -> int:
    """The fewest samples that say anything of a percentile at 99 % confidence: P(Bin(n, 1-p) <= 1) <= 1 %.

    The rule of MLPerf's early stopping: 11 for p50, 64 for p90, 130 for p95, 662 for p99.
    """
    share = 1 - percentile / 100
    n = 2
    while (1 - share) ** n + n * share * (1 - share) ** (n - 1) > 0.01:
        n += 1
    return n


def percentile(values: Sequence[float], wanted: float) -> float | None:
    """The percentile (linear interpolation), or None where there are too few values for it."""
    return float(np.percentile(values, wanted)) if len(values) >= samples_for(wanted) else None


def drift(bursts: Sequence[float]) -> float:
    """`ln(last third / first third)`, by their medians; 0 under 9 bursts, which have no spread to speak of."""
    parts = _thirds(bursts)
    return median(parts[1]) - median(parts[0]) if parts else 0.0


def drifting(bursts: Sequence[float]) -> bool:
    """Whether a process grew faster or slower: last third against first, by over 3 % and over 3 standard errors.

    The standard error of a median is 1.2533 sigma / sqrt(n), sigma being 1.4826 MAD, in logarithms.
    """
    parts = _thirds(bursts)
    if not parts:
        return False
    change = abs(median(parts[1]) - median(parts[0]))
    if change <= log(1.03):
        return False
    sigma = [1.4826 * median(abs(x - middle) for x in part) for part, middle in ((p, median(p)) for p in parts)]
    error = 1.2533 * hypot(*sigma) / len(parts[0]) ** 0.5
    return bool(change > 3 * error)


def _thirds(bursts: Sequence[float]) -> tuple[list[float], ...]:
    """The logarithms of the first third and of the last; empty under 9 bursts."""
    third = len(bursts) // 3
    if third < 3:
        return ()
    first, last = ([log(x) if x > 0 else -inf for x in part] for part in (bursts[:third], bursts[-third:]))
    return first, last


def _tail(k: int, n: int) -> float:
    """P(Bin(n, 1/2) <= k)."""
    return float(sum(comb(n, i) for i in range(k + 1)) / 2**n)
