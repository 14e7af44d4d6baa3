"""What a case's newer axes, several steps a call, a recipe, another kind of input, change in what a row says."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from test_bounds import FOUND, MLP
from test_reports import report
from test_table import CASE, MACHINE, pilot, proof, rounds_of, run_of, sample

from bench import bounds, break_even, datasets, feeds, measuring, run, suite, workloads
from bench.baseline import _check_sample
from bench.errors import BenchError
from bench.layers import BatchNorm, Conv2D, Flatten, Residual
from bench.messages import Bursts, Warmed
from bench.records import PILOT_ROUND
from bench.reports import markdown
from bench.suite import Protocol
from bench.workload import Workload

CHAINED = replace(CASE, steps_per_call=4)


# --- several steps a call: every time is a step's ---------------------------------------------------------------------


class Worker:
    """It answers what it is asked as an open worker would, with bursts of one millisecond."""

    def expect(self, question: Any, kind: type[Any], until: float) -> Any:
        if kind is Warmed:
            return Warmed((0.1, 0.1, 0.1), 7, True, 0, {}, 1e-7, 0, (), 0.1, 0.1)
        wall = (1_000_000,) * question.count
        return Bursts(wall, wall, (0,) * len(wall), 0, True, None, 0.0, sample(CASE, 0, 1.0).sensed, 0.1)


@pytest.mark.parametrize(("case", "steps"), [(CASE, 10), (CHAINED, 40), (replace(CHAINED, measure="latency"), 4)])
def test_a_burst_of_calls_is_as_many_steps_as_they_make(case: Any, steps: int) -> None:
    subject = measuring.Subject(Protocol(), case, "", None, sample(case, 0, 1.0).origin, 0.0, False)
    found = measuring.sample(Worker(), subject, pilot(case), 1.0)  # type: ignore[arg-type]
    assert found.steps == steps


def test_a_baselines_burst_is_held_against_its_pilots_calls() -> None:
    stored = replace(sample(CHAINED, 0, 1.0, steps=40), origin=_of_today())
    _check_sample(Path("x"), stored, {(CHAINED, PILOT_ROUND): pilot(CHAINED)})
    with pytest.raises(BenchError, match="has 10 steps a burst, its pilot chose 40"):
        _check_sample(Path("x"), replace(stored, steps=10), {(CHAINED, PILOT_ROUND): pilot(CHAINED)})


def _of_today() -> Any:
    return replace(sample(CASE, 0, 1.0).origin, digest=workloads.get(CASE.work).digest)


def test_first_calls_are_worth_all_their_steps() -> None:
    for case, steps in ((CASE, 3), (CHAINED, 12)):
        found = break_even.warm({1: sample(case, 1, 2.0, warm=0.5)}, [1])
        assert found is not None
        assert found.extra == (pytest.approx(0.1 + 0.7 - steps * 0.002),)


def test_dispatch_is_shared_by_a_calls_steps() -> None:
    one = bounds.of(CASE, MLP, 1e-3, pilot(CASE, dispatch=4e-4), FOUND)
    four = bounds.of(CHAINED, MLP, 1e-3, pilot(CHAINED, dispatch=4e-4), FOUND)
    assert (one.dispatch_share, four.dispatch_share) == (pytest.approx(0.4), pytest.approx(0.1))
    blocking = bounds.of(CHAINED, MLP, 1e-2, pilot(CHAINED, dispatch=4e-2, one_image=4e-3), FOUND)
    alone = bounds.of(CASE, MLP, 1e-2, pilot(CASE, dispatch=1e-2, one_image=1e-3), FOUND)
    assert blocking.dispatch_share == pytest.approx(alone.dispatch_share) and alone.dispatch_share > 0


@pytest.mark.parametrize(("steps", "taken"), [(1, True), (32, True), (33, False), (0, False)])
def test_a_suite_takes_as_many_steps_a_call_as_losses_are_kept(steps: int, taken: bool, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n[[matrix]]\nworkload = ["mlp"]\nbackend = ["jax"]\nsteps_per_call = [{steps}]\n')
    if taken:
        assert suite.load(path).matrix[0].steps_per_call == (steps,)
    else:
        with pytest.raises(BenchError, match="steps_per_call"):
            suite.load(path)


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_rows_by_different_recipes_are_no_rivals_and_said_apart() -> None:
    clipped = replace(CASE, recipe="clip")
    records = [r for case, ms in ((CASE, 1.0), (clipped, 2.0)) for r in (proof(case), *rounds_of(case, *[ms] * 6))]
    made = report(records, run_of(CASE, clipped), None)
    assert [row.relative for row in made.rows] == [1.0, 1.0]
    text = markdown.render(made)
    assert "   recipe |" in text and "recipe clip / plain" in text


def test_a_recipe_that_is_not_for_a_workload_is_unsupported_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\n[[matrix]]\nworkload = ["mlp", "cnn"]\nbackend = ["jax"]\nphase = ["train"]\n'
        'recipe = ["augment"]\ndevice = ["cpu"]\nthreads = [1]\n'
    )
    mlp, cnn = suite.plan(suite.load(path), MACHINE)
    assert (mlp.status, cnn.status == "unsupported") == ("unsupported", False)
    assert mlp.reason.startswith("recipe augment turns images")


# --- inputs of other kinds --------------------------------------------------------------------------------------------


def test_an_epoch_is_of_the_set_that_was_used_or_of_the_one_a_model_is_known_for() -> None:
    assert datasets.epoch(MLP, "digits") == 1_500
    assert datasets.epoch(workloads.get("resnet50"), "synthetic") == 1_281_167
    assert datasets.epoch(workloads.get("gpt"), "synthetic") is None


@pytest.mark.parametrize(("name", "said"), [("mlp", "fashion-mnist images"), ("gpt_tiny", "fashion-mnist samples")])
def test_a_caption_calls_images_images_and_the_rest_samples(name: str, said: str) -> None:
    case = replace(CASE, workload=name, data="fashion-mnist")
    assert said in markdown.render(report([proof(case), *rounds_of(case, *[1.0] * 6)], run_of(case), None))


def test_as_many_samples_are_drawn_as_a_run_needs_and_then_they_come_again(tmp_path: Path) -> None:
    workload = workloads.get("gpt_tiny")
    for size, count, distinct in ((4, 8, 32), (200, 4, feeds.DISTINCT)):
        path = tmp_path / f"{size}.npz"
        feeds.write(path, workload, data="synthetic", size=size, count=count, seed=1)
        assert len({x.tobytes() for batch, _ in feeds.read(path, workload) for x in batch}) == distinct


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_a_blocks_first_layer_is_asked_for_no_gradient_where_nothing_before_it_has_parameters() -> None:
    block = Residual((Conv2D(3, 1), Conv2D(3, 1)), (Conv2D(3, 1),))
    model = replace(workloads.get("cnn"), input=(4, 4, 3), layers=(block, block, Flatten()), classes=48)
    first = [place.path for place, first in model.placed_first() if first]
    assert first == ["residual_1.conv2d_1", "residual_1.conv2d_3", "residual_1"]


def test_batchnorm_costs_less_in_inference() -> None:
    model = Workload("x", "", (4, 4, 3), 48, (BatchNorm(), Flatten()), MLP.optimiser)
    assert model.flops_per_sample("infer") == 2 * 48
    assert model.flops_per_sample("train") == (7 + 8) * 48
    assert model.bytes_per_step("infer", 1, 4) == 4 * (2 * 48 + 4 * 3)


# --- what a proof depends on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["torch", "keras-torch"])
def test_a_kept_proof_depends_on_the_vocabulary_and_on_what_keras_runs_on(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(run, "source_digest", lambda files: asked.extend(files) or "x")
    run.adapter_digest(backend)
    found = {"/".join(path.parts[-3:]) for path in asked}
    assert {"bench/layers/recurrent.py", "backends/torch/program.py"} <= found
    assert any(path.name == "recipe.py" for path in asked) and any(path.name == "samples.py" for path in asked)
    assert ("backends/keras/program.py" in found) is (backend != "torch")
