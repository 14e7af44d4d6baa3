"""Downloads the two IDX data sets: the only file of Stepwatch that uses the network, and only when a person asks.

Nothing takes its final name before its content was checked against the SHA-256 in `bench.datasets`.
"""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import datasets
from bench.errors import BenchError

ADDRESSES = {
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # its authors' own
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",  # the mirror that torchvision uses
}
TIMEOUT_SECONDS = 30.0  # without a byte, not for the whole
CHUNK_BYTES = 1 << 18
SLACK_BYTES = 1 << 16  # gzip adds a little to what it cannot compress; an answer longer than this is something else
DISK_EXIT_CODE = 74  # `run` ends with it too when a file cannot be written


def fetch(
    name: str, *, folder: str | Path | None = None, address: str | None = None, report: Callable[[str], object] = print
) -> Path:
    """Brings the four files of the data set `name`, as .gz, into `folder`; returns it.

    `folder`: by default the user's cache, where `locate` looks. `address`: the folder on the web, by default the
    official one. `report` is called with one line per file. What is there and right is kept; nothing is overwritten.
    BenchError: a name that cannot be fetched; a file there that is wrong; no answer, an answer of the wrong length or
    content; a folder that cannot be written to (exit code 74). Files that came before stay; no part of one does.
    """
    if name not in ADDRESSES:
        raise BenchError(f"no data set {name!r} to fetch; there are {', '.join(ADDRESSES)} (others need no fetching)")
    target = datasets.cache(name) if folder is None else Path(folder)
    base = (address or ADDRESSES[name]).rstrip("/")
    missing = []
    for file in datasets.FILES[name]:
        path = datasets.find(target, file)
        if path is None:
            missing.append(file)
        else:
            datasets.check(name, path)
            report(f"kept {path}: it is there and right")
    for file in missing:
        report(f"fetching {base}/{file}.gz")
        try:
            target.mkdir(parents=True, exist_ok=True)
            _fetch_file(f"{base}/{file}.gz", target / f"{file}.gz", datasets.FILES[name][file])
        except OSError as error:
            what = f"cannot write {file}.gz in {target}: {error.strerror or error}"
            raise BenchError(f"{what}; free it or name another folder", exit_code=DISK_EXIT_CODE) from error
    return target


def _fetch_file(address: str, path: Path, content: datasets.Content) -> None:
    part = path.with_name(f".{os.getpid()}-{path.name}")  # in the same folder, so that the renaming is atomic
    try:
        with open(part, "wb") as stream:
            for chunk in _body(address, content.size + SLACK_BYTES):
                stream.write(chunk)
        what = datasets.fault(part, content)
        if what:
            raise BenchError(f"{address} {what}; nothing was kept of it: try again, or give another address")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _body(address: str, most: int) -> Iterator[bytes]:
    """The body of the answer in chunks; BenchError if it fails, ends early or is longer than `most` bytes."""
    advice = "check the network, or give another address"
    received = 0
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as response:
            announced = response.headers["Content-Length"]
            while chunk := response.read(CHUNK_BYTES):
                received += len(chunk)
                if received > most:
                    raise BenchError(f"{address} is too long: over {most} bytes; give another address")
                yield chunk
            if announced is not None and received != int(announced):  # urllib does not mind
                raise BenchError(f"{address} ended early: {received} bytes of {announced}; {advice}")
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise BenchError(f"{address} answered {error.code} {error.reason}; {advice}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that is none
        raise BenchError(f"{address} could not be fetched: {error}; {advice}") from error
