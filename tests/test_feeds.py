"""The batches of a run as files, of every kind of input; and in groups for programs that take several in a call."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bench import datasets, feeds, samples, workloads
from bench.errors import BenchError
from bench.evidence import proof_batches

NAMES = ["mlp", "cnn", "resnet50_tiny", "gpt_tiny", "transformer_text_tiny", "lstm_text_tiny", "speech_cnn_tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_as_the_workload_takes_it(name: str, tmp_path: Path) -> None:
    workload = workloads.get(name)
    data = datasets.fitting("synthetic", workload)
    path = feeds.file(tmp_path, workload, data, 6)
    feeds.write(path, workload, data=data, size=6, count=3, seed=1)
    found = feeds.read(path, workload)
    assert len(found) == 3
    for x, y in found:
        assert x.shape == (6, *workload.input) and y.shape == (6, *workload.labels())
        assert x.dtype == (np.int32 if workload.vocabulary else np.float32) and y.dtype == np.int32
        assert (y >= 0).all() and (y < workload.classes).all()
        assert (x >= 0).all() and x.max() < (workload.vocabulary or 1.0 + 1e-6)
    assert not np.array_equal(found[0][0], found[1][0])
    again = tmp_path / "again.npz"
    feeds.write(again, workload, data=data, size=6, count=3, seed=1)
    for (x, y), (u, v) in zip(found, feeds.read(again, workload), strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
    assert len(feeds.read(path, workload, 2)) == 2


def test_large_batches_are_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlp = workloads.get("mlp")
    assert {size: feeds.fewer(mlp, size, 32) for size in (64, 4096, 32768, 2**17)} == {
        **{64: 32, 4096: 32},
        **{32768: 10, 2**17: 5},
    }
    assert 10 * 32768 * 784 * 4 <= feeds.ROOM < 11 * 32768 * 784 * 4
    assert feeds.fewer(workloads.get("resnet50"), 128, 32) == 13
    assert feeds.fewer(mlp, 2**17, 3) == 3, "never more than the suite asks for"
    monkeypatch.setattr(feeds, "ROOM", 6 * 16 * 784 * 4)
    feeds.write(tmp_path / "x.npz", mlp, data="synthetic", size=16, count=32, seed=1)
    few = feeds.read(tmp_path / "x.npz", mlp)
    monkeypatch.undo()
    feeds.write(tmp_path / "y.npz", mlp, data="synthetic", size=16, count=32, seed=1)
    many = feeds.read(tmp_path / "y.npz", mlp)
    assert (len(few), len(many)) == (6, 32)
    for (x, y), (u, v) in zip(few, many, strict=False):
        np.testing.assert_array_equal(x, u)  # the first ones are the same, so that one proof foretells both
        np.testing.assert_array_equal(y, v)


def test_images_of_28x28_are_shared_and_others_are_not(tmp_path: Path) -> None:
    def names(*wanted: str) -> set[str]:
        return {feeds.file(tmp_path, workloads.get(name), "synthetic", 64).name for name in wanted}

    assert names("mlp", "cnn", "mlp_dropout") == {"synthetic-64.npz"}
    assert len(names(*NAMES)) == len(NAMES) - 1


@pytest.mark.parametrize("name", NAMES)
def test_auto_means_samples_of_its_own_where_28x28_images_do_not_fit(name: str) -> None:
    workload = workloads.get(name)
    own = not workload.takes_28x28()
    assert (datasets.fitting("auto", workload) == "synthetic") or not own
    if own:
        with pytest.raises(
            BenchError, match=f"workload {name} wants .*, data set 'digits' has 28x28 images; use synth"
        ):
            datasets.fitting("digits", workload)


def test_text_has_frequent_tokens_and_a_language_model_the_next_one() -> None:
    workload = workloads.get("gpt_tiny")
    x, y = samples.draw(workload, np.random.Generator(np.random.PCG64(1)), 64)
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    counts = np.bincount(x[0], minlength=workload.vocabulary)
    assert counts.max() > 3 * counts.mean()
    _, labels = samples.draw(workloads.get("lstm_text_tiny"), np.random.Generator(np.random.PCG64(1)), 64)
    assert sorted(set(labels.tolist())) == [0, 1]


def test_more_classes_than_samples_draw_no_more_means_than_there_are_samples() -> None:
    x, y = samples.draw(workloads.get("resnet50"), np.random.Generator(np.random.PCG64(1)), 3)
    assert x.shape == (3, 224, 224, 3) and y.tolist() == [0, 1, 2]


def test_images_are_the_same_however_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together all of a large batch would take forty times the bytes that are kept, before anybody asks for room."""
    workload = workloads.get("resnet50_tiny")

    def drawn() -> np.ndarray:
        return samples.draw(workload, np.random.Generator(np.random.PCG64(1)), 4000)[0]

    tracemalloc.start()
    whole = drawn()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * whole.nbytes
    monkeypatch.setattr(samples, "AT_ONCE", 7)
    np.testing.assert_array_equal(drawn(), whole)


@pytest.mark.parametrize(("name", "size"), [("resnet50", 8192), ("gpt", 65536)])
def test_room_is_asked_for_before_anything_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, size: int
) -> None:
    monkeypatch.setattr(feeds, "draw", None)
    monkeypatch.setattr(feeds, "_free", lambda: 2**30)
    with pytest.raises(MemoryError):
        feeds.write(tmp_path / "x.npz", workloads.get(name), data="synthetic", size=size, count=32, seed=1)


def test_proof_batches_are_as_many_and_as_large_as_the_workload_says() -> None:
    for name in ("mlp", "gpt_tiny", "speech_cnn"):
        workload = workloads.get(name)
        found = proof_batches(workload)
        assert (len(found), len(found[0][0])) == (workload.proof.steps, workload.proof.batch)


# --- several in a call ------------------------------------------------------------------------------------------------

DATA = [(np.full((2, 3), n, np.float32), np.full(2, n, np.int32)) for n in range(5)]


def first(data: feeds.Data) -> list[list[float]]:
    return [x[:, 0, 0].tolist() for x, _ in data]


def test_one_a_call_is_the_data_itself() -> None:
    assert feeds.calls(DATA, 1) is DATA


def test_groups_are_stacked_and_the_last_begins_again_at_the_first() -> None:
    found = feeds.calls(DATA, 2)
    assert first(found) == [[0, 1], [2, 3], [4, 0]]
    assert [x.shape for x, _ in found] == [(2, 2, 3)] * 3 and [y.shape for _, y in found] == [(2, 2)] * 3
    assert first(feeds.calls(DATA, 7)) == [[0, 1, 2, 3, 4, 0, 1]]


def test_a_proof_goes_through_each_batch_once() -> None:
    assert first(feeds.calls(DATA, 2, whole=False)) == [[0, 1], [2, 3], [4]]
    assert first(feeds.calls(DATA, 8, whole=False)) == [[0, 1, 2, 3, 4]]
