"""`bench.datasets` on tiny IDX files under a patched table of hashes, and on the real ones where installed."""

import gzip
import hashlib
import importlib.util
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import python

from bench import datasets
from bench.errors import BenchError

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DEBIAN = Path(datasets.DEBIAN)
Files = dict[str, bytes]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def arrays(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        TRAIN_IMAGES: generator.integers(0, 256, (6, 28, 28)),
        TRAIN_LABELS: np.array([0, 9, 3, 1, 2, seed]),
        TEST_IMAGES: generator.integers(0, 256, (3, 28, 28)),
        TEST_LABELS: np.array([9, 0, seed]),
    }


TINY: dict[str, Files] = {
    "fashion-mnist": {file: idx(array) for file, array in arrays(4).items()},
    "mnist": {file: idx(array) for file, array in arrays(5).items()},
}


def table(files: Files) -> dict[str, datasets.Content]:
    return {file: datasets.Content(len(data), hashlib.sha256(data).hexdigest()) for file, data in files.items()}


def put(folder: Path, files: Files, *, compress: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / (f"{file}.gz" if compress else file)).write_bytes(gzip.compress(data) if compress else data)
    return folder


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """The tiny sets are the right ones, every place looked in is an empty one under `tmp_path`, the digits are here."""
    found = {"bench": tmp_path / "bench", "debian": tmp_path / "debian", "cache": tmp_path / "cache/stepwatch/data"}
    for folder in found.values():
        folder.mkdir(parents=True)
    monkeypatch.setattr(datasets, "FILES", {name: table(files) for name, files in TINY.items()})
    monkeypatch.setattr(datasets, "DEBIAN", str(found["debian"]))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "sklearn")
    monkeypatch.setenv("BENCH_DATA", str(found["bench"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def error_of(action: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(BenchError) as caught:
        action(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


# ---- the table, and the real files


def test_table_is_the_published_one() -> None:
    assert datasets.ORDER == ("fashion-mnist", "mnist", "digits", "synthetic")
    sizes = {TRAIN_IMAGES: 16 + 60_000 * 784, TRAIN_LABELS: 8 + 60_000}
    sizes |= {TEST_IMAGES: 16 + 10_000 * 784, TEST_LABELS: 8 + 10_000}
    for name in ("fashion-mnist", "mnist"):
        assert {file: content.size for file, content in datasets.FILES[name].items()} == sizes
    hashes = [content.sha256 for files in datasets.FILES.values() for content in files.values()]
    assert len(set(hashes)) == 8 and all(len(bytes.fromhex(text)) == 32 for text in hashes)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason=f"no {DEBIAN}: install Debian's package dataset-fashion-mnist")
def test_real_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    source = datasets.locate("fashion-mnist")
    assert source == datasets.Source("fashion-mnist", str(DEBIAN), 60_000, "")
    assert datasets.locate("auto") == source
    datasets.verify(source)
    for split, begin, count in (("train", "train", 60_000), ("test", "t10k", 10_000)):
        images, labels = datasets.load(source, split)
        assert (images.shape, labels.shape) == ((count, 28, 28), (count,))
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
        assert np.bincount(labels).tolist() == [count // 10] * 10  # its authors made it balanced
        content = gzip.decompress((DEBIAN / f"{begin}-images-idx3-ubyte.gz").read_bytes())
        assert images.tobytes() == content[16:]


# ---- reading


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gz"])
@pytest.mark.parametrize("split, begin", [("train", "train"), ("test", "t10k")])
def test_load(places: dict[str, Path], split: str, begin: str, compress: bool) -> None:
    put(places["cache"] / "mnist", TINY["mnist"], compress=compress)
    source = datasets.locate("mnist")
    datasets.verify(source)
    loaded = datasets.load(source, split)
    wanted = arrays(5)
    assert source.images == 6
    assert (loaded[0].dtype, loaded[1].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(loaded[0], wanted[f"{begin}-images-idx3-ubyte"])
    np.testing.assert_array_equal(loaded[1], wanted[f"{begin}-labels-idx1-ubyte"])
    assert all(array.flags.writeable and array.flags.c_contiguous for array in loaded)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


PACKED = gzip.compress(TINY["mnist"][TEST_IMAGES], mtime=0)
DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {  # suffix, damage, words of the error
    "truncated": ("", lambda data: data[:-1], "is truncated: 2367 bytes of content, wanted 2368"),
    "header alone": ("", lambda data: data[:2], "is truncated"),
    "too long": ("", lambda data: data + b"\0", "is too long"),
    "empty": ("", lambda data: b"", "is truncated: 0 bytes of content"),
    "a web page": ("", lambda data: b"<!doctype html>" + data, "is not an IDX file"),
    "gz truncated": (".gz", lambda data: PACKED[:-100], "ended before the end-of-stream marker"),
    "gz altered": (".gz", lambda data: flipped(PACKED, len(PACKED) // 2), "cannot be read"),
    "gz nonsense": (".gz", lambda data: PACKED[:10] + b"\xff" * 100, "invalid block type"),
    "gz checksum": (".gz", lambda data: flipped(PACKED, len(PACKED) - 6), "CRC check failed"),
    "gz empty": (".gz", lambda data: b"", "is truncated: 0 bytes of content"),
    "gz not gzip": (".gz", lambda data: data, "Not a gzipped file"),
    "gz content truncated": (".gz", lambda data: gzip.compress(data[:-1]), "is truncated"),
    "gz content too long": (".gz", lambda data: gzip.compress(data + b"\0"), "is too long"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_named(places: dict[str, Path], damage: str) -> None:
    suffix, make, words = DAMAGES[damage]
    folder = put(places["cache"] / "mnist", TINY["mnist"], compress=suffix == ".gz")
    bad = folder / (TEST_IMAGES + suffix)
    source = datasets.locate("mnist")
    datasets.verify(source)
    bad.write_bytes(make(TINY["mnist"][TEST_IMAGES]))
    for message in (error_of(datasets.verify, source), error_of(datasets.load, source, "test")):
        assert words in message and str(bad) in message and "`stepwatch data fetch mnist`" in message
    datasets.load(source, "train")  # the other split is sound


def test_a_file_that_decompresses_to_far_too_much_is_not_read_whole(places: dict[str, Path]) -> None:
    folder = put(places["cache"] / "mnist", TINY["mnist"], compress=True)
    (folder / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(b"\0\0\x08" + bytes(1 << 24)))
    tracemalloc.start()
    try:
        message = error_of(datasets.verify, datasets.locate("mnist"))
        assert "is too long" in message
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("file", TINY["mnist"])
@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gz"])
def test_verify_sees_one_altered_byte(places: dict[str, Path], file: str, compress: bool) -> None:
    altered = TINY["mnist"] | {file: TINY["mnist"][file][:-1] + b"\7"}
    folder = put(places["cache"] / "mnist", altered, compress=compress)
    message = error_of(datasets.verify, datasets.locate("mnist"))
    assert "was altered" in message and str(folder / file) in message


def with_header(data: bytes, *numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers) + data[4 * len(numbers) :]


HEADERS = {
    "magic of labels in images": (TRAIN_IMAGES, lambda data: with_header(data, 0x0801), "(2049, 6, 28, 28)"),
    "magic of images in labels": (TRAIN_LABELS, lambda data: with_header(data, 0x0803), "(2051, 6)"),
    "count of images": (TRAIN_IMAGES, lambda data: with_header(data, 0x0803, 5), "(2051, 5, 28, 28)"),
    "count of labels": (TRAIN_LABELS, lambda data: with_header(data, 0x0801, 7), "(2049, 7)"),
    "rows and columns": (TRAIN_IMAGES, lambda data: with_header(data, 0x0803, 6, 14, 56), "(2051, 6, 14, 56)"),
    "label out of range": (TRAIN_LABELS, lambda data: data[:-1] + b"\x0a", "holds the label 10, wanted 0..9"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_load_checks_headers_and_labels_itself(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    file, make, words = HEADERS[case]
    files = TINY["mnist"] | {file: make(TINY["mnist"][file])}
    monkeypatch.setitem(datasets.FILES, "mnist", table(files))  # so size and hash are right, and only load can object
    folder = put(places["cache"] / "mnist", files)
    source = datasets.locate("mnist")
    datasets.verify(source)
    message = error_of(datasets.load, source, "train")
    assert words in message and str(folder / file) in message


def test_a_file_that_went_away_is_named(places: dict[str, Path]) -> None:
    folder = put(places["cache"] / "mnist", TINY["mnist"])
    source = datasets.locate("mnist")
    (folder / TEST_LABELS).unlink()
    for message in (error_of(datasets.verify, source), error_of(datasets.load, source, "test")):
        assert str(folder / TEST_LABELS) in message


def test_an_unreadable_file_is_named(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(places["cache"] / "mnist", TINY["mnist"], compress=True)

    def refuse(path: Path) -> None:  # by hand, since to root every file is readable
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(gzip, "open", refuse)
    message = error_of(datasets.verify, datasets.locate("mnist"))
    assert "cannot be read" in message and str(folder / TRAIN_IMAGES) in message


def test_unknown_split_and_source(places: dict[str, Path]) -> None:
    assert "train, test" in error_of(datasets.load, datasets.locate("synthetic"), "validation")
    stray = datasets.Source("cifar", "", 1, "")
    assert "no data set 'cifar'" in error_of(datasets.load, stray)
    assert "no data set 'cifar'" in error_of(datasets.verify, stray)


# ---- locating


def test_places_in_order(places: dict[str, Path]) -> None:
    name = "fashion-mnist"
    order = [places["bench"] / name, places["bench"], places["debian"], places["cache"] / name]
    for folder in order:
        put(folder, TINY[name])
    for folder in order:
        assert datasets.locate(name) == datasets.Source(name, str(folder), 6, "")
        for file in TINY[name]:
            (folder / file).unlink()
    assert datasets.locate("auto").name == "digits"


def test_debian_folder_holds_fashion_mnist_only(places: dict[str, Path]) -> None:
    put(places["debian"], TINY["mnist"])
    assert str(places["debian"]) not in error_of(datasets.locate, "mnist")


@pytest.mark.parametrize("held, other", [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")])
def test_bare_folder_is_told_by_its_hashes(places: dict[str, Path], held: str, other: str) -> None:
    put(places["bench"], TINY[held])
    assert datasets.locate("auto") == datasets.locate(held) == datasets.Source(held, str(places["bench"]), 6, "")
    assert str(places["bench"]) in error_of(datasets.locate, other)


def test_bare_folder_of_another_data_set_does_not_count(places: dict[str, Path]) -> None:
    put(places["bench"], {file: idx(array) for file, array in arrays(6).items()})
    assert datasets.locate("auto").name == "digits"


@pytest.mark.parametrize("file", TINY["mnist"])
def test_one_damaged_file_in_a_bare_folder_is_named_not_passed_over(places: dict[str, Path], file: str) -> None:
    put(places["bench"], TINY["mnist"] | {file: b""})
    source = datasets.locate("auto")
    assert (source.name, source.folder) == ("mnist", str(places["bench"]))
    assert str(places["bench"] / file) in error_of(datasets.verify, source)


@pytest.mark.parametrize("file", TINY["mnist"])
def test_incomplete_folder_is_passed_over(places: dict[str, Path], file: str) -> None:
    (put(places["bench"] / "mnist", TINY["mnist"]) / file).unlink()
    assert datasets.locate("auto").name == "digits"
    put(places["cache"] / "mnist", TINY["mnist"])
    assert datasets.locate("mnist").folder == str(places["cache"] / "mnist")


def test_auto_takes_the_first_that_is_here(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fashion-mnist", "mnist"):
        put(places["cache"] / name, TINY[name])
    for name in ("fashion-mnist", "mnist"):
        assert datasets.locate("auto").name == name
        shutil.rmtree(places["cache"] / name)
    assert datasets.locate("auto") == datasets.Source("digits", "", 1_500, datasets.BETTER)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert datasets.locate("auto") == datasets.Source("synthetic", "", 4_096, datasets.BETTER)
    assert "`pip install scikit-learn`" in error_of(datasets.locate, "digits")


@pytest.mark.parametrize("name", ["auto", *datasets.ORDER])
@pytest.mark.parametrize("value", ["missing", "file"])
def test_bench_data_must_be_a_folder(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / value))
    message = error_of(datasets.locate, name)
    assert "BENCH_DATA" in message and str(tmp_path / value) in message


def test_empty_bench_data_is_none(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(put(places["bench"], TINY["mnist"]))
    monkeypatch.setenv("BENCH_DATA", "")
    assert datasets.locate("auto").name == "digits"


def test_folder_is_absolute(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    put(places["bench"], TINY["mnist"])
    monkeypatch.chdir(places["bench"].parent)
    monkeypatch.setenv("BENCH_DATA", "bench/")
    assert datasets.locate("mnist").folder == str(places["bench"])


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for value in ("", "relative/is/ignored"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert datasets.cache("mnist") == Path("/home/someone/.cache/stepwatch/data/mnist")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert datasets.cache("mnist") == Path("/elsewhere/stepwatch/data/mnist")


def test_unknown_name_gets_a_suggestion(places: dict[str, Path]) -> None:
    message = error_of(datasets.locate, "fashion_mnist")
    assert "did you mean 'fashion-mnist'?" in message
    assert all(name in message for name in ("auto", *datasets.ORDER))
    assert "did you mean" not in error_of(datasets.locate, "imagenet-22k")


def test_a_set_that_is_not_here_says_where_it_was_looked_for(places: dict[str, Path]) -> None:
    name = "fashion-mnist"
    message = error_of(datasets.locate, name)
    for folder in (places["bench"] / name, places["bench"], places["debian"], places["cache"] / name):
        assert str(folder) in message
    assert "`stepwatch data fetch fashion-mnist`" in message


def test_better_data_are_pointed_to_in_one_line(places: dict[str, Path]) -> None:
    for name in ("digits", "synthetic"):
        assert datasets.locate(name).better == "`make data` or `stepwatch data fetch` brings Fashion-MNIST"


# ---- what needs no files

PINS = {  # SHA-256 of the images and of the labels as little-endian int32: a change here changes every later result
    ("digits", "train"): (
        "97d4022b8ea5067898018412bc5bf751d5ebca53c9fe615b5eadab10a3218b7b",
        "c795658a33b195f3c33a92e762acbde7269fc4870f571004c54dbfef1bc556ae",
    ),
    ("digits", "test"): (
        "73a94ac3a9f429da95b36b933bb647ff8bb86ac0dec4340c4cd8c58431ce2d58",
        "f110a5d666818895371f14187786ad63a5a693f5f161e9713e0b4c56802643a7",
    ),
    ("synthetic", "train"): (
        "96e71efefb6d4e309e03f34b874535444e52942a47f298ead8062bfe4be4091d",
        "04ddaa9fae89e2d8984f1671ec5b76b2ba29ae1ffe0239d4fc3fb23e38ade662",
    ),
    ("synthetic", "test"): (
        "dafaf6756db76f617b0146957a38ca8e693bf2bddf7fd0f43080b297b70ce06a",
        "84cbaa0651cadd3819a181b4554da6f6313780cf1222037d9b9af567e08d9a25",
    ),
}
COUNTS = {"digits": {"train": 1_500, "test": 297}, "synthetic": {"train": 4_096, "test": 1_024}}


@pytest.mark.parametrize("name, split", PINS)
def test_made_data_are_always_the_same(name: str, split: str) -> None:
    if name == "digits":
        pytest.importorskip("sklearn", reason="the digits are in scikit-learn")
    source = datasets.Source(name, "", 0, "")
    datasets.verify(source)
    images, labels = datasets.load(source, split)
    count = COUNTS[name][split]
    assert (images.shape, labels.shape) == ((count, 28, 28), (count,))
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert (images.min(), images.max()) == (0, 255)
    assert np.unique(labels).tolist() == list(range(10))
    assert images.flags.c_contiguous
    assert (digest(images), digest(labels.astype("<i4"))) == PINS[name, split]


def test_digits_leave_the_environment_as_it_was() -> None:
    """scikit-learn sets what OpenMP reads: a proof is named by it, and workers that begin afterwards inherit it."""
    pytest.importorskip("sklearn", reason="the digits are in scikit-learn")
    script = (
        "import os; [os.environ.pop(name) for name in [*os.environ] if name.startswith('KMP_')]; "  # this process's
    )
    script += "from bench import datasets; before = dict(os.environ); "
    script += "datasets.load(datasets.Source('digits', '', 0, ''), 'test'); import sklearn; assert os.environ == before"
    done = python("-c", script)
    assert done.returncode == 0, done.stderr


def test_digits_are_enlarged_bilinearly() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="the digits are in scikit-learn")
    small = sklearn_datasets.load_digits().images
    images, _ = datasets.load(datasets.Source("digits", "", 0, ""), "test")
    centres = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    for index in (0, 100, 296):
        wide = np.stack([np.interp(centres, np.arange(8), row) for row in small[1_500 + index]])
        whole = np.stack([np.interp(centres, np.arange(8), column) for column in wide.T], axis=1)
        assert np.abs(whole * 255 / 16 - images[index]).max() <= 0.5 + 1e-9  # only rounded to whole bytes


def test_import_brings_no_scikit_learn() -> None:
    program = "import sys, bench.datasets; sys.exit('sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])
