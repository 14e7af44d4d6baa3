"""Suite files: what is refused and in which words, what the axes resolve to, and what filters leave."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_table import MACHINE

from bench import backends, machine, suite, workloads
from bench.__main__ import main
from bench.errors import BenchError
from bench.machine import Gpu, Machine
from bench.runner import Runner
from bench.suite import Filters, Matrix, Planned, Protocol, Suite, plan

GPU_MACHINE = replace(MACHINE, gpus=(Gpu("G", 1024, "1.0"),))
AXES = {"workload": '["mlp"]', "backend": '["null"]', "data": '["synthetic"]', "device": '["cpu"]'}
SHIPPED = suite.shipped()


def source(*matrices: dict[str, str], **top: str) -> str:
    """A sound suite file but for what is given: keys of the top level, then of each matrix, as TOML."""
    lines = [f"{key} = {value}" for key, value in ({"name": '"tiny"', "rounds": "2"} | top).items()]
    for matrix in matrices or ({},):
        lines += ["[[matrix]]", *(f"{key} = {value}" for key, value in (AXES | matrix).items())]
    return "\n".join(lines) + "\n"


def protocol(line: str) -> str:
    return source().replace("[[matrix]]", f"[protocol]\n{line}\n[[matrix]]", 1)


def loaded(tmp_path: Path, text: str) -> Suite:
    path = tmp_path / "suite.toml"
    path.write_text(text)
    return suite.load(path)


def made(*matrices: Matrix) -> Suite:
    return Suite("made", matrices)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, a machine with 4 cores and no GPU, and nothing that measures."""

    def execute(self: Runner) -> None:
        raise AssertionError("the suite was accepted")

    monkeypatch.setattr(machine, "read", lambda: MACHINE)
    monkeypatch.setattr(Runner, "execute", execute)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# --- what is refused --------------------------------------------------------------------------------------------------

# What is wrong -> the file, and words of the message: what was wanted, where, what was found.
BAD: dict[str, tuple[str | bytes, Sequence[str]]] = {
    "a search beside numbers": (
        source({"batch": '[64, "auto"]'}),
        ["matrix[0]", '"auto" alone', "64, auto"],
    ),
    "a search twice": (source({"batch": '["auto", "auto"]'}), ['numbers or "auto" alone', "auto, auto"]),
    "a search of another name": (source({"batch": '"largest"'}), ["'largest'", "$.matrix[0].batch"]),
    "a search and one of its batches": (source({"batch": '"auto"'}, {"batch": "[64]"}), ["batch 64' is there twice"]),
    "workload": (source({"workload": '["mpl"]'}), ["no workload 'mpl'", "cnn", "mlp_dropout", "did you mean"]),
    "a recipe in the workload's name": (
        source({"workload": '["mlp+l2"]'}),
        ["matrix[0]", "'mlp+l2'", 'an axis of its own, recipe = ["l2"]'],
    ),
    "backend": (source({"backend": '["pytorch"]'}), ["no backend 'pytorch'", "null, tensorflow, torch"]),
    "mode": (source({"mode": '["fast"]'}), ["no mode 'fast'", "matrix[0]", "eager", "graph", "compiled"]),
    "phase": (source({"phase": '["test"]'}), ["no phase 'test'", "matrix[0]", "train", "infer"]),
    "measure": (source({"measure": '["speed"]'}), ["no measure 'speed'", "throughput", "latency"]),
    "precision": (source({"precision": '["fp8"]'}), ["no precision 'fp8'", "fp32"]),
    "layout": (source({"layout": '["chwn"]'}), ["no layout 'chwn'", "nchw", "nhwc"]),
    "device": (source({"device": '["tpu"]'}), ["no device 'tpu'", "auto", "cpu", "gpu"]),
    "data": (source({"data": '["imagenet"]'}), ["no data 'imagenet'", "fashion-mnist", "synthetic"]),
    "input": (source({"input": '["disk"]'}), ["no input 'disk'", "resident"]),
    "recipe": (source({"recipe": '["fused"]'}), ["no recipe 'fused'", "plain"]),
    "second matrix": (source({}, {"mode": '["fast"]'}), ["matrix[1]"]),
    "data that is not here": (source({"data": '["mnist"]'}), ["'mnist' is not here", "stepwatch data fetch mnist"]),
    "no gpu": (source({"device": '["gpu"]'}), ["device 'gpu'", "no NVIDIA device"]),
    "threads above the cores": (source({"threads": "[5]"}), ["threads 5", "4 cores"]),
    "negative threads": (source({"threads": "[-1]"}), ["$.matrix[0].threads[0]"]),
    "toml": (source() + 'x = ["a\n', ["line "]),
    "toml in its first line": ("name = \n", ["line 1"]),
    "a key twice": (source() + 'workload = ["cnn"]\n', ["line "]),
    "empty": ("", ["is empty", "[[matrix]]"]),
    "blank": ("\n \n", ["is empty"]),
    "comment alone": ("# nothing\n", ["name"]),
    "binary": (bytes(range(256)), ["not text", "UTF-8"]),
    "zeros": (b"\0" * 64, ["line 1"]),
    "deeper than the parser goes": ("x = " + "[" * 20_000 + "]" * 20_000, ["suite.toml"]),
    "a number of 5000 digits": (source({"batch": f"[{'9' * 5000}]"}), ["suite.toml"]),
    "not a list": (source({"batch": "64"}), ["`str | array`, got `int`", "$.matrix[0].batch"]),
    "text for a list": (source({"workload": '"mlp"'}), ["`array`, got `str`", "$.matrix[0].workload"]),
    "number for a name": (source({"mode": "[1]"}), ["`str`, got `int`", "$.matrix[0].mode[0]"]),
    "unknown axis": (source({"batches": "[64]"}), ["unknown field `batches`", "$.matrix[0]"]),
    "unknown axis of the second": (source({}, {"batches": "[64]"}), ["unknown field `batches`", "$.matrix[1]"]),
    "unknown key": (source(round="3"), ["unknown field `round`"]),
    "unknown key of the protocol": (protocol("burst = 3"), ["unknown field `burst`", "$.protocol"]),
    "no name": (source().replace('name = "tiny"\n', ""), ["name"]),
    "no matrix": ('name = "tiny"\n', ["matrix"]),
    "no workload": (source().replace('workload = ["mlp"]\n', ""), ["workload", "$.matrix[0]"]),
    "matrix that is one table": (source().replace("[[matrix]]", "[matrix]"), ["$.matrix"]),
    "empty matrix": ('name = "tiny"\nmatrix = []\n', ["length >= 1", "$.matrix"]),
    "matrix without axes": ('name = "tiny"\n[[matrix]]\n', ["workload", "$.matrix[0]"]),
    **{
        f"empty list of {axis}": (source({axis: "[]"}), ["length >= 1", f"$.matrix[0].{axis}"])
        for axis in Matrix.__struct_fields__
        if axis != "margin"
    },
    **{
        f"margin {margin}": (source({"margin": margin}), ["$.matrix[0].margin"])
        for margin in ("0", "-0.1", "1.5", "nan", '"2%"', "[0.02]")
    },
    **{
        f"batch {batch}": (source({"batch": f"[{batch}]"}), ["$.matrix[0].batch[0]"])
        for batch in ("0", "-1", "1e12", "1000000000000", '"64"', "1.5", "true", "nan", "[64]")
    },
    **{f"rounds {rounds}": (source(rounds=rounds), ["$.rounds"]) for rounds in ("0", "-1", "1.5", "1001", '"6"', "[]")},
    **{f"seed {seed}": (source(seed=seed), ["$.seed"]) for seed in ("-1", "1.5")},
    **{
        f"protocol {line}": (protocol(line), [f"$.protocol.{line.split()[0]}"])
        for line in (
            *("warm_up_steps = 4", "warm_up_seconds = nan", "warm_up_seconds = -1", "bursts = 2", "bursts = 9.5"),
            *("burst_seconds = 0", "burst_seconds = inf", "burst_seconds = nan", "latency_calls = 2", "feed = 4"),
        )
    },
    **{
        f"name {name}": (source(name=f'"{name}"'), ["$.name"])
        for name in ("a/b", "../up", "..", ".", "", "a b", "a\\\\b", "a\\nb", "a\\n", "\\u0000", "ä", "x" * 65)
    },
    "a newline in a value": (source({"mode": '["a\\nb"]'}), ["no mode 'a"]),
    "a newline in a workload": (source({"workload": '["a\\nb"]'}), ["no workload 'a"]),
    # Duplicates: within one matrix, across two, and through what `default` stands for; images or none.
    **{
        f"{workload}: {name}": (source(*(matrix | {"workload": f'["{workload}"]'} for matrix in matrices)), ["twice"])
        for workload in ("mlp", "cnn")
        for name, matrices in {
            "a batch twice": [{"batch": "[64, 32, 64]"}],
            "a phase twice": [{"phase": '["train", "train"]'}],
            "a mode and the default": [{"mode": '["default", "eager"]'}],
            "a layout and the default": [{"layout": '["nhwc", "default"]'}],
            "a layout twice": [{"layout": '["nhwc", "nhwc"]'}],
            "a device and auto": [{"device": '["cpu", "auto"]'}],
            "data twice": [{"data": '["synthetic", "synthetic"]'}],
            "threads and all of them": [{"threads": "[0, 4]"}],
            "two matrices alike": [{}, {}],
            "two matrices that overlap": [{"batch": "[1, 2]"}, {"batch": "[2, 3]"}],
            "two matrices through the default": [{"mode": '["default"]'}, {"mode": '["eager"]'}],
        }.items()
    },
    "a workload twice": (source({"workload": '["mlp", "mlp"]'}), ["twice"]),
    "a backend twice": (source({"backend": '["null", "null"]'}), ["twice"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_suite_is_one_line_and_leaves_nothing(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = BAD[name]
    (here / "suite.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["run", "./suite.toml", "--out", "out"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1 and said.err.startswith("stepwatch: ")
    for word in words:
        assert word in said.err
    assert [path.name for path in here.iterdir()] == ["suite.toml"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            "quik",
            [
                "no suite 'quik'",
                "cpu, gate, gpu-full, gpu-models, gpu, input, keras, models, null, quick, recipes, search, self, smoke",
                "did you mean 'quick'?",
                ".toml",
            ],
        ),
        ("nothing-like-it", ["no suite", "quick"]),
        ("a\nb", ["no suite 'a"]),
        ("./no.toml", ["no suite file no.toml", "quick"]),
        ("no.toml", ["no suite file no.toml"]),
        ("./folder", ["cannot read suite folder", "directory"]),
        ("folder/", ["cannot read suite folder", "directory"]),
        ("file/under.toml", ["cannot read suite", "Not a directory"]),
        (f"./{'x' * 300}.toml", ["cannot read suite", "too long"]),
    ],
)
def test_a_suite_that_is_not_there(
    asked: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "folder").mkdir()
    (here / "file").touch()
    assert main(["run", asked, "--out", "out"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    assert not (here / "out").exists()


def test_the_sound_suite_of_these_tests_is_sound(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Else every test above could pass for a wrong reason.
    (here / "suite.toml").write_text(source())
    assert main(["run", "./suite.toml", "--dry-run"]) == 0
    assert "2 cases" in capsys.readouterr().out


# --- what is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_suite_loads_and_plans(name: str) -> None:
    found = suite.load(suite.find(name))
    assert found.name == name
    assert found.description
    planned = plan(found, GPU_MACHINE)
    assert len({p.case for p in planned}) == len(planned)
    for one in planned:
        case = one.case
        assert case.workload in workloads.names() and case.backend in backends.REGISTRY
        assert case.mode in backends.MODES and case.layout in (*backends.LAYOUTS, "flat")
        assert case.device == (
            "cpu" if case.backend == "null" or name in ("cpu", "gate", "self", "baseline") else "gpu"
        )
        assert case.threads == GPU_MACHINE.cores
        assert case.data not in ("auto", "")


def test_the_suites_that_the_design_names_are_shipped() -> None:
    assert {"smoke", "quick", "cpu", "gpu", "null"} <= SHIPPED.keys()


def test_only_a_suite_with_less_than_the_full_protocol_is_marked() -> None:
    assert not Protocol().shortened()
    assert not Protocol(bursts=40, warm_up_seconds=2.0).shortened()
    for name in Protocol.__struct_fields__:
        less = replace(Protocol(), **{name: getattr(Protocol(), name) / 2})
        assert less.shortened(), name
    assert [name for name, path in SHIPPED.items() if suite.load(path).protocol.shortened()] == ["smoke"]


def test_flat_collapses_layouts_where_there_are_no_images() -> None:
    layouts = Matrix(workload=("mlp", "cnn"), backend=("tensorflow",), layout=("nchw", "nhwc"), phase=("train",))
    found = [(p.case.workload, p.case.layout) for p in plan(made(layouts), MACHINE)]
    assert found == [("mlp", "flat"), ("cnn", "nchw"), ("cnn", "nhwc")]


@pytest.mark.parametrize(
    ("backend", "axis", "value", "status", "word"),
    [
        ("torch", "mode", "graph", "unsupported", "torch.compile"),
        ("jax", "mode", "eager", "unsupported", "jit"),
        ("jax", "layout", "nchw", "unsupported", "channels-last"),
        ("null", "mode", "compiled", "unsupported", "one mode"),
        ("torch", "mode", "eager", "skipped", backends.install("torch")),
    ],
)
def test_what_will_not_be_measured_says_why(
    backend: str, axis: str, value: str, status: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(backends.REGISTRY[backend], packages=("no_such_package",))
    monkeypatch.setitem(backends.REGISTRY, backend, absent)
    matrix = replace(Matrix(workload=("cnn",), backend=(backend,), phase=("train",)), **{axis: (value,)})
    (found,) = plan(made(matrix), MACHINE)
    assert found.status == status
    assert word in found.reason


def test_the_gpu_is_what_auto_means_where_there_is_one() -> None:
    matrix = Matrix(workload=("mlp",), backend=("torch", "null"), phase=("train",))
    assert [p.case.device for p in plan(made(matrix), GPU_MACHINE)] == ["gpu", "cpu"]
    assert [p.case.device for p in plan(made(matrix), MACHINE)] == ["cpu", "cpu"]
    (null,) = plan(made(replace(matrix, backend=("null",), device=("gpu",))), GPU_MACHINE)
    assert null.status == "unsupported"


def some(*values: object) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)


@given(
    workload=some("mlp", "mlp_dropout", "cnn"),
    backend=some("torch", "tensorflow", "jax", "null"),
    mode=st.one_of(st.just(("default",)), some(*backends.MODES)),
    phase=some("train", "infer"),
    measure=some("throughput", "latency"),
    layout=st.one_of(st.just(("default",)), some(*backends.LAYOUTS)),
    batch=st.lists(st.integers(1, 2**20), min_size=1, max_size=4, unique=True).map(tuple),
    threads=st.one_of(st.just((0,)), some(1, 2, 3, 4)),
)
def test_the_number_of_cases_is_the_product_of_the_resolved_axes(**axes: tuple[object, ...]) -> None:
    planned = plan(made(Matrix(data=("synthetic",), device=("cpu",), **axes)), MACHINE)  # type: ignore[arg-type]
    images = sum(name == "cnn" for name in axes["workload"])
    without = len(axes["workload"]) - images
    others = 1
    for axis in ("backend", "mode", "phase", "measure", "batch", "threads"):
        others *= len(axes[axis])
    assert len(planned) == others * (images * len(axes["layout"]) + without)


# --- filters ----------------------------------------------------------------------------------------------------------

WIDE = made(
    Matrix(workload=("mlp", "cnn"), backend=("torch", "jax", "null"), mode=("eager", "compiled"), data=("synthetic",))
)
ALL = plan(WIDE, MACHINE)
DEFAULT = Filters(mode=("default",))


@given(
    workload=st.lists(st.sampled_from(["mlp", "cnn", "mlp_dropout"])).map(tuple),
    backend=st.lists(st.sampled_from(sorted(backends.REGISTRY))).map(tuple),
    mode=st.lists(st.sampled_from(backends.MODES)).map(tuple),
    device=st.lists(st.sampled_from(["cpu", "gpu"])).map(tuple),
)
def test_filters_narrow_and_never_widen(**values: tuple[str, ...]) -> None:
    def passes(one: Planned) -> bool:
        return all(not allowed or getattr(one.case, axis) in allowed for axis, allowed in values.items())

    wanted = [one for one in ALL if passes(one)]
    if wanted:
        assert plan(WIDE, MACHINE, Filters(**values)) == wanted
    else:
        with pytest.raises(BenchError, match=r"filters leave none|leave out --device gpu"):
            plan(WIDE, MACHINE, Filters(**values))


def test_the_filter_default_is_each_backend_s_headline_mode() -> None:
    found = plan(WIDE, MACHINE, Filters(mode=("default",)))
    headlines = {("torch", "eager"), ("jax", "compiled"), ("null", "eager")}
    assert {(p.case.backend, p.case.mode) for p in found} == headlines


@pytest.mark.parametrize(
    ("machine", "mode"), [(MACHINE, "graph"), (GPU_MACHINE, "compiled")], ids=["without a GPU", "with one"]
)
def test_the_headline_mode_is_the_device_s(machine: Machine, mode: str) -> None:
    wide = made(Matrix(workload=("mlp",), backend=("keras-tensorflow",), mode=("default",), data=("synthetic",)))
    assert {p.case.mode for p in plan(wide, machine)} == {mode}
    narrowed = plan(replace(wide, matrix=(replace(wide.matrix[0], mode=("graph", "compiled")),)), machine)
    kept = plan(replace(wide, matrix=(replace(wide.matrix[0], mode=("graph", "compiled")),)), machine, DEFAULT)
    assert len(narrowed) == 4 and {p.case.mode for p in kept} == {mode}


@pytest.mark.parametrize(
    ("filters", "word"),
    [
        (Filters(workload=("gtp",)), "no workload 'gtp'; there are cnn, gpt, gpt_tiny, lstm_text"),
        (Filters(backend=("pytorch",)), "no backend 'pytorch'; there are control, jax, keras-jax, "),
        (Filters(backend=("mine.py",)), "no backend 'mine.py'; there are control, jax, keras-jax, "),
        (Filters(mode=("fast",)), "no mode 'fast'; there are compiled, default, eager, graph"),
        (Filters(device=("tpu",)), "no device 'tpu'; there are auto, cpu, gpu"),
        (Filters(backend=("torch", "pytorch")), "no backend 'pytorch'"),
        (Filters(workload=("mlp_dropout",)), f"the filters leave none of its {len(ALL)} cases"),
    ],
)
def test_a_filter_that_names_nothing(filters: Filters, word: str) -> None:
    with pytest.raises(BenchError) as caught:
        plan(WIDE, MACHINE, filters)
    assert word in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_filter_may_name_a_recipe_too() -> None:
    matrix = Matrix(workload=("mlp", "cnn"), backend=("torch",), phase=("train",), recipe=("plain", "l2"))
    for asked, kept in (
        (("cnn",), [("cnn", "plain"), ("cnn", "l2")]),
        (("cnn+l2",), [("cnn", "l2")]),
        (("mlp", "cnn+l2"), [("mlp", "plain"), ("mlp", "l2"), ("cnn", "l2")]),
    ):
        found = plan(made(matrix), MACHINE, Filters(workload=asked))
        assert [(one.case.workload, one.case.recipe) for one in found] == kept
    with pytest.raises(BenchError, match="filters leave none"):
        plan(made(matrix), MACHINE, Filters(workload=("cnn+clip",)))


def test_no_latency_of_a_step_among_several_in_a_call() -> None:
    matrix = Matrix(workload=("mlp",), backend=("jax",), measure=("throughput", "latency"), steps_per_call=(1, 8))
    found = {(one.case.measure, one.case.steps_per_call): one for one in plan(made(matrix), MACHINE)}
    assert [key for key, one in found.items() if one.status == "unsupported"] == [("latency", 8)]
    assert "use steps_per_call 1" in found["latency", 8].reason


def test_a_gpu_that_the_filters_leave_out_is_not_asked_for() -> None:
    matrix = Matrix(workload=("mlp",), backend=("null",), phase=("train",), data=("synthetic",), device=("cpu", "gpu"))
    with pytest.raises(BenchError, match="no NVIDIA device"):
        plan(made(matrix), MACHINE)
    assert [p.case.device for p in plan(made(matrix), MACHINE, Filters(device=("cpu",)))] == ["cpu"]


def test_a_machine_is_data() -> None:
    # These tests must not depend on the machine they run on.
    assert machine.read() == MACHINE
    assert isinstance(machine.read(), Machine)
