"""Other packages: one really installed and used by the command line as its users would, and many that are refused."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, python
from msgspec.structs import replace
from test_interpreters import environment
from test_table import CASE, JAX, MACHINE, NULL, pilot, run_of

from bench import (
    backends,
    baseline,
    comparison,
    interpreters,
    machine,
    measuring,
    pairs,
    parity,
    programs,
    proofs,
    third_parties,
    workloads,
)
from bench import run as runs
from bench.__main__ import main
from bench.arms import Arm, Launch
from bench.errors import BenchError
from bench.messages import Describe, Described, Prove, Warm
from bench.pairs import ArmPilot, Comparison, Pairing
from bench.suite import Filters, Protocol
from bench.third_parties import Offers
from bench.verbs import doctor, gate, report, show
from bench.verbs import parity as verb
from bench.worker import Worker

PACKAGE = Path(__file__).parent / "third_party"
SOURCE = "stepwatch-by-hand 1.2"
RUN = ROOT / "results/reference/quick-2core"
NARROW = replace(workloads.get("mlp"), name="narrow")
REGISTRIES = (workloads, backends, report)
SUITE = """
name = "theirs"
rounds = 1
[[matrix]]
workload = ["narrow", "mlp"]
backend = ["by-hand"]
phase = ["train"]
data = ["synthetic"]
device = ["cpu"]
[protocol]
warm_up_steps = 5
warm_up_seconds = 0.05
bursts = 3
burst_seconds = 0.01
feed = 5
ceilings = false
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the package, without a network and beside what is here."""
    folder = tmp_path_factory.mktemp("third_party")
    shutil.copytree(PACKAGE, folder / "source")  # a build leaves files beside the sources
    alone = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    done = python("-m", "pip", "install", *alone, "--target", folder / "site", folder / "source")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def stepwatch(site: Path, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line where what lies in `site` is installed too."""
    return python("-m", "bench", *arguments, folder=folder, PYTHONPATH=os.pathsep.join(map(str, (ROOT, site))))


@pytest.fixture(scope="module")
def finished(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of its backend: on its own workload, and on one of Stepwatch's."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "theirs.toml").write_text(SUITE)
    ended = stepwatch(site, "run", "./theirs.toml", "--out", "out", "--patience", 0, folder=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "out"


@pytest.fixture
def changed(site: Path, tmp_path: Path) -> Callable[[str, str, str], Path]:
    """A copy of what was installed, with a file of it changed; where it lies."""

    def change(file: str, old: str, new: str) -> Path:
        copy = tmp_path / "changed"
        shutil.copytree(site, copy)
        path = copy / "by_hand" / file
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
        return copy

    return change


# --- as its users use it ----------------------------------------------------------------------------------------------


def test_list_says_whose_they_are(site: Path) -> None:
    said = stepwatch(site, "list")
    assert said.returncode == 0 and "Refused" not in said.stdout
    lines = [line for line in said.stdout.splitlines() if line.endswith(f"from {SOURCE}")]
    assert [line.split()[0] for line in lines] == ["narrow", "by-hand", "terse"]
    assert "26,506 parameters" in lines[0] and "modes eager" in lines[1]
    assert SOURCE not in python("-m", "bench", "list").stdout


def cells(table: str) -> list[list[str]]:
    """The rows of a Markdown table, by their cells."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_its_backend_is_proved_against_the_golden_evidence(site: Path) -> None:
    said = stepwatch(site, "parity", "mlp", "--backend", "by-hand")
    assert said.returncode == 0, said.stdout + said.stderr
    ((workload, backend, mode, layout, fp64, _, fp32, _, verdict),) = cells(said.stdout)
    assert (workload, backend, mode, layout, verdict) == ("mlp", "by-hand", "eager", "flat", "ok")
    assert 0 < float(fp64) < 1e-12 < 1e-9 < float(fp32) < 1e-4


def test_a_wrong_step_of_its_backend_is_found(changed: Callable[[str, str, str], Path]) -> None:
    site = changed("adapter/program.py", "- rate * self", "- 1.001 * rate * self")
    said = stepwatch(site, "parity", "mlp", "--backend", "by-hand")
    assert said.returncode == 1, said.stdout + said.stderr
    assert "parity_failed: fp64 against the golden evidence: losses differs" in said.stdout


@pytest.mark.needs("torch")
def test_its_workload_is_proved_between_backends(site: Path) -> None:
    both = ("--backend", "by-hand", "--backend", "torch", "--mode", "eager")
    said = stepwatch(site, "parity", "narrow", *both)
    assert said.returncode == 0, said.stdout + said.stderr
    first, second = cells(said.stdout)
    assert (first[1], first[4], second[1], first[-1], second[-1]) == ("by-hand", "-", "torch", "ok", "ok")
    assert 0 < float(second[4]) < 1e-12


def test_show_has_both(site: Path) -> None:
    said = stepwatch(site, "show", "narrow", "--backend", "by-hand")
    assert said.returncode == 0, said.stderr
    assert "784-32-32-10" in said.stdout and "dense_3.bias: float32 (10,)" in said.stdout


def test_what_its_backend_lacks_is_unsupported(site: Path) -> None:
    said = stepwatch(site, "parity", "cnn", "--backend", "by-hand")
    assert cells(said.stdout)[0][-1] == "unsupported: by-hand has no Conv2D, only Dense and ReLU"


def test_a_run_records_whose_code_it_was(finished: Path) -> None:
    with open(finished / "table.csv", newline="") as file:
        rows = {row["workload"]: row for row in csv.DictReader(file)}
    for row in rows.values():
        assert row["backend"] == "by-hand" and float(row["step_ms"]) > 0
        assert row["relative"] == "1"  # it computes: it is a rival
    assert float(rows["mlp"]["parity_fp64"]) < 1e-12 and rows["narrow"]["parity_fp64"] == ""
    run = json.loads((finished / "run.json").read_text())
    assert run["versions"]["stepwatch-by-hand"] == "1.2"
    assert len(run["versions"]["by-hand code"]) == 12
    assert [one["name"] for one in run["declared"]] == ["narrow"]
    origins = [json.loads(line).get("origin") for line in (finished / "results.jsonl").read_text().splitlines()]
    known = {"stepwatch-by-hand", "numpy", "threadpoolctl", "by-hand code"}
    assert all(origin is None or known == set(origin["versions"]) for origin in origins if origin)


def test_its_format_is_one_of_report_s(site: Path, finished: Path) -> None:
    said = stepwatch(site, "report", finished, "--format", "terse")
    assert said.returncode == 0, said.stderr
    head, *lines = said.stdout.splitlines()
    assert head.startswith("theirs, begun 2") and len(lines) == 2
    assert lines[0].startswith("narrow by-hand eager fp32 flat cpu train throughput batch 64: ") and " ms" in lines[0]
    twice = stepwatch(site, "report", finished, "--format", "terse", "--instances", "c5.2xlarge,m5.4xlarge")
    assert twice.returncode == 2 and "--format terse is of one run at one price, found 2" in twice.stderr


@pytest.mark.parametrize(("format", "name"), [("markdown", "table.md"), ("csv", "table.csv"), ("html", "report.html")])
def test_a_stored_run_is_reported_where_the_package_is_not(
    finished: Path, capsys: pytest.CaptureFixture[str], format: str, name: str
) -> None:
    assert main(["report", str(finished), "--format", format]) == 0
    assert capsys.readouterr().out == (finished / name).read_text()


def test_a_run_is_not_resumed_where_the_package_is_not(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--resume", str(finished)]) == 2
    assert "no workload 'narrow'; there are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("adapter/program.py", "import deque", "import deque ", "version of by-hand code"),
        ("offers.py", "layers=(Dense(32),", "layers=(Dense(33),", "workload narrow"),
    ],
)
def test_a_run_is_not_resumed_with_other_code(
    changed: Callable[[str, str, str], Path], finished: Path, file: str, old: str, new: str, says: str
) -> None:
    said = stepwatch(changed(file, old, new), "run", "--resume", finished)
    assert said.returncode == 2 and said.stderr.count("\n") == 1
    assert f"cannot resume {finished}: it was begun with {says} " in said.stderr


DIGESTS = """
from bench.run import adapter_digest
print(adapter_digest("by-hand"), adapter_digest("null"))
"""


def digests(site: Path) -> list[str]:
    return python("-c", DIGESTS, PYTHONPATH=os.pathsep.join(map(str, (ROOT, site)))).stdout.split()


def test_the_digest_of_its_adapter_is_of_its_own_files(site: Path, changed: Callable[[str, str, str], Path]) -> None:
    theirs, ours = digests(site)
    assert digests(site) == [theirs, ours]
    other, same = digests(changed("adapter/device.py", "timeout=10", "timeout=11"))
    assert other != theirs and same == ours


def test_the_files_of_an_adapter_are_all_that_its_package_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    inner = tmp_path / "thicket" / "inner"
    inner.mkdir(parents=True)
    for name in ("__init__.py", "device.py", "inner/__init__.py", "inner/deep.py", f"inner/c{EXTENSION_SUFFIXES[-1]}"):
        (tmp_path / "thicket" / name).write_text("")
    for name in ("thicket/notes.txt", "thicket/inner/deep.pyc", "other.py"):
        (tmp_path / name).write_text("")

    def found(module: str) -> set[str]:
        return {path.name for path in third_parties.files(module)}

    within = {"__init__.py", "deep.py", f"c{EXTENSION_SUFFIXES[-1]}"}
    assert found("thicket.inner") == found("thicket.inner.deep") == within
    assert found("thicket") == found("thicket.device") == {*within, "device.py"}
    assert found("other") == {"other.py"}
    assert not {"thicket.device", "thicket.inner.deep", "other"} & sys.modules.keys()


def test_an_arm_of_a_gate_says_what_it_has(site: Path, tmp_path: Path) -> None:
    """And one that lacks the package is no arm, whatever else it has."""
    environment(tmp_path / "twin")
    script = f"""
import pathlib
from bench import interpreters
arm = interpreters.candidate(["by-hand"])
print(arm.versions_of("by-hand"))
try:
    interpreters.other_environment(pathlib.Path({str(tmp_path / "twin")!r}), ["by-hand"], arm)
except Exception as error:
    print(error)
"""
    said = python("-c", script, PYTHONPATH=os.pathsep.join(map(str, (ROOT, site))))
    versions, refused = said.stdout.splitlines()
    assert set(eval(versions)) == {"numpy", "stepwatch code", "stepwatch-by-hand", "threadpoolctl", "by-hand code"}
    assert refused.startswith(f"the base arm in {tmp_path}/twin/bin/python: no backend 'by-hand'; there are control,")


ARM = Arm("candidate", Launch(), {}, "3.11.7", "/usr", {"numpy": "2.1", "stepwatch code": "c"})
GATE = SUITE.replace('["by-hand"]', '["null"]').replace('"narrow", "mlp"', '"narrow"')


def of_a_suite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    (folder / "theirs.toml").write_text(GATE)
    monkeypatch.setattr(comparison, "_arms", lambda *_: (replace(ARM, name="base"), ARM))
    wanted = Filters(), None, None, ("FOO=1",), folder / "out"
    return comparison.make(comparison.Asked(str(folder / "theirs.toml"), (), *wanted), 1.0)[0]


def of_a_stored_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    control = comparison.control(MACHINE.cores).candidate
    run = run_of(replace(CASE, workload="narrow", backend="null"), control)
    run = replace(run, machine=machine.read(), harness=runs.harness(), declared=(NARROW,))
    monkeypatch.setattr(baseline, "read", lambda _: (run, {}))
    monkeypatch.setattr(comparison, "control", lambda _: Pairing(control, control, 0.02))
    monkeypatch.setattr(baseline, "_check_rows", lambda *_: None)
    monkeypatch.setattr(interpreters, "candidate", lambda _: ARM)
    monkeypatch.setattr(programs, "digest", lambda _: "d")
    return baseline.make(folder, folder / "out", 1.0)[0]


@pytest.mark.parametrize("make", [of_a_suite, of_a_stored_run])
def test_a_gate_is_not_resumed_with_another_workload(
    narrow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Comparison]
) -> None:
    made = make(tmp_path, monkeypatch)
    assert made.declared == (NARROW,)
    monkeypatch.setattr(interpreters, "again", lambda arm, names: arm)
    gate._check_same(made, tmp_path)
    with monkeypatch.context() as patch:  # a package that no backend names, cuDNN say, was upgraded meanwhile
        patch.setattr(interpreters, "again", lambda arm, names: replace(arm, installed="another"))
        with pytest.raises(BenchError, match=r"its (base|candidate) environment was .* installed files another;"):
            gate._check_same(made, tmp_path)
    monkeypatch.setitem(workloads.OTHERS.made, "narrow", replace(NARROW, layers=NARROW.layers[2:]))
    with pytest.raises(BenchError, match="its workloads was "):
        gate._check_same(made, tmp_path)


def test_a_gate_is_judged_where_the_package_is_not() -> None:
    case = replace(CASE, backend="gone")
    found: list[Any] = [ArmPilot(arm, pilot(case)) for arm in ("base", "candidate")]
    assert pairs._unproved(Pairing(case, case, 0.02), found) == "the base arm has no proof on record"


# --- a workload goes to the worker as data ----------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package's workload, in this process alone."""
    monkeypatch.setattr(workloads.OTHERS, "found", {"narrow": ()})
    monkeypatch.setattr(workloads.OTHERS, "made", {"narrow": NARROW})


class Asked(Exception):
    """What was sent."""


def asked(question: object, *_: object) -> None:
    raise Asked(question)


@pytest.mark.parametrize(("name", "sent"), [("narrow", NARROW), ("mlp", None)])
def test_only_another_packages_workload_is_sent(
    narrow: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, sent: object
) -> None:
    worker = type("Process", (), {"expect": staticmethod(asked)})
    subject = measuring.Subject(Protocol(), replace(CASE, workload=name), "", None, None, 0.0, False)  # type: ignore
    with pytest.raises(Asked) as caught:
        measuring.warm(worker, subject, 0.0)  # type: ignore[arg-type]
    (question,) = caught.value.args
    assert isinstance(question, Warm) and question.declared == sent

    questions: list[object] = []
    monkeypatch.setattr(proofs, "Process", lambda *_: type("Process", (), {"send": staticmethod(questions.append)}))
    about = proofs.subject_of(replace(CASE, workload=name), (), 1)
    proofs.Making(about, tmp_path / "proof.npz", {}, log=tmp_path / "log", deadline=1.0)
    assert isinstance(questions[-1], Prove) and questions[-1].declared == sent

    def answer(question: object, *_: object) -> Described:
        questions.append(question)
        return Described("said")

    whole = {"expect": staticmethod(answer), "close": staticmethod(lambda: None)}
    monkeypatch.setattr(show, "Process", lambda *_: type("Process", (), whole))
    assert show.text(name, "null").endswith("\nnull\nsaid")
    assert isinstance(questions[-1], Describe) and questions[-1].declared == sent


def test_a_worker_takes_what_it_is_sent() -> None:
    from bench.program import Settings

    class Echo:
        def build(self, workload: Any, settings: Settings) -> Any:
            return type("Program", (), {"describe": staticmethod(lambda: workload.name)})

    worker = Worker()
    worker.backend, worker.settings = Echo(), Settings("eager", "fp32", "flat", "cpu", 1)  # type: ignore[assignment]
    assert worker.answer(Describe("narrow", NARROW)).text == "narrow"  # type: ignore[union-attr]
    assert worker.answer(Describe("mlp")).text == "mlp"  # type: ignore[union-attr]
    with pytest.raises(BenchError, match="no workload 'narrow'"):
        worker.answer(Describe("narrow"))


ELSEWHERE = """
import pathlib, sys
from time import monotonic
from msgspec.structs import replace
from bench import feeds, workloads
from bench.messages import Open, Opened, Prove, Proved, Warm, Warmed
from bench.process import Process
from bench.program import Settings
here = pathlib.Path(sys.argv[1])
feeds.write(here / "feed.npz", workloads.get("mlp"), data="synthetic", size=8, count=5, seed=1)
narrow, until = replace(workloads.get("mlp"), name="elsewhere"), monotonic() + 60
worker = Process(here / "log")
worker.expect(Open("by-hand", Settings("eager", "fp32", "flat", "cpu", 1)), Opened, until)
worker.expect(Prove("elsewhere", {}, str(here / "proof.npz"), narrow), Proved, until)
warm = Warm("elsewhere", "train", "throughput", str(here / "feed.npz"), steps=1, declared=narrow)
print(worker.expect(warm, Warmed, until).losses)
worker.close()
"""


def test_a_worker_measures_what_is_installed_nowhere(site: Path, tmp_path: Path) -> None:
    """As the base of a gate does, whose environment lacks the package."""
    done = python("-c", ELSEWHERE, tmp_path, PYTHONPATH=os.pathsep.join(map(str, (ROOT, site))))
    assert done.returncode == 0, done.stderr
    assert len(eval(done.stdout)) == 5
    with np.load(tmp_path / "proof.npz") as evidence:
        assert len(evidence["fp64/losses"]) == 20


# --- what is refused --------------------------------------------------------------------------------------------------

numbers = count()
WORKLOAD = """
from bench.layers import Dense, ReLU
from bench.workload import SGD, Workload
THING = Workload("x", "d", (784,), 10, (Dense(10),), SGD(0.1))
"""
BACKEND = """
from bench.backends import Backend
ROOMS = {"modes": ("eager",), "layouts": ("flat",), "distributions": (), "extra": ""}
THING = Backend("x", adapter="json", packages=("json",), **ROOMS)
"""
OTHER_FORMAT = "def THING(report):\n    return report.run.started\n"
GROUPS = {"workload": "stepwatch.workloads", "backend": "stepwatch.backends", "format": "stepwatch.reports"}
Offered = Callable[..., str]


def forget() -> None:
    for registry in REGISTRIES:
        registry.OTHERS.made.clear()
        registry.OTHERS.__dict__.pop("found", None)


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offered]:
    """Installs a distribution with one entry point into this process, by hand; the name of its module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def offer(kind: str, name: str, text: str, *, distribution: str = "acme", attribute: str = "THING") -> str:
        module = f"acme_{next(numbers)}"
        (tmp_path / f"{module}.py").write_text(text)
        folder = tmp_path / f"{distribution.replace('-', '_')}-0.3.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
        (folder / "entry_points.txt").write_text(f"[{GROUPS[kind]}]\n{name} = {module}:{attribute}\n")
        forget()
        return module

    forget()
    yield offer
    forget()


def test_what_is_well_made_is_taken(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    offered("workload", "wide", WORKLOAD)
    offered("backend", "x-1", BACKEND, distribution="acme-backend")
    offered("format", "when", OTHER_FORMAT, distribution="acme-format")
    workload, row = workloads.get("wide"), backends.get("x-1")
    assert workload.name == "wide" and workload.parameter_count() == 7850
    assert (row.name, row.offered_by, row.distributions) == ("x-1", "acme-backend", ("acme-backend",))
    assert row.versions().keys() == {"acme-backend", "x-1 code"} and row.missing() == ""
    assert "wide" in workloads.names() and "wide" not in workloads.shipped() and "x-1" in backends.names()
    assert "when" in report.names() and callable(report.OTHERS.get("when"))
    assert workload in workloads.every() and row in backends.every()


@pytest.mark.parametrize(
    ("extra", "says"), [("", "pip install mxnet"), ("mx", "pip install 'acme[mx]'")], ids=["no extra", "extra"]
)
def test_what_a_backend_lacks_is_to_be_installed(offered: Offered, extra: str, says: str) -> None:
    text = BACKEND.replace('packages=("json",)', 'packages=("mxnet",)').replace('"extra": ""', f'"extra": "{extra}"')
    offered("backend", "mx", text)
    assert backends.get("mx").missing() == f"mxnet not installed: {says}"


def test_a_run_says_which_version_declared_its_workload(offered: Offered) -> None:
    offered("workload", "wide", WORKLOAD)
    like = run_of(replace(NULL, workload="wide"), JAX)
    made = runs.create(like.suite, list(like.planned), MACHINE, Filters(), 1.0, "")
    assert made.versions["acme"] == "0.3" and made.declared == (workloads.get("wide"),)
    assert made.workload("wide") == workloads.get("wide") and made.workload("mlp") == workloads.get("mlp")


def test_an_arm_says_what_their_backend_lacks(
    offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered("backend", "mx", BACKEND.replace('packages=("json",)', 'packages=("json", "mxnet")'))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, tmp_path))))
    with pytest.raises(BenchError, match="the candidate arm lacks mxnet: "):
        interpreters.candidate(["mx"])


def test_doctor_asks_theirs_too(
    offered: Offered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offered("backend", "sound", BACKEND)
    offered("backend", "broken", "", distribution="zeta")
    monkeypatch.setattr(doctor, "_said", lambda row, _: f"{row.name} is well")
    monkeypatch.setattr(doctor, "_neighbours", lambda _: "none")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "sound is well" in said and "torch is well" in said
    assert "refused: backend 'broken' of zeta 0.3 cannot be imported" in said


REFUSED: dict[str, tuple[str, str, str, str]] = {
    "does not import": ("workload", "wide", "import nothing_of_the_kind", "ModuleNotFoundError: No module named 'noth"),
    "ends the process": ("backend", "x", "raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
    "no such object": ("format", "when", "", "has no attribute 'THING'"),
    "another type": ("workload", "wide", "THING = 3", "is to be a bench.workload.Workload, found a int"),
    "a class": (
        "backend",
        "x",
        "from bench.backends import Backend as THING",
        "bench.backends.Backend, found the class",
    ),
    "not callable": ("format", "when", "THING = 'text'", "is to be a function render(report), found a str"),
    "a name with a dash": ("workload", "wi-de", WORKLOAD, "a workload's name has no -"),
    "a name with a dot": ("backend", "x.py", BACKEND, "a name wants a letter, then letters, digits, - and _"),
    "no words of ours": (
        "workload",
        "wide",
        WORKLOAD.replace("(Dense(10),)", "(3,)"),
        "not made of the words of bench",
    ),
    "a wrong shape": (
        "workload",
        "wide",
        WORKLOAD.replace("Dense(10)", "Dense(11)"),
        "ends in shape (11,), wanted (10,)",
    ),
    "a wrong value": ("workload", "wide", WORKLOAD.replace("Dense(10)", "Dense('10')"), "Expected `int`, got `str`"),
    "no adapter": ("backend", "x", BACKEND.replace('adapter="json"', "adapter=''"), "is to name its adapter"),
    "no packages": ("backend", "x", BACKEND.replace('("json",)', "()"), "and the packages that it needs"),
    "an adapter that is not there": (
        "backend",
        "x",
        BACKEND.replace('adapter="json"', "adapter='jsn'"),
        "its adapter jsn is no mod",
    ),
    "a mode that is none": (
        "backend",
        "x",
        BACKEND.replace("eager", "fast"),
        "modes of eager, graph, compiled, found fast",
    ),
    "a layout that is none": (
        "backend",
        "x",
        BACKEND.replace('"flat"', '"hwcn"'),
        "layouts of nchw, nhwc, flat, found hw",
    ),
    "a headline that it lacks": (
        "backend",
        "x",
        BACKEND.replace("**", "on_gpu='graph', **"),
        "on_gpu of its modes eager, found graph",
    ),
    "no device": ("backend", "x", BACKEND.replace("**", "devices=(), **"), "devices of cpu, gpu, found none"),
    "modes as text": ("backend", "x", BACKEND.replace('("eager",)', '"eager"'), "Expected `array`, got `str`"),
    "an engine": ("backend", "x", BACKEND.replace("**", "engine='jax', **"), "leave out engine and computes"),
    "no work": ("backend", "x", BACKEND.replace("**", "computes=False, **"), "leave out engine and computes"),
    "its framework too early": (
        "backend",
        "x",
        BACKEND.replace("json", "tabnanny") + "import tabnanny",
        "imports tabnanny",
    ),
}


def asked_for(kind: str, name: str) -> object:
    match kind:
        case "workload":
            return workloads.get(name)
        case "backend":
            return backends.OTHERS.get(name) if name.endswith(".py") else backends.get(name)
    return report.text([RUN], name, report.Asked())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("kind", "name", "text", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_one_line_where_its_name_is_asked_for_and_in_list(
    offered: Offered, capsys: pytest.CaptureFixture[str], kind: str, name: str, text: str, says: str
) -> None:
    sys.modules.pop("tabnanny", None)
    offered(kind, name, text)
    lines = []
    for _ in range(2):  # the second time nothing is imported any more
        with pytest.raises(BenchError) as caught:
            asked_for(kind, name)
        lines.append(str(caught.value))
    assert says in lines[0] and "\n" not in lines[0] and lines[0] == lines[1]
    assert lines[0].startswith(f"{kind} '{name}' of acme 0.3")
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert said.split("\n\nRefused\n")[1].splitlines() == lines[:1]
    assert "from acme" not in said
    # Nobody who does not use it is the worse for it.
    assert main(["run", "smoke", "--dry-run"]) == 0
    assert main(["show", "mlp"]) == 0
    assert "acme" not in capsys.readouterr().out


def test_the_frameworks_are_not_to_be_imported_by_anyone(offered: Offered, tmp_path: Path) -> None:
    assert {package for row in backends.REGISTRY.values() for package in row.packages} <= set(third_parties.FRAMEWORKS)
    (tmp_path / "optax.py").write_text("")
    module = offered("workload", "wide", WORKLOAD + "import optax")
    try:
        with pytest.raises(BenchError, match=f"importing {module}:THING imports optax, which only a worker may"):
            workloads.get("wide")
    finally:
        sys.modules.pop("optax", None)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("workload", "mlp", WORKLOAD),
        ("backend", "torch", BACKEND),
        ("format", "csv", OTHER_FORMAT),
        ("format", "junit", OTHER_FORMAT),
    ],
)
def test_a_name_of_stepwatch_s_own_stays_its_own(
    offered: Offered, capsys: pytest.CaptureFixture[str], kind: str, name: str, text: str
) -> None:
    module = offered(kind, name, text)
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert f"{kind} '{name}' of acme 0.3: stepwatch has that name itself and keeps it; uninstall acme\n" in said
    assert "from acme" not in said and module not in sys.modules
    assert workloads.get("mlp").parameter_count() == 101_770 and not backends.get("torch").adapter
    assert (name in workloads.shipped(), name in backends.REGISTRY) == (kind == "workload", kind == "backend")
    assert name not in [*workloads.OTHERS.names(), *backends.OTHERS.names(), *report.OTHERS.names()]


@pytest.mark.parametrize(("kind", "text"), [("workload", WORKLOAD), ("backend", BACKEND), ("format", OTHER_FORMAT)])
def test_a_name_of_two_packages_is_neither_s(
    offered: Offered, capsys: pytest.CaptureFixture[str], kind: str, text: str
) -> None:
    modules = {offered(kind, "both", text), offered(kind, "both", text, distribution="zeta")}
    line = f"{kind} 'both' is offered by acme 0.3 and zeta 0.3; uninstall one of them"
    with pytest.raises(BenchError) as caught:
        asked_for(kind, "both")
    assert str(caught.value) == line
    assert main(["list"]) == 0
    assert capsys.readouterr().out.endswith(f"\n\nRefused\n{line}\n")
    assert not modules & sys.modules.keys()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def THING(report):\n    return report.rows[0].nothing\n", "AttributeError: 'Row' object has no attribute"),
        ("def THING(report):\n    return 3\n", "format 'when' of acme 0.3 made a int, wanted str or bytes"),
    ],
)
def test_a_format_that_fails_is_one_line(offered: Offered, text: str, says: str) -> None:
    module = offered("format", "when", text)
    with pytest.raises(BenchError) as caught:
        report.text([RUN], "when", report.Asked())
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert ("line 2)" in str(caught.value) and module in str(caught.value)) == ("nothing" in text)


def test_a_format_may_be_bytes(offered: Offered, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offered("format", "when", "def THING(report):\n    return b'\\x00' + report.run.started.encode()\n")
    assert main(["report", str(RUN), "--format", "when", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes().startswith(b"\x002")
    assert main(["report", str(RUN), "--format", "then"]) == 2
    assert "no format 'then'; there are markdown," in (said := capsys.readouterr().err) and said.endswith("png, when\n")


def test_an_adapter_that_lacks_a_function_is_named(offered: Offered) -> None:
    offered("backend", "x", BACKEND)
    with pytest.raises(BenchError, match="adapter json of backend x lacks before_import and after_import and build"):
        backends.get("x").module()


def test_golden_evidence_is_made_by_stepwatch_s_own_alone(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    offered("workload", "wide", WORKLOAD)
    offered("backend", "x", BACKEND, distribution="zeta")
    found: list[Filters] = []

    def subjects(filters: Filters, *rest: object) -> tuple[list[Any], list[Any]]:
        found.append(filters)
        return [], []

    monkeypatch.setattr(verb, "_subjects", subjects)
    told = {"device": "cpu", "batch": 8, "fresh": False, "write_golden": True, "deadline": 1.0}
    with pytest.raises(BenchError, match=r"--write-golden is for Stepwatch's own workloads; wide is another"):
        verb.execute(Filters(workload=("mlp", "wide")), **told)  # type: ignore[arg-type]
    for asked in ((), ("cnn",)):
        with pytest.raises(BenchError, match="nothing to prove"):
            verb.execute(Filters(workload=asked), **told)  # type: ignore[arg-type]
    assert [one.backend for one in found] == [tuple(backends.REGISTRY)] * 2
    assert [one.workload for one in found] == [tuple(workloads.shipped()), ("cnn",)]
    assert parity.golden(workloads.get("wide")) is None


@pytest.mark.parametrize(
    ("statuses", "code", "written"),
    [
        (("ok", "ok"), 0, True),
        (("ok", "unsupported"), 0, True),  # what a backend lacks is no proof that does not hold
        (("unsupported", "unsupported"), 3, False),
        (("ok", "parity_failed"), 1, False),
        (("ok", "timeout"), 3, True),
        (("timeout", "unsupported"), 3, False),
        (("ok", "crashed"), 3, False),
    ],
)
def test_golden_evidence_is_written_where_every_proof_that_there_is_held(
    statuses: tuple[str, ...], code: int, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(statuses)
    wrote: list[object] = []
    subject = SimpleNamespace(workload="mlp", backend="torch", mode="eager", layout="flat")
    monkeypatch.setattr(verb, "_subjects", lambda *_: ([subject] * len(statuses), []))
    monkeypatch.setattr(verb, "_feed", lambda *_: Path())
    monkeypatch.setattr(verb, "_prove", lambda *_, **__: (next(said), ("-",) * 5))
    monkeypatch.setattr(verb, "_write", lambda proved, *, whole: wrote.append(whole))
    told = {"device": "cpu", "batch": None, "fresh": False, "deadline": 1.0}
    assert verb.execute(Filters(), write_golden=True, **told) == code  # type: ignore[arg-type]
    assert wrote == ["timeout" not in statuses] * written


def test_parity_of_everything_has_theirs_too(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    offered("workload", "wide", WORKLOAD)
    offered("backend", "x", BACKEND, distribution="zeta")
    offered("backend", "broken", "", distribution="omega")
    subjects, lines = verb._subjects(Filters(), "cpu", machine.read(), ("synthetic", 8))
    found = {(one.workload, one.backend) for one in subjects} | {line[:2] for line in lines}
    assert {("wide", "x"), ("mlp", "x")} <= found and "broken" not in {backend for _, backend in found}


# --- and who uses none of it does not pay for it ----------------------------------------------------------------------


def test_nobody_looks_for_what_nobody_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(**_: object) -> None:
        raise AssertionError("entry points were looked for")

    monkeypatch.setattr(third_parties, "entry_points", looked)
    forget()
    for arguments in (
        ["run", "quick", "--dry-run"],
        ["run", "quick", "--dry-run", "--backend", "torch", "--workload", "mlp"],
        ["report", str(RUN)],
        ["report", str(RUN), "--format", "csv"],
        ["compare", str(RUN), str(ROOT / "results/reference/keras-2core"), "--anyway"],
        ["show", "mlp"],
    ):
        assert main(arguments) == 0
    with pytest.raises(AssertionError, match="entry points were looked for"):
        main(["list"])


def test_what_a_record_names_needs_no_package() -> None:
    row = backends.recorded("gone")
    assert row.packages and row.computes and not row.engine
    assert backends.recorded("null") is backends.REGISTRY["null"]
    assert not backends.recorded("mine.py").packages


def test_offers_are_found_once() -> None:
    offers: Offers[object] = Offers(
        "workload", "stepwatch.no.such.group", taken=tuple, check=lambda offer, found: found
    )
    assert offers.names() == [] and offers.get("anything") is None and list(offers.every()) == []
    assert offers.source("anything") == {}
