"""A gate from the command line to its exit code, on the null backend, whose arms differ in one variable."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from math import exp
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT
from msgspec.structs import replace
from seeding import Copy
from test_interpreters import environment, installed

from bench import gate, pairs
from bench.__main__ import main
from bench.errors import BenchError
from bench.pairer import Pairer
from bench.patience import Patience
from bench.progress import Watch
from bench.reports.gate import junit
from bench.stages import Turn
from bench.verbs import gate as verb
from bench.verbs.report import judged

pytestmark = pytest.mark.alone
PROGRAM = "bench/no_model.py"
TRAIN = "    def train(self, batch: Any) -> None:\n        return None\n"
DONE = "import os, time; until = time.perf_counter_ns() + {}"
SPIN = "\n        while time.perf_counter_ns() < until: pass\n"
NULL = {"backend": ["null"]}
STORED = ROOT / "results/reference/gate-2core/identical-arms"


def copied(folder: Path, body: str = "") -> Copy:
    """A copy whose null backend does `body` in every training step."""
    copy = Copy(folder)
    # Beside other work two milliseconds of the control say little; what it is for is tried in test_gate.
    copy.change("bench/gate.py", "CONTROL = log(1.03)", "CONTROL = log(9)")
    copy.protocol |= {"bursts": 9, "burst_seconds": 0.002, "warm_up_seconds": 0.02}
    if body:
        copy.change(PROGRAM, TRAIN, f"    def train(self, batch: Any) -> None:\n        {body}")
    return copy


def gated(copy: Copy, *more: str, **matrix: Any) -> "subprocess.CompletedProcess[str]":
    told = ("--base-flags", "SLOWER=0", "--out", str(copy.out), "--patience", "0", *more)
    return copy.stepwatch("gate", copy.suite(NULL | matrix), *told)


def first_pairs(copy: Copy, *base: str) -> list[pairs.Pair]:
    """Those of the first stage, which alone is measured; without the second a gate has no verdict on such a cell."""
    copy.change("bench/gatekeeper.py", "if suspects := self.suspects():", "if suspects := []:")
    told = ("--out", str(copy.out), "--patience", "0", *(base or ("--base-flags", "SLOWER=0")))
    ended = copy.stepwatch("gate", copy.suite(NULL), *told)
    assert ended.returncode == 4, ended.stdout + ended.stderr
    _, records = pairs.read(copy.out)
    found = [r for r in records if isinstance(r, pairs.Pair) and r.case.backend == "null"]
    assert len(found) == gate.FIRST[0]
    return found


def slower_by(found: Sequence[pairs.Pair]) -> float:
    return exp(median(pair.log_ratio for pair in found))


def slower(by: float) -> str:
    """A step of 20 us, longer by `by` in the candidate, where the base's variable is unset."""
    return DONE.format(f"round(20_000 * (1.0 if os.environ.get('SLOWER') else {1 + by}))") + SPIN


def verdicts(copy: Copy) -> tuple[gate.Judgement, pairs.Comparison]:
    comparison, records = pairs.read(copy.out)
    return gate.judge(*pairs.cells(comparison, records)), comparison


def test_a_slower_candidate_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copied(tmp_path, slower(0.5))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    ended = gated(copy, "--format", "github")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stdout.startswith("::error title=FAIL%3A mlp null eager")
    assert (tmp_path / "summary.md").read_text() == (copy.out / "gate.md").read_text()
    assert "# FAIL: 1 of 1 cases" in ended.stdout and "SLOWER=0 -> unset" in ended.stdout
    judgement, _ = verdicts(copy)
    (verdict,) = judgement.verdicts
    assert verdict.ratio == pytest.approx(1.5, abs=0.1) and verdict.pairs == 26
    assert (copy.out / "gate.md").read_text() in ended.stdout
    # A missing line, a line that is there twice, a cell that is gone: none passes.
    path = copy.out / "pairs.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    mine = [line for line in lines if '"type":"Pair"' in line and '"backend":"null"' in line]
    for kept, says in (
        ([line for line in lines if line not in mine[:1]], "9 pairs are there"),
        ([*lines, mine[0]], "is there 2 times"),
        ([line for line in lines if line not in mine], "0 pairs are there"),
        ([], "0 pairs are there"),
        ([line for line in lines if '"backend":"null"' in line], "the control"),
        ([line for line in lines if line in mine or '"stage":2' not in line], "only 0 of the control's 16 pairs"),
        ([line for line in lines if '"ArmPilot"' not in line or '"arm":"base"' not in line], "no pilot on record"),
        ([line.replace('"wall_ns":[', f'"wall_ns":[{"-1," * (line in mine)}') for line in lines], "no finite ratio"),
    ):
        path.write_text("".join(kept))
        assert main(["report", str(copy.out), "--format", "json"]) == 4
        judgement, _ = verdicts(copy)
        assert judgement.word == "INVALID" and says in judgement.verdicts[0].reason, says
        assert gate.exit_code(judgement, strict=False) == 4
    # Any order of the lines gives the same verdict.
    path.write_text("".join(reversed(lines)))
    assert verdicts(copy)[0].verdicts == (verdict,)
    assert main(["report", str(copy.out)]) == 1
    path.write_text("".join(lines[:-1]) + "{}\n")
    with pytest.raises(BenchError, match=f"line {len(lines)} is not a gate's record"):
        pairs.read(copy.out)


def test_an_arm_that_dies_midway_is_invalid(tmp_path: Path) -> None:
    copy = copied(tmp_path)
    body = '"""There is nothing to import."""'
    # The base's pilots are its first two processes, the control's among them; it dies in its third pair.
    died = "import os, pathlib; name = pathlib.Path(os.environ['HOME'], 'starts'); name.open('a').write('x')"
    copy.change(
        "bench/backends/null/__init__.py",
        body,
        f"{died}\n    if os.environ.get('SLOWER') and len(name.read_text()) > 7: os.kill(os.getpid(), 9)",
    )
    ended = gated(copy, "--format", "junit")
    assert ended.returncode == 4, ended.stdout + ended.stderr
    (suite,) = xml.fromstring(ended.stdout)
    assert suite.attrib["errors"] == "1"
    (error,) = suite.iter("error")
    assert "the base arm: crashed: the process died of SIGKILL" in error.attrib["message"]
    assert "the base arm" not in ended.stderr.splitlines()[-1]


def test_a_disk_that_refuses_is_no_fault_of_the_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    monkeypatch.setattr(verb, "_comparison", full)
    assert main(["gate", "gate", "--base-flags", "mode=eager"]) == 74
    said = capsys.readouterr().err
    assert said.startswith("stepwatch: cannot write /tmp/x: No space left on device") and "Traceback" not in said


def test_a_job_of_github_s_gets_its_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    verb._summarise(verb.Request(verb.NOTHING, None, None, 0.0, "markdown", False), "a page")
    assert not path.exists()
    assert main(["gate", "gate", "--base-flags", "mode=fast", "--format", "github"]) == 2
    assert path.read_text().startswith("**stepwatch gate**: no mode 'fast'; there are")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "gone" / "summary.md"))
    assert main(["gate", "gate", "--base-flags", "mode=fast", "--format", "github"]) == 2
    assert "no summary is written to" in capsys.readouterr().err


def test_a_gate_that_fails_itself_has_no_verdict(tmp_path: Path) -> None:
    copy = copied(tmp_path)
    copy.change(
        "bench/gatekeeper.py", "            self._recall()\n", "            self._recall() or {}['no such thing']\n"
    )
    ended = gated(copy, "--format", "github")
    assert ended.returncode == 4 and "KeyError: 'no such thing'" in ended.stderr
    assert ended.stdout.startswith("::error title=stepwatch gate::INVALID: the gate itself failed")
    assert ended.stderr.splitlines()[-1].startswith("stepwatch: INVALID: the gate itself failed")


@pytest.mark.long
def test_an_interrupted_gate_goes_on(tmp_path: Path) -> None:
    copy = copied(tmp_path, slower(0.0))
    environment = os.environ | {"PYTHONPATH": str(copy.folder), "HOME": str(copy.home)}
    arguments = ("gate", copy.suite(NULL), "--base-flags", "SLOWER=0", "--out", str(copy.out), "--patience", "0")
    begun = subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=copy.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = copy.out / "pairs.jsonl"
    until = time.monotonic() + 60
    while not path.exists() or path.read_text().count('"Pair"') < 3:
        assert time.monotonic() < until and begun.poll() is None
        time.sleep(0.05)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=30)
    assert begun.returncode == 130 and f"stepwatch gate --resume {copy.out}" in said
    before = [line for line in path.read_text().splitlines() if '"Pair"' in line]
    ended = copy.stepwatch("gate", "--resume", str(copy.out), "--patience", "0", "--format", "json")
    assert ended.returncode in (0, 4), ended.stderr
    said_ = json.loads(ended.stdout)
    assert [cell["name"] for cell in said_["cells"]] == ["mlp null eager fp32 flat cpu train throughput batch 8"]
    after = [line for line in path.read_text().splitlines() if '"Pair"' in line]
    # What was finished has no line of its own: two pilots, and the pairs of the first session.
    first, *lines = ended.stderr.splitlines()
    there = 2 + len(before)
    assert first == f"{there} of 22 are there"
    assert lines[0].startswith(f"[{there + 1}/22] ") and sum(line.startswith("[") for line in lines) >= 22 - there
    again = copy.stepwatch("gate", "--resume", str(copy.out), "--patience", "0")
    assert again.stderr.startswith("22 of 22 are there\n") and "[" not in again.stderr.replace(str(copy.out), "")
    assert after[: len(before)] == before and said_["cells"][0]["pairs"] >= 10
    copy.change("bench/program.py", "# A call that", "# Any call that")
    changed = copy.stepwatch("gate", "--resume", str(copy.out))
    assert changed.returncode == 2 and "its code was" in changed.stderr


def test_what_was_there_is_no_part_of_the_estimate() -> None:
    watch = Watch(30.0, 3)
    watch.skip(10.0)
    assert (watch.done, watch.left()) == (1, 20.0)  # at the pace foreseen, not at once
    watch.begin("one", 10.0)
    watch.end()
    assert (watch.done, watch.foreseen) == (2, 10.0)


@pytest.mark.long
def test_a_base_of_stepwatch_s_own_is_the_one_that_is_measured(tmp_path: Path) -> None:
    """As `make gate` does it: the base's workers import another checkout, from wherever the command is given."""
    old, new = copied(tmp_path / "old"), copied(tmp_path / "new", slower(0.5))
    old.change(PROGRAM, TRAIN, TRAIN.replace("return None", slower(0.0)))
    told = ("--base-flags", f"PYTHONPATH={old.folder}", "--out", str(new.out), "--patience", "0")
    ended = new.stepwatch("gate", new.suite(NULL), *told)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "stepwatch code" in ended.stdout
    ended = new.stepwatch("gate", new.suite(NULL), "--base-flags", f"PYTHONPATH={new.folder}")
    assert ended.returncode == 2 and "two identical arms" in ended.stderr


def test_whole_processes_in_turn_as_on_a_gpu(tmp_path: Path) -> None:
    """The way of a GPU, tried on the CPU: one arm's process ends before the other's begins."""
    copy = copied(tmp_path, slower(0.5))
    copy.change("bench/pairer.py", 'if todo[0].candidate.device == "gpu" or docket.baseline:', "if True:")
    found = first_pairs(copy)
    assert not any(pair.alternating for pair in found)
    assert {pair.base_first for pair in found} == {True, False}
    assert slower_by(found) == pytest.approx(1.5, abs=0.1)


def test_the_base_is_measured_by_its_own_interpreter(tmp_path: Path) -> None:
    here = "__import__('sys').prefix.endswith('twin')"
    copy = copied(tmp_path / "copy", DONE.format(f"round(20_000 * (1.0 if {here} else 1.5))") + SPIN)
    installed(environment(tmp_path / "twin"), "made-up", "1.0", "0" * 8)
    found = first_pairs(copy, "--base-env", str(tmp_path / "twin"))
    assert slower_by(found) == pytest.approx(1.5, abs=0.1)
    assert any(line.startswith("installed files") for line in pairs.read(copy.out)[0].differences)


@pytest.mark.parametrize("base_first", [True, False])
def test_the_arm_that_begins_is_started_and_warmed_up_first(base_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def start(arm: Any, case: object, log: object) -> Any:
        done.append(f"start {arm.name}")
        return SimpleNamespace(wait_for=lambda *_: None, arm=arm.name)

    def warm(side: Any, steps: int, until: float) -> str:
        done.append(f"warm {side.arm.name}")
        return f"warmed {side.arm.name}"

    comparison, _ = pairs.read(STORED)
    arms = comparison.base, comparison.candidate
    docket = SimpleNamespace(arms=arms, start=start, log=lambda *_: Path("log"))
    monkeypatch.setattr("bench.ping_pong.warm", warm)
    pairer, turn = Pairer(docket, Patience(0.0)), Turn(comparison.pairings[:1], 1, 0, base_first)  # type: ignore[arg-type]
    workers: Any = pairer._open_both(comparison.pairings[0], turn, 1.0)
    warmed = pairer._warmed(tuple(SimpleNamespace(arm=arm) for arm in arms), turn, 1, 1.0)  # type: ignore[arg-type]
    order = ["base", "candidate"] if base_first else ["candidate", "base"]
    assert done == [f"{what} {name}" for what in ("start", "warm") for name in order]
    assert [one.arm for one in workers] == ["base", "candidate"] and warmed == ["warmed base", "warmed candidate"]


@pytest.mark.long
def test_latency_is_compared_call_by_call(tmp_path: Path) -> None:
    copy = copied(tmp_path, slower(0.5))
    copy.protocol["latency_calls"] = 45
    ended = gated(copy, measure=["latency"])
    assert ended.returncode == 1, ended.stdout + ended.stderr
    _, records = pairs.read(copy.out)
    pair = next(r for r in records if isinstance(r, pairs.Pair) and r.case.backend == "null")
    assert len(pair.base.wall_ns) == 9 and 15_000 < min(pair.base.wall_ns) < 200_000 and pair.steps == 1


@pytest.mark.parametrize(
    ("measure", "chained", "steps"), [("throughput", 1, 50), ("throughput", 8, 400), ("latency", 1, 1)]
)
def test_a_pair_says_of_how_many_steps_its_times_are(measure: str, chained: int, steps: int) -> None:
    comparison, records = pairs.read(STORED)
    case = replace(comparison.pairings[0].candidate, measure=measure, steps_per_call=chained)
    pilot = next(r.pilot for r in records if isinstance(r, pairs.ArmPilot))
    pair = next(r for r in records if isinstance(r, pairs.Pair))
    made: list[pairs.Pair] = []
    docket: Any = SimpleNamespace(
        arms=(comparison.base, comparison.candidate),
        pilot=lambda *_: replace(pilot, steps_per_burst=50),
        append=made.append,
    )
    pairing, readings = pairs.Pairing(case, case, gate.MARGIN), pair.base.sensed.readings
    pairer, halves = Pairer(docket, None), [pair.base, pair.candidate]  # type: ignore[arg-type]
    pairer._append(pairing, Turn((pairing,), 1, 0, True), halves, readings, alternating=True)
    assert [one.steps for one in made] == [steps]


def reasons(comparison: pairs.Comparison, records: Sequence[pairs.Record]) -> set[str]:
    """Why the first cell has no verdict, in the file's order and in others."""
    orders = [records, records[::-1], *(random.Random(n).sample(records, len(records)) for n in range(5))]
    return {pairs.cells(comparison, order)[0][0].broken for order in orders}


def test_the_reason_is_the_same_in_whichever_order_the_records_lie() -> None:
    comparison, records = pairs.read(STORED)
    case = comparison.pairings[0].candidate
    failed = (("candidate", "oom", "a"), ("base", "crashed", "z"), ("base", "timeout", "b"))
    lost = [pairs.Lost(case, *told, "") for told in failed]
    shaky = [
        replace(r, pilot=replace(r.pilot, settled=False, warm_up_steps=len(r.arm)))
        if isinstance(r, pairs.ArmPilot)
        else r
        for r in records
    ]
    assert reasons(comparison, records) == {""}
    assert reasons(comparison, [*shaky, *lost]) == {"the base arm: timeout: b"}
    assert reasons(comparison, [*shaky, lost[0]]) == {"the candidate arm: oom: a"}
    assert reasons(comparison, shaky) == {"the base arm is unsteady: 4 steps did not warm it up"}
    proof = next(r for r in records if isinstance(r, pairs.ArmProof) and r.proof.worker == case.worker)
    other = replace(proof, proof=replace(proof.proof, broken="logits differ"))
    assert reasons(comparison, [*records, other]) == {f"the {proof.arm} arm: parity_failed: logits differ"}


def test_a_pilot_counts_in_its_own_arm() -> None:
    """Another cell's candidate may be the case that this one's base is."""
    comparison, records = pairs.read(STORED)
    one = comparison.pairings[0]
    changed = replace(one, base=replace(one.base, mode="compiled"))
    pilot = next(r.pilot for r in records if isinstance(r, pairs.ArmPilot) and r.pilot.case == one.candidate)
    foreign = pairs.ArmPilot("candidate", replace(pilot, case=changed.base, settled=False))
    said = reasons(replace(comparison, pairings=(changed,)), [*records, foreign])
    assert said == {"the base arm has no pilot on record"}


def test_a_pair_that_was_measured_in_another_way_leaves_no_verdict() -> None:
    comparison, records = pairs.read(STORED)
    case = comparison.pairings[0].candidate
    odd = next(r for r in records if isinstance(r, pairs.Pair) and r.case == case and r.number == 3)
    mixed = [replace(odd, alternating=not odd.alternating) if r is odd else r for r in records]
    assert reasons(comparison, mixed) == {"pair 4 of stage 1 was measured in another way than the rest"}
    assert gate.exit_code(gate.judge(*pairs.cells(comparison, mixed)), strict=False) == 4


def test_a_gate_without_a_case_leaves_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(STORED, tmp_path / "gate")
    path = tmp_path / "gate" / "gate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pairings": []}))
    assert main(["report", str(tmp_path / "gate")]) == 4
    said = capsys.readouterr()
    assert said.out == "" and "gate.json holds no case" in said.err and len(said.err.splitlines()) == 1


def test_a_difference_that_xml_cannot_write() -> None:
    found = judged(STORED)
    told = replace(found, comparison=replace(found.comparison, differences=("COLOUR=\x1b[0m -> unset",)))
    (suite,) = xml.fromstring(junit.render(told))
    assert next(suite.iter("property")).attrib["value"] == "COLOUR= [0m -> unset"


CI = (ROOT / "docs/ci.md").read_text()


def test_the_recipe_for_github_comments_as_it_asks_leave_to() -> None:
    ours = (ROOT / ".github/workflows/regression.yml").read_text()
    step = ours[ours.index("      - name: comment\n") : ours.index("      - uses: actions/upload")]
    assert "pull-requests: write" in CI and step in CI and "github-actions[bot]" in CI
    assert "--body-file gate/gate.md" in CI


def test_the_recipe_for_gitlab_holds_the_branch_against_where_it_began() -> None:
    assert '--base-ref "$CI_MERGE_REQUEST_DIFF_BASE_SHA"' in CI and "FETCH_HEAD" not in CI


def test_a_pull_request_is_held_against_the_base_that_it_was_merged_into() -> None:
    """origin/main may have moved on since: its commits would be blamed on the change."""
    ours = (ROOT / ".github/workflows/regression.yml").read_text()
    assert "git worktree add --detach base HEAD^1\n" in ours and CI.count("--base-ref HEAD^1") == 2
    assert "base_ref" not in ours + CI
    assert "cancel-in-progress: true" in ours and "cancel-in-progress: true" in CI
