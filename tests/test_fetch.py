"""`bench.fetch` against a web server on 127.0.0.1 that serves tiny files, well and badly; none leaves this machine."""

import gzip
import hashlib
import http.server
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench import datasets, fetch
from bench.errors import BenchError


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


CONTENTS = {
    "train-images-idx3-ubyte": idx(np.arange(6 * 784).reshape(6, 28, 28) % 251),
    "train-labels-idx1-ubyte": idx(np.arange(6)),
    "t10k-images-idx3-ubyte": idx(np.arange(3 * 784).reshape(3, 28, 28) % 241),
    "t10k-labels-idx1-ubyte": idx(np.arange(3)),
}
BODIES = {f"{file}.gz": gzip.compress(data, mtime=0) for file, data in CONTENTS.items()}
LAST = "t10k-labels-idx1-ubyte.gz"


class Server(http.server.ThreadingHTTPServer):
    """Serves `bodies` under /data/; `announced` overrides the Content-Length of a file, None leaves it out.

    `asked` lists the files that were asked for, in order.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies = dict(BODIES)
        self.announced: dict[str, int | None] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}/data/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        file = self.path.removeprefix("/data/")
        self.server.asked.append(file)
        if file not in self.server.bodies:
            self.send_error(404)
            return
        body = self.server.bodies[file]
        announced = self.server.announced.get(file, len(body))
        self.send_response(200)
        if announced is not None:
            self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    table = {file: datasets.Content(len(data), hashlib.sha256(data).hexdigest()) for file, data in CONTENTS.items()}
    monkeypatch.setattr(datasets, "FILES", {"fashion-mnist": table, "mnist": table})
    monkeypatch.setenv("no_proxy", "*")  # a proxy in the environment must not be asked for 127.0.0.1
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(server: Server, folder: Path, *, exit_code: int = 2) -> str:
    """The message of the error that fetching gives; what came before the bad file stays, and is right."""
    with pytest.raises(BenchError) as caught:
        fetch.fetch("mnist", folder=folder, address=server.address, report=lambda line: None)
    assert caught.value.exit_code == exit_code
    message = str(caught.value)
    assert "\n" not in message and ";" in message
    return message


def test_fetched_files_load(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    lines: list[str] = []
    assert fetch.fetch("mnist", folder=folder, address=server.address, report=lines.append) == folder
    assert lines == [f"fetching {server.address}{file}.gz" for file in CONTENTS]
    assert names(folder) == sorted(BODIES)
    source = datasets.Source("mnist", str(folder), 6, "")
    datasets.verify(source)
    assert datasets.load(source)[1].tolist() == list(range(6))


def test_files_get_the_usual_permissions(server: Server, tmp_path: Path) -> None:
    fetch.fetch("mnist", folder=tmp_path, address=server.address, report=lambda line: None)
    (tmp_path / "plain").write_bytes(b"")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    }


def test_each_address_is_announced_before_it_is_asked(server: Server, tmp_path: Path) -> None:
    asked_before = []

    def report(line: str) -> None:
        asked_before.append((line.rsplit("/", 1)[1], list(server.asked)))

    fetch.fetch("mnist", folder=tmp_path, address=server.address, report=report)
    assert asked_before == [(file, list(BODIES)[:index]) for index, file in enumerate(BODIES)]


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist"])
def test_defaults_are_the_official_address_and_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("BENCH_DATA", "")
    monkeypatch.setattr(datasets, "DEBIAN", str(tmp_path / "no debian"))
    monkeypatch.setitem(fetch.ADDRESSES, name, server.address)
    folder = fetch.fetch(name)
    assert folder == tmp_path / "stepwatch" / "data" / name
    assert capsys.readouterr().out.count(server.address) == 4
    assert datasets.locate("auto") == datasets.Source(name, str(folder), 6, "")


def test_official_addresses() -> None:
    assert fetch.ADDRESSES == {
        "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    }


def test_an_address_without_its_last_slash_will_do(server: Server, tmp_path: Path) -> None:
    fetch.fetch("mnist", folder=tmp_path, address=server.address.rstrip("/"), report=lambda line: None)
    assert names(tmp_path) == sorted(BODIES)


def test_a_server_that_announces_no_length_will_do(server: Server, tmp_path: Path) -> None:
    server.announced = dict.fromkeys(BODIES)
    fetch.fetch("mnist", folder=tmp_path, address=server.address, report=lambda line: None)
    assert names(tmp_path) == sorted(BODIES)


def test_what_is_there_and_right_is_kept(server: Server, tmp_path: Path) -> None:
    raw, packed = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte.gz"
    raw.write_bytes(CONTENTS[raw.name])
    packed.write_bytes(gzip.compress(CONTENTS["train-labels-idx1-ubyte"], 1, mtime=7))  # other bytes, same content
    before = packed.read_bytes()
    assert before != BODIES[packed.name]
    lines: list[str] = []
    fetch.fetch("mnist", folder=tmp_path, address=server.address, report=lines.append)
    assert server.asked == ["t10k-images-idx3-ubyte.gz", LAST]
    assert names(tmp_path) == sorted([raw.name, packed.name, *server.asked])
    assert packed.read_bytes() == before
    assert [line for line in lines if line.startswith("kept")] == [
        f"kept {raw}: it is there and right",
        f"kept {packed}: it is there and right",
    ]


@pytest.mark.parametrize("file", ["t10k-labels-idx1-ubyte", LAST])
def test_what_is_there_and_wrong_is_named_and_left(server: Server, tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"mine, not yours")
    message = refusal(server, tmp_path)
    assert str(tmp_path / file) in message and "delete it" in message
    assert server.asked == []  # not one byte was fetched for a folder that cannot become right
    assert names(tmp_path) == [file]
    assert (tmp_path / file).read_bytes() == b"mine, not yours"


CONTENT = CONTENTS["t10k-labels-idx1-ubyte"]
BAD_BODIES = {
    "truncated gzip": (BODIES[LAST][:-3], "end-of-stream"),
    "another content": (gzip.compress(CONTENT[:-1] + b"\7"), "was altered"),
    "too little content": (gzip.compress(CONTENT[:-1]), "is truncated"),
    "too much content": (gzip.compress(CONTENT + b"\0"), "is too long"),
    "raw content": (CONTENT, "Not a gzipped file"),
    "a web page": (b"<!doctype html><title>Please log in</title>", "Not a gzipped file"),
    "nothing": (b"", "is truncated"),
    "endless": (bytes(1 << 20), "is too long"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_wrong_body_is_refused_and_not_kept(server: Server, tmp_path: Path, case: str) -> None:
    server.bodies[LAST], words = BAD_BODIES[case]
    message = refusal(server, tmp_path)
    assert words in message and server.address + LAST in message
    assert names(tmp_path) == sorted(set(BODIES) - {LAST})
    server.bodies[LAST] = BODIES[LAST]
    server.asked.clear()
    fetch.fetch("mnist", folder=tmp_path, address=server.address, report=lambda line: None)
    assert server.asked == [LAST]  # trying again brings only what was missing


def test_body_shorter_than_announced_is_refused(server: Server, tmp_path: Path) -> None:
    server.announced[LAST] = len(BODIES[LAST]) + 10  # the content is right, so only the length can tell
    message = refusal(server, tmp_path)
    assert f"ended early: {len(BODIES[LAST])} bytes of {len(BODIES[LAST]) + 10}" in message
    assert LAST not in names(tmp_path)


def test_404(server: Server, tmp_path: Path) -> None:
    del server.bodies[LAST]
    message = refusal(server, tmp_path)
    assert f"{server.address}{LAST} answered 404" in message
    assert names(tmp_path) == sorted(server.bodies)


def test_refused_connection(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unheard:  # bound, not listening: nobody answers there, and nobody else can take the port
        unheard.bind(("127.0.0.1", 0))
        server.address = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        message = refusal(server, tmp_path)
    assert "could not be fetched" in message and server.address in message and "check the network" in message
    assert names(tmp_path) == []


def test_silent_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, nobody answers
        server.address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        message = refusal(server, tmp_path)
    assert "timed out" in message
    assert names(tmp_path) == []


@pytest.mark.parametrize("address", ["not an address", "http://[", "http://127.0.0.1:port/", "http://a b/"])
def test_an_address_that_is_none(server: Server, tmp_path: Path, address: str) -> None:
    server.address = address
    assert address in refusal(server, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["digits", "synthetic", "auto", "imagenet", ""])
def test_only_two_sets_can_be_fetched(server: Server, tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchError, match="fashion-mnist, mnist"):
        fetch.fetch(name, folder=tmp_path / "new", address=server.address)
    assert server.asked == [] and names(tmp_path) == []


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    message = refusal(server, tmp_path / "file" / "below", exit_code=74)
    assert str(tmp_path / "file" / "below") in message
    assert server.asked == [] and names(tmp_path) == ["file"]


def test_read_only_folder(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("no folder is read-only to this user, who is root: run as another")
    try:
        message = refusal(server, tmp_path, exit_code=74)
        assert str(tmp_path) in message and "Permission denied" in message
        assert server.asked == [] and names(tmp_path) == []
    finally:
        tmp_path.chmod(0o755)


def test_full_disk_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        assert source.exists() and source.parent == target.parent and not target.exists()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "No space left on device" in refusal(server, tmp_path, exit_code=74)
    assert names(tmp_path) == []


def test_final_name_appears_only_with_the_right_content(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    fault = datasets.fault

    def watched(path: Path, content: datasets.Content) -> str:
        seen.append((path.name, names(tmp_path)))
        return fault(path, content)

    monkeypatch.setattr(datasets, "fault", watched)
    fetch.fetch("mnist", folder=tmp_path, address=server.address, report=lambda line: None)
    for index, (part, listing) in enumerate(seen):  # while one is checked, only those before it have their names
        assert part not in BODIES and listing == sorted([part, *list(BODIES)[:index]])
    assert len(seen) == 4 and names(tmp_path) == sorted(BODIES)


def test_interrupt_leaves_no_part(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, content: datasets.Content) -> str:
        assert path.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "fault", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("mnist", folder=tmp_path, address=server.address, report=lambda line: None)
    assert names(tmp_path) == []
