"""A stored run for those who analyse it themselves: `bench.load(folder)`, as pandas frames. See docs/analysis.md."""

import warnings
from decimal import Decimal
from math import inf
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

import msgspec
import pandas as pd
from msgspec import Struct
from msgspec.structs import replace

from bench import run as runs
from bench import table
from bench.case import Case
from bench.errors import BenchError
from bench.joules import Joules
from bench.prices import asked
from bench.prices.asked import Asked, choose
from bench.prices.book import Price
from bench.prices.cost import Cost
from bench.records import Key, Record, Sample
from bench.reports.columns import COLUMNS, NEVER, Value, values
from bench.table import Report, Row

Money = Literal["decimal", "float"]
# What may be missing has a type that can say so; a break-even that never comes is infinite.
DTYPES = {float: "float64", int: "Int64", bool: "boolean", str: "string"}


class Loaded(Struct, frozen=True):
    """A stored run, at one price or at none. Nothing changes it: `reprice` gives another one.

    `report`: the table that every format of `stepwatch report` is made of. `origin`: which price it is, and why.
    `prices`: the file it was chosen from, where one was named.
    """

    folder: Path
    report: Report
    records: dict[Key, Record]
    origin: str
    prices: Path | None = None

    def __repr__(self) -> str:
        run, price = self.report.run, self.report.price
        at = "no price" if price is None else f"{price.instance or 'a given price'}, {price.usd_per_hour} USD/h"
        return f"<{run.suite.name} of {run.started}: {len(self.report.rows)} rows at {at}>"

    def frame(self, money: Money = "decimal") -> pd.DataFrame:
        """One row a row of the table, in the columns of table.csv, then whose run it is.

        Unknown is missing, a break-even that never comes is infinite. Money is exact decimals; "float" is for plots.
        """
        if money not in get_args(Money):
            raise BenchError(f"money: wanted one of {', '.join(get_args(Money))}, found {money!r}")
        found = [values(self.report, row) for row in self.report.rows]
        filled = {name: _series(name, [row[name] for row in found], money) for name in COLUMNS}
        return self._signed(pd.DataFrame(filled))

    def bursts(self) -> pd.DataFrame:
        """Every timed burst of every row that has a time: the case, `round`, `burst` in it, `step_ms` of a step.

        A round is one process: bursts of one round are no independent measurements.
        """
        axes = Case.__struct_fields__
        timed = {row.case for row in self.report.rows if row.step_ms is not None}
        found = [
            (*(getattr(record.case, axis) for axis in axes), record.origin.round, number, ns / record.steps / 1e6)
            for record in self.records.values()
            if isinstance(record, Sample) and record.case in timed
            for number, ns in enumerate(record.wall_ns)
        ]
        frame = pd.DataFrame(found, columns=[*axes, "round", "burst", "step_ms"])
        kinds = {axis: DTYPES[_kind(axis)] for axis in axes} | {"round": "Int64", "burst": "Int64"}
        return self._signed(frame.astype(kinds | {"step_ms": "float64"}))

    def reprice(
        self,
        *,
        instance: str | None = None,
        region: str | None = None,
        service: str | None = None,
        price_model: str | None = None,
        price_per_hour: str | Decimal | float | None = None,
        prices: Path | str | None = None,
    ) -> "Loaded":
        """The same times at another price, chosen as by the flags of `stepwatch report`; with none, at the run's."""
        wanted = Asked(
            instance=instance,
            region=region,
            service=service,
            price_model=price_model,
            price_per_hour=None if price_per_hour is None else str(price_per_hour),
            prices=None if prices is None else Path(prices),
        )
        chosen = choose(wanted, self.report.run.machine, self.folder / "prices.csv")
        report = table.repriced(self.report, chosen.price)
        return replace(self, report=report, origin=chosen.origin, prices=wanted.prices)

    def to_html(self, path: Path | str) -> Path:
        """Writes one page that re-prices itself, as `report.html` is; gives its path."""
        from bench.reports import html  # with Vega, which is half a megabyte

        path, known = Path(path), asked.known(asked.own(self.prices))
        try:
            path.write_text(html.render([self.report], known), encoding="utf-8")
        except OSError as error:
            raise BenchError(f"cannot write {path}: {error.strerror}; name another file", exit_code=74) from None
        return path

    def _signed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With whose run it is in every row: one of several in one frame."""
        run, machine = self.report.run, self.report.run.machine
        gpu = machine.gpus[0].name if machine.gpus else None
        texts = {"suite": run.suite.name, "commit": run.commit, "cpu": machine.cpu, "gpu": gpu}
        many = len(frame)
        return frame.assign(
            run_started=pd.Series([pd.Timestamp(run.started)] * many, dtype="datetime64[ns, UTC]"),
            **{name: pd.Series([text] * many, dtype="string") for name, text in texts.items()},
            cores=pd.Series([machine.cores] * many, dtype="Int64"),
        )


def load(folder: Path | str) -> Loaded:
    """The run in that folder, at the price that `stepwatch report` takes; `BenchError` for none, or without results."""
    folder = Path(folder)
    run, found, torn = runs.stored(folder)
    if torn:
        warnings.warn(f"{folder / 'results.jsonl'}: the last line is torn and is left out", stacklevel=2)
    chosen = choose(Asked(), run.machine, folder / "prices.csv")
    return Loaded(folder, table.report(run, found, chosen.price), found, chosen.origin)


def _kind(column: str) -> Any:
    """What a column holds where it is known."""
    typed = {f.name: f.type for owner in (Price, Row, Cost, Joules, Case) for f in msgspec.structs.fields(owner)}
    found = typed.get(column, Decimal if column.startswith("usd_") else str)
    kinds = {kind for kind in get_args(found) if kind is not NoneType} or {found}
    return next(iter(kinds))


def _series(column: str, found: list[Value], money: Money) -> "pd.Series[Any]":
    kind = _kind(column)
    if kind is Decimal and money == "decimal":
        return pd.Series(found, dtype=object)
    if kind is Decimal or kind is float:
        return pd.Series([None if v is None else inf if v == NEVER else float(v) for v in found], dtype="float64")
    return pd.Series(found, dtype=DTYPES[kind])
