"""What a row is called among others: as short as tells them apart. Pure."""

from bench.table import Row

VARIED = (
    "precision",
    "data",
    "device",
    "threads",
    "input",
    "recipe",
    "steps_per_call",
)  # beside backend, mode, layout, batch
SAID = {"input": "input {}", "threads": "threads {}", "steps_per_call": "{} steps a call", "recipe": "recipe {}"}
USUAL = {"input": "resident", "recipe": "plain", "steps_per_call": 1}  # said only where a row is otherwise


def called(row: Row, rows: list[Row]) -> str:
    words = [row.case.backend, row.case.mode]
    if row.case.layout != "flat":
        words.append(row.case.layout)
    if len({r.case.batch for r in rows}) > 1:
        words.append(f"batch {row.case.batch}")
    for axis in VARIED:
        if len({getattr(r.case, axis) for r in rows}) > 1:
            words.append(SAID.get(axis, "{}").format(getattr(row.case, axis)))
    return " ".join(words)


def called_together(alike: list[Row], rows: list[Row]) -> str:
    """Rows that differ in their batch size alone, as one."""
    sizes = [str(row.case.batch) for row in alike]
    return called(alike[0], rows) + (f", {', '.join(sizes[1:])}" if len(sizes) > 1 else "")
