"""The command line without a measurement: help, wrong requests, dry runs, reports of what is no run, list and show."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, python
from kill_and_resume import SUITES
from test_table import CASE, run_of

from bench import backends, folder, workloads
from bench.__main__ import main
from bench.records import SCHEMA

VERBS = ["run", "gate", "compare", "history", "parity", "report", "show", "list", "doctor", "data fetch", "data here"]
VERBS += [f"prices {name}" for name in ("list", "show", "find", "diff", "refresh", "import")]
LONG = "x" * 300  # longer than a file name may be


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite, a folder, a file, and a run in which nothing is measured yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITES["null"])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    folder.make(tmp_path / "begun", "run.json", run_of(CASE))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of a file."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


def one_line(text: str) -> bool:
    return text.startswith("stepwatch: ") and text.endswith("\n") and text.count("\n") == 1


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_has_help_with_an_example(verb: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), flag]) == 0
    said = capsys.readouterr()
    assert f"Example: stepwatch {verb}" in " ".join(said.out.split())
    assert said.err == ""


def test_these_are_all_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for verb in VERBS:
        assert re.search(rf"\b{verb.split()[0]}\b", listed)
    assert main(["data", "--help"]) == 0
    listed = capsys.readouterr().out
    assert "fetch" in listed and "here" in listed


def test_a_gate_s_0_is_said_to_be_no_proof(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--help"]) == 0
    assert "exit 0 no, or too noisy to say, 1 FAIL, 4 INVALID" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [[], ["data"]], ids=["stepwatch", "stepwatch data"])
def test_no_verb_is_a_request_for_help_and_a_wrong_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "Usage" in said.out + said.err


# --- wrong requests ---------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[str], list[str]]] = {
    "verb": (["frobnicate"], ["No such command", "--help"]),
    "flag": (["run", "./suite.toml", "--fast"], ["No such option: --fast", "--help"]),
    "flag without its value": (["run", "./suite.toml", "--out"], ["--out"]),
    "two suites": (["run", "./suite.toml", "quick"], ["--help"]),
    "no suite": (["run"], ["wanted a SUITE", "stepwatch list"]),
    "workload": (["run", "./suite.toml", "--workload", "gtp"], ["no workload 'gtp'", "mlp, mlp_dropout"]),
    "backend": (["run", "./suite.toml", "--backend", "pytorch"], ["no backend 'pytorch'", "torch"]),
    "mode": (["run", "./suite.toml", "--mode", "fast"], ["no mode 'fast'", "eager"]),
    "device": (["run", "./suite.toml", "--device", "tpu"], ["no device 'tpu'", "cpu"]),
    "filters that leave nothing": (["run", "./suite.toml", "-b", "torch"], ["leave none of its 4 cases"]),
    "no rounds": (["run", "./suite.toml", "--rounds", "0"], ["--rounds", "1 to 1000", "found 0"]),
    "many rounds": (["run", "./suite.toml", "--rounds", "1001"], ["--rounds", "found 1001"]),
    "half a round": (["run", "./suite.toml", "--rounds", "1.5"], ["--rounds"]),
    "rounds in words": (["run", "./suite.toml", "--rounds", "six"], ["--rounds"]),
    **{
        f"deadline {text}": (["run", "./suite.toml", "--deadline", text, "--out", "out"], ["deadline"])
        for text in ("0", "-1", "nan", "inf", "1e300", "soon")
    },
    **{
        f"patience {text}": (["run", "./suite.toml", "--patience", text, "--out", "out"], ["patience"])
        for text in ("-1", "nan", "inf", "1e300", "soon")
    },
    "deadline of a proof": (["parity", "mlp", "--backend", "null", "--deadline", "nan"], ["deadline"]),
    "deadline of a resumed run": (["run", "--resume", "begun", "--deadline", "-1"], ["deadline"]),
    "deadline of a retried run": (["run", "--retry", "begun", "--deadline", "nan"], ["deadline"]),
    "out is a folder": (["run", "./suite.toml", "--out", "folder"], ["--out folder", "found a folder", "--resume"]),
    "out is a file": (["run", "./suite.toml", "--out", "file"], ["--out file", "found a file"]),
    "out is a run": (["run", "./suite.toml", "--out", "begun"], ["--out begun", "found a folder"]),
    "out is here": (["run", "./suite.toml", "--out", "."], ["found a folder"]),
    "resume of nothing": (["run", "--resume", "nowhere"], ["no run folder nowhere"]),
    "resume of a file": (["run", "--resume", "file"], ["wanted a run folder", "file"]),
    "resume of a folder": (["run", "--resume", "folder"], ["not a run folder", "run.json"]),
    "resume of a long name": (["run", "--resume", LONG], [LONG[:50], "too long"]),
    "resume and retry": (["run", "--resume", "begun", "--retry", "begun"], ["--resume and --retry exclude"]),
    "resume and out": (["run", "--resume", "begun", "--out", "out"], ["--program and filters"]),
    **{
        f"resume and {flag}": (["run", "--resume", "begun", f"--{flag}", value], ["--program and filters"])
        for flag, value in (("workload", "mlp"), ("backend", "torch"), ("mode", "eager"), ("device", "cpu"))
    },
    "parity of nothing": (["parity", "gtp"], ["no workload 'gtp'"]),
    "parity on nothing": (["parity", "--device", "tpu"], ["no device 'tpu'"]),
    "show nothing": (["show", "gtp"], ["no workload 'gtp'", "cnn"]),
    "show in nothing": (["show", "mlp", "--backend", "pytorch"], ["no backend 'pytorch'"]),
    "data": (["data", "here", "imagenet"], ["imagenet", "fashion-mnist"]),
    "report of nothing": (["report", "nowhere"], ["no run folder nowhere", "results/"]),
    "report of a file": (["report", "file"], ["wanted a run folder", "the file file"]),
    "report of a folder": (["report", "folder"], ["not a run folder", "run.json"]),
    "report of a long name": (["report", LONG], [LONG[:50], "too long"]),
    "report without results": (["report", "begun"], ["no results yet", "--resume begun"]),
    "report in nothing": (["report", "begun", "--format", "pdf"], ["no format 'pdf'", "markdown, csv, json"]),
    "report without a run": (["report"], ["RUN"]),
    **{
        f"price {' '.join(flags)}": (["run", "./suite.toml", "--out", "out", *flags], words)
        for flags, words in (
            (["--region", "us-east-1"], ["--region wants an --instance"]),
            (["--price-model", "spot"], ["--price-model wants an --instance"]),
            (["--price-per-hour", "-1"], ["found -1"]),
            (["--price-per-hour", "nan"], ["found NaN"]),
            (["--price-per-hour", "two"], ["'two'", "2.10"]),
            (["--instance", "p5.48xlargo"], ["no price for instance", "p5.48xlarge"]),
            (["--instance", "a\nb"], ["no price for instance"]),
            (["--instance", "p5.48xlarge", "--prices", "nowhere"], ["nowhere"]),
        )
    },
    **{
        f"gate {' '.join(flags) or 'of nothing'}": (["gate", *flags], words)
        for flags, words in (
            ([], ["wants one base", "--base-env", "found 0"]),
            (["./suite.toml"], ["wants one base", "--base-flags", "found 0"]),
            (["./suite.toml", "--base-env", ".", "--base-flags", "mode=eager"], ["found 2"]),
            (["--base-flags", "mode=eager"], ["a gate wants a SUITE", "found neither"]),
            (["./suite.toml", "--base-env", "nowhere"], ["--base-env nowhere", "virtual environment", "found none"]),
            (["./suite.toml", "--base-env", "folder"], ["--base-env folder", "no interpreter in it"]),
            (["./suite.toml", "--base-env", "file"], ["--base-env file", "found none"]),
            (["./suite.toml", "--base-env", "/bin/false"], ["/bin/false cannot run a worker", "it said nothing"]),
            (["./suite.toml", "--base-env", sys.executable], ["two identical arms"]),
            (["./suite.toml", "--base-flags", "mode"], ["NAME=VALUE", "found 'mode'"]),
            (["./suite.toml", "--base-flags", "=1"], ["NAME=VALUE"]),
            (["./suite.toml", "--base-flags", "speed=1"], ["no flag 'speed'", "mode, precision"]),
            (["./suite.toml", "--base-flags", "mode=fast"], ["no mode 'fast'", "eager"]),
            (["./suite.toml", "--base-flags", "threads=0"], ["threads", "found '0'"]),
            (["./suite.toml", "--base-flags", "threads=many"], ["threads", "found 'many'"]),
            (["./suite.toml", "--base-flags", "mode=eager"], ["two identical arms"]),
            (["quick", "--backend", "torch", "--base-flags", "OMP_NUM_THREADS=1"], ["of torch", "use threads="]),
            (["quick", "--backend", "jax", "--base-flags", "JAX_PLATFORMS=cpu"], ["JAX_PLATFORMS", "both arms"]),
            (["./suite.toml", "--base-flags", "A=1", "--base-flags", "A=2"], ["A twice"]),
            (["./suite.toml", "--base-flags", "A=1", "--format", "pdf"], ["no format 'pdf'", "junit"]),
            (["./suite.toml", "--base-flags", "A=1", "--out", "folder"], ["--out folder"]),
            (["./suite.toml", "--base-flags", "A=1", "--backend", "pytorch"], ["no backend 'pytorch'"]),
            (["--resume", "nowhere"], ["no gate folder nowhere"]),
            (["--resume", "begun"], ["not a gate's folder", "gate.json"]),
            (["./suite.toml", "--resume", "begun"], ["leave out the suite"]),
        )
    },
    "a name with a newline": (["run", "a\nb"], ["no suite"]),
    "a backend with a newline": (["run", "./suite.toml", "--backend", "a\nb"], ["no backend"]),
    "a folder with a newline": (["report", "a\nb"], ["no run folder"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_one_line_and_touches_nothing(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(here)
    arguments, words = WRONG[name]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert one_line(said.err)
    for word in words:
        assert word in said.err
    assert contents(here) == before


@pytest.mark.parametrize(
    ("out", "words"),
    [("file/under", ["cannot create file/under"]), (LONG, ["too long"]), ("/proc/out", ["cannot create /proc/out"])],
    ids=["under a file", "a long name", "where no folder can be made"],
)
def test_a_run_folder_that_cannot_be_made(
    out: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(here)
    assert main(["run", "./suite.toml", "--out", out]) in (2, 74)
    said = capsys.readouterr()
    assert one_line(said.err)
    for word in words:
        assert word in said.err
    assert contents(here) == before


def test_a_link_that_leads_nowhere_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link").symlink_to("gone")
    assert main(["run", "./suite.toml", "--out", "link"]) in (2, 74)
    assert one_line(capsys.readouterr().err)
    assert (here / "link").is_symlink() and not (here / "gone").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", ["is not a run's"]),
        (b"{}", [f"schema version {SCHEMA}", "found None"]),
        (b'{"schema": 99}', [f"schema version {SCHEMA}", "found 99"]),
        (b'{"schema": 1}', [f"schema version {SCHEMA}", "found 1", "with the Stepwatch that wrote it"]),
        (f'{{"schema": {SCHEMA}}}'.encode(), ["is not a run's"]),
        (b"[1]", ["is not a run's"]),
        (b"\xff\xfe", ["is not a run's"]),
        (b'{"schema": 1, "commit": "\xff"}', ["is not a run's"]),
    ],
)
def test_a_run_json_that_is_none(text: bytes, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "begun" / "run.json").write_bytes(text)
    assert main(["report", "begun"]) == 2
    said = capsys.readouterr()
    assert one_line(said.err)
    for word in (*words, "run.json"):
        assert word in said.err


def test_a_run_json_that_is_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "folder" / "run.json").mkdir()
    assert main(["report", "folder"]) == 2
    assert one_line(capsys.readouterr().err)


def test_a_garbled_line_of_results_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "begun" / "results.jsonl").write_text("garbage\n")
    for arguments in (["report", "begun"], ["run", "--resume", "begun"]):
        assert main(arguments) == 2
        assert one_line(capsys.readouterr().err)


# --- as a process -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["run", "quik"], ["run", "./folder"], ["report", "nowhere"], ["frobnicate"]])
def test_a_process_says_it_in_one_line_without_a_traceback(arguments: list[str], here: Path) -> None:
    done = python("-m", "bench", *arguments, folder=here)
    assert done.returncode == 2
    assert done.stdout == ""
    assert one_line(done.stderr)


def test_the_command_and_the_module_are_the_same() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"stepwatch": "bench.__main__:entry"}
    module = python("-m", "bench", "--help")
    command = python("-c", "import sys; from bench.__main__ import entry; sys.argv[0] = 'stepwatch'; entry()", "--help")
    assert module.returncode == command.returncode == 0
    assert module.stdout == command.stdout
    assert "Usage: stepwatch" in module.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["list"], ["run", "./suite.toml", "--dry-run"]], ids=["list", "dry run"])
def test_an_output_that_is_full_is_74_and_no_traceback(arguments: list[str], here: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=here,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 74
    assert one_line(done.stderr)


def test_a_reader_that_goes_away_is_no_traceback(here: Path) -> None:
    # As `stepwatch list | head -0`: the pipe is closed before anything is written.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "list"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert "Traceback" not in done.stderr


# --- dry run ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_cases_and_bound_and_creates_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(here)
    asked = ["--rounds", "5", "--deadline", "2", "--patience", "7"]
    assert main(["run", "./suite.toml", "--dry-run", "--out", "out", *asked]) == 0
    said = capsys.readouterr()
    for phase in ("train", "infer"):
        for measure in ("throughput", "latency"):
            assert re.search(rf"^mlp null eager fp32 flat cpu {phase} {measure} batch 64$", said.out, re.MULTILINE)
    assert "4 cases, 4 to be measured" in said.out and "synthetic" in said.out
    assert "9 processes: 0 proofs, 0 ceilings, 4 pilots, 5 rounds" in said.out
    # 2 s for each case of each process, 4 pilots and 5 rounds of 4, and what a busy machine is waited for
    assert "At most 55 s" in said.out and "waited for 7 s in all" in said.out
    assert "Likely about" in said.out
    assert said.err == ""
    assert contents(here) == before


def test_a_dry_run_says_what_will_not_be_measured(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "graph.toml").write_text(SUITES["null"] + 'mode = ["eager", "graph"]\n')
    assert main(["run", "./graph.toml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "8 cases, 4 to be measured" in said
    assert said.count("unsupported: the null backend computes nothing") == 4


@pytest.mark.parametrize(("workload", "said"), [("mlp", True), ("gpt_tiny", False)])
def test_only_who_takes_images_is_told_of_better_ones(
    here: Path, capsys: pytest.CaptureFixture[str], workload: str, said: bool
) -> None:
    (here / "one.toml").write_text(SUITES["null"].replace('"mlp"', f'"{workload}"'))
    assert main(["run", "./one.toml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "Data: synthetic." in out and ("data fetch" in out) is said


def test_a_dry_run_of_a_shipped_suite(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(here)
    assert main(["run", "quick", "--dry-run"]) == 0
    assert "12 cases" in capsys.readouterr().out
    assert contents(here) == before


# --- list, show, doctor -----------------------------------------------------------------------------------------------


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for name in (*workloads.names(), *backends.REGISTRY, "quick", "smoke", "cpu", "gpu", "fashion-mnist", "synthetic"):
        assert re.search(rf"^{re.escape(name)} ", said, re.MULTILINE), name
    assert "101,770 parameters" in said


def test_list_says_how_to_install_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backends.Backend, "missing", lambda self: "pip install it" if self.packages else "")
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("pip install it") == sum(
        bool(row.packages) for row in backends.REGISTRY.values()
    )


def test_show_prints_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "mlp"]) == 0
    said = capsys.readouterr().out
    # 784-128-10: 784 x 128 + 128, and 128 x 10 + 10
    for words in ("dense_1", "100,480", "dense_2", "1,290", "101,770", "digest"):
        assert words in said


def test_show_prints_the_native_module_of_the_null_backend(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "mlp", "--backend", "null"]) == 0
    assert "null\nnothing: every call returns at once" in capsys.readouterr().out


@pytest.mark.parametrize("looked", [("jax",), pytest.param(tuple(backends.REGISTRY), marks=pytest.mark.long)])
def test_doctor_names_machine_and_backends(
    looked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each framework is imported in a worker of its own.
    missing = backends.Backend.missing
    monkeypatch.setattr(backends.Backend, "missing", lambda row: missing(row) if row.name in looked else "not now")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("cpu", "cores", "memory_gib", "digest", "commit", "data"):
        assert re.search(rf"^{word} ", said, re.MULTILINE), word
    for name, backend in backends.REGISTRY.items():
        if backend.packages:
            (line,) = re.findall(rf"^{name} .*", said, re.MULTILINE)
            assert backend.missing() in line if backend.missing() else "canaries agree" in line


def test_doctor_says_how_to_install_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backends.Backend, "missing", lambda self: "pip install it")
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("pip install it") == sum(
        bool(row.packages) for row in backends.REGISTRY.values()
    )


def test_a_resumed_run_can_be_looked_at_dry(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is left, with no suite named, and nothing begun."""
    assert main(["run", "suite.toml", "--out", "whole", "--dry-run"]) == 0
    fresh = capsys.readouterr().out
    assert main(["run", "suite.toml", "--out", "whole"]) == 0
    capsys.readouterr()
    before = contents(here / "whole")
    assert main(["run", "--resume", "whole", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "\n0 processes: " in said and "\n0 processes: " not in fresh
    assert contents(here / "whole") == before
