"""The lines of results.jsonl: round trips, torn and foreign lines, and a disk that fills."""

import errno
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_table import CASE, JAX, ceiling, failure, pilot, proof, sample, session

from bench import records
from bench.case import Case
from bench.errors import BenchError
from bench.records import PILOT_ROUND, SCHEMA, Ceiling, Failure, Ledger, Origin, Pilot, Proof, Record, Sample, Session
from bench.sensors import Energy, Gpu, Reading, Sensed

ONE_OF_EACH: list[Record] = [
    *(proof(CASE), ceiling(CASE), pilot(CASE)),
    *(sample(CASE, 0, 2.0), failure(CASE, 1, log="logs/round1.log"), session()),
]

texts = st.text(max_size=20)
counts = st.integers(0, 2**63 - 1)
positive = st.integers(1, 2**63 - 1)
seconds = st.floats(allow_nan=False, allow_infinity=False)
many_seconds = st.lists(seconds, max_size=3).map(tuple)
many_counts = st.lists(counts, max_size=3).map(tuple)
cases = st.builds(
    Case,
    *([texts] * 7),
    batch=counts,
    data=texts,
    input=texts,
    steps_per_call=counts,
    recipe=texts,
    device=texts,
    threads=counts,
)
origins = st.builds(Origin, texts, texts, st.dictionaries(texts, texts, max_size=2), texts, st.integers(-1, 999), texts)
perhaps = st.none() | seconds
perhaps_counts = st.none() | counts
sensed = st.builds(
    Sensed,
    readings=st.lists(st.builds(Reading, counts, counts, perhaps_counts, perhaps_counts), max_size=3).map(tuple),
    load=perhaps,
    pressure_seconds=perhaps,
    cpu_mhz=perhaps,
    suspended_seconds=perhaps,
    throttled_seconds=perhaps,
    gpu=st.none() | st.builds(Gpu, counts, counts, seconds, counts, counts, counts),
)
stages = st.dictionaries(texts, seconds, max_size=2)
any_record = st.one_of(
    st.builds(
        Proof,
        st.lists(texts, max_size=3).map(tuple),
        origins,
        perhaps,
        perhaps,
        texts,
        st.dictionaries(texts, st.lists(seconds, max_size=2), max_size=2),
        st.booleans(),
    ),
    st.builds(
        Pilot,
        case=cases,
        origin=origins,
        first_calls=many_seconds,
        warm_up_steps=counts,
        settled=st.booleans(),
        compilations=perhaps_counts,
        steps_per_burst=positive,
        fence_seconds=seconds,
        dispatch_seconds=seconds,
        one_image_seconds=perhaps,
        quiet_seconds=seconds,
        left_over=seconds,
        peak_bytes=perhaps_counts,
        sensed=sensed,
        stages=stages,
        energy=st.none() | st.builds(Energy, perhaps, counts, seconds, counts, texts, st.booleans(), perhaps),
    ),
    st.builds(
        Sample,
        case=cases,
        origin=origins,
        first_calls=many_seconds,
        steps=positive,
        wall_ns=st.lists(positive, min_size=1, max_size=3).map(tuple),
        cpu_ns=many_counts,
        switches=many_counts,
        losses=many_seconds,
        compilations=perhaps_counts,
        left_over=seconds,
        sensed=sensed,
        stages=stages,
    ),
    st.builds(Ceiling, texts, texts, texts, texts, counts, origins, many_seconds, many_seconds, texts),
    st.builds(Session, texts, seconds, seconds, seconds, seconds, stages),
    st.builds(Failure, cases, origins, texts, texts, texts),
)


def written(path: Path, found: list[Record]) -> Path:
    ledger = Ledger(path)
    for record in found:
        ledger.append(record)
    ledger.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


# --- there and back ---------------------------------------------------------------------------------------------------


@given(st.lists(any_record, max_size=4))
def test_every_record_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, found: list[Record]) -> None:
    path = written(tmp_path_factory.mktemp("ledger") / "results.jsonl", found)
    assert records.read(path) == (found, "")
    assert path.read_bytes().count(b"\n") == len(found)  # whatever a text holds, a record is one line


def test_a_line_names_its_type_and_schema(path: Path) -> None:
    lines = written(path, ONE_OF_EACH).read_bytes().splitlines()
    named = [msgspec.json.decode(line)["type"] for line in lines]
    assert named == ["Proof", "Ceiling", "Pilot", "Sample", "Failure", "Session"]
    assert {msgspec.json.decode(line)["schema"] for line in lines} == {SCHEMA}


def test_a_ledger_appends_to_what_is_there(path: Path) -> None:
    before = written(path, ONE_OF_EACH[:2]).read_bytes()
    assert written(path, ONE_OF_EACH[2:]).read_bytes().startswith(before)
    assert records.read(path) == (ONE_OF_EACH, "")


def test_a_file_that_is_not_there_holds_nothing(path: Path) -> None:
    assert records.read(path) == ([], "")


def test_a_case_says_what_is_unusual_of_it_and_nothing_more() -> None:
    assert (CASE.work, CASE.unusual) == (CASE.workload, ())
    other = msgspec.structs.replace(CASE, recipe="l2", steps_per_call=8)
    assert (other.work, other.unusual) == (f"{CASE.workload}+l2", ("8 steps a call", "l2"))
    assert str(other) == f"{CASE} 8 steps a call l2"
    # One process carries neither two recipes nor two numbers of steps; files say which is whose, without spaces.
    assert len({CASE.worker, other.worker, msgspec.structs.replace(CASE, recipe="l2").worker}) == 3
    assert " " not in other.file and other.file != CASE.file
    assert other.asked == {**CASE.asked, "steps_per_call": 8}


def test_a_record_that_was_made_again_replaces_one_that_failed() -> None:
    first, again, good = failure(CASE, 0), failure(CASE, 0, "oom"), sample(CASE, 0, 1.0)
    other = sample(CASE, 1, 1.0)
    assert records.latest([first, other, again, good]) == {(CASE, 0): good, (CASE, 1): other}
    assert records.latest([first, again])[CASE, 0] == again
    broken, held = proof(CASE, broken="logits differ"), proof(CASE)
    assert records.latest([broken, held]) == {CASE.worker: held}
    without, found = ceiling(CASE, (), (), reason="oom: no memory"), ceiling(CASE)
    assert list(records.latest([without, found]).values()) == [found]


@pytest.mark.parametrize(
    ("twice", "words"),
    [
        ([sample(CASE, 2, 1.0), sample(CASE, 2, 1.5)], "the Sample of mlp torch eager .* round 3 is there twice"),
        ([sample(CASE, 2, 1.0), failure(CASE, 2)], "the Failure of mlp torch eager .* round 3 is there twice"),
        ([pilot(CASE), pilot(CASE)], "the Pilot of mlp torch eager .* is there twice"),
        ([proof(CASE), proof(CASE)], "the Proof of mlp torch eager .* is there twice"),
        ([ceiling(CASE), ceiling(CASE)], "the Ceiling of .*torch eager .* is there twice"),
    ],
)
def test_a_good_measurement_that_is_there_twice_is_refused(twice: list[Record], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        records.latest(twice)


def test_sessions_that_began_in_the_same_second_are_no_measurements() -> None:
    assert len(records.latest([session(), session()])) == 1


def test_what_is_the_same_measurement() -> None:
    different = [*ONE_OF_EACH, sample(JAX, 0, 1.0), ceiling(JAX), session("2026-11-23T12:00:01Z")]
    assert len({records.key(record) for record in different}) == len(different)
    assert records.key(failure(CASE, PILOT_ROUND)) == records.key(pilot(CASE))
    infer = msgspec.structs.replace(CASE, phase="infer")
    assert records.key(proof(infer)) == records.key(proof(CASE))  # one process carries both, and one proof
    assert records.key(ceiling(infer)) == records.key(ceiling(CASE))


# --- torn, foreign and garbled lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 7, -2, -1], ids=lambda left: f"cut at {left}")
def test_a_torn_last_line_is_reported_and_dropped(path: Path, left: int) -> None:
    whole = written(path, ONE_OF_EACH[:2]).read_bytes()
    last = msgspec.json.encode(ONE_OF_EACH[2]) + b"\n"
    path.write_bytes(whole + last[:left])
    assert records.read(path) == (ONE_OF_EACH[:2], last[:left].decode())
    records.drop_torn_line(path)
    assert path.read_bytes() == whole
    assert records.read(path) == (ONE_OF_EACH[:2], "")


def test_a_torn_line_may_end_within_a_character(path: Path) -> None:
    path.write_bytes("{ä".encode()[:-1])
    found, torn = records.read(path)
    assert not found and torn.startswith("{")
    records.drop_torn_line(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"garbage", ["line 2", "not a record", "delete that line"]),
        (b"", ["line 2", "not a record"]),
        (b"\0\0\0", ["line 2", "not a record"]),
        (b'{"type":"Sample","schema":2}', ["line 2", "not a record"]),
        (b'{"type":"Guess","schema":2}', ["line 2", "Guess"]),
        (b"[]", ["line 2", "not a record"]),
        (b'{"type":"Failure","schema":2,"status":"\xff"}', ["line 2", "not a record"]),
        (b'{"type":"Sample","schema":1,"old":true}', ["line 2", "schema version 2", "found 1", "that wrote it"]),
        (b'{"type":"Sample"}', ["line 2", "schema version 2"]),
    ],
)
def test_a_line_that_cannot_be_read_is_named(path: Path, line: bytes, words: list[str]) -> None:
    whole = written(path, ONE_OF_EACH[:1]).read_bytes()
    path.write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(BenchError) as caught:
        records.read(path)
    assert caught.value.exit_code == 2
    for word in (str(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("wall_ns", [0]), ("wall_ns", [5, -1]), ("wall_ns", []), ("steps", 0), ("steps", -1)]
)
def test_a_time_that_is_none_is_no_record(path: Path, field: str, value: object) -> None:
    whole = written(path, ONE_OF_EACH[:1]).read_bytes()
    broken = msgspec.json.decode(msgspec.json.encode(sample(CASE, 0, 2.0))) | {field: value}
    path.write_bytes(whole + msgspec.json.encode(broken) + b"\n")
    with pytest.raises(BenchError, match="line 2 is not a record") as caught:
        records.read(path)
    assert str(path) in str(caught.value) and f"$.{field}" in str(caught.value)


def test_a_folder_in_place_of_the_file(path: Path) -> None:
    path.mkdir()
    with pytest.raises(BenchError, match="cannot read"):
        records.read(path)
    with pytest.raises(BenchError, match="cannot write"):
        Ledger(path)


# --- a disk that fills ------------------------------------------------------------------------------------------------


def test_a_write_that_comes_short_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, bytes(line)[:10]))
    written(path, ONE_OF_EACH)
    monkeypatch.undo()
    assert records.read(path) == (ONE_OF_EACH, "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fills_in_the_middle_of_a_line(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.write, [0]

    def write(descriptor: int, line: bytes) -> int:
        if not room[0]:
            raise OSError(number, os.strerror(number))
        done = real(descriptor, bytes(line)[: room[0]])
        room[0] -= done
        return done

    lines = [msgspec.json.encode(record) + b"\n" for record in ONE_OF_EACH]
    room[0] = len(lines[0]) + len(lines[1]) + 50
    monkeypatch.setattr(os, "write", write)
    ledger = Ledger(path)
    ledger.append(ONE_OF_EACH[0])
    ledger.append(ONE_OF_EACH[1])
    with pytest.raises(BenchError) as caught:
        ledger.append(ONE_OF_EACH[2])
    monkeypatch.undo()
    assert caught.value.exit_code == 74
    for word in (str(path), os.strerror(number), "2 records of this session are kept", f"--resume {path.parent}"):
        assert word in str(caught.value)
    assert records.read(path) == (ONE_OF_EACH[:2], lines[2][:50].decode())


def test_a_record_that_does_not_reach_the_disk_is_not_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BenchError, match="0 records of this session are kept"):
        Ledger(path).append(ONE_OF_EACH[0])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_without_room() -> None:
    with pytest.raises(BenchError, match="No space left") as caught:
        Ledger(Path("/dev/full")).append(ONE_OF_EACH[0])
    assert caught.value.exit_code == 74


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot write"):
        Ledger(tmp_path / "nowhere" / "results.jsonl")
