"""What pytest-benchmark would end in a traceback for, or pass over in silence, said in a line: nothing to compare with,
no case in it that is measured now, no such suite.

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


def pytest_collection_finish(session: pytest.Session) -> None:
    """pytest-benchmark compares the cases that have the same name in the stored run, and passes over the others."""
    config, names = session.config, {item.nodeid for item in session.items if _measured(item)}
    if not getattr(config.option, "benchmark_compare_fail", None) or not names:
        return
    compared: dict[object, dict[str, object]] = config._benchmarksession.compared_mapping  # type: ignore[attr-defined]
    known = {name for found in compared.values() for name in found}
    if not names & known:
        where = ", ".join(map(str, compared))
        raise pytest.UsageError(
            f"none of the {len(names)} cases is in {where}: nothing would be compared; another suite, other cores or "
            "another folder? Save a run of these by --benchmark-autosave without --benchmark-compare-fail"
        )
    if absent := sorted(names - known):
        words = f"{len(absent)} of {len(names)} cases are not compared, the stored run lacks them: {', '.join(absent)}"
        config.issue_config_time_warning(pytest.PytestWarning(words), stacklevel=2)


def _measured(item: pytest.Item) -> bool:
    """Whether it is a case that is to be measured here: the others are skipped, and in no stored run."""
    planned = item.module.PLANNED[item.callspec.params["name"]]  # type: ignore[attr-defined]
    return not planned.status


def stored(config: pytest.Config) -> bool:
    """Whether pytest-benchmark will find a run to compare with."""
    from pytest_benchmark.session import BenchmarkSession

    wanted = config.option.benchmark_compare
    found = BenchmarkSession(config).storage.load(*(() if wanted is True else (wanted,)))
    return any(True for _ in found)
