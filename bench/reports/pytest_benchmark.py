"""The JSON of pytest-benchmark 5, for the tools that read it: an entry a measured case, seconds a step.

The unit is the process: `data` and every statistic are over the medians of the processes, not over pooled bursts.
"""

import statistics
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from bench.case import Case
from bench.run import Run
from bench.status import FAILED
from bench.table import Report, Row


def render(report: Report) -> str:
    run, machine = report.run, report.run.machine
    body = {
        "machine_info": {
            "node": "",
            "machine": "",  # the architecture, which a run does not keep
            "processor": machine.cpu,
            "system": machine.system,
            "release": machine.kernel,
            "python_version": machine.python,
            "python_implementation": "CPython",
            "cpu": {"brand_raw": machine.cpu, "count": machine.cores},
            "gpus": [gpu.name for gpu in machine.gpus],
        },
        "commit_info": commit_info(run),
        "benchmarks": [entry(row) for row in report.rows if not incomplete(row)],
        "datetime": run.started,
        "version": "5.3.1",
    }
    return msgspec.json.format(msgspec.json.encode(body), indent=4).decode() + "\n"


def commit_info(run: Run) -> dict[str, Any]:
    """Stepwatch's commit; of a run of the user's own programs none, as pytest-benchmark has it without a repository."""
    unknown = {"time": None, "author_time": None, "branch": "(unknown)"}
    if run.programs:
        return {"id": "unversioned", "dirty": False, "project": "", **unknown}
    dirty = run.commit.endswith("-dirty")
    return {"id": run.commit.removesuffix("-dirty"), "dirty": dirty, "project": "stepwatch", **unknown}


def incomplete(row: Row) -> bool:
    """Whether it failed, or a number that readers need is missing: such a row is left out, never written as NaN."""
    if row.step_ms is None or row.status in FAILED:
        return True
    return not row.process_ms or not all(isfinite(ms) and ms > 0 for ms in row.process_ms)


def entry(row: Row) -> dict[str, Any]:
    case = row.case
    params = {name: getattr(case, name) for name in Case.__struct_fields__}
    return {
        "group": f"{case.workload} {case.phase} {case.measure}",
        "name": f"test_case[{identity(case)}]",
        "fullname": f"suites/test_suites.py::test_case[{identity(case)}]",
        "params": params,
        "param": identity(case),
        "extra_info": {"status": row.status, "reason": row.reason, "samples_per_second": row.samples_per_second},
        "options": {
            "disable_gc": True,
            "timer": "perf_counter",
            "min_rounds": row.rounds,
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": stats([ms / 1e3 for ms in row.process_ms or ()]),
    }


def identity(case: Case) -> str:
    """The case's axes in one word, which tells every two cases apart."""
    return "-".join(str(getattr(case, name)) for name in Case.__struct_fields__)


def stats(data: list[float]) -> dict[str, Any]:
    """pytest-benchmark's statistics of seconds, one a process: quartiles by linear interpolation, outliers by Tukey."""
    ordered = sorted(data)
    q1, median, q3 = (float(q) for q in np.percentile(ordered, [25, 50, 75]))
    mean, spread = statistics.fmean(ordered), statistics.stdev(ordered) if len(ordered) > 1 else 0.0
    fence = 1.5 * (q3 - q1)
    inside = [x for x in ordered if q1 - fence <= x <= q3 + fence]
    outside, far = len(ordered) - len(inside), sum(abs(x - mean) > spread for x in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": spread,
        "rounds": len(ordered),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outside,
        "stddev_outliers": far,
        "outliers": f"{far};{outside}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": 1 / mean,
        "total": sum(ordered),
        "iterations": 1,
        "data": data,
    }
