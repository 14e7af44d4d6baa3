"""What pytest-benchmark would end in a traceback for, said in a line: nothing to compare with, no such suite.

`--benchmark-compare-fail` alone compares with the run that was saved last, so that one flag is enough to fail.
"""

import os

import pytest

from bench import machine, suite
from bench.errors import BenchError


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    check_suite()
    option = config.option
    if not getattr(option, "benchmark_compare_fail", None):
        return
    if not option.benchmark_compare:
        option.benchmark_compare = True  # what the flag means when it is given without a run's name
    if stored(config):
        return
    if option.benchmark_compare is not True:
        raise pytest.UsageError(f"no stored run matches --benchmark-compare={option.benchmark_compare}")
    option.benchmark_compare, option.benchmark_compare_fail = [], None
    words = "no run is stored yet, so nothing is compared; --benchmark-autosave keeps this one for the next"
    config.issue_config_time_warning(pytest.PytestWarning(words), stacklevel=2)


def check_suite() -> None:
    """`pytest.UsageError`, one line, where there is no such suite as STEPWATCH_SUITE names."""
    name = os.environ.get("STEPWATCH_SUITE", "quick")
    try:
        suite.plan(suite.load(suite.find(name)), machine.read())
    except BenchError as error:
        raise pytest.UsageError(f"STEPWATCH_SUITE={name}: {error}") from None


def stored(config: pytest.Config) -> bool:
    """Whether pytest-benchmark will find a run to compare with."""
    from pytest_benchmark.session import BenchmarkSession

    wanted = config.option.benchmark_compare
    found = BenchmarkSession(config).storage.load(*(() if wanted is True else (wanted,)))
    return any(True for _ in found)
