"""`--benchmark-compare-fail` alone compares with the run that was saved last, so that one flag is enough to fail."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "benchmark_compare_fail", None) and not config.option.benchmark_compare:
        config.option.benchmark_compare = True  # what the flag means when it is given without a run's name
