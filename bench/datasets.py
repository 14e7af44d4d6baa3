"""Real images and where they come from, and seeded ones where none are here: always 28x28 grey bytes with labels 0..9.

Looks only on this machine: fetching is `bench.fetch`, and no framework is known here. Every read is checked against
the size of the published file; `verify` checks the SHA-256 too.
"""

import difflib
import gzip
import hashlib
import importlib.util
import math
import os
import struct
import zlib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.workload import Workload

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]

ORDER: tuple[str, ...] = ("fashion-mnist", "mnist", "digits", "synthetic")
SPLITS = {"train": "train", "test": "t10k"}  # split -> how its IDX files begin
SIDE = 28
DEBIAN = "/usr/share/datasets/fashion-mnist"  # Debian's package dataset-fashion-mnist
BETTER = "`make data` or `stepwatch data fetch` brings Fashion-MNIST"
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049  # IDX: 0x0803 and 0x0801, unsigned bytes in three dimensions and in one
DIGITS_TRAIN = 1_500  # of scikit-learn's 1 797, in its order; the last 297 are the test split
TRAINING_IMAGES = {"fashion-mnist": 60_000, "mnist": 60_000, "digits": 1_500, "synthetic": 4_096}  # an epoch
SYNTHETIC = {"train": (4_096, 1), "test": (1_024, 2)}  # split -> images, seed


class Content(msgspec.Struct, frozen=True):
    """What one IDX file must hold, once decompressed: its size in bytes, its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class Source(msgspec.Struct, frozen=True):
    """A data set that is here. `folder` is "" when none is needed; `images` counts the train split alone;
    `better` is one line on how to get better data, "" where the data are already good."""

    name: str
    folder: str
    images: int
    better: str


# Hashes of the content, because Debian compresses the same files anew. Fashion-MNIST's were computed from its package
# dataset-fashion-mnist; MNIST's are those that public projects pin for the files of yann.lecun.com/exdb/mnist.
FASHION_MNIST = {
    "train-images-idx3-ubyte": Content(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": Content(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": Content(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": Content(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
MNIST = {
    "train-images-idx3-ubyte": Content(47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": Content(60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": Content(7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": Content(10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
FILES = {"fashion-mnist": FASHION_MNIST, "mnist": MNIST}


def locate(name: str) -> Source:
    """Finds the data set `name`, one of `ORDER`, or with "auto" the first of them that is here.

    BenchError: an unknown name; a set that is not here, with where it was looked for; a $BENCH_DATA that is no folder.
    """
    given = os.environ.get("BENCH_DATA", "")
    if given and not os.path.isdir(given):
        raise BenchError(f"BENCH_DATA must name a folder, found {given!r}; create that folder or unset BENCH_DATA")
    if name == "auto":
        return next(source for source in map(_here, ORDER) if source is not None)
    _known(name)
    found = _here(name)
    if found is None and name == "digits":
        raise BenchError("data set 'digits' is in scikit-learn, which is not here; run `pip install scikit-learn`")
    if found is None:
        looked = ", ".join(str(folder) for folder in _folders(name))
        raise BenchError(f"data set {name!r} is not here, looked in {looked}; run `stepwatch data fetch {name}`")
    return found


def fitting(name: str, workload: Workload) -> str:
    """The data set that "auto" or a name means for a workload: one that takes no 28x28 images draws its own."""
    if workload.takes_28x28():
        return locate(name).name
    if name not in ("auto", "synthetic"):
        shape = "x".join(map(str, workload.input))
        what = f"{shape} tokens" if workload.vocabulary else f"input of {shape}"
        raise BenchError(f"workload {workload.name} wants {what}, data set {name!r} has 28x28 images; use synthetic")
    return "synthetic"


def epoch(workload: Workload, data: str) -> int | None:
    """Samples of an epoch: of the set that was used, or of the one that a workload with inputs of its own is known for.

    None where there is no such set.
    """
    return TRAINING_IMAGES.get(data) if workload.takes_28x28() else workload.epoch or None


def verify(source: Source) -> None:
    """Checks the SHA-256 of every file of `source`; there is nothing to check where it has no files.

    BenchError: names the file that is missing, unreadable, truncated, altered, not gzip or not IDX.
    """
    _known(source.name)
    for file in FILES.get(source.name, {}):
        check(source.name, _path(source, file))


def load(source: Source, split: str = "train") -> tuple[Images, Labels]:
    """The images, uint8 (n, 28, 28), and labels, int32 (n,) in 0..9, of the split "train" or "test".

    n is 60 000 and 10 000 for the two IDX sets, 1 500 and 297 for digits, 4 096 and 1 024 for synthetic.
    BenchError: an unknown split; a file whose magic, count, size or labels are wrong. (Hashes: see `verify`.)
    """
    _known(source.name)
    if split not in SPLITS:
        raise BenchError(f"no split {split!r} of a data set; there are {', '.join(SPLITS)}")
    if source.name not in FILES:
        return _digits(split) if source.name == "digits" else _synthetic(split)
    images = _parse(source, f"{SPLITS[split]}-images-idx3-ubyte", IMAGES_MAGIC, SIDE, SIDE)
    file = f"{SPLITS[split]}-labels-idx1-ubyte"
    labels = _parse(source, file, LABELS_MAGIC)
    if labels.max() > 9:
        raise _unusable(source.name, _path(source, file), f"holds the label {labels.max()}, wanted 0..9")
    return images.copy(), labels.astype(np.int32)  # both copies: a view of bytes could not be written to


def find(folder: Path, file: str) -> Path | None:
    """The IDX file `file` in `folder`, raw or else with `.gz`; None where neither is there."""
    return next((path for path in (folder / file, folder / f"{file}.gz") if os.path.isfile(path)), None)


def check(name: str, path: Path) -> None:
    """BenchError, naming `path`, unless it is sound as the file of that name in the IDX data set `name`."""
    what = fault(path, FILES[name][path.name.removesuffix(".gz")])
    if what:
        raise _unusable(name, path, what)


def fault(path: Path, content: Content) -> str:
    """What is wrong with the file at `path`, as the end of a sentence; "" if it holds exactly `content`."""
    try:
        found = hashlib.sha256(_read(path, content.size)).hexdigest()
    except ValueError as error:
        return str(error)
    return "" if found == content.sha256 else f"was altered: its content has SHA-256 {found}, not {content.sha256}"


def cache(name: str) -> Path:
    """The user's folder for the data set `name`: where fetching writes, and the last place where `locate` looks."""
    return cache_folder() / "data" / name


def cache_folder() -> Path:
    """What Stepwatch keeps of a user's: `$XDG_CACHE_HOME/stepwatch`, by default under ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # the XDG base directory specification: relative paths are to be ignored
        root = os.path.expanduser("~/.cache")
    return Path(root, "stepwatch")


def _known(name: str) -> None:
    if name not in ORDER:
        close = difflib.get_close_matches(name, ORDER, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BenchError(f"no data set {name!r}; there are auto, {', '.join(ORDER)}{hint}")


def _folders(name: str) -> list[Path]:
    given = os.environ.get("BENCH_DATA")
    own = [Path(given, name), Path(given)] if given else []
    return [*own, *([Path(DEBIAN)] if name == "fashion-mnist" else []), cache(name)]


def _here(name: str) -> Source | None:
    if name == "synthetic":
        return Source(name, "", SYNTHETIC["train"][0], BETTER)
    if name == "digits":
        return Source(name, "", DIGITS_TRAIN, BETTER) if importlib.util.find_spec("sklearn") else None
    files, given = FILES[name], os.environ.get("BENCH_DATA")
    for folder in _folders(name):
        named = not given or folder != Path(given)
        if all(find(folder, file) for file in files) and (named or _labels_match(name, folder)):
            return Source(name, str(folder.absolute()), (files["train-images-idx3-ubyte"].size - 16) // SIDE**2, "")
    return None


def _labels_match(name: str, folder: Path) -> bool:
    # Asked of a folder not named after its data set. One right label file is enough: were all four needed, one damaged
    # file would make another data set be used in silence; now `verify` names it. And labels are quickly read.
    paths = {file: find(folder, file) for file in FILES[name] if "labels" in file}
    return any(path and not fault(path, FILES[name][file]) for file, path in paths.items())


def _path(source: Source, file: str) -> Path:
    path = find(Path(source.folder), file)
    if path is None:
        what = f"data set {source.name!r} lacks {Path(source.folder, file)}, raw or .gz"
        raise BenchError(f"{what}; run `stepwatch data fetch {source.name}`")
    return path


def _unusable(name: str, path: Path, what: str) -> BenchError:
    return BenchError(f"{path} of data set {name!r} {what}; delete it and run `stepwatch data fetch {name}`")


def _read(path: Path, size: int) -> bytes:
    """The decompressed content of an IDX file; ValueError says what is wrong with it, as the end of a sentence."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            data = stream.read(size + 1)  # one more than wanted: a longer file shows, and gzip comes to its checksum
    except (OSError, EOFError, zlib.error) as error:  # what is not gzip, or has a wrong checksum, is an OSError too
        raise ValueError(f"cannot be read: {error}") from error
    if not b"\0\0\x08".startswith(data[:3]):  # what the magic number of every IDX file of bytes begins with
        raise ValueError(f"is not an IDX file of bytes: it begins with {data[:4]!r}")
    if len(data) != size:
        found = f"is truncated: {len(data)}" if len(data) < size else f"is too long: over {size}"
        raise ValueError(f"{found} bytes of content, wanted {size}")
    return data


def _parse(source: Source, file: str, magic: int, *tail: int) -> npt.NDArray[np.uint8]:
    """The bytes (n, *tail) of one IDX file: big-endian 32-bit magic number and lengths, one a dimension, then they."""
    path, size = _path(source, file), FILES[source.name][file].size
    try:
        data = _read(path, size)
    except ValueError as error:
        raise _unusable(source.name, path, str(error)) from error
    start = 8 + 4 * len(tail)
    wanted = (magic, (size - start) // math.prod(tail), *tail)
    found = struct.unpack_from(f">{len(wanted)}I", data)
    if found != wanted:
        raise _unusable(source.name, path, f"has the header {found}, wanted {wanted} (magic number, shape)")
    return np.frombuffer(data, np.uint8, offset=start).reshape(wanted[1:])


def _digits(split: str) -> tuple[Images, Labels]:
    """scikit-learn's 8x8 digits, 0..16, as 28x28 bytes: bilinear, pixel centres at halves, edges held.

    All in integers, so that every machine gets the same bytes: output i has its centre at (i + 1/2) 8/28 - 1/2
    = (4i - 5)/14 of the input, so weights are fourteenths, and a product of two of them is a 196th.
    """
    before = set(os.environ)
    try:
        from sklearn.datasets import load_digits  # slow to import, so only where needed
    finally:
        # It sets variables that OpenMP reads (KMP_...): workers begun afterwards would inherit them, others would not.
        for name in set(os.environ) - before:
            del os.environ[name]
    bunch = load_digits()
    small = bunch.images.astype(np.int64)
    place = np.clip(4 * np.arange(SIDE) - 5, 0, 14 * 7)
    low, part = place // 14, place % 14
    high = np.minimum(low + 1, 7)
    rows = small[:, low] * (14 - part)[:, None] + small[:, high] * part[:, None]
    both = rows[:, :, low] * (14 - part) + rows[:, :, high] * part
    whole = 16 * 14 * 14  # what a full 16 has become
    images = ((both * 255 + whole // 2) // whole).astype(np.uint8)
    chosen = slice(None, DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    return np.ascontiguousarray(images[chosen]), bunch.target[chosen].astype(np.int32)


def _synthetic(split: str) -> tuple[Images, Labels]:
    count, seed = SYNTHETIC[split]
    generator = np.random.Generator(np.random.PCG64(seed))
    images = generator.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)
    return images, generator.integers(0, 10, count, dtype=np.int32)
