"""What pytest loads of Stepwatch: the fixture `stepwatch_program`, in a module of its own name.

`python -m pytest` looks in the present folder first: there `bench` may be a package of the user's, whose tests this
plugin must not break. Nothing of Stepwatch is imported before the fixture is used.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.table import Row


@pytest.fixture
def stepwatch_program(tmp_path_factory: pytest.TempPathFactory) -> "Callable[..., Row]":
    """`stepwatch_program("model.py", rounds=5, phase="train", device="cpu")` is the row of that file's phase.

    The row has `step_ms`, `process_ms` (one a fresh process), `status` and the rest of `table.csv`; a file that cannot
    be measured fails the test with the reason.
    """
    try:
        from bench.pytest_fixture import measurer
    except ModuleNotFoundError as error:
        if error.name != "bench.pytest_fixture":
            raise
        import bench

        pytest.fail(
            f"stepwatch_program wants Stepwatch's `bench`, found {bench.__file__}: run `pytest`, which "
            "does not put the present folder first as `python -m pytest` does, or rename that package",
            pytrace=False,
        )
    return measurer(tmp_path_factory)
