"""A gate against a stored run, on the null backend: what got slower fails, a baseline without a verdict is refused."""

import json
import shutil
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from seeding import Copy
from test_gatekeeper import copied, slower

from bench import baseline, gate, pairs
from bench import run as runs
from bench.records import Sample

pytestmark = pytest.mark.alone
CONTROL = {"backend": ["control"], "phase": ["infer"], "batch": [64]}
CELL = "mlp null eager fp32 flat cpu train throughput batch 8"
ROUNDS = gate.FIRST[0] + gate.second_stage(1)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Copy, Path]:
    """A copy whose null backend is slower by half where nothing says that it is the base; and a run of the base."""
    copy = copied(tmp_path_factory.mktemp("stored"), slower(0.5))
    code, _ = copy.run({"backend": ["null"]}, CONTROL, rounds=ROUNDS, SLOWER="0")
    assert code == 0
    return copy, copy.out


def test_what_got_slower_since_fails_and_only_the_candidate_is_measured(
    made: tuple[Copy, Path], tmp_path: Path
) -> None:
    copy, stored = made
    out = tmp_path / "gate"
    ended = copy.stepwatch("gate", "--against", str(stored), "--out", str(out), "--patience", "0")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "The base is a stored run" in ended.stdout and "-> measured now" in ended.stdout
    comparison, records = pairs.read(out)
    resumed = copy.stepwatch("gate", "--resume", str(out), "--patience", "0")
    assert (resumed.returncode, resumed.stdout) == (1, ended.stdout), resumed.stderr
    (verdict,) = gate.judge(*pairs.cells(comparison, records)).verdicts
    assert verdict.ratio == pytest.approx(1.5, abs=0.1) and verdict.pairs == ROUNDS
    assert not any("base" in path.name for path in (out / "logs").iterdir())
    # Each pair has a stored process of its own: those of the second stage come after those of the first.
    lines = [json.loads(line) for line in (stored / "results.jsonl").read_text().splitlines()]
    samples = {r["origin"]["round"]: r for r in lines if r["type"] == "Sample" and r["case"]["backend"] == "null"}
    for pair in (r for r in records if isinstance(r, pairs.Pair) and r.case.backend == "null"):
        number = pair.number if pair.stage == 1 else gate.FIRST[0] + pair.number
        assert list(pair.base.wall_ns) == samples[number]["wall_ns"]


def test_a_variable_that_was_otherwise_is_named(made: tuple[Copy, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The control, which is NumPy, does not see it."""
    run = replace(runs.read_folder(made[1]), variables={"XLA_FLAGS": "--x", "MALLOC_ARENA_MAX": "2"})
    for name in runs.told(planned.case.backend for planned in run.planned):
        monkeypatch.delenv(name)  # whoever runs these tests may have told his frameworks something
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert baseline._variables(run) == ["XLA_FLAGS=--x -> unset"]
    monkeypatch.setenv("XLA_FLAGS", "--y")
    assert baseline._variables(run) == ["XLA_FLAGS=--x -> --y"]
    assert baseline._variables(replace(run, variables={})) == ["MALLOC_ARENA_MAX=unset -> 2", "XLA_FLAGS=unset -> --y"]


def test_nothing_else_says_what_the_cells_are(made: tuple[Copy, Path]) -> None:
    copy, stored = made
    for more in (("quick",), ("--base-flags", "mode=eager"), ("--backend", "null")):
        ended = copy.stepwatch("gate", "--against", str(stored), *more)
        assert ended.returncode == 2 and "--against takes the cells from the stored run" in ended.stderr


def without(word: str) -> Callable[[str], str]:
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if word not in line)


def changed(*path: str, to: object) -> Callable[[str], str]:
    def change(text: str) -> str:
        whole = json.loads(text)
        inner = whole
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = to
        return json.dumps(whole)

    return change


def twice(text: str) -> str:
    return text + next(line for line in text.splitlines(keepends=True) if '"Sample"' in line)


def longer_bursts(text: str) -> str:
    """The first sample of the null backend, as if its bursts had been of one step more."""
    lines = text.splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if '"Sample"' in line and '"backend":"null"' in line)
    record = json.loads(lines[place])
    lines[place] = json.dumps(record | {"steps": record["steps"] + 1}, separators=(",", ":")) + "\n"
    return "".join(lines)


@pytest.mark.parametrize(
    ("file", "damage", "code", "says"),
    [
        ("run.json", changed("machine", "cpu", to="Abacus 3"), 4, "another machine: cpu was Abacus 3, is"),
        ("run.json", changed("harness", to="0123456789ab"), 4, "another Stepwatch's (0123456789ab"),
        ("run.json", changed("schema", to=1), 2, "wanted schema version"),
        ("results.jsonl", lambda _: "", 4, "without a result"),
        ("results.jsonl", without('"round":3,'), 4, f"not whole: '{CELL}': ..{ROUNDS - 1} of {ROUNDS} rounds"),
        ("results.jsonl", without('"backend":"null"'), 4, f"not whole: '{CELL}': 0 of"),
        ("results.jsonl", twice, 4, "is there twice in"),
        ("results.jsonl", lambda text: text.replace('"wall_ns":[', '"wall_ns":[NaN,', 1), 4, "line"),
        ("results.jsonl", lambda text: text.replace('"wall_ns":[', '"wall_ns":[0,', 1), 4, "is not a record"),
        ("results.jsonl", lambda text: text.replace('"wall_ns":[', '"wall_ns":[-7,', 1), 4, "is not a record"),
        ("results.jsonl", longer_bursts, 4, f"round 1 of '{CELL}' has "),
        ("results.jsonl", without('"steps_per_burst"'), 4, "without the pilot of"),
        ("results.jsonl", lambda text: text.replace('"digest":"', '"digest":"0', 3), 4, "of another workload: mlp"),
    ],
    ids=[
        *("machine", "code", "schema", "empty", "a round gone", "vanished", "duplicate", "NaN", "zero", "negative"),
        *("steps", "pilot gone", "workload"),
    ],
)
def test_a_baseline_that_carries_no_verdict_is_refused(
    made: tuple[Copy, Path], tmp_path: Path, file: str, damage: Callable[[str], str], code: int, says: str
) -> None:
    copy, stored = made
    shutil.copytree(stored, tmp_path / "stored")
    path = tmp_path / "stored" / file
    path.write_text(damage(path.read_text()))
    ended = copy.stepwatch("gate", "--against", str(tmp_path / "stored"), "--out", str(tmp_path / "gate"))
    # Between a cell's name and what it lacks may stand what noise did to it.
    assert ended.returncode == code and all(part in ended.stderr for part in says.split("..")), ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and not (tmp_path / "gate").exists()


def test_a_gate_that_is_invalid_before_it_measures_says_so_in_every_format(
    made: tuple[Copy, Path], tmp_path: Path
) -> None:
    copy, stored = made
    shutil.copytree(stored, tmp_path / "stored")
    (tmp_path / "stored" / "results.jsonl").write_text("")
    told = {}
    for format in ("junit", "json", "github", "markdown"):
        ended = copy.stepwatch("gate", "--against", str(tmp_path / "stored"), "--format", format)
        assert ended.returncode == 4 and "without a result" in ended.stderr
        told[format] = ended.stdout
    (suite,) = xml.fromstring(told["junit"])
    assert (suite.attrib["tests"], suite.attrib["errors"]) == ("1", "1")
    (error,) = suite.iter("error")
    said = json.loads(told["json"])
    assert said["verdict"] == "INVALID" and said.keys() == {"verdict", "reason"}
    for reason in (error.attrib["message"], said["reason"], told["github"]):
        assert f"INVALID: the stored run {tmp_path / 'stored'} is without a result" in reason
    assert told["github"].startswith("::error title=stepwatch gate::") and told["markdown"] == ""
    ended = copy.stepwatch("gate", "--against", str(tmp_path / "nowhere"), "--format", "json")
    assert (ended.returncode, ended.stdout) == (2, "")  # a wrong request is no verdict


@pytest.mark.long
def test_a_baseline_without_rounds_or_a_control_is_refused(tmp_path: Path) -> None:
    copy = copied(tmp_path)
    copy.run({"backend": ["null"]}, CONTROL)
    ended = copy.stepwatch("gate", "--against", str(copy.out))
    assert ended.returncode == 4 and f"short: 1 rounds of '{CELL}', a gate of it wants {ROUNDS}" in ended.stderr
    shutil.rmtree(copy.out)
    copy.run({"backend": ["null"]})
    ended = copy.stepwatch("gate", "--against", str(copy.out))
    assert ended.returncode == 4 and "without the control cell" in ended.stderr
    missing = copy.stepwatch("gate", "--against", str(tmp_path / "nowhere"))
    assert missing.returncode == 2 and "no run folder" in missing.stderr


def test_a_stored_process_that_is_not_there_is_no_half(made: tuple[Copy, Path]) -> None:
    from bench.baseline import Baseline

    baseline = Baseline(made[1])
    case = next(r.case for r in baseline.records.values() if isinstance(r, Sample))
    assert baseline.half(case, 1, 0) and baseline.half(case, 2, ROUNDS - gate.FIRST[0] - 1)
    assert baseline.half(case, 2, ROUNDS - gate.FIRST[0]) is None
